//! [`Pattern`]: `host:port`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use derive_more::Display;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::error::truncate;
use super::host::{Host, HostError};

/// The longest pattern, in bytes: enough for the longest host name in any script,
/// and a port.
pub const MAX_PATTERN: usize = 1024;

/// A pattern of the manifest: `host:port`.
///
/// | pattern | matches |
/// |---|---|
/// | `example.com:80` | this host and port |
/// | `example.com`, `example.com:*` | the host, any port |
/// | `:80`, `*:80` | any host, this port |
/// | `*.example.com:80`, `.example.com:80` | `example.com` and all its subdomains |
/// | `192.0.2.1:80`, `[2001:db8::1]:80` | the address |
/// | the empty pattern, `*`, `:`, `*:*` | any host, any port |
///
/// Both host and port must match. Names are compared by UTS 46: case and the dot
/// at the end of an absolute name make no difference, and `Bücher.example` equals
/// `xn--bcher-kva.example`. Addresses are compared by value, not by notation;
/// `::ffff:192.0.2.1` is not `192.0.2.1`. A name never matches an address: a
/// pattern is compared with the host that the app wrote, before the name is
/// resolved.
///
/// A host in an ambiguous form (`127.1`, `0x7f000001`, `127.0.0.1.`, a name with
/// white space) matches only a pattern for any host. Port 0, which lets the OS
/// choose, matches only a pattern for any port.
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
    host: HostPattern,
    /// `None` matches any port.
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum HostPattern {
    Any,
    Address(IpAddr),
    /// Without the dot of an absolute name.
    Name(Box<str>),
    /// A domain and all its subdomains, without the dot of an absolute name.
    Subdomains(Box<str>),
}

/// Why a text is not a [`Pattern`], and what to write instead.
#[derive(Clone, PartialEq, Eq, Debug, Display, derive_more::Error)]
#[display("{pattern:?} is not a pattern: {reason}")]
pub struct PatternError {
    /// The beginning of the text.
    pattern: String,
    reason: Reason,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Display)]
enum Reason {
    #[display("it is longer than {MAX_PATTERN} bytes")]
    TooLong,
    #[display("it is a URL; write `host:port`")]
    Url,
    #[display("it, its host or its port begins or ends with white space; remove that")]
    WhiteSpace,
    #[display(
        "it has more than one colon; write `host:port`, and an IPv6 address in brackets, \
         as `[::1]:80`"
    )]
    Colons,
    #[display("brackets hold an IPv6 address without a zone; write `[::1]` or `[::1]:80`")]
    Brackets,
    #[display("its port is invalid; write 1 to 65535, or `*` for any")]
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
    #[display("its host is not a host name; write one, an IP address, or `*` for any host")]
    InvalidName,
}

impl Pattern {
    /// Any host and any port.
    pub(super) const ANY: Pattern = Pattern {
        host: HostPattern::Any,
        port: None,
    };

    /// Whether it matches this host, as an app writes it, and this port.
    pub fn matches(&self, host: &str, port: i32) -> bool {
        self.matches_host(Host::parse(host).ok().as_ref(), port)
    }

    /// Whether it matches only host names, and no address.
    pub(super) fn is_for_names(&self) -> bool {
        matches!(self.host, HostPattern::Name(_) | HostPattern::Subdomains(_))
    }

    /// As [`matches`](Self::matches), for a parsed host; `None` is a host that cannot be parsed.
    pub(super) fn matches_host(&self, host: Option<&Host>, port: i32) -> bool {
        let port_matches = self.port.is_none_or(|own| i32::from(own) == port);
        port_matches && self.host.matches(host)
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<HostPattern, Reason> {
        if matches!(text, "" | "*") {
            return Ok(HostPattern::Any);
        }
        let domain = text.strip_prefix('*').unwrap_or(text).strip_prefix('.');
        let host = domain.unwrap_or(text);
        if host.contains('*') {
            return Err(Reason::Wildcard);
        }
        match (Host::parse(host), domain) {
            (Ok(Host::Name(name)), None) => Ok(HostPattern::Name(name.relative().into())),
            (Ok(Host::Name(name)), Some(_)) => Ok(HostPattern::Subdomains(name.relative().into())),
            (Ok(Host::Address(address)), None) => Ok(HostPattern::Address(address)),
            (Ok(Host::Address(_)) | Err(HostError::Number), Some(_)) => {
                Err(Reason::WildcardInAddress)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    fn matches(&self, host: Option<&Host>) -> bool {
        match (self, host) {
            (HostPattern::Any, _) => true,
            (HostPattern::Address(own), Some(Host::Address(host))) => own == host,
            (HostPattern::Name(own), Some(Host::Name(host))) => **own == *host.relative(),
            (HostPattern::Subdomains(domain), Some(Host::Name(host))) => {
                let prefix = host.relative().strip_suffix(&**domain);
                prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
            }
            _ => false,
        }
    }
}

impl From<HostError> for Reason {
    fn from(error: HostError) -> Self {
        match error {
            HostError::EmptyLabel => Reason::EmptyLabel,
            HostError::TooLong => Reason::LongHost,
            HostError::Number => Reason::Number,
            HostError::InvalidName => Reason::InvalidName,
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|reason| PatternError {
            pattern: truncate(text),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<Pattern, Reason> {
    if text.len() > MAX_PATTERN {
        return Err(Reason::TooLong);
    }
    if text.contains("://") {
        return Err(Reason::Url);
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or(Reason::Brackets)?;
        let address = address.parse().map_err(|_| Reason::Brackets)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port,
            None if rest.is_empty() => "",
            None => return Err(Reason::Brackets),
        };
        return Ok(Pattern {
            host: HostPattern::Address(IpAddr::V6(address)),
            port: parse_port(port)?,
        });
    }
    if text.contains(['[', ']']) {
        return Err(Reason::Brackets);
    }
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    if port.contains(':') {
        return Err(Reason::Colons);
    }
    if host.trim() != host {
        return Err(Reason::WhiteSpace);
    }
    Ok(Pattern {
        port: parse_port(port)?,
        host: HostPattern::parse(host)?,
    })
}

fn parse_port(text: &str) -> Result<Option<u16>, Reason> {
    if matches!(text, "" | "*") {
        return Ok(None);
    }
    if text.trim() != text {
        return Err(Reason::WhiteSpace);
    }
    // `u16::parse` accepts a sign.
    if !text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(Reason::Port);
    }
    match text.parse() {
        Ok(port @ 1..) => Ok(Some(port)),
        _ => Err(Reason::Port),
    }
}

/// Always with a host and a port: `*:*` is any host and port.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            HostPattern::Address(address) => write!(f, "{address}"),
            HostPattern::Name(name) => f.write_str(name),
            HostPattern::Subdomains(domain) => write!(f, "*.{domain}"),
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
