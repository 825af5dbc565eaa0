//! Listeners of the host itself: opened, or passed by systemd; and their accept loop.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use chrome_sockets::os::{self, Listener, Network, Stream, TokioNetwork};

use crate::traffic::Traffic;

/// The pause after an accept error, such as a missing descriptor.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// The backlog of a listener.
const BACKLOG: u32 = 128;

/// Listens on this address.
///
/// # Errors
/// The OS error of listening, with the address.
pub(crate) fn listen(address: SocketAddr) -> io::Result<Box<dyn Listener>> {
    let listening = TokioNetwork.listen(address, BACKLOG);
    listening.map_err(|error| {
        let text = match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "{address} is in use: stop the program that listens there, or choose another \
                 address"
            ),
            _ => format!("cannot listen on {address}: {error}"),
        };
        io::Error::new(error.kind(), text)
    })
}

/// Uses a listening socket that another process has opened.
///
/// # Errors
/// It is not a listening TCP socket.
pub(crate) fn adopt(listener: OwnedFd) -> io::Result<Box<dyn Listener>> {
    let adopted = TokioNetwork.adopt_listener(listener);
    adopted.map_err(|error| {
        let text = format!("cannot use the listener that was passed: {error}");
        io::Error::new(error.kind(), text)
    })
}

/// The IP address and port at which it listens.
///
/// # Errors
/// Those of `getsockname`; `InvalidInput` if it is a Unix socket.
pub(crate) fn local_addr(listener: &dyn Listener) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?.socket_addr();
    let other = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a TCP socket");
    address.ok_or_else(other)
}

/// Accepts the next connection. Waits after an error, which is logged. Cancel safe.
pub(crate) async fn accept(
    listener: &mut Box<dyn Listener>,
    traffic: &Traffic,
) -> (Box<dyn Stream>, IpAddr) {
    loop {
        let accepted = poll_fn(|cx| os::retry_if_spurious(listener.poll_accept(cx), cx));
        match accepted.await {
            Ok((stream, peer)) => {
                // Frames and responses are written whole, so Nagle's algorithm would only delay
                // them.
                if let Err(error) = stream.set_nodelay(true) {
                    log::debug!("cannot set TCP_NODELAY: {error}");
                }
                traffic.accepted.add(1);
                // `local_addr` has refused every other kind of listener.
                if let Some(peer) = peer.ip() {
                    return (stream, peer.to_canonical());
                }
            }
            Err(error) => {
                traffic.accept_errors.add(1);
                log::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
}
