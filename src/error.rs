//! The error of a failed call.
//!
//! There are three kinds. A *result code* is an error of the network
//! ([`Error::Net`]) or of an argument ([`Error::InvalidArgument`]); Chrome's API
//! has it in `resultCode`. A *refusal* means that the call had no effect; Chrome's
//! API has it in `chrome.runtime.lastError`, with the same text as here. The others ([`Error::Stopped`],
//! [`Error::EventsInFlight`] and so on) do not exist in Chrome, whose sockets
//! never outlive their owner. No value of this type means success.

use std::io;

use derive_more::{Display, From};

use crate::invalid_argument::InvalidArgument;
use crate::net_error::NetError;

/// Why a call of [`App`](crate::App), a message or a
/// [`ClientSocket`](crate::tcp::ClientSocket) failed.
///
/// After an error the socket is as it was before the call, unless the
/// documentation of the call says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Display, From, derive_more::Error)]
#[non_exhaustive]
pub enum Error {
    /// The id was never allocated, was closed, or belongs to another app.
    #[display("Socket not found")]
    SocketNotFound,

    /// `secure` was called on a socket that has no connection. Chrome's API
    /// answers it with the code -4.
    #[display("Socket not connected")]
    SocketNotConnected,

    /// The app's [`Permissions`](crate::Permissions) do not allow the address
    /// and port of the call.
    #[display("Does not have permission")]
    PermissionDenied,

    /// As [`PermissionDenied`](Self::PermissionDenied), in `chrome.sockets.udp`, where Chrome has
    /// another text.
    #[display("App does not have permission")]
    UdpPermissionDenied,

    /// The app's [`Permissions`](crate::Permissions) do not allow `chrome.system.network`. The text
    /// is Chrome's for a function of an API without its permission.
    #[display("Access to extension API denied.")]
    ApiDenied,

    /// The network interfaces of this machine could not be listed; the log has the reason.
    #[display("Network lookup failed or unsupported")]
    NetworkListFailed,

    /// A manifest restricts the app ([`Permissions::from_manifest`](crate::Permissions::from_manifest)
    /// and so on). No manifest can permit Unix sockets, which are beyond Chrome: they are for apps
    /// with [`Permissions::all`](crate::Permissions::all) only.
    #[display("Unix sockets are only for apps that no manifest restricts")]
    UnixPermissionDenied,

    /// The app's sends in flight would exceed its quota, and the exception for a
    /// socket of which nothing waits
    /// ([`RESERVED_SEND`](crate::tcp::RESERVED_SEND)) does not apply. Nothing of
    /// this send was sent; a later send succeeds when the peers have read.
    #[display("Exceeded write quota.")]
    WriteQuotaExceeded,

    /// The socket's send queue has no room for this send
    /// ([`SocketProperties::send_limit`](crate::tcp::SocketProperties::send_limit)).
    /// Nothing of it was sent; a later send succeeds when the peer has read.
    #[display("The send queue of the socket is full")]
    SendQueueFull,

    /// An error of the network.
    #[display("{_0}")]
    #[from]
    Net(#[error(not(source))] NetError),

    /// An argument of the call is invalid; it names the field and the reason.
    /// Chrome's API answers it with the code -4.
    /// [`Net`](Self::Net)`(`[`INVALID_ARGUMENT`](NetError::INVALID_ARGUMENT)`)` is
    /// another error: the OS has refused a value.
    #[display("{_0} ({})", NetError::INVALID_ARGUMENT)]
    #[from]
    InvalidArgument(#[error(not(source))] InvalidArgument),

    /// The socket is paused, or the app suspended, and no new event is raised.
    /// But a listener has not handled an earlier event within
    /// [`PAUSE_GRACE`](crate::PAUSE_GRACE), or before the socket was closed. For
    /// instance, it waits for this answer in the handler of that event.
    #[display(
        "A listener still holds an event: do not wait for the answer to \
         setPaused or suspend inside the handler of an event"
    )]
    EventsInFlight,

    /// The socket, or its app, is being drained. `listen` works again after the
    /// drain.
    #[display("The socket is being drained")]
    Draining,

    /// The app has as many sockets as it may create
    /// ([`AppLimits::sockets`](crate::AppLimits::sockets)). No socket was
    /// created; the call succeeds after another socket is closed.
    #[display("The app has as many sockets as it may create")]
    TooManySockets,

    /// [`into_stream`](crate::tcp::ClientSocket::into_stream) was called on a
    /// socket that has a stream already.
    #[display("The socket has a stream already")]
    AlreadyStream,

    /// The app is suspended, or its event page is being started again.
    #[display("The app is suspended")]
    Suspended,

    /// The app was unloaded before the call was carried out.
    #[display("The app was unloaded: its sockets are closed")]
    Unloaded,

    /// The app's event page panicked, or did not start within
    /// [`LOAD_LIMIT`](crate::lifecycle::LOAD_LIMIT). The app is still
    /// suspended.
    #[display("The app's event page did not start: see the log")]
    NotLoaded,

    /// One of the crate's own actors panicked during this call, which may or may
    /// not have taken effect. The actor and the socket keep working
    /// ([`RestartInfo`](crate::supervision::RestartInfo)). A plain message that
    /// was sent to the registry may fail with `MailboxError::Closed` instead, as
    /// with any actor.
    #[display("An actor panicked during this call, which may or may not have taken effect")]
    Panicked,

    /// The registry, or the actor of the socket, has stopped.
    #[display("The registry has stopped: its sockets are closed; start another one")]
    Stopped,
}

impl Error {
    /// The network error code that Chrome's API answers with this error, if
    /// there is one.
    pub fn net_error(&self) -> Option<NetError> {
        match self {
            Error::SocketNotConnected | Error::InvalidArgument(_) => {
                Some(NetError::INVALID_ARGUMENT)
            }
            Error::SendQueueFull => Some(NetError::INSUFFICIENT_RESOURCES),
            Error::Net(error) => Some(*error),
            _ => None,
        }
    }

    /// The text that Chrome's API has in `chrome.runtime.lastError` with this
    /// error. It is the text of [`Display`], except for
    /// [`InvalidArgument`](Self::InvalidArgument): Chrome names neither the field
    /// nor the reason.
    ///
    /// [`Display`]: std::fmt::Display
    pub fn last_error(&self) -> String {
        match self {
            Error::InvalidArgument(_) => NetError::INVALID_ARGUMENT.to_string(),
            other => other.to_string(),
        }
    }
}

/// For code that uses sockets as streams. The error is inside
/// ([`io::Error::get_ref`]).
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(kind(error), error)
    }
}

fn kind(error: Error) -> io::ErrorKind {
    use io::ErrorKind;
    match error {
        Error::Net(error) => match error {
            // The code with which Chromium reports a reset.
            NetError::CONNECTION_CLOSED | NetError::CONNECTION_RESET => ErrorKind::ConnectionReset,
            NetError::ABORTED | NetError::CONNECTION_ABORTED => ErrorKind::ConnectionAborted,
            NetError::CONNECTION_REFUSED => ErrorKind::ConnectionRefused,
            NetError::TIMED_OUT | NetError::CONNECTION_TIMED_OUT => ErrorKind::TimedOut,
            NetError::SOCKET_NOT_CONNECTED => ErrorKind::NotConnected,
            NetError::ADDRESS_UNREACHABLE => ErrorKind::HostUnreachable,
            NetError::INTERNET_DISCONNECTED => ErrorKind::NetworkDown,
            NetError::ADDRESS_IN_USE => ErrorKind::AddrInUse,
            NetError::ADDRESS_INVALID => ErrorKind::AddrNotAvailable,
            NetError::OUT_OF_MEMORY => ErrorKind::OutOfMemory,
            _ => ErrorKind::Other,
        },
        Error::InvalidArgument(_) => ErrorKind::InvalidInput,
        Error::PermissionDenied
        | Error::UdpPermissionDenied
        | Error::UnixPermissionDenied
        | Error::ApiDenied => ErrorKind::PermissionDenied,
        Error::SocketNotFound | Error::SocketNotConnected => ErrorKind::NotConnected,
        Error::Suspended | Error::Unloaded | Error::Stopped => ErrorKind::ConnectionAborted,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_the_texts_of_chromes_last_error() {
        assert_eq!(Error::SocketNotFound.to_string(), "Socket not found");
        assert_eq!(
            Error::WriteQuotaExceeded.to_string(),
            "Exceeded write quota."
        );
        assert_eq!(
            Error::PermissionDenied.to_string(),
            "Does not have permission"
        );
        assert_eq!(
            Error::ApiDenied.to_string(),
            "Access to extension API denied."
        );
        assert_eq!(
            Error::NetworkListFailed.to_string(),
            "Network lookup failed or unsupported"
        );
        let unconnected = Error::SocketNotConnected;
        assert_eq!(unconnected.to_string(), "Socket not connected");
        assert_eq!(unconnected.net_error().map(NetError::code), Some(-4));
        let net = Error::from(NetError::ADDRESS_IN_USE);
        assert_eq!(net.to_string(), "net::ERR_ADDRESS_IN_USE");
        assert_eq!(net.net_error().map(NetError::code), Some(-147));
        assert_eq!(Error::SocketNotFound.net_error(), None);
    }

    #[test]
    fn an_invalid_argument_has_a_reason_in_rust_and_chromes_number_and_text() {
        let error = Error::from(InvalidArgument::BacklogBelowOne);
        assert_eq!(
            error.to_string(),
            "invalid argument `backlog`: below 1 (net::ERR_INVALID_ARGUMENT)"
        );
        assert_eq!(error.last_error(), "net::ERR_INVALID_ARGUMENT");
        assert_eq!(error.net_error().map(NetError::code), Some(-4));
    }

    #[test]
    fn an_error_becomes_an_io_error_that_has_it_inside() {
        use io::ErrorKind::{ConnectionReset, InvalidInput, TimedOut};
        for (error, kind) in [
            (Error::Net(NetError::CONNECTION_CLOSED), ConnectionReset),
            (Error::Net(NetError::TIMED_OUT), TimedOut),
            (InvalidArgument::BacklogBelowOne.into(), InvalidInput),
        ] {
            let io_error = io::Error::from(error);
            assert_eq!(io_error.kind(), kind);
            let inner = io_error.get_ref().and_then(|it| it.downcast_ref());
            assert_eq!(inner, Some(&error));
        }
    }

    #[test]
    fn an_error_is_as_small_as_a_code_with_its_kind() {
        assert_eq!(size_of::<Error>(), 2 * size_of::<NetError>());
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<Error>());
    }
}
