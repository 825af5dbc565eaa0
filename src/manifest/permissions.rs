//! What an app may do.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::error::{ManifestError, read};
use super::host::Host;
use super::object::object;
use super::pattern::Pattern;
use super::patterns::{Membership, Patterns};
use super::warning::{ManifestWarning, warnings};

object! {
    /// What an app may do with `chrome.sockets`: the `sockets` key of its
    /// manifest.
    ///
    /// `listen` and `connect` are checked when they are carried out:
    /// [`Error::PermissionDenied`](crate::Error::PermissionDenied). What is
    /// there for `udp` is kept, for those who have a use for it.
    ///
    /// With serde it is the value of the key: the same as
    /// [`from_sockets`](Self::from_sockets) reads. Each pattern is written in
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
        multicast_membership: Membership = "multicastMembership",
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
                multicast_membership: Membership::any(),
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
    /// [`none`](Self::none). Comments (`//` and `/* */`) are skipped. What has
    /// no effect is logged as a warning:
    /// [`from_manifest_with_warnings`](Self::from_manifest_with_warnings)
    /// returns it instead.
    ///
    /// # Errors
    /// The text is longer than [`MAX_MANIFEST`](super::MAX_MANIFEST), no JSON
    /// or no object; in `sockets`, a known key that is there twice, a value of
    /// the wrong type, a bad pattern, or more than
    /// [`MAX_PATTERNS`](super::MAX_PATTERNS). The error tells where.
    pub fn from_manifest(json: &str) -> Result<Self, ManifestError> {
        Self::from_manifest_with_warnings(json).map(logged)
    }

    /// As [`from_manifest`](Self::from_manifest), with what has no effect: keys
    /// of `sockets` that are not known, and patterns that cover nothing, as a
    /// name where an address is needed. No more than
    /// [`MAX_WARNINGS`](super::MAX_WARNINGS).
    ///
    /// # Errors
    /// As [`from_manifest`](Self::from_manifest).
    pub fn from_manifest_with_warnings(
        json: &str,
    ) -> Result<(Self, Vec<ManifestWarning>), ManifestError> {
        let permissions = read::<Manifest>(json)?.sockets;
        let keys = read::<Keys>(json)?;
        let found = warnings(&keys.sockets, &permissions, "sockets");
        Ok((permissions, found))
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
        let permissions = read(json)?;
        let found = warnings(&read(json)?, &permissions, "");
        Ok((permissions, found))
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

    /// `udp.multicastMembership`: the pattern for any host and port, if every
    /// group is permitted, or nothing.
    pub fn udp_multicast_membership(&self) -> &[Pattern] {
        self.udp.multicast_membership.as_slice()
    }
}

fn logged((permissions, warnings): (Permissions, Vec<ManifestWarning>)) -> Permissions {
    for warning in warnings {
        log::warn!("manifest: {warning}");
    }
    permissions
}

/// The keys of a manifest, known or not.
#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    sockets: serde_json::Value,
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
