//! What `chrome.sockets.tcp` raises.

use actix::Message;
use bytes::Bytes;

use super::socket::{ClientSocket, Credit};
use crate::events::Event;
use crate::ids::ClientSocketId;
use crate::net_error::NetError;

/// `tcp.onReceive`: data came in on an un-paused socket.
///
/// The event holds a *credit* until it is dropped, which the end of its
/// handler does by itself. While a socket's listeners hold more than
/// [`WINDOW`](super::WINDOW) bytes of it, the socket is not read, and TCP
/// slows its peer. So a listener that cannot take more keeps the event, and
/// one that only wants the bytes keeps [`data`](Self::data). A clone of the
/// event holds a credit of its own.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ReceiveInfo {
    /// The socket.
    pub socket_id: ClientSocketId,
    /// What came: 1 to `bufferSize` bytes.
    pub data: Bytes,
    #[debug(skip)]
    pub(super) credit: Credit,
}

impl ReceiveInfo {
    /// The handle of the socket it came on.
    pub fn client(&self) -> &ClientSocket {
        self.credit.socket()
    }
}

impl Event for ReceiveInfo {}

/// `tcp.onReceiveError`: nothing more comes on this connection. The socket is
/// not connected and paused; its id lives until `close`.
#[derive(Clone, derive_more::Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct ReceiveErrorInfo {
    /// The socket.
    pub socket_id: ClientSocketId,
    /// [`CONNECTION_CLOSED`](NetError::CONNECTION_CLOSED) when the peer
    /// closed or reset the connection, or the app ended it while un-paused;
    /// else what the network said.
    pub result_code: NetError,
    pub(super) client: ClientSocket,
}

impl ReceiveErrorInfo {
    /// The handle of the socket it happened to.
    pub fn client(&self) -> &ClientSocket {
        &self.client
    }
}

impl Event for ReceiveErrorInfo {}
