//! Authorities and certificates that are made for a test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use chrome_sockets::rustls::crypto::ring;
use chrome_sockets::rustls::pki_types::pem::PemObject;
use chrome_sockets::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use chrome_sockets::rustls::{
    self, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use chrome_sockets::tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).expect("a name")
}

impl Authority {
    pub fn new() -> Self {
        // Unique names, because two authorities of one name could be confused.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, SeqCst);
        let mut params = CertificateParams::default();
        let name = format!("authority {number}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, key()).expect("an authority"))
    }

    /// A valid certificate for this host name or IP address.
    pub fn issue(&self, name: &str) -> Issued {
        self.issue_with(name, |_| {})
    }

    pub fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = named(name);
        change(&mut params);
        let key = key();
        let signed = params.signed_by(&key, &self.0).expect("a certificate");
        Issued {
            certificate: signed.pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        roots
    }

    /// A client that trusts only this authority.
    pub fn client(&self) -> tls::Client {
        tls::Client::with_roots(self.roots()).expect("an authority")
    }

    /// The configuration of a peer that trusts it.
    pub fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.into()
    }
}

impl Issued {
    /// A self-signed certificate, of an authority (`is_ca`) or not.
    pub fn self_signed(name: &str, is_ca: bool) -> Self {
        let mut params = named(name);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = key();
        let signed = params.self_signed(&key).expect("a certificate");
        Issued {
            certificate: signed.pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn server(&self) -> tls::Server {
        tls::Server::from_pem(self.certificate.as_bytes(), self.key.as_bytes())
            .expect("certificate and key")
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        self.config_of(rustls::ALL_VERSIONS)
    }

    pub fn config_of(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes());
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_protocol_versions(versions)
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.expect("PEM")], key.expect("PEM"))
            .expect("a configuration");
        config.into()
    }
}

/// Files for another program; dropping it removes them.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("tls-{}-{}", std::process::id(), NUMBER.fetch_add(1, SeqCst));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and returns its path as an argument.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// The files of a certificate and its key.
    pub fn issued(&self, issued: &Issued) -> [String; 2] {
        [
            self.file("certificate.pem", &issued.certificate),
            self.file("key.pem", &issued.key),
        ]
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
