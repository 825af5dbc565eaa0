//! Maps errors of TLS to Chromium's numbers, as `net/ssl/openssl_ssl_util.cc` does. Of several
//! faults of a certificate, the first one that rustls finds is reported.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

use crate::net_error::{self, NetError};

/// The code of a failed handshake. If the peer ended the connection it is
/// [`NetError::CONNECTION_CLOSED`].
pub(super) fn handshake_code(error: &io::Error) -> NetError {
    tls_code(error).unwrap_or_else(|| net_error::handshake(error))
}

/// Puts the code into an error of the encrypted stream, for [`net_error`].
pub(super) fn with_code(error: io::Error) -> io::Error {
    match tls_code(&error) {
        Some(code) => io::Error::new(error.kind(), code),
        None => error,
    }
}

/// The code of an error of TLS itself; `None` for an error of the transport.
fn tls_code(error: &io::Error) -> Option<NetError> {
    let inner = error.get_ref()?;
    match inner.downcast_ref() {
        Some(tls) => Some(code(tls)),
        // rustls reports a message above 64 KiB as a plain `io::Error`.
        None if error.kind() == io::ErrorKind::InvalidData => Some(NetError::SSL_PROTOCOL_ERROR),
        None => None,
    }
}

fn code(error: &Error) -> NetError {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidCertRevocationList(_) => NetError::CERT_UNABLE_TO_CHECK_REVOCATION,
        Error::AlertReceived(alert) => alert_code(*alert),
        Error::PeerIncompatible(_) => NetError::SSL_VERSION_OR_CIPHER_MISMATCH,
        Error::NoCertificatesPresented => NetError::SSL_CLIENT_AUTH_CERT_NEEDED,
        Error::UnsupportedNameType => NetError::CERT_COMMON_NAME_INVALID,
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::InvalidEncryptedClientHello(_)
        | Error::InvalidMessage(_)
        | Error::DecryptError
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::NoApplicationProtocol => NetError::SSL_PROTOCOL_ERROR,
        _ => NetError::FAILED,
    }
}

/// The code of an alert from the peer.
fn alert_code(alert: AlertDescription) -> NetError {
    use AlertDescription as Alert;
    match alert {
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            NetError::SSL_VERSION_OR_CIPHER_MISMATCH
        }
        // Chromium has this code for the same situation, before the handshake fails.
        Alert::CertificateRequired => NetError::SSL_CLIENT_AUTH_CERT_NEEDED,
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => NetError::BAD_SSL_CLIENT_AUTH_CERT,
        Alert::BadRecordMac => NetError::SSL_BAD_RECORD_MAC_ALERT,
        Alert::DecryptError => NetError::SSL_DECRYPT_ERROR_ALERT,
        Alert::UnrecognisedName => NetError::SSL_UNRECOGNIZED_NAME_ALERT,
        _ => NetError::SSL_PROTOCOL_ERROR,
    }
}

fn certificate(error: &CertificateError) -> NetError {
    use CertificateError as Bad;
    match error {
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            NetError::CERT_COMMON_NAME_INVALID
        }
        Bad::Expired
        | Bad::ExpiredContext { .. }
        | Bad::NotValidYet
        | Bad::NotValidYetContext { .. } => NetError::CERT_DATE_INVALID,
        Bad::UnknownIssuer => NetError::CERT_AUTHORITY_INVALID,
        Bad::UnknownRevocationStatus
        | Bad::ExpiredRevocationList
        | Bad::ExpiredRevocationListContext { .. } => NetError::CERT_UNABLE_TO_CHECK_REVOCATION,
        Bad::Revoked => NetError::CERT_REVOKED,
        Bad::UnsupportedSignatureAlgorithmContext { .. }
        | Bad::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            NetError::CERT_WEAK_SIGNATURE_ALGORITHM
        }
        Bad::Other(other) => match other.0.downcast_ref() {
            // A self-signed certificate, as from `openssl req -x509`.
            Some(webpki::Error::CaUsedAsEndEntity) => NetError::CERT_AUTHORITY_INVALID,
            Some(webpki::Error::NameConstraintViolation) => {
                NetError::CERT_NAME_CONSTRAINT_VIOLATION
            }
            _ => NetError::CERT_INVALID,
        },
        _ => NetError::CERT_INVALID,
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::{InvalidMessage, PeerIncompatible};

    use super::*;

    #[test]
    fn tls_errors_have_chromes_numbers() {
        for (error, number) in [
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                -107,
            ),
            (Error::DecryptError, -107),
            (
                Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered),
                -113,
            ),
            (
                Error::AlertReceived(AlertDescription::ProtocolVersion),
                -113,
            ),
            (Error::AlertReceived(AlertDescription::UnknownCA), -117),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                -110,
            ),
            (Error::NoCertificatesPresented, -110),
            (CertificateError::NotValidForName.into(), -200),
            (CertificateError::Expired.into(), -201),
            (CertificateError::NotValidYet.into(), -201),
            (CertificateError::UnknownIssuer.into(), -202),
            (CertificateError::UnknownRevocationStatus.into(), -205),
            (CertificateError::Revoked.into(), -206),
            (CertificateError::BadEncoding.into(), -207),
            (CertificateError::BadSignature.into(), -207),
        ] {
            let text = format!("{error:?}");
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            assert_eq!(handshake_code(&error).code(), number, "{text}");
            assert_eq!(net_error::read(&with_code(error)).code(), number, "{text}");
        }
    }

    #[test]
    fn errors_of_the_os_keep_their_numbers() {
        let reset = || io::Error::from_raw_os_error(libc::ECONNRESET);
        assert_eq!(handshake_code(&reset()).code(), -101);
        assert_eq!(net_error::read(&with_code(reset())).code(), -100);
        let end = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(handshake_code(&end).code(), -100);
        let full = io::Error::new(io::ErrorKind::InvalidData, "message buffer full");
        assert_eq!(handshake_code(&full).code(), -107);
    }
}
