//! A client socket as a stream of tokio: [`ClientStream`].

pub(in crate::tcp) mod attached;
pub(in crate::tcp) mod end;
pub(in crate::tcp) mod shared;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

use crate::answer::Answer;
use crate::tcp::command::{Command, QueuedCall};
use crate::tcp::connection::fast_path::{DirectWrite, write_directly};
use crate::tcp::connection::write::PendingSend;
use crate::tcp::shards::write_quota::Charge;
use crate::tcp::socket::ClientSocket;
use crate::tcp::stream::end::{StreamEnd, call_error};
use crate::tcp::stream::shared::{Reader, StreamSend, StreamShared};

/// What a stream may queue although the app's write quota or the socket's send limit is used up, so
/// that each stream goes on: one write of at most this many bytes.
const MAX_BEYOND_LIMITS: usize = 4096;

/// A client socket as a stream of bytes (beyond Chrome), from
/// [`ClientSocket::into_stream`].
///
/// It is tokio's [`AsyncRead`] and [`AsyncWrite`], so `tokio_util::codec::Framed`,
/// [`tokio::io::copy`], [`tokio::io::split`], hyper and the like work with it. It is [`Send`] and
/// may be used in any thread; in the thread of the socket's arbiter no byte changes threads.
/// [`socket`](Self::socket) is the handle, for `get_info`, `set_timeouts` and so on. Pauses, limits,
/// timeouts, drains and handovers apply to the socket as ever.
///
/// **Reading.** The socket receives at most a [`WINDOW`](super::WINDOW) that was not read from the
/// stream; then TCP slows the peer. While the socket is paused it receives nothing, but what it
/// received before can be read. After all data:
///
/// - 0 bytes: the peer has shut its writing side. The stream can still write.
/// - [`ConnectionReset`](io::ErrorKind::ConnectionReset): the peer has reset the connection.
/// - [`TimedOut`](io::ErrorKind::TimedOut): the OS or a [timeout](super::Timeouts) has ended it.
/// - [`ConnectionAborted`](io::ErrorKind::ConnectionAborted): the socket was closed,
///   disconnected or reset by a handle; the deadline of a drain has passed; the app was suspended or
///   unloaded; the registry has ended; or the socket was handed over to another process.
///
/// A read after an error returns the same error again, so it is never taken for an orderly end. The
/// [`Error`](crate::Error) with the [`NetError`](crate::NetError) is inside, if there is one
/// ([`io::Error::get_ref`]).
///
/// **Writing.** A write is passed to the OS at once if nothing of the socket waits before it. If the
/// OS takes nothing, at most [`STREAM_WRITE_LIMIT`](super::STREAM_WRITE_LIMIT) bytes are queued, or the socket's
/// [`send_limit`](super::SocketProperties::send_limit) if that is less. They count in the app's
/// write quota. Beyond these limits writes wait, except that a stream of which nothing waits queues
/// up to 4 KiB.
/// `flush` waits until the OS has taken everything, and
/// `shutdown` until it has taken everything and the end (FIN) behind it. Reading goes on. A write
/// after `shutdown` fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe); other errors are as
/// above.
///
/// **Closing.** Dropping the stream closes the socket as [`ClientSocket::close`] does: what was
/// written still arrives, and unread input is discarded. A panic of the task that owns the stream
/// drops it, so only this connection ends.
///
/// **Suspension.** A suspension closes the socket, or, if it is
/// [persistent](super::SocketProperties::persistent), only takes it from the stream; what was not
/// read is raised by `onReceive` when the app is loaded again.
///
/// **Handover.** A persistent socket moves to the other process if the stream has read everything
/// within [`PAUSE_GRACE`](crate::PAUSE_GRACE), while it receives nothing more; otherwise it stays.
/// What was written moves with it. While the handover decides, writes wait. Then they and reads go
/// on, or fail with [`ConnectionAborted`](io::ErrorKind::ConnectionAborted).
///
/// ```
/// use actix::prelude::*;
/// use chrome_sockets::tcp_server::AcceptInfo;
/// use chrome_sockets::{App, Registry};
/// # use std::io::{Read, Write};
///
/// /// Echoes, in a task for each connection.
/// struct Server;
///
/// impl Actor for Server {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<AcceptInfo> for Server {
///     type Result = ();
///
///     fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
///         let client = info.client().clone();
///         actix_rt::spawn(async move {
///             let stream = client.into_stream().await?;
///             let (mut reads, mut writes) = tokio::io::split(stream);
///             tokio::io::copy(&mut reads, &mut writes).await?;
///             Ok::<_, std::io::Error>(())
///         });
///     }
/// }
///
/// # actix_rt::System::new().block_on(async {
/// let registry = Registry::new().start();
/// let app = App::new("echo", &registry);
/// let server = Server.start();
/// app.tcp_server.on_accept.add_listener(server.recipient()).await?;
/// let socket_id = app.tcp_server.create(Default::default()).await?.socket_id;
/// app.tcp_server.listen(socket_id, "127.0.0.1", 0, None).await?;
/// # let port = app.tcp_server.get_info(socket_id).await?.local_port.expect("it listens");
/// # let echo = tokio::task::spawn_blocking(move || {
/// #     let mut peer = std::net::TcpStream::connect(("127.0.0.1", port as u16))?;
/// #     peer.write_all(b"hello")?;
/// #     peer.shutdown(std::net::Shutdown::Write)?;
/// #     let mut echo = Vec::new();
/// #     peer.read_to_end(&mut echo)?;
/// #     Ok::<_, std::io::Error>(echo)
/// # });
/// # assert_eq!(echo.await.expect("no panic").expect("an echo"), b"hello");
/// # registry.send(chrome_sockets::Shutdown).await.expect("it runs")?;
/// # Ok::<_, chrome_sockets::Error>(())
/// # }).expect("every call succeeds");
/// ```
#[derive(derive_more::Debug)]
pub struct ClientStream {
    socket: ClientSocket,
    #[debug(skip)]
    shared: Arc<StreamShared>,
    #[debug(skip)]
    shutdown: Shutdown,
}

/// The progress of `poll_shutdown`.
enum Shutdown {
    NotCalled,
    Waiting(Answer<()>),
    Done,
}

impl ClientSocket {
    /// Turns the socket into a stream of bytes, [`ClientStream`] (beyond Chrome), which is
    /// `AsyncRead` and `AsyncWrite`. From here on the stream receives the socket's data and its end,
    /// and listeners do not. Events that listeners have in their mailboxes stay there; data that
    /// returns from a dead listener goes to the stream.
    ///
    /// The call resumes the socket, so an accepted client needs no `set_paused(false)`, and sets
    /// [`allow_half_open`](super::SocketProperties::allow_half_open), because `AsyncWrite` may be
    /// used after the end of reading. [`buffer_size`](super::SocketProperties::buffer_size) has no
    /// effect on a stream. Dropping the answer, or the stream, closes the socket.
    ///
    /// # Errors
    /// [`SOCKET_NOT_CONNECTED`](crate::NetError::SOCKET_NOT_CONNECTED), also while `secure` is
    /// pending; [`Error::AlreadyStream`](crate::Error::AlreadyStream);
    /// [`Error::Suspended`](crate::Error::Suspended);
    /// [`Error::SocketNotFound`](crate::Error::SocketNotFound);
    /// [`Error::Stopped`](crate::Error::Stopped). The socket stays as it is.
    pub fn into_stream(self) -> Answer<ClientStream> {
        self.call(Command::IntoStream)
    }
}

impl ClientStream {
    fn new(socket: ClientSocket, shared: Arc<StreamShared>) -> Self {
        ClientStream {
            socket,
            shared,
            shutdown: Shutdown::NotCalled,
        }
    }

    /// The handle of the socket. Do not send by it while the stream writes: the order of the two is
    /// open.
    pub fn socket(&self) -> &ClientSocket {
        &self.socket
    }

    /// The socket without its stream, paused. What was received and not read is raised by
    /// `onReceive` after `set_paused(false)`; what was written is still sent.
    /// [`allow_half_open`](super::SocketProperties::allow_half_open) stays set. A stream whose
    /// connection has ended returns a socket that is not connected, or closed.
    pub fn into_inner(self) -> ClientSocket {
        let socket = self.socket.clone();
        let (chunks, was_owner) = self.shared.release(Reader::Returned);
        if was_owner {
            let chunks = chunks.into_iter();
            let unread = chunks.map(|chunk| chunk.into_undelivered(&socket));
            socket.do_send(Command::EndStream(unread.collect()));
        }
        socket
    }

    /// Queues a write that the OS does not take at once.
    fn poll_queue(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut room = ready!(self.shared.poll_room(cx))?;
        // Without this, other sends of the socket could stop a stream whose own are all gone.
        let least = if room.is_first() {
            MAX_BEYOND_LIMITS
        } else {
            0
        };
        let mut bytes = data.len().min(room.bytes());
        bytes = bytes.min(self.socket.send_room().max(least));
        if bytes == 0 {
            room.wait(cx);
            return Poll::Pending;
        }
        let quota = &self.socket.app_shard().app_context.write_quota;
        let charge = match quota.charge(bytes) {
            Ok(charge) => charge,
            // Without this, streams of peers that do not read could stop all others.
            Err(_) if room.is_first() => {
                bytes = bytes.min(MAX_BEYOND_LIMITS);
                quota.charge_unchecked(bytes)
            }
            Err(_) => {
                room.wait(cx);
                return Poll::Pending;
            }
        };
        let send = room.take(&self.shared, bytes);
        let data = Bytes::copy_from_slice(&data[..bytes]);
        let pending = PendingSend::of_stream(self.socket.clone(), data, charge, send);
        let refused = self.socket.queue_call(QueuedCall::Send(pending));
        // A refused call takes the lock when it is dropped.
        drop(room);
        drop(refused);
        Poll::Ready(Ok(bytes))
    }

    /// The OS has refused a write. The socket has to know, because the OS may report the error only
    /// once.
    #[cold]
    fn fail(&self, data: &[u8], error: io::Error) -> io::Error {
        let same = error.raw_os_error().map(io::Error::from_raw_os_error);
        let end = StreamEnd::Failed(crate::net_error::write(&error));
        self.shared.fail_writes(end);
        let data = Bytes::copy_from_slice(&data[..1]);
        let report = StreamSend::of_failure(&self.shared);
        let pending = PendingSend::of_stream(self.socket.clone(), data, Charge::default(), report)
            .with_progress(1, Some(error));
        drop(self.socket.queue_call(QueuedCall::Send(pending)));
        same.unwrap_or_else(|| end.error())
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let turn = ready!(poll_proceed(cx));
        let mut read = 0;
        let result = self.shared.poll_read(cx, buf, &mut read);
        if read > 0 {
            self.socket.release(read);
        }
        if result.is_ready() {
            turn.made_progress();
        }
        result
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let turn = ready!(poll_proceed(cx));
        let is_first = ready!(self.shared.poll_room(cx))?.is_first();
        let written = match is_first {
            true => write_directly(&self.socket, data),
            false => DirectWrite::Unavailable,
        };
        let result = match written {
            DirectWrite::Written(bytes) => Poll::Ready(Ok(bytes)),
            DirectWrite::Failed(error) => Poll::Ready(Err(self.fail(data, error))),
            DirectWrite::Unavailable => self.poll_queue(cx, data),
        };
        if result.is_ready() {
            turn.made_progress();
        }
        result
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.poll_flushed(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Shutdown::NotCalled = this.shutdown {
            let call = || this.socket.shutdown_write();
            let answer = ready!(this.shared.poll_shut(cx, call))?;
            this.shutdown = Shutdown::Waiting(answer);
        }
        if let Shutdown::Waiting(answer) = &mut this.shutdown {
            let answer = ready!(Pin::new(answer).poll(cx));
            this.shutdown = match answer {
                Ok(()) => Shutdown::Done,
                Err(_) => Shutdown::NotCalled,
            };
            return Poll::Ready(answer.map_err(call_error));
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let (chunks, was_owner) = self.shared.release(Reader::Dropped);
        for chunk in chunks {
            self.socket.release(chunk.amount);
        }
        if was_owner {
            self.socket.do_close();
        }
    }
}
