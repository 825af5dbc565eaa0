//! What `chrome.sockets.tcpServer` passes in and out.

use std::net::{IpAddr, SocketAddr};

use crate::ids::ServerSocketId;

/// The backlog of `listen` where none is given: SOMAXCONN, which the OS cuts
/// to its own limit (`net.core.somaxconn` on Linux).
pub const DEFAULT_BACKLOG: i32 = 4096;

/// `tcpServer.SocketProperties`: what is `None` keeps its value, or its
/// default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SocketProperties {
    /// Whether the socket stays open when its app is suspended, and goes to
    /// the next process by a [handover](crate::handover) (`false`).
    pub persistent: Option<bool>,
    /// A text of the app's own; the empty one is no name. At most
    /// [`MAX_NAME`](crate::MAX_NAME) bytes.
    pub name: Option<String>,
}

/// `tcpServer.CreateInfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreateInfo {
    /// The new socket's id.
    pub socket_id: ServerSocketId,
}

/// `tcpServer.SocketInfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SocketInfo {
    /// The socket.
    pub socket_id: ServerSocketId,
    /// Whether it stays open when its app is suspended.
    pub persistent: bool,
    /// The app's own text, if there is one.
    pub name: Option<String>,
    /// Whether connections wait in the backlog instead of raising `onAccept`.
    pub paused: bool,
    /// The address it listens on, while it listens.
    pub local_address: Option<IpAddr>,
    /// The port it listens on, the one that the OS chose for 0 included.
    pub local_port: Option<u16>,
}

impl SocketInfo {
    /// `local_address` and `local_port` in one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        Some((self.local_address?, self.local_port?).into())
    }
}
