//! The table of Chromium's error numbers, the only place where they are written.

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
    FAILED = -2, "Failed for a reason that has no other code.";
    ABORTED = -3, "Cancelled by the app.";
    INVALID_ARGUMENT = -4, "An argument is invalid.";
    INVALID_HANDLE = -5, "The descriptor is invalid.";
    FILE_NOT_FOUND = -6, "The OS found no such file.";
    TIMED_OUT = -7, "The timeout of the OS has expired.";
    FILE_TOO_BIG = -8, "The file is too large.";
    UNEXPECTED = -9, "The call is not possible in this state of the socket.";
    ACCESS_DENIED = -10, "The OS forbids it, a port below 1024 for instance.";
    NOT_IMPLEMENTED = -11, "The OS does not support this.";
    INSUFFICIENT_RESOURCES = -12, "Out of descriptors or a similar resource.";
    OUT_OF_MEMORY = -13, "The OS is out of memory.";
    SOCKET_NOT_CONNECTED = -15, "The socket is not connected.";
    FILE_PATH_TOO_LONG = -17, "The path is too long.";
    FILE_NO_SPACE = -18, "The device has no space left.";
    SOCKET_IS_CONNECTED = -23, "Already connected, or already listening.";
    CONNECTION_CLOSED = -100, "The connection is closed.";
    CONNECTION_RESET = -101, "The peer reset the connection.";
    CONNECTION_REFUSED = -102, "No listener at the peer's address.";
    CONNECTION_ABORTED = -103, "The connection ended without an answer.";
    CONNECTION_FAILED = -104, "The connection could not be made.";
    NAME_NOT_RESOLVED = -105, "The name has no address.";
    INTERNET_DISCONNECTED = -106, "The network is down.";
    SSL_PROTOCOL_ERROR = -107, "The peer violated the TLS protocol.";
    ADDRESS_INVALID = -108, "Not an address of this machine.";
    ADDRESS_UNREACHABLE = -109, "The address cannot be reached.";
    SSL_CLIENT_AUTH_CERT_NEEDED = -110, "The TLS peer requires a client certificate.";
    NO_SSL_VERSIONS_ENABLED = -112, "No version of TLS is enabled.";
    SSL_VERSION_OR_CIPHER_MISMATCH = -113, "Both ends have no version or cipher of TLS in common.";
    BAD_SSL_CLIENT_AUTH_CERT = -117, "The TLS peer refused this end's certificate.";
    CONNECTION_TIMED_OUT = -118, "The peer did not answer the connection attempt.";
    SSL_BAD_RECORD_MAC_ALERT = -126, "The TLS peer could not decrypt a record.";
    NETWORK_ACCESS_DENIED = -138, "A firewall or the OS forbids the connection.";
    MSG_TOO_BIG = -142, "The message is larger than the transport allows.";
    ADDRESS_IN_USE = -147, "Another socket is bound to the address.";
    SSL_DECRYPT_ERROR_ALERT = -153, "The TLS peer could not verify a signature.";
    SSL_UNRECOGNIZED_NAME_ALERT = -159, "The TLS peer does not know the host name.";
    NO_BUFFER_SPACE = -176, "The OS is out of socket buffers.";
    CERT_COMMON_NAME_INVALID = -200, "The certificate is for another host.";
    CERT_DATE_INVALID = -201, "The certificate has expired, or is not valid yet.";
    CERT_AUTHORITY_INVALID = -202, "No trusted authority signed the certificate.";
    CERT_UNABLE_TO_CHECK_REVOCATION = -205, "The revocation of the certificate cannot be checked.";
    CERT_REVOKED = -206, "The certificate was revoked.";
    CERT_INVALID = -207, "The certificate is malformed, or for another purpose.";
    CERT_WEAK_SIGNATURE_ALGORITHM = -208, "The certificate is signed by an algorithm that is not supported.";
    CERT_NAME_CONSTRAINT_VIOLATION = -212, "The authority may not sign certificates for this name.";
}
