//! The client side of TLS.

use std::sync::{Arc, OnceLock};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::stream::{Transport, encrypted};
use super::{Error, Offer, Versions, provider};
use crate::net_error::NetError;
use crate::os::Stream;

/// Which certificates `tcp.secure` trusts: by default those of the machine.
/// Cloning it costs one reference count.
///
/// There is no session resumption and no client certificate.
/// [`SecureOptions::alpn`](crate::tcp::SecureOptions::alpn) offers protocols.
#[derive(Clone, derive_more::Debug)]
pub struct Client(#[debug(skip)] Arc<Trust>);

struct Trust {
    provider: Arc<CryptoProvider>,
    /// Set at the start, or from the machine's certificates at the first handshake.
    verifier: OnceLock<Arc<dyn ServerCertVerifier>>,
    /// One for each of the [`Versions`], created at its first use.
    configs: [OnceLock<Arc<ClientConfig>>; 3],
}

impl Default for Client {
    fn default() -> Self {
        Client::new()
    }
}

impl Client {
    /// Trusts the certificates of the machine, which are read at the first
    /// handshake.
    pub fn new() -> Self {
        Self::from_cell(OnceLock::new())
    }

    /// Trusts only these authorities.
    ///
    /// # Errors
    /// [`Error::NoCertificate`] if there is none, so every handshake would fail.
    pub fn with_roots(roots: RootCertStore) -> Result<Self, Error> {
        if roots.is_empty() {
            return Err(Error::NoCertificate);
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Self::with_verifier(verifier))
    }

    /// Trusts the certificates that `verifier` accepts. It is called on the thread of
    /// the arbiter and must not block it.
    pub fn with_verifier(verifier: Arc<dyn ServerCertVerifier>) -> Self {
        Self::from_cell(OnceLock::from(verifier))
    }

    fn from_cell(verifier: OnceLock<Arc<dyn ServerCertVerifier>>) -> Self {
        Client(Arc::new(Trust {
            provider: provider(),
            verifier,
            configs: Default::default(),
        }))
    }

    pub(crate) const IS_BUILT: bool = true;

    /// Encrypts a connection to `host`, whose certificate must be for that name or
    /// address.
    pub(crate) async fn handshake(
        self,
        stream: Box<dyn Stream>,
        host: &str,
        offer: Offer,
    ) -> Result<Box<dyn Stream>, NetError> {
        // No certificate can be for a text that is neither a name nor an address.
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| NetError::CERT_COMMON_NAME_INVALID)?;
        let connector = TlsConnector::from(self.config(offer.versions).await?);
        let connector = connector.with_alpn(offer.alpn);
        let handshake = connector.connect(name, Transport::new(stream));
        encrypted(handshake.await, host)
    }

    async fn config(&self, versions: Versions) -> Result<Arc<ClientConfig>, NetError> {
        let trust = self.0.clone();
        match trust.verifier.get() {
            Some(verifier) => trust.config(verifier, versions),
            // Reading the machine's certificates opens hundreds of files.
            None => tokio::task::spawn_blocking(move || {
                let verifier = trust.machine_verifier()?;
                trust.config(&verifier, versions)
            })
            .await
            .unwrap_or(Err(NetError::ABORTED)),
        }
    }
}

impl Trust {
    /// Verifies by the machine's certificates. If there are none, the next handshake reads them
    /// again: they may be installed meanwhile.
    fn machine_verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, NetError> {
        if let Some(verifier) = self.verifier.get() {
            return Ok(verifier.clone());
        }
        match rustls_platform_verifier::Verifier::new(self.provider.clone()) {
            Ok(verifier) => Ok(self.verifier.get_or_init(|| Arc::new(verifier)).clone()),
            Err(error) => {
                log::error!(
                    "secure trusts no certificate: {error}. Install the package \
                     ca-certificates, or set certificates by `Registry::tls_client`"
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
        let (config, list): (_, &[_]) = match versions {
            Versions::Tls1_2 => (&self.configs[0], &[&TLS12]),
            Versions::Tls1_3 => (&self.configs[1], &[&TLS13]),
            Versions::Both => (&self.configs[2], &[&TLS13, &TLS12]),
        };
        if let Some(config) = config.get() {
            return Ok(config.clone());
        }
        let mut new = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(list)
            .map_err(|_| NetError::NO_SSL_VERSIONS_ENABLED)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        new.resumption = Resumption::disabled();
        Ok(config.get_or_init(|| Arc::new(new)).clone())
    }
}
