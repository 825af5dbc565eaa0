//! The arguments and results of `chrome.sockets.udp`.

use std::net::{IpAddr, SocketAddr};

use crate::ids::UdpSocketId;
#[cfg(feature = "metrics")]
use crate::telemetry::Traffic;

/// `udp.SocketProperties`. In `update`, `None` leaves a value unchanged; in `create`, it means the
/// default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SocketProperties {
    /// Whether the socket stays open while its app is suspended, and moves to the next process in a
    /// [handover](crate::handover). Default: `false`.
    pub persistent: Option<bool>,
    /// A text for the app's own use. The empty text removes the name. At most
    /// [`MAX_NAME`](crate::MAX_NAME) bytes. Default: none.
    pub name: Option<String>,
    /// The longest datagram that is received, in bytes. Default: 4,096. Values below 1 mean the
    /// default. A longer datagram is lost, and pauses the socket:
    /// [`MSG_TOO_BIG`](crate::NetError::MSG_TOO_BIG) in `onReceiveError`. No datagram is longer than
    /// 65,507 bytes over IPv4, and 65,527 over IPv6.
    pub buffer_size: Option<i32>,
}

/// `udp.CreateInfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreateInfo {
    /// The id of the new socket.
    pub socket_id: UdpSocketId,
}

/// `udp.SocketInfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SocketInfo {
    /// The socket.
    pub socket_id: UdpSocketId,
    /// Whether the socket stays open while its app is suspended.
    pub persistent: bool,
    /// The app's own text, if there is one.
    pub name: Option<String>,
    /// The longest datagram that is received, if it was set.
    pub buffer_size: Option<i32>,
    /// Whether receiving is paused.
    pub paused: bool,
    /// The local address, if the socket is bound.
    pub local_address: Option<IpAddr>,
    /// The local port, if the socket is bound.
    pub local_port: Option<u16>,
    /// How many datagrams the OS has dropped since `bind`, because its buffer for the socket was
    /// full (beyond Chrome). The OS is asked at each call. `None` if the socket is not bound, on
    /// other systems than Linux, and in a sandbox without `sock_diag`.
    pub dropped_datagrams: Option<u64>,
    /// How many events of the socket were dropped because [`MAX_PANICS`](crate::MAX_PANICS)
    /// listeners had panicked at each (beyond Chrome).
    pub dropped_events: u64,
    /// What it has transferred since it was bound (beyond Chrome, with the feature `metrics`).
    /// `None` before.
    #[cfg(feature = "metrics")]
    pub traffic: Option<Traffic>,
}

impl SocketInfo {
    /// The local address with its port, if the socket is bound.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        Some((self.local_address?, self.local_port?).into())
    }
}
