//! `host:port`, and what it covers.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use derive_more::Display;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::error::cut;
use super::host::{Host, NoHost};

/// The longest pattern, in bytes: room for the longest host name in any
/// script, and a port.
pub const MAX_PATTERN: usize = 1024;

/// A pattern of the manifest: `host:port`.
///
/// | pattern | covers |
/// |---|---|
/// | `example.com:80` | this host and port |
/// | `example.com`, `example.com:*` | the host, any port |
/// | `:80`, `*:80` | any host, this port |
/// | `*.example.com:80`, `.example.com:80` | `example.com` and all below it |
/// | `192.0.2.1:80`, `[2001:db8::1]:80` | the address |
/// | the empty one, `*`, `:`, `*:*` | any host, any port |
///
/// Both must match. Names are compared by UTS 46, so case makes no
/// difference and `Bücher.example` is `xn--bcher-kva.example`; nor does the
/// dot at the end of an absolute name. Addresses are compared as such, however
/// they are written; `::ffff:192.0.2.1` is not `192.0.2.1`. A name and its
/// addresses are different hosts: a pattern is compared with what the app
/// wrote, before anything is resolved.
///
/// What is no host in an unmistakable form (`127.1`, `0x7f000001`,
/// `127.0.0.1.`, a name with white space) is covered by a pattern for any host
/// alone, as is port 0, which lets the OS choose, by one for any port alone.
///
/// ```
/// use chrome_sockets::manifest::Pattern;
///
/// let pattern: Pattern = "*.example.com:443".parse()?;
/// assert!(pattern.matches("WWW.example.com.", 443));
/// assert!(!pattern.matches("example.com", 80));
/// assert!(!pattern.matches("badexample.com", 443));
/// # Ok::<_, chrome_sockets::manifest::PatternError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    host: Hosts,
    /// `None` is any.
    port: Option<u16>,
}

/// The hosts of a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Hosts {
    Any,
    Address(IpAddr),
    /// Without the dot of an absolute name, as [`Below`](Self::Below).
    Name(Box<str>),
    /// This domain too.
    Below(Box<str>),
}

/// Why a text is no [`Pattern`], and what to write instead.
#[derive(Clone, PartialEq, Eq, Debug, Display, derive_more::Error)]
#[display("{pattern:?} is no pattern: {wrong}")]
pub struct PatternError {
    /// No more of it than helps to find it.
    pattern: String,
    wrong: Wrong,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Display)]
enum Wrong {
    #[display("it is longer than {MAX_PATTERN} bytes")]
    TooLong,
    #[display("it is a URL; write `host:port`")]
    Url,
    #[display("it begins or ends with white space, or its host or port does; take that out")]
    WhiteSpace,
    #[display(
        "it has more than one colon; write `host:port`, and an IPv6 address in brackets, \
         as `[::1]:80`"
    )]
    Colons,
    #[display("brackets hold an IPv6 address without a zone; write `[::1]` or `[::1]:80`")]
    Brackets,
    #[display("its port is none; write 1 to 65535, or `*` for any")]
    Port,
    #[display("`*` stands for all of a host or for its first labels; write `*` or `*.example.com`")]
    Wildcard,
    #[display("`*` cannot stand for a part of an IP address; write the address, or `*` for any")]
    WildcardInAddress,
    #[display("its host has an empty label; write `example.com`, or `*` for any host")]
    EmptyLabel,
    #[display("its host is longer than the 253 bytes of a name, or the 63 of a label")]
    LongHost,
    #[display("its host ends in a number; write an IPv4 address in full, as `127.0.0.1`")]
    Number,
    #[display("its host is no host name; write one, an IP address, or `*` for any host")]
    NoName,
}

impl Pattern {
    /// Any host and any port.
    pub(super) const ANY: Pattern = Pattern {
        host: Hosts::Any,
        port: None,
    };

    /// Whether it covers this host, as an app writes it, and this port.
    pub fn matches(&self, host: &str, port: i32) -> bool {
        self.covers(Host::parse(host).ok().as_ref(), port)
    }

    /// Whether it covers host names alone, and no address.
    pub(super) fn is_for_names(&self) -> bool {
        matches!(self.host, Hosts::Name(_) | Hosts::Below(_))
    }

    /// Whether it covers this host; `None` is one that has no form in which
    /// it could be compared.
    pub(super) fn covers(&self, host: Option<&Host>, port: i32) -> bool {
        let port_matches = self.port.is_none_or(|own| i32::from(own) == port);
        port_matches && self.host.cover(host)
    }
}

impl Hosts {
    fn parse(text: &str) -> Result<Hosts, Wrong> {
        if matches!(text, "" | "*") {
            return Ok(Hosts::Any);
        }
        let below = text.strip_prefix('*').unwrap_or(text).strip_prefix('.');
        let host = below.unwrap_or(text);
        if host.contains('*') {
            return Err(Wrong::Wildcard);
        }
        match (Host::parse(host), below) {
            (Ok(Host::Name(name)), None) => Ok(Hosts::Name(name.relative().into())),
            (Ok(Host::Name(name)), Some(_)) => Ok(Hosts::Below(name.relative().into())),
            (Ok(Host::Address(address)), None) => Ok(Hosts::Address(address)),
            (Ok(Host::Address(_)) | Err(NoHost::Number), Some(_)) => Err(Wrong::WildcardInAddress),
            (Err(why), _) => Err(why.into()),
        }
    }

    fn cover(&self, host: Option<&Host>) -> bool {
        match (self, host) {
            (Hosts::Any, _) => true,
            (Hosts::Address(own), Some(Host::Address(host))) => own == host,
            (Hosts::Name(own), Some(Host::Name(host))) => **own == *host.relative(),
            (Hosts::Below(domain), Some(Host::Name(host))) => {
                let above = host.relative().strip_suffix(&**domain);
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            _ => false,
        }
    }
}

impl From<NoHost> for Wrong {
    fn from(why: NoHost) -> Self {
        match why {
            NoHost::EmptyLabel => Wrong::EmptyLabel,
            NoHost::TooLong => Wrong::LongHost,
            NoHost::Number => Wrong::Number,
            NoHost::NoName => Wrong::NoName,
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|wrong| PatternError {
            pattern: cut(text),
            wrong,
        })
    }
}

fn parse(text: &str) -> Result<Pattern, Wrong> {
    if text.len() > MAX_PATTERN {
        return Err(Wrong::TooLong);
    }
    if text.contains("://") {
        return Err(Wrong::Url);
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or(Wrong::Brackets)?;
        let address = address.parse().map_err(|_| Wrong::Brackets)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port,
            None if rest.is_empty() => "",
            None => return Err(Wrong::Brackets),
        };
        return Ok(Pattern {
            host: Hosts::Address(IpAddr::V6(address)),
            port: parse_port(port)?,
        });
    }
    if text.contains(['[', ']']) {
        return Err(Wrong::Brackets);
    }
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    if port.contains(':') {
        return Err(Wrong::Colons);
    }
    if host.trim() != host {
        return Err(Wrong::WhiteSpace);
    }
    Ok(Pattern {
        port: parse_port(port)?,
        host: Hosts::parse(host)?,
    })
}

fn parse_port(text: &str) -> Result<Option<u16>, Wrong> {
    if matches!(text, "" | "*") {
        return Ok(None);
    }
    if text.trim() != text {
        return Err(Wrong::WhiteSpace);
    }
    // Rust takes a sign.
    if !text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(Wrong::Port);
    }
    match text.parse() {
        Ok(port @ 1..) => Ok(Some(port)),
        _ => Err(Wrong::Port),
    }
}

/// Always with a host and a port: `*:*` is any.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Hosts::Any => f.write_str("*"),
            Hosts::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Hosts::Address(address) => write!(f, "{address}"),
            Hosts::Name(name) => f.write_str(name),
            Hosts::Below(domain) => write!(f, "*.{domain}"),
        }?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Pattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pattern, as \"host:port\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pattern, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
