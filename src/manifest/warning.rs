//! What is not wrong in a manifest, and not right either.

use std::fmt;

use serde_json::{Map, Value};

use super::error::cut;
use super::permissions::Permissions;

/// The most warnings of one manifest; the last of them says that there are
/// more.
pub const MAX_WARNINGS: usize = 100;

/// Something in a manifest that has no effect. Its text tells where, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestWarning {
    path: String,
    reason: String,
}

impl ManifestWarning {
    /// Where: `sockets.tcpServer.listen[2]`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ManifestWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

/// The keys that have a meaning, and those in them.
const KEYS: [(&str, &[&str]); 3] = [
    ("tcpServer", &["listen"]),
    ("tcp", &["connect"]),
    ("udp", &["bind", "send", "multicastMembership"]),
];

/// What to warn of in a `sockets` key that was read as these permissions.
pub(super) fn warnings(sockets: &Value, read: &Permissions, above: &str) -> Vec<ManifestWarning> {
    let mut found = Vec::new();
    let below = |key: &str| match above {
        "" => cut(key),
        above => format!("{above}.{}", cut(key)),
    };
    for (key, value) in entries(sockets) {
        match KEYS.iter().find(|(known, _)| known == key) {
            None => unknown(&mut found, below(key)),
            Some((_, known)) => {
                let inner = entries(value).filter(|(key, _)| !known.contains(&key.as_str()));
                inner.for_each(|(inner, _)| {
                    unknown(&mut found, format!("{}.{}", below(key), cut(inner)));
                });
            }
        }
    }
    let addresses = [
        ("tcpServer", "listen", read.tcp_server_listen()),
        ("udp", "bind", read.udp_bind()),
    ];
    for (namespace, operation, patterns) in addresses {
        let is_list = sockets[namespace][operation].is_array();
        for (number, pattern) in patterns.iter().enumerate() {
            if !pattern.is_of_names() {
                continue;
            }
            let mut path = below(&format!("{namespace}.{operation}"));
            if is_list {
                path += &format!("[{number}]");
            }
            let reason = format!(
                "{} covers nothing: `{operation}` takes addresses and no names",
                cut(&pattern.to_string())
            );
            found.push(ManifestWarning { path, reason });
        }
    }
    if found.len() > MAX_WARNINGS {
        let more = found.len() - MAX_WARNINGS + 1;
        found.truncate(MAX_WARNINGS - 1);
        found.push(ManifestWarning {
            path: below("*"),
            reason: format!("{more} more warnings"),
        });
    }
    found
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn unknown(found: &mut Vec<ManifestWarning>, path: String) {
    let reason = "unknown key, ignored".to_owned();
    found.push(ManifestWarning { path, reason });
}
