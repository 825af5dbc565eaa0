//! The only access to the operating system; every operation can fail.
//!
//! A [`Network`] opens sockets, a [`Listener`] accepts, a [`Stream`] reads and
//! writes. [`TokioNetwork`] uses the sockets of the machine. The `testing`
//! feature adds a network that returns what a test scripts, and one that injects
//! faults into another network.

mod arbiter_poller;
mod budget;
mod datagram;
mod denying;
pub(crate) mod fd_passing;
mod interfaces;
mod net;
mod socket_file;
#[cfg(feature = "tls")]
pub(crate) mod tls_info;

use std::io;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) use denying::{DeniedAddresses, DenyingNetwork};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::address::{Address, PeerCredentials, UnixAddress};
pub(crate) use crate::os::arbiter_poller::ArbiterPoller;
pub(crate) use crate::os::budget::without_budget;
pub use crate::os::datagram::{DatagramSender, DatagramSocket, MulticastOptions};
pub use crate::os::interfaces::{MAX_INTERFACES, NetworkInterface};
pub use crate::os::net::TokioNetwork;
pub(crate) use crate::os::net::local_address_of;
#[cfg(feature = "testing")]
pub(crate) use crate::os::net::peer_of;
pub use crate::os::net::poller::{PollerHandle, Readiness, Token};
pub use crate::os::socket_file::SocketFile;
#[cfg(feature = "tls")]
pub(crate) use crate::os::tls_info::TlsInfo;

/// The keepalive time and interval of a connection whose app has set none: Chromium's value.
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(45);

/// Whether the OS has `TCP_USER_TIMEOUT`.
pub(crate) const HAS_USER_TIMEOUT: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Opens sockets, or adopts those of another process. Its methods are called inside a tokio runtime.
pub trait Network: Send + Sync + 'static {
    /// Binds and listens.
    ///
    /// # Errors
    /// Those of `socket`, `bind` and `listen`.
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>>;

    /// As [`listen`](Self::listen), for several listeners on one address
    /// (`SO_REUSEPORT`): each connection goes to one of them. The caller calls
    /// [`reregister`](Listener::reregister) before the first poll.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the network cannot share an address; those of
    /// `socket`, `bind` and `listen`.
    fn listen_shared(&self, _address: SocketAddr, _backlog: u32) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`listen`](Self::listen), or as [`listen_shared`](Self::listen_shared) if
    /// `shared` is set, for an IPv6 address that takes no IPv4 (`IPV6_V6ONLY`). So
    /// `0.0.0.0` is free for another listener on the same port.
    ///
    /// # Errors
    /// `Unsupported`, by default; those of `socket`, `bind` and `listen`.
    fn listen_ipv6_only(
        &self,
        _address: SocketAddr,
        _backlog: u32,
        _shared: bool,
    ) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The scope id of a network interface (`eth0`), which link-local addresses need.
    /// Must not block the thread.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the network has no interfaces. There is no
    /// interface of this name.
    fn scope_id(&self, _interface: &str) -> io::Result<u32> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The addresses of the network interfaces that are up, at most [`MAX_INTERFACES`]. Must not
    /// block the thread.
    ///
    /// # Errors
    /// `Unsupported`, by default; those of the OS.
    fn interfaces(&self) -> io::Result<Vec<NetworkInterface>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The addresses of a host name, best first. Must not block the thread.
    ///
    /// # Errors
    /// The name cannot be resolved.
    fn resolve(&self, host: &str) -> Resolving;

    /// As [`resolve`](Self::resolve), and drops `permit` when the look-up has ended
    /// and uses no thread any more. A network whose look-ups go on after their
    /// future is dropped has to implement this. By default the permit is dropped
    /// with the future.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    fn resolve_with_permit(&self, host: &str, permit: Box<dyn Send>) -> Resolving {
        let resolved = self.resolve(host);
        async move {
            let _permit = permit;
            resolved.await
        }
        .boxed()
    }

    /// Connects. Dropping the future cancels the attempt.
    ///
    /// # Errors
    /// Those of `socket` and `connect`.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;

    /// As [`connect`](Self::connect), from this local address. With port 0 the OS
    /// chooses the port.
    ///
    /// # Errors
    /// `Unsupported`, by default; those of `socket`, `bind` and `connect`.
    fn connect_from(
        &self,
        _local: SocketAddr,
        _address: SocketAddr,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        std::future::ready(Err(io::ErrorKind::Unsupported.into())).boxed()
    }

    /// Binds a Unix socket to a path or an abstract name, and listens. `mode` is the
    /// mode of the file, which never grants wider rights, not even for a moment.
    /// `None` is what the umask of the process leaves of `0o777`. A file of this name
    /// that is a socket at which nothing listens is replaced.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the network has no Unix sockets; those of
    /// `socket`, `bind`, `chmod` and `listen`; `EADDRINUSE` if the file is no socket,
    /// or if it cannot be shown that nothing listens at it.
    fn listen_unix(
        &self,
        _address: &UnixAddress,
        _mode: Option<u32>,
        _backlog: u32,
    ) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Connects to a Unix socket. Dropping the future cancels the attempt.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the network has no Unix sockets; those of
    /// `socket` and `connect`.
    fn connect_unix(
        &self,
        _address: &UnixAddress,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        std::future::ready(Err(io::ErrorKind::Unsupported.into())).boxed()
    }

    /// Adopts a listening socket that another process has opened.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the network has no descriptors;
    /// `InvalidInput` if the descriptor is not a listening TCP or Unix socket.
    fn adopt_listener(&self, _listener: OwnedFd) -> io::Result<Box<dyn Listener>> {
        Err(unsupported())
    }

    /// Adopts a connection that another process has opened.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the network has no descriptors;
    /// `InvalidInput` if the descriptor is no connection of TCP or of a Unix socket.
    fn adopt_stream(&self, _stream: OwnedFd) -> io::Result<Box<dyn Stream>> {
        Err(unsupported())
    }

    /// Binds a datagram socket.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the network has no datagrams; those of `socket`, `setsockopt`
    /// and `bind`.
    fn bind_datagram(
        &self,
        _address: SocketAddr,
        _options: MulticastOptions,
    ) -> io::Result<Box<dyn DatagramSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Adopts a datagram socket that another process has bound.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the network has no descriptors; `InvalidInput` if the
    /// descriptor is not a bound UDP socket.
    fn adopt_datagram(&self, _socket: OwnedFd) -> io::Result<Box<dyn DatagramSocket>> {
        Err(unsupported())
    }

    /// Called when one of the crate's own actors begins a turn. A network that
    /// injects faults may panic here, or return `true` to stop the actor.
    #[cfg(feature = "testing")]
    fn checkpoint(&self, _actor: Checkpoint) -> bool {
        false
    }

    /// Whether connections are watched as those of a busy server, however few there are.
    #[cfg(feature = "testing")]
    fn polls_every_connection(&self) -> bool {
        false
    }
}

/// Which of the crate's own actors begins a turn ([`Network::checkpoint`]).
#[cfg(feature = "testing")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Checkpoint {
    /// The registry, for a message.
    Registry,
    /// A server socket, for a turn of its accept loop.
    ServerSocket,
    /// The actor of all client sockets, for a call or a ready socket.
    ClientSockets,
    /// The actor of all sockets of `chrome.sockets.udp`, for a call or a ready socket.
    UdpSockets,
}

/// A name look-up in progress.
pub type Resolving = BoxFuture<'static, io::Result<Vec<IpAddr>>>;

/// A connection that a listener has accepted, and the address of its peer.
pub type Accepted = (Box<dyn Stream>, Address);

/// A listening socket. Dropping it frees the port, or removes the
/// [file](Self::socket_file).
pub trait Listener: Send {
    /// Accepts the next connection of the backlog, and returns it with its peer's
    /// address. The stream may move to another thread before its first poll; then
    /// that thread calls [`reregister`](Stream::reregister). On `Pending` the waker
    /// is called when there may be a connection.
    ///
    /// # Errors
    /// Those of `accept`; the listener may be polled again.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>>;

    /// Accepts what is in the backlog now, in this thread, whatever an event loop has
    /// heard of. `Pending`: the backlog is empty, and the waker may not be called. By
    /// default this is [`poll_accept`](Self::poll_accept).
    ///
    /// # Errors
    /// As [`poll_accept`](Self::poll_accept).
    fn poll_accept_here(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        self.poll_accept(cx)
    }

    /// The address that it is bound to, with the port that the OS chose.
    ///
    /// # Errors
    /// Those of `getsockname`.
    fn local_addr(&self) -> io::Result<Address>;

    /// The file of a Unix socket, which the drop removes. `None`, by default, if it
    /// has no file, or if another process removes it.
    fn socket_file(&self) -> Option<SocketFile> {
        None
    }

    /// Changes the file that the drop removes: with `None` it removes none, because
    /// another process listens at it now. Does nothing by default.
    fn set_socket_file(&mut self, _file: Option<SocketFile>) {}

    /// Accepts the next connection and closes it at once. With a reserve descriptor
    /// ([`set_reserve_fd`](Self::set_reserve_fd)) this works even if the process
    /// has no other free one.
    ///
    /// # Errors
    /// As [`poll_accept`](Self::poll_accept).
    fn poll_shed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Address>> {
        self.poll_accept(cx).map_ok(|(_, peer)| peer)
    }

    /// Keeps a descriptor in reserve for [`poll_shed`](Self::poll_shed) (`true`), or
    /// releases it. Does nothing by default.
    ///
    /// # Errors
    /// The process has no free descriptor.
    fn set_reserve_fd(&mut self, _reserve: bool) -> io::Result<()> {
        Ok(())
    }

    /// How many connections wait in the backlog; `None`, by default, if that is
    /// unknown.
    fn backlog(&self) -> Option<u32> {
        None
    }

    /// Registers with the current thread's event loop, because the previous one
    /// has ended. Does nothing by default.
    ///
    /// # Errors
    /// The registration failed; the listener must be dropped.
    fn reregister(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A second descriptor of the same socket, for another process. The port stays
    /// open and the backlog stays until both are closed.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the network has no descriptors; those of `dup`.
    fn duplicate(&self) -> io::Result<OwnedFd> {
        Err(unsupported())
    }
}

/// A connection. Dropping it closes it.
pub trait Stream: Send {
    /// Reads; 0 bytes mean that the peer has shut down its writing side.
    ///
    /// # Errors
    /// Those of `read`.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Waits for input without reading it: `true` if there is data, `false` at the
    /// peer's end.
    ///
    /// # Errors
    /// Those of `read`. The next read may not report the same error again.
    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>>;

    /// Ready when the OS has reported an error of the connection: the peer has
    /// reset it, or has vanished. Earlier input may still be unread. The peer's end
    /// is not an error. Pending forever, by default, if the OS reports no errors.
    /// A read stops the wait: poll again after it.
    fn poll_error_ready(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Whether a read would have to wait, as far as is known without asking the OS, and
    /// whatever comes is announced: [`poll_read`](Self::poll_read) need not be called
    /// before that. `false` by default.
    fn awaits_input(&self) -> bool {
        false
    }

    /// Has the event loop of this thread watch the stream now, not only when an operation
    /// has to wait: what watches it may be needed for a [`writer`](Self::writer). Does
    /// nothing by default.
    fn register(&mut self) {}

    /// From now on this poller announces the stream's readiness, by the token, and the
    /// stream calls no waker. Does nothing by default: the stream goes on to call wakers.
    fn attach(&mut self, _poller: &PollerHandle, _token: Token) {}

    /// The poller announces the stream by another token. Does nothing if none does.
    fn change_token(&mut self, _token: Token) {}

    /// Ends [`attach`](Self::attach): the stream calls wakers again, those of the next
    /// polls.
    fn detach(&mut self) {}

    /// The poller has announced this for the token. `true` if the stream has to be polled:
    /// the token is its own, and this is new.
    fn add_readiness(&mut self, _token: Token, _readiness: Readiness) -> bool {
        false
    }

    /// Writes as much of the slices as the OS accepts.
    ///
    /// # Errors
    /// Those of `write`.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[IoSlice<'_>])
    -> Poll<io::Result<usize>>;

    /// Shuts down the writing side: the peer reads all written data and then the
    /// end. Reading goes on. A second call has no effect.
    ///
    /// # Errors
    /// Those of `shutdown`. `Unsupported`, by default, if there is no half-close:
    /// then dropping the stream is the only way to end it.
    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// Reads input that is discarded, as it comes from the network: an encrypted
    /// stream reads the encrypted bytes. 0 bytes mean that the peer has shut down
    /// its writing side. After this, input is read in no other way.
    ///
    /// # Errors
    /// Those of `read`.
    fn poll_discard(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_read(cx, buffer)
    }

    /// Whether a read has returned the peer's end. Then there is no unread input,
    /// which would turn a close into a reset. `false`, by default, if unknown.
    fn reached_eof(&self) -> bool {
        false
    }

    /// How many written bytes the peer's system has not acknowledged; a shutdown of
    /// the writing side counts as one. `None`, by default, if unknown.
    fn unacknowledged(&self) -> Option<usize> {
        None
    }

    /// Writes to the stream from any thread, if the stream supports that. It is
    /// used only while nothing else waits to be written, and never during
    /// `poll_write`.
    fn writer(&self) -> Option<Arc<dyn Writer>> {
        None
    }

    /// The local address.
    ///
    /// # Errors
    /// Those of `getsockname`.
    fn local_addr(&self) -> io::Result<Address>;

    /// Who is at the other end of a Unix socket. `None`, by default, for other
    /// connections, or if the OS does not tell it.
    fn peer_credentials(&self) -> Option<PeerCredentials> {
        None
    }

    /// What the TLS handshake has agreed on; `None`, by default, if the stream is not
    /// encrypted.
    #[cfg(feature = "tls")]
    fn tls_info(&self) -> Option<Arc<TlsInfo>> {
        None
    }

    /// Sets `TCP_NODELAY`: `true` turns Nagle's algorithm off.
    ///
    /// # Errors
    /// `Unsupported` if the connection is not TCP's; those of `setsockopt`.
    fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;

    /// Sets both the time and the interval of keepalive probes, in whole seconds.
    /// `Some` of 0 turns keepalive on and leaves both as they are, `None` turns it
    /// off.
    ///
    /// # Errors
    /// `Unsupported` if the connection is not TCP's; those of `setsockopt`.
    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()>;

    /// Sets after how many milliseconds without an acknowledgement the OS ends the
    /// connection (`TCP_USER_TIMEOUT`); 0 is the OS's own limit.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the OS has no such option, or if the connection is
    /// not TCP's; those of `setsockopt`.
    fn set_user_timeout(&self, _milliseconds: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Resets the connection: the peer finds an error instead of an end, and
    /// unacknowledged data is lost. A network without resets closes it.
    fn reset(mut self: Box<Self>) {
        self.set_reset_on_drop();
    }

    /// Registers with the current thread's event loop, because the previous one
    /// has ended or belongs to another thread. Does nothing by default.
    ///
    /// # Errors
    /// The registration failed; the stream must be dropped.
    fn reregister(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A second descriptor of the same connection, for another process.
    ///
    /// # Errors
    /// `Unsupported`, by default, if the descriptor is not the whole connection, as
    /// with TLS; those of `dup`.
    fn duplicate(&self) -> io::Result<OwnedFd> {
        Err(unsupported())
    }

    /// Has the drop [reset](Self::reset) the connection. Does nothing by default: a
    /// network without resets closes it.
    fn set_reset_on_drop(&mut self) {}
}

/// Writes to a [`Stream`] from any thread: a send with nothing queued before it is
/// written in the thread of its caller.
pub trait Writer: Send + Sync {
    /// Writes as much as the OS accepts without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if that is nothing. Otherwise those of `write`; then the
    /// writer is not used again.
    fn try_write(&self, data: &[u8]) -> io::Result<usize>;
}

/// The socket address of a link-local address and its scope, which is a number or the name of an
/// interface.
///
/// # Errors
/// Those of [`Network::scope_id`].
pub(crate) fn scoped(
    network: &dyn Network,
    address: Ipv6Addr,
    scope: &str,
    port: u16,
) -> io::Result<SocketAddr> {
    let id = match scope.parse() {
        Ok(id) => id,
        Err(_) => network.scope_id(scope)?,
    };
    Ok(SocketAddrV6::new(address, port, 0, id).into())
}

/// How much unread input [`try_close_gracefully`] discards: at most this many reads, each of at
/// most this many bytes.
const MAX_DISCARD_READS: usize = 4;
const DISCARD_BUFFER: usize = 4096;

/// Prepares a connection for its drop, without waiting, so that the peer finds an end and not a
/// reset: shuts down the writing side and discards input. For connections on which nothing was
/// sent that a reset could destroy. `false` if input is left, which makes the close a reset.
pub(crate) fn try_close_gracefully(stream: &mut dyn Stream) -> bool {
    if stream.reached_eof() {
        return true;
    }
    // tokio's cooperative budget of the task may be used up; these polls must not depend on it.
    let is_empty = without_budget(|| {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = stream.poll_shutdown(&mut cx);
        let mut buffer = [0; DISCARD_BUFFER];
        let mut reads = (0..MAX_DISCARD_READS).map(|_| stream.poll_discard(&mut cx, &mut buffer));
        reads.any(|read| !matches!(read, Poll::Ready(Ok(1..))))
    });
    is_empty == Some(true)
}

fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this network's sockets cannot leave the process",
    )
}

/// Turns a result that is not a failure into `Pending`: a signal interrupted the call, or the
/// socket was announced as ready and is not. The task is woken, to retry after other tasks.
#[inline]
pub fn retry_if_spurious<T>(
    result: Poll<io::Result<T>>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    match result {
        Poll::Ready(Err(error)) => retry_if_spurious_error(error, cx),
        result => result,
    }
}

#[cold]
fn retry_if_spurious_error<T>(error: io::Error, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
    use io::ErrorKind::{Interrupted, WouldBlock};
    if matches!(error.kind(), Interrupted | WouldBlock) {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(Err(error))
}
