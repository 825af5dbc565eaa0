//! [`Permissions`]: which operations an app may carry out.

use super::api_permissions::ApiPermissions;
use super::error::{ManifestError, ManifestWarning};
use super::host::Host;
use super::multicast::MulticastMembership;
use super::object::object;
use super::pattern::Pattern;
use super::patterns::Patterns;
use super::read::{MAX_WARNINGS, read};

object! {
    /// The permissions of an app for `chrome.sockets`: the `sockets` key of its
    /// manifest; and whether the key `permissions` has `system.network`. The default
    /// is [`none`](Self::none).
    ///
    /// `listen` and `connect` are checked when they are carried out, and fail with
    /// [`Error::PermissionDenied`](crate::Error::PermissionDenied). So are `bind`,
    /// `send`, `joinGroup` and `leaveGroup` of `udp`, which fail with
    /// [`Error::UdpPermissionDenied`](crate::Error::UdpPermissionDenied).
    ///
    /// Serialized, it is the value of the key `sockets`, as
    /// [`from_sockets`](Self::from_sockets) reads it, without comments and
    /// warnings. Each pattern is written in its normalized form.
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
        ;
        system_network: bool,
        // Whether no manifest restricts the app.
        is_unrestricted: bool,
    }
}

object! {
    struct TcpServer {
        listen: Patterns = "listen",
    }
}

object! {
    struct Tcp {
        connect: Patterns = "connect",
    }
}

object! {
    struct Udp {
        bind: Patterns = "bind",
        send: Patterns = "send",
        multicast_membership: MulticastMembership = "multicastMembership",
    }
}

impl Permissions {
    /// Permits every operation for any host and port, and Unix sockets. A manifest can
    /// permit all the rest, but no Unix sockets: so what this writes as a manifest
    /// permits less.
    pub fn all() -> Self {
        Permissions {
            is_unrestricted: true,
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
            system_network: true,
        }
    }

    /// Permits nothing, as a manifest without the key `sockets`.
    pub fn none() -> Self {
        Self::default()
    }

    /// The permissions of a whole `manifest.json`: the keys `sockets` and `permissions`. Other
    /// keys are ignored; without these the result is [`none`](Self::none). Warnings are
    /// logged at `warn`;
    /// [`from_manifest_with_warnings`](Self::from_manifest_with_warnings) returns
    /// them.
    ///
    /// # Errors
    /// The text is longer than [`MAX_MANIFEST`](super::MAX_MANIFEST), or is not a JSON
    /// object (comments are accepted). In `sockets`, a known key is duplicate, or has
    /// a value of the wrong type, an invalid pattern, or more than
    /// [`MAX_PATTERNS`](super::MAX_PATTERNS) patterns. `permissions` is not a list of strings and
    /// objects. The error has the path.
    pub fn from_manifest(json: &str) -> Result<Self, ManifestError> {
        Self::from_manifest_with_warnings(json).map(log_warnings)
    }

    /// As [`from_manifest`](Self::from_manifest), with a warning for each part of
    /// `sockets` that has no effect, at most [`MAX_WARNINGS`](super::MAX_WARNINGS):
    /// a key that Chrome does not know, and a pattern that matches nothing (a host
    /// name for `listen` or `bind`, which take IP addresses).
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
        let mut sockets = manifest.sockets;
        sockets.system_network = manifest.permissions.system_network;
        let warnings = sockets.add_unmatchable(warnings, "sockets.");
        Ok((sockets, warnings))
    }

    /// The permissions from the value of the key `sockets` alone, without `system.network`.
    ///
    /// # Errors
    /// As [`from_manifest`](Self::from_manifest).
    pub fn from_sockets(json: &str) -> Result<Self, ManifestError> {
        Self::from_sockets_with_warnings(json).map(log_warnings)
    }

    /// As [`from_manifest_with_warnings`](Self::from_manifest_with_warnings), from
    /// the value of the key `sockets` alone.
    ///
    /// # Errors
    /// As [`from_manifest`](Self::from_manifest).
    pub fn from_sockets_with_warnings(
        json: &str,
    ) -> Result<(Self, Vec<ManifestWarning>), ManifestError> {
        let (sockets, warnings) = read::<Self>(json, "")?;
        let warnings = sockets.add_unmatchable(warnings, "");
        Ok((sockets, warnings))
    }

    /// Adds a warning for each pattern that matches nothing.
    fn add_unmatchable(
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

    /// Whether [`listen`](crate::TcpServer::listen) is permitted on this address and
    /// port.
    pub fn may_listen(&self, address: &str, port: i32) -> bool {
        self.may_listen_at(Host::parse(address).ok().as_ref(), port)
    }

    /// As [`may_listen`](Self::may_listen), for a parsed address; `None` is a text that is none.
    pub(crate) fn may_listen_at(&self, host: Option<&Host>, port: i32) -> bool {
        self.tcp_server.listen.any_matches(host, port)
    }

    /// Whether [`connect`](crate::Tcp::connect) is permitted to this address and port.
    pub fn may_connect(&self, peer_address: &str, peer_port: i32) -> bool {
        self.may_reach(Host::parse(peer_address).ok().as_ref(), peer_port)
    }

    /// As [`may_connect`](Self::may_connect), for a parsed host; `None` is a host that cannot be
    /// parsed.
    pub(crate) fn may_reach(&self, host: Option<&Host>, port: i32) -> bool {
        self.tcp.connect.any_matches(host, port)
    }

    /// Whether [`udp.bind`](crate::Udp::bind) is permitted to this address and port.
    pub fn may_bind(&self, address: &str, port: i32) -> bool {
        let host = Host::parse(address).ok();
        self.udp.bind.any_matches(host.as_ref(), port)
    }

    /// Whether [`udp.send`](crate::Udp::send) is permitted to this address and port.
    pub fn may_send(&self, address: &str, port: i32) -> bool {
        self.may_send_to(Host::parse(address).ok().as_ref(), port)
    }

    /// As [`may_send`](Self::may_send), for a parsed host; `None` is a host that cannot be parsed.
    pub(crate) fn may_send_to(&self, host: Option<&Host>, port: i32) -> bool {
        self.udp.send.any_matches(host, port)
    }

    /// Whether [`get_network_interfaces`](crate::SystemNetwork::get_network_interfaces) is
    /// permitted: Chrome's permission `system.network`.
    pub fn may_get_network_interfaces(&self) -> bool {
        self.system_network
    }

    /// These permissions with `system.network`, or without it.
    #[must_use]
    pub fn with_system_network(mut self, is_permitted: bool) -> Self {
        self.system_network = is_permitted;
        self
    }

    /// Whether [`listen_unix`](crate::TcpServer::listen_unix) and
    /// [`connect_unix`](crate::Tcp::connect_unix) are permitted (beyond Chrome): only by
    /// [`all`](Self::all), and by no manifest.
    pub fn may_use_unix_sockets(&self) -> bool {
        self.is_unrestricted
    }

    /// The patterns of `tcpServer.listen`.
    pub fn tcp_server_listen(&self) -> &[Pattern] {
        self.tcp_server.listen.as_slice()
    }

    /// The patterns of `tcp.connect`.
    pub fn tcp_connect(&self) -> &[Pattern] {
        self.tcp.connect.as_slice()
    }

    /// The patterns of `udp.bind`.
    pub fn udp_bind(&self) -> &[Pattern] {
        self.udp.bind.as_slice()
    }

    /// The patterns of `udp.send`.
    pub fn udp_send(&self) -> &[Pattern] {
        self.udp.send.as_slice()
    }

    /// Whether `udp.multicastMembership` permits joining multicast groups: all or none,
    /// as in Chrome.
    pub fn may_join_multicast_groups(&self) -> bool {
        self.udp.multicast_membership.0
    }
}

/// Logs the warnings of a manifest.
fn log_warnings((permissions, warnings): (Permissions, Vec<ManifestWarning>)) -> Permissions {
    for warning in warnings {
        log::warn!("manifest: {warning}");
    }
    permissions
}

object! {
    /// A whole manifest. Chrome's other keys are ignored.
    struct Manifest {
        sockets: Permissions = "sockets",
        permissions: ApiPermissions = "permissions",
    }
}
