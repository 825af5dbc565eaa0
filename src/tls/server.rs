//! The server's side of a handshake.

use std::sync::Arc;
use std::time::Duration;

use derive_more::{Display, From};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use super::client::provider;
use super::codes::handshake_code;
use super::stream::{Secured, Wire};
use crate::net_error::NetError;
use crate::os::Stream;

/// How many handshakes of one server socket may go on at once, where it is not
/// set. Measured, so many keep 8 MB if their clients say nothing, and 70 MB if
/// each says as much as it can.
pub const DEFAULT_HANDSHAKES: usize = 1024;

/// How long a handshake of a server socket may take, where it is not set.
pub const DEFAULT_TIME_OUT: Duration = Duration::from_secs(10);

/// How a server socket speaks TLS: see
/// [`TcpServer::set_tls`](crate::TcpServer::set_tls). Cloning it is one
/// reference count.
#[derive(Clone, derive_more::Debug)]
pub struct Server {
    #[debug(skip)]
    config: Arc<ServerConfig>,
    handshakes: usize,
    time_out: Duration,
}

impl Server {
    /// With a configuration of one's own: certificates by name, client
    /// certificates, protocols (ALPN), versions.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Server {
            config,
            handshakes: DEFAULT_HANDSHAKES,
            time_out: DEFAULT_TIME_OUT,
        }
    }

    /// With a certificate, those of its issuers after it, and its private key,
    /// all in PEM. TLS 1.2 and 1.3; no client certificate is asked for.
    ///
    /// # Errors
    /// What is wrong with which of the two, and what to do.
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

    /// How many handshakes may go on at once, at least 1
    /// ([`DEFAULT_HANDSHAKES`]).
    pub fn handshakes(mut self, most: usize) -> Self {
        self.handshakes = most.max(1);
        self
    }

    /// How long one may take ([`DEFAULT_TIME_OUT`]).
    pub fn time_out(mut self, limit: Duration) -> Self {
        self.time_out = limit;
        self
    }
}

impl Server {
    pub(crate) fn most(&self) -> usize {
        self.handshakes
    }

    pub(crate) fn limit(&self) -> Duration {
        self.time_out
    }

    /// Encrypts an accepted connection, however long it takes.
    pub(crate) async fn handshake(
        self,
        stream: Box<dyn Stream>,
    ) -> Result<Box<dyn Stream>, NetError> {
        let accepting = TlsAcceptor::from(self.config).accept(Wire::new(stream));
        match accepting.await {
            Ok(tls) => Ok(Box::new(Secured::new(tls.into()))),
            Err(error) => {
                log::debug!("no TLS with a client: {error}");
                Err(handshake_code(&error))
            }
        }
    }
}

/// Why a [`Server`] or a [`Client`](super::Client) cannot be made.
#[derive(Debug, Display, From, derive_more::Error)]
#[non_exhaustive]
pub enum Error {
    /// The PEM text has no certificate in it, or the list of authorities is
    /// empty.
    #[display(
        "there is no certificate: expected PEM with `-----BEGIN CERTIFICATE-----`, \
         the server's own first"
    )]
    NoCertificate,

    /// A certificate is broken.
    #[display("the certificates cannot be read ({_0:?}): expected PEM")]
    Certificate(#[error(not(source))] pem::Error),

    /// The PEM text has no private key in it.
    #[display(
        "there is no private key: expected PEM with `-----BEGIN PRIVATE KEY-----`, \
         not encrypted (`openssl pkey -in KEY` decrypts one)"
    )]
    NoKey,

    /// The private key is broken.
    #[display("the private key cannot be read ({_0:?}): expected PEM")]
    Key(#[error(not(source))] pem::Error),

    /// The key is not that of the certificate, of a kind that is not
    /// supported, or the like.
    #[display("certificate and key cannot be used: {_0}")]
    #[from]
    Unusable(rustls::Error),
}
