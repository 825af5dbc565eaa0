//! What an app is told when a call fails.
//!
//! Three kinds of failure are kept apart. A *result code* is what the network
//! answered ([`Error::Net`]); Chrome's API puts it into `resultCode`. A
//! *refusal* means that the call did nothing at all, and Chrome's API writes
//! it into `chrome.runtime.lastError`; its text here is the same. The rest
//! ([`Error::Stopped`], [`Error::EventsInFlight`] …) cannot happen in Chrome,
//! whose sockets never outlive their owner. None of them can say "success".

use derive_more::{Display, From};

use crate::net_error::NetError;

/// Why a call of [`App`](crate::App), a message or a
/// [`ClientSocket`](crate::tcp::ClientSocket) failed.
///
/// After any of these the socket is as it was before the call, unless the
/// call's own documentation says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Display, From, derive_more::Error)]
#[non_exhaustive]
pub enum Error {
    /// The id was never given out, was closed, or belongs to another app.
    #[display("Socket not found")]
    SocketNotFound,

    /// `secure` was called on a socket that has no connection; Chrome's API
    /// answers the code -4 with it.
    #[display("Socket not connected")]
    SocketNotConnected,

    /// The app's [`Permissions`](crate::Permissions) do not cover the call's
    /// address and port.
    #[display("Does not have permission")]
    PermissionDenied,

    /// More than the app's quota of sends is in flight: nothing of this send
    /// was sent, and a later one works once the peers have read.
    #[display("Exceeded write quota.")]
    WriteQuotaExceeded,

    /// The network's own answer.
    #[display("{_0}")]
    #[from]
    Net(#[error(not(source))] NetError),

    /// The socket is paused, or the app suspended, and nothing new will be
    /// delivered, but an event that was handed to a subscriber before has not
    /// been handled for [`PAUSE_GRACE`](crate::PAUSE_GRACE), or before the
    /// socket was closed: a subscriber that waits for this answer inside the
    /// handler of that very event, for instance.
    #[display(
        "A subscriber still holds an event: do not wait for the answer to \
         setPaused or suspend inside the handler of an event"
    )]
    EventsInFlight,

    /// The socket, or its app, is being drained: it listens again when that is
    /// over.
    #[display("The socket is being drained")]
    Draining,

    /// The app has as many sockets as it may make
    /// ([`AppLimits::sockets`](crate::AppLimits::sockets)): none was made, and
    /// one can be when another is closed.
    #[display("The app has as many sockets as it may make")]
    TooManySockets,

    /// The app was unloaded before the call was carried out.
    #[display("The app was unloaded: its sockets are closed")]
    Unloaded,

    /// The app's event page panicked, or did not start within
    /// [`LOAD_LIMIT`](crate::lifecycle::LOAD_LIMIT). The app is still
    /// suspended.
    #[display("The app's event page did not start: the log says why")]
    NotLoaded,

    /// One of the crate's own actors panicked while it carried out this call:
    /// it may have happened or not. The actor goes on, and so does the socket
    /// ([`RestartInfo`](crate::supervision::RestartInfo)). Who has sent a plain
    /// message to the registry may see `MailboxError::Closed` instead, as with
    /// any actor.
    #[display("An actor panicked while it carried out this call: ask what has come of it")]
    Panicked,

    /// The registry, or the actor that kept the socket, has stopped.
    #[display("The registry has stopped: its sockets are closed; start another one")]
    Stopped,
}

impl Error {
    /// The network's code, where there is one: the one that Chrome's API
    /// answers.
    pub fn net_error(&self) -> Option<NetError> {
        match self {
            Error::SocketNotConnected => Some(NetError::INVALID_ARGUMENT),
            Error::Net(error) => Some(*error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_as_chromes_last_error() {
        assert_eq!(Error::SocketNotFound.to_string(), "Socket not found");
        assert_eq!(
            Error::WriteQuotaExceeded.to_string(),
            "Exceeded write quota."
        );
        assert_eq!(
            Error::PermissionDenied.to_string(),
            "Does not have permission"
        );
        let unconnected = Error::SocketNotConnected;
        assert_eq!(unconnected.to_string(), "Socket not connected");
        assert_eq!(unconnected.net_error().map(NetError::code), Some(-4));
        let net = Error::from(NetError::ADDRESS_IN_USE);
        assert_eq!(net.to_string(), "net::ERR_ADDRESS_IN_USE");
        assert_eq!(net.net_error().map(NetError::code), Some(-147));
        assert_eq!(Error::SocketNotFound.net_error(), None);
    }
}
