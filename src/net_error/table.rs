//! The only place where a number is written.

use super::NetError;

macro_rules! table {
    ($($name:ident = $code:literal, $doc:literal;)*) => {
        impl NetError {
            $(
                #[doc = concat!($doc, " `", stringify!($code), "`.")]
                pub const $name: NetError = NetError($code);
            )*

            /// Every code with its name, in the order of Chromium's list.
            pub(super) const ALL: &[(NetError, &str)] =
                &[$((NetError::$name, stringify!($name)),)*];
        }
    };
}

table! {
    FAILED = -2, "Failed, and no other code says how.";
    ABORTED = -3, "Ended by the app before it was done.";
    INVALID_ARGUMENT = -4, "An argument cannot be right.";
    INVALID_HANDLE = -5, "The descriptor is not one.";
    FILE_NOT_FOUND = -6, "The OS found no such file.";
    TIMED_OUT = -7, "Took longer than the OS waits.";
    ACCESS_DENIED = -10, "The OS forbids it, a port below 1024 for instance.";
    NOT_IMPLEMENTED = -11, "The OS cannot do this.";
    INSUFFICIENT_RESOURCES = -12, "Out of descriptors or a like resource.";
    OUT_OF_MEMORY = -13, "The OS had no memory for it.";
    SOCKET_NOT_CONNECTED = -15, "The socket is not connected.";
    FILE_NO_SPACE = -18, "No room left on a device.";
    SOCKET_IS_CONNECTED = -23, "Already connected, or already listening.";
    CONNECTION_CLOSED = -100, "The connection is closed.";
    CONNECTION_RESET = -101, "The peer reset the connection.";
    CONNECTION_REFUSED = -102, "Nobody listens at the peer's address.";
    CONNECTION_ABORTED = -103, "The connection ended without an answer.";
    CONNECTION_FAILED = -104, "The connection could not be made.";
    NAME_NOT_RESOLVED = -105, "No address has this name.";
    INTERNET_DISCONNECTED = -106, "The network is down.";
    SSL_PROTOCOL_ERROR = -107, "The peer does not speak TLS as it should.";
    ADDRESS_INVALID = -108, "Not an address of this machine.";
    ADDRESS_UNREACHABLE = -109, "No way leads to the address.";
    CONNECTION_TIMED_OUT = -118, "The peer did not answer the connection attempt.";
    NETWORK_ACCESS_DENIED = -138, "A firewall or the OS forbids the connection.";
    MSG_TOO_BIG = -142, "Larger than the transport takes.";
    ADDRESS_IN_USE = -147, "Another socket is bound to the address.";
    NO_BUFFER_SPACE = -176, "The OS is out of socket buffers.";
}
