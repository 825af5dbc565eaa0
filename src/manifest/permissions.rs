//! What an app may do.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::error::{ManifestError, ManifestWarning};
use super::host::Host;
use super::multicast::MulticastMembership;
use super::object::object;
use super::pattern::Pattern;
use super::patterns::Patterns;
use super::read::{MAX_WARNINGS, read};

object! {
    /// What an app may do with `chrome.sockets`: the `sockets` key of its
    /// manifest.
    ///
    /// `listen` and `connect` are checked when they are carried out:
    /// [`Error::PermissionDenied`](crate::Error::PermissionDenied). What is
    /// there for `udp` is kept, for those who have a use for it.
    ///
    /// With serde it is the value of the key: the same as
    /// [`from_sockets`](Self::from_sockets) reads, without comments and without
    /// warnings. Each pattern is written in
    /// the form in which it is compared.
    ///
    /// ```
    /// use chrome_sockets::Permissions;
    ///
    /// let permissions = Permissions::from_manifest(r#"{
    ///     "name": "A web server",
    ///     "manifest_version": 3,
    ///     "sockets": { "tcpServer": { "listen": ["127.0.0.1:8080", "[::1]:8080"] } }
    /// }"#)?;
    /// assert!(permissions.may_listen("127.0.0.1", 8080));
    /// assert!(!permissions.may_listen("0.0.0.0", 8080));
    /// assert!(!permissions.may_connect("127.0.0.1", 8080));
    ///
    /// let wrong = r#"{ "sockets": { "tcpServer": { "listen": ["*:80", "::1:80"] } } }"#;
    /// let error = Permissions::from_manifest(wrong).unwrap_err();
    /// assert_eq!(error.path(), "sockets.tcpServer.listen[1]");
    /// # Ok::<_, chrome_sockets::manifest::ManifestError>(())
    /// ```
    pub struct Permissions {
        tcp_server: TcpServer = "tcpServer",
        tcp: Tcp = "tcp",
        udp: Udp = "udp",
    }
}

object! {
    #[derive(Default)]
    struct TcpServer {
        listen: Patterns = "listen",
    }
}

object! {
    #[derive(Default)]
    struct Tcp {
        connect: Patterns = "connect",
    }
}

object! {
    #[derive(Default)]
    struct Udp {
        bind: Patterns = "bind",
        send: Patterns = "send",
        multicast_membership: MulticastMembership = "multicastMembership",
    }
}

impl Permissions {
    /// Everything: each operation has the pattern for any host and port.
    pub fn all() -> Self {
        Permissions {
            tcp_server: TcpServer {
                listen: Patterns::any(),
            },
            tcp: Tcp {
                connect: Patterns::any(),
            },
            udp: Udp {
                bind: Patterns::any(),
                send: Patterns::any(),
                multicast_membership: MulticastMembership(true),
            },
        }
    }

    /// Nothing at all, as without a `sockets` key.
    pub fn none() -> Self {
        Permissions {
            tcp_server: TcpServer::default(),
            tcp: Tcp::default(),
            udp: Udp::default(),
        }
    }

    /// The permissions of a whole `manifest.json`. Its other keys are
    /// Chrome's, and are not looked at; without the key `sockets` they are
    /// [`none`](Self::none). Warnings are logged at `warn`;
    /// [`from_manifest_with_warnings`](Self::from_manifest_with_warnings)
    /// returns them.
    ///
    /// # Errors
    /// The text is longer than [`MAX_MANIFEST`](super::MAX_MANIFEST), no JSON
    /// (comments are accepted) or no object; in `sockets`, a known key is there
    /// twice or has a value of the wrong type, a bad pattern, or more than
    /// [`MAX_PATTERNS`](super::MAX_PATTERNS). The error tells where.
    pub fn from_manifest(json: &str) -> Result<Self, ManifestError> {
        Self::from_manifest_with_warnings(json).map(logged)
    }

    /// As [`from_manifest`](Self::from_manifest), and what has no effect in
    /// `sockets`, at most [`MAX_WARNINGS`](super::MAX_WARNINGS): a key that Chrome
    /// does not know, and a pattern that can match nothing (a host name for
    /// `listen` or `bind`, which take IP addresses).
    ///
    /// # Errors
    /// As [`from_manifest`](Self::from_manifest).
    ///
    /// ```
    /// use chrome_sockets::Permissions;
    ///
    /// let manifest = r#"{ "sockets": {
    ///     "tcpServer": { "listen": ["127.0.0.1:80", "localhost:80"] }, // a comment
    ///     "tcp": { "conect": "*" }
    /// } }"#;
    /// let (permissions, warnings) = Permissions::from_manifest_with_warnings(manifest)?;
    /// assert!(permissions.may_listen("127.0.0.1", 80));
    /// assert_eq!(warnings[0].to_string(), "sockets.tcp.conect: unknown key, ignored");
    /// assert_eq!(warnings[1].path(), "sockets.tcpServer.listen[1]");
    /// # Ok::<_, chrome_sockets::manifest::ManifestError>(())
    /// ```
    pub fn from_manifest_with_warnings(
        json: &str,
    ) -> Result<(Self, Vec<ManifestWarning>), ManifestError> {
        let (manifest, warnings) = read::<Manifest>(json, "sockets.")?;
        let sockets = manifest.sockets;
        let warnings = sockets.add_useless(warnings, "sockets.");
        Ok((sockets, warnings))
    }

    /// The permissions of the `sockets` key's value alone.
    ///
    /// # Errors
    /// As [`from_manifest`](Self::from_manifest).
    pub fn from_sockets(json: &str) -> Result<Self, ManifestError> {
        Self::from_sockets_with_warnings(json).map(logged)
    }

    /// As [`from_manifest_with_warnings`](Self::from_manifest_with_warnings), of
    /// the `sockets` key's value alone.
    ///
    /// # Errors
    /// As [`from_manifest`](Self::from_manifest).
    pub fn from_sockets_with_warnings(
        json: &str,
    ) -> Result<(Self, Vec<ManifestWarning>), ManifestError> {
        let (sockets, warnings) = read::<Self>(json, "")?;
        let warnings = sockets.add_useless(warnings, "");
        Ok((sockets, warnings))
    }

    /// Adds the patterns that can match nothing.
    fn add_useless(
        &self,
        mut warnings: Vec<ManifestWarning>,
        within: &str,
    ) -> Vec<ManifestWarning> {
        let addresses_only = [
            ("tcpServer.listen", &self.tcp_server.listen),
            ("udp.bind", &self.udp.bind),
        ];
        for (key, patterns) in addresses_only {
            for (index, pattern) in patterns.as_slice().iter().enumerate() {
                if pattern.is_for_names() && warnings.len() < MAX_WARNINGS {
                    let path = format!("{within}{key}[{index}]");
                    let reason = format!(
                        "{pattern} can match nothing: the function takes IP addresses, not \
                         host names; write `127.0.0.1` for this machine, or `*` for any address"
                    );
                    warnings.push(ManifestWarning::new(&path, reason));
                }
            }
        }
        warnings
    }

    /// Whether [`listen`](crate::TcpServer::listen) is permitted here.
    pub fn may_listen(&self, address: &str, port: i32) -> bool {
        let host = Host::parse(address);
        self.tcp_server.listen.cover(host.ok().as_ref(), port)
    }

    /// Whether [`connect`](crate::Tcp::connect) is permitted to there.
    pub fn may_connect(&self, peer_address: &str, peer_port: i32) -> bool {
        self.may_reach(Host::parse(peer_address).ok().as_ref(), peer_port)
    }

    /// As [`may_connect`](Self::may_connect), of a host in the form in which
    /// it is compared; `None` is one that has none.
    pub(crate) fn may_reach(&self, host: Option<&Host>, port: i32) -> bool {
        self.tcp.connect.cover(host, port)
    }

    /// `tcpServer.listen`.
    pub fn tcp_server_listen(&self) -> &[Pattern] {
        self.tcp_server.listen.as_slice()
    }

    /// `tcp.connect`.
    pub fn tcp_connect(&self) -> &[Pattern] {
        self.tcp.connect.as_slice()
    }

    /// `udp.bind`.
    pub fn udp_bind(&self) -> &[Pattern] {
        self.udp.bind.as_slice()
    }

    /// `udp.send`.
    pub fn udp_send(&self) -> &[Pattern] {
        self.udp.send.as_slice()
    }

    /// Whether `udp.multicastMembership` permits to join multicast groups: all
    /// or none, as in Chrome.
    pub fn may_join_multicast_groups(&self) -> bool {
        self.udp.multicast_membership.0
    }
}

/// Logs the warnings of a manifest.
fn logged((permissions, warnings): (Permissions, Vec<ManifestWarning>)) -> Permissions {
    for warning in warnings {
        log::warn!("manifest: {warning}");
    }
    permissions
}

/// A whole manifest.
struct Manifest {
    sockets: Permissions,
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Manifest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a manifest, which is an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Manifest, A::Error> {
                let mut sockets = None;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "sockets" if sockets.is_some() => {
                            return Err(de::Error::duplicate_field("sockets"));
                        }
                        "sockets" => sockets = Some(map.next_value()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let sockets = sockets.unwrap_or_else(Permissions::none);
                Ok(Manifest { sockets })
            }
        }

        deserializer.deserialize_map(Keys)
    }
}
