//! The server side of TLS.

use std::sync::Arc;
use std::time::Duration;

use derive_more::{Display, From};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

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
    /// Uses a configuration of rustls, for certificates by name, client certificates,
    /// protocols (ALPN) or versions.
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
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Certificate)?;
        if chain.is_empty() {
            return Err(Error::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => Error::NoKey,
            error => Error::Key(error),
        })?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Server::new(Arc::new(config)))
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
    #[display("the certificates cannot be read ({_0:?}): expected PEM")]
    Certificate(#[error(not(source))] pem::Error),

    /// The PEM text contains no private key.
    #[display(
        "there is no private key: expected PEM with `-----BEGIN PRIVATE KEY-----`, \
         not encrypted (`openssl pkey -in KEY` decrypts one)"
    )]
    NoKey,

    /// The private key cannot be parsed.
    #[display("the private key cannot be read ({_0:?}): expected PEM")]
    Key(#[error(not(source))] pem::Error),

    /// For instance, the key does not belong to the certificate, or its kind is not
    /// supported.
    #[display("certificate and key cannot be used: {_0}")]
    #[from]
    Unusable(rustls::Error),
}
