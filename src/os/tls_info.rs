//! What the TLS handshake of a connection has agreed on.

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{CipherSuite, ProtocolVersion};

/// What the TLS handshake of a connection has agreed on (beyond Chrome): see
/// [`AcceptInfo::tls`](crate::tcp_server::AcceptInfo::tls) and
/// [`SocketInfo::tls`](crate::tcp::SocketInfo::tls).
#[derive(Clone, PartialEq, Eq, derive_more::Debug)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version, `TLSv1_2` or `TLSv1_3`.
    pub version: ProtocolVersion,
    /// The cipher suite, for instance `TLS13_AES_128_GCM_SHA256`.
    pub cipher_suite: CipherSuite,
    /// The protocol that client and server chose by ALPN, for instance `h2`; `None` if one of them
    /// offered none.
    pub alpn: Option<Vec<u8>>,
    /// On a server: the host name that the client asked for (SNI), in lower case, at most 253
    /// bytes; `None` if it asked for none, as clients do that connect to an IP address. On a
    /// client: always `None`.
    pub server_name: Option<String>,
    /// The peer's certificate and those of its issuers that the peer has sent, in this order, each
    /// in DER. On a server it is empty unless the client has shown a certificate, which the server
    /// has to [ask for](crate::tls::ClientAuth). All of it takes less than 64 KiB: rustls ends a
    /// handshake with more.
    #[debug("{} certificates", peer_certificates.len())]
    pub peer_certificates: Vec<CertificateDer<'static>>,
}
