//! The client's side of a handshake.

use std::sync::{Arc, OnceLock};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::codes::handshake_code;
use super::stream::{Secured, Wire};
use super::{Error, Versions};
use crate::net_error::NetError;
use crate::os::Stream;

/// Whom `tcp.secure` trusts: the certificates of the machine, unless others
/// are set. Cloning it is one reference count.
///
/// No session is resumed, no protocol negotiated (ALPN), and no certificate
/// shown to the server.
#[derive(Clone, derive_more::Debug)]
pub struct Client(#[debug(skip)] Arc<Trust>);

struct Trust {
    provider: Arc<CryptoProvider>,
    /// Set from the start, or by the first handshake from the machine's
    /// certificates.
    verifier: OnceLock<Arc<dyn ServerCertVerifier>>,
    /// One for each of the [`Versions`], made when it is first asked for.
    configs: [OnceLock<Arc<ClientConfig>>; 3],
}

impl Default for Client {
    fn default() -> Self {
        Client::new()
    }
}

impl Client {
    /// Trusts the certificates that the machine trusts; they are read at the
    /// first handshake.
    pub fn new() -> Self {
        Self::trusting(OnceLock::new())
    }

    /// Trusts these authorities and no others.
    ///
    /// # Errors
    /// [`Error::NoCertificate`] if there is none: nobody could be trusted.
    pub fn with_roots(roots: RootCertStore) -> Result<Self, Error> {
        if roots.is_empty() {
            return Err(Error::NoCertificate);
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Self::with_verifier(verifier))
    }

    /// Leaves it to `verifier` whom to trust. It is called on the arbiter's
    /// thread and must not block it.
    pub fn with_verifier(verifier: Arc<dyn ServerCertVerifier>) -> Self {
        Self::trusting(OnceLock::from(verifier))
    }

    fn trusting(verifier: OnceLock<Arc<dyn ServerCertVerifier>>) -> Self {
        Client(Arc::new(Trust {
            provider: provider(),
            verifier,
            configs: Default::default(),
        }))
    }
}

impl Client {
    pub(crate) const IS_BUILT: bool = true;

    /// Encrypts a connection to `host`, whose certificate has to have that
    /// name or address.
    pub(crate) async fn handshake(
        self,
        stream: Box<dyn Stream>,
        host: &str,
        versions: Versions,
    ) -> Result<Box<dyn Stream>, NetError> {
        // What is neither a name nor an address stands in no certificate.
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| NetError::CERT_COMMON_NAME_INVALID)?;
        let config = self.config(versions).await?;
        let connecting = TlsConnector::from(config).connect(name, Wire::new(stream));
        match connecting.await {
            Ok(tls) => Ok(Box::new(Secured::new(tls.into()))),
            Err(error) => {
                log::debug!("no TLS with {host}: {error}");
                Err(handshake_code(&error))
            }
        }
    }

    async fn config(&self, versions: Versions) -> Result<Arc<ClientConfig>, NetError> {
        let trust = self.0.clone();
        match trust.verifier.get() {
            Some(verifier) => trust.config(verifier, versions),
            // From hundreds of files of the machine.
            None => tokio::task::spawn_blocking(move || {
                let verifier = trust.machine()?;
                trust.config(&verifier, versions)
            })
            .await
            .unwrap_or(Err(NetError::ABORTED)),
        }
    }
}

impl Trust {
    /// The machine's certificates. Where there are none it is looked again the
    /// next time: they may have been installed.
    fn machine(&self) -> Result<Arc<dyn ServerCertVerifier>, NetError> {
        if let Some(verifier) = self.verifier.get() {
            return Ok(verifier.clone());
        }
        match rustls_platform_verifier::Verifier::new(self.provider.clone()) {
            Ok(verifier) => Ok(self.verifier.get_or_init(|| Arc::new(verifier)).clone()),
            Err(error) => {
                log::error!(
                    "secure trusts nobody: {error}. Install the package ca-certificates, \
                     or give the registry other ones by `Registry::tls_client`"
                );
                Err(NetError::CERT_AUTHORITY_INVALID)
            }
        }
    }

    fn config(
        &self,
        verifier: &Arc<dyn ServerCertVerifier>,
        versions: Versions,
    ) -> Result<Arc<ClientConfig>, NetError> {
        let (place, list): (_, &[_]) = match versions {
            Versions::Tls1_2 => (&self.configs[0], &[&TLS12]),
            Versions::Tls1_3 => (&self.configs[1], &[&TLS13]),
            Versions::Both => (&self.configs[2], &[&TLS13, &TLS12]),
        };
        if let Some(known) = place.get() {
            return Ok(known.clone());
        }
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(list)
            .map_err(|_| NetError::NO_SSL_VERSIONS_ENABLED)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        // Nothing is kept of a server between connections.
        config.resumption = Resumption::disabled();
        Ok(place.get_or_init(|| Arc::new(config)).clone())
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
