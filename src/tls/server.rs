//! The server side of TLS.

use std::sync::Arc;
use std::time::Duration;

use derive_more::{Display, From};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use super::provider;
use super::stream::{Transport, encrypted};
use crate::net_error::NetError;
use crate::os::Stream;

/// How many handshakes of one server socket may run at once by default. Measured,
/// they use 8 MB if their clients send nothing, and 70 MB if each client sends as
/// much as it can.
pub const DEFAULT_HANDSHAKES: usize = 1024;

/// How long a handshake of a server socket may take by default.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The TLS configuration of a server socket: see
/// [`TcpServer::set_tls`](crate::TcpServer::set_tls). Cloning it costs one
/// reference count.
#[derive(Clone, derive_more::Debug)]
pub struct Server {
    #[debug(skip)]
    config: Arc<ServerConfig>,
    handshakes: usize,
    timeout: Duration,
}

impl Server {
    /// Uses a configuration of rustls, for certificates by name, versions, another
    /// verifier of client certificates, and whatever else rustls can do.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Server {
            config,
            handshakes: DEFAULT_HANDSHAKES,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Uses a certificate, followed by those of its issuers, and its private key, all
    /// in PEM, for TLS 1.2 and 1.3 without client certificates.
    ///
    /// # Errors
    /// The certificates or the key cannot be used; the text says what to change.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, Error> {
        Self::configured(certificates, key, WebPkiClientVerifier::no_client_auth())
    }

    /// As [`from_pem`](Self::from_pem), and asks each client for a certificate.
    /// [`TlsInfo::peer_certificates`](super::TlsInfo::peer_certificates) has it. A
    /// client without a certificate, if one is required, and one whose certificate is
    /// not valid fail their handshake: `onHandshakeError` reports
    /// [`SSL_CLIENT_AUTH_CERT_NEEDED`](NetError::SSL_CLIENT_AUTH_CERT_NEEDED), or the
    /// fault of the certificate.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), and [`Error::NoCertificate`] if there is no
    /// authority, so no client could have a valid certificate.
    pub fn from_pem_with_client_auth(
        certificates: &[u8],
        key: &[u8],
        client_auth: ClientAuth,
    ) -> Result<Self, Error> {
        let (roots, is_required) = match client_auth {
            ClientAuth::Required(roots) => (roots, true),
            ClientAuth::Optional(roots) => (roots, false),
        };
        if roots.is_empty() {
            return Err(Error::NoCertificate);
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = match is_required {
            true => verifier,
            false => verifier.allow_unauthenticated(),
        };
        let verifier = verifier.build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        Self::configured(certificates, key, verifier)
    }

    fn configured(
        certificates: &[u8],
        key: &[u8],
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Result<Self, Error> {
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::Certificate(without_content(error)))?;
        if chain.is_empty() {
            return Err(Error::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => Error::NoKey,
            error => Error::Key(without_content(error)),
        })?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        Ok(Server::new(Arc::new(config)))
    }

    /// Which protocols the server speaks (ALPN), best first, for instance `["h2",
    /// "http/1.1"]`. The first one that a client offers too is chosen, and
    /// [`TlsInfo::alpn`](super::TlsInfo::alpn) has it. The handshake of a client that
    /// offers only others fails, with
    /// [`SSL_PROTOCOL_ERROR`](NetError::SSL_PROTOCOL_ERROR); one that offers none is
    /// accepted. By default, the list of the configuration, which is empty: nothing is
    /// chosen, whatever clients offer.
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// How many handshakes may run at once; 0 counts as 1. The default is
    /// [`DEFAULT_HANDSHAKES`].
    pub fn handshakes(mut self, max: usize) -> Self {
        self.handshakes = max.max(1);
        self
    }

    /// How long a handshake may take. The default is [`DEFAULT_TIMEOUT`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn max_handshakes(&self) -> usize {
        self.handshakes
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        self.timeout
    }

    /// Encrypts an accepted connection. The caller limits the time.
    pub(crate) async fn handshake(
        self,
        stream: Box<dyn Stream>,
    ) -> Result<Box<dyn Stream>, NetError> {
        let handshake = TlsAcceptor::from(self.config).accept(Transport::new(stream));
        encrypted(handshake.await, "a client")
    }
}

/// Removes what an error quotes of a PEM text. A key whose line breaks are missing is one long line,
/// and must not get into a log.
fn without_content(error: pem::Error) -> pem::Error {
    match error {
        pem::Error::IllegalSectionStart { .. } => {
            pem::Error::IllegalSectionStart { line: Vec::new() }
        }
        pem::Error::MissingSectionEnd { .. } => pem::Error::MissingSectionEnd {
            end_marker: Vec::new(),
        },
        error => error,
    }
}

/// What is wrong with a PEM text.
fn fault(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "the `-----END …-----` line is missing",
        pem::Error::IllegalSectionStart { .. } => {
            "a `-----BEGIN …-----` line is incomplete or holds more than that"
        }
        pem::Error::Base64Decode(_) => "invalid base64",
        _ => "not PEM",
    }
}

/// Which clients a server asks for a certificate, and which authorities have to have
/// signed it: see [`Server::from_pem_with_client_auth`].
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// A client without a certificate of these authorities fails its handshake.
    Required(RootCertStore),
    /// A client may have no certificate; one that it has must be of these authorities.
    Optional(RootCertStore),
}

/// Why a [`Server`] or a [`Client`](super::Client) cannot be created.
#[derive(Debug, Display, From, derive_more::Error)]
#[non_exhaustive]
pub enum Error {
    /// The PEM text contains no certificate, or the list of authorities is empty.
    #[display(
        "there is no certificate: expected PEM with `-----BEGIN CERTIFICATE-----`, \
         the server's own first"
    )]
    NoCertificate,

    /// A certificate cannot be parsed.
    #[display("the certificates cannot be read ({}): expected PEM", fault(_0))]
    Certificate(#[error(not(source))] pem::Error),

    /// The PEM text contains no private key.
    #[display(
        "there is no private key: expected PEM with `-----BEGIN PRIVATE KEY-----`, \
         not encrypted (`openssl pkey -in KEY` decrypts one)"
    )]
    NoKey,

    /// The private key cannot be parsed.
    #[display("the private key cannot be read ({}): expected PEM", fault(_0))]
    Key(#[error(not(source))] pem::Error),

    /// For instance, the key does not belong to the certificate, or its kind is not
    /// supported.
    #[display("certificate and key cannot be used: {_0}")]
    #[from]
    Unusable(rustls::Error),
}
