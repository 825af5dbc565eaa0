//! [`Host`]: a host in the normalized form that is compared and resolved.

use std::net::IpAddr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

/// The longest name and the longest label, in bytes (RFC 1035).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A host in a form that does not depend on how an app wrote it.
///
/// The same form is compared with permissions and given to the resolver, so no notation of a host
/// reaches another host than the one that was checked.
#[derive(Clone, Debug)]
pub(crate) enum Host {
    /// An address as the standard library parses it: IPv4 only in its canonical form. An
    /// IPv4-mapped IPv6 address stays IPv6.
    Address(IpAddr),
    /// A name that no resolver interprets as an address.
    Name(Name),
}

/// A host name in ASCII and lower case.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    /// With the dot of an absolute name.
    text: Box<str>,
}

/// Why a text is not a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HostError {
    EmptyLabel,
    TooLong,
    /// Some resolvers interpret it as an address: `127.1`, `0x7f000001`, `2130706433`,
    /// `127.0.0.1.`
    Number,
    /// It has a character that is invalid in a name, or forbidden by IDNA.
    InvalidName,
}

impl Host {
    /// Parses and normalizes a host.
    pub(crate) fn parse(text: &str) -> Result<Host, HostError> {
        if let Ok(address) = text.parse() {
            return Ok(Host::Address(address));
        }
        // A longer text would be a name only with characters that IDNA drops. Refusing it early
        // bounds the work on a hostile text.
        if text.chars().nth(MAX_NAME + 1).is_some() {
            return Err(HostError::TooLong);
        }
        let uts46 = Uts46::new();
        // `check` finds invalid characters and lengths.
        let (deny, length) = (AsciiDenyList::EMPTY, DnsLength::Ignore);
        let ascii = uts46
            .to_ascii(text.as_bytes(), deny, Hyphens::Allow, length)
            .map_err(|_| HostError::InvalidName)?;
        let name = Name {
            text: ascii.into_owned().into_boxed_str(),
        };
        check(name.relative())?;
        match name.relative().rsplit('.').next() {
            Some(last) if is_number(last) => Err(HostError::Number),
            _ => Ok(Host::Name(name)),
        }
    }
}

impl Name {
    /// The name without the dot of an absolute name, for comparisons.
    pub(crate) fn relative(&self) -> &str {
        self.text.strip_suffix('.').unwrap_or(&self.text)
    }

    /// Whether it is `localhost`, or a name below it.
    pub(crate) fn is_localhost(&self) -> bool {
        let below = self.relative().strip_suffix("localhost");
        below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
    }

    /// The name for the resolver. It keeps the dot of an absolute name, which the resolver must not
    /// search in the domains of the machine.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

fn check(name: &str) -> Result<(), HostError> {
    if name.split('.').any(str::is_empty) {
        return Err(HostError::EmptyLabel);
    }
    // RFC 1123 has no `_`, but existing names do.
    let in_alphabet = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if !name.bytes().all(in_alphabet) {
        return Err(HostError::InvalidName);
    }
    if name.len() > MAX_NAME || name.split('.').any(|label| label.len() > MAX_LABEL) {
        return Err(HostError::TooLong);
    }
    Ok(())
}

/// Whether a label is a number for C's `strtoul`: `inet_aton`, which resolvers use, reads `7`,
/// `0x7f` and `0177` as parts of an IPv4 address.
fn is_number(label: &str) -> bool {
    if label.bytes().all(|c| c.is_ascii_digit()) {
        return true;
    }
    let mut prefixes = ["0x", "0b", "0o"].into_iter();
    prefixes
        .find_map(|prefix| label.strip_prefix(prefix))
        .is_some_and(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The normalized form of a host, as text.
    fn normalized(text: &str) -> Result<String, HostError> {
        Host::parse(text).map(|host| match host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.as_str().to_owned(),
        })
    }

    #[test]
    fn localhost_and_its_subdomains_are_loopback() {
        let is_localhost = |text: &str| match Host::parse(text) {
            Ok(Host::Name(name)) => name.is_localhost(),
            _ => false,
        };
        for name in [
            "localhost",
            "LocalHost.",
            "a.localhost",
            "a.b.LOCALHOST.",
            "ｌocalhost",
        ] {
            assert!(is_localhost(name), "{name}");
        }
        for name in [
            "localhost.example",
            "notlocalhost",
            "local",
            "localhost.localdomain",
            "127.0.0.1",
        ] {
            assert!(!is_localhost(name), "{name}");
        }
    }

    #[test]
    fn every_notation_of_a_host_has_the_same_form() {
        for (written, expected) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("0:0::0:1", "::1"),
            ("FE80::A", "fe80::a"),
            ("::FFFF:127.0.0.1", "::ffff:127.0.0.1"),
            ("::ffff:7f00:1", "::ffff:127.0.0.1"),
            ("Example.COM", "example.com"),
            ("example.com.", "example.com."),
            ("example.com。", "example.com."),
            ("ｅｘａｍｐｌｅ.com", "example.com"),
            ("exam\u{ad}ple.com", "example.com"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("BU\u{308}CHER.example", "xn--bcher-kva.example"),
            ("XN--Bcher-Kva.example", "xn--bcher-kva.example"),
            ("faß.de", "xn--fa-hia.de"),
            ("my_host", "my_host"),
            ("r3---sn-a.example", "r3---sn-a.example"),
            ("-", "-"),
            ("1.example", "1.example"),
            ("0x7g", "0x7g"),
        ] {
            assert_eq!(normalized(written).as_deref(), Ok(expected), "{written:?}");
        }
    }

    #[test]
    fn an_ambiguous_or_invalid_text_is_not_a_host() {
        use HostError::{EmptyLabel, InvalidName, Number};
        for (written, error) in [
            ("", EmptyLabel),
            (".", EmptyLabel),
            ("..", EmptyLabel),
            ("a..b", EmptyLabel),
            (".a", EmptyLabel),
            ("a..", EmptyLabel),
            ("a.。", EmptyLabel),
            ("\u{ad}", EmptyLabel),
            ("127.1", Number),
            ("127.0.0.1.", Number),
            ("１２７.0.0.1", Number),
            ("127。0．0｡1", Number),
            ("127.0.0.1.1", Number),
            ("127.0.0.01", Number),
            ("0177.0.0.1", Number),
            ("256.0.0.1", Number),
            ("0x7f.1", Number),
            ("0x7F000001", Number),
            ("0x", Number),
            ("0b1", Number),
            ("2130706433", Number),
            ("2130706433.", Number),
            ("２１３０７０６４３３", Number),
            ("a.1", Number),
            ("a b", InvalidName),
            (" a", InvalidName),
            ("a\n", InvalidName),
            ("a\0", InvalidName),
            ("127.0.0.1\0", InvalidName),
            ("127.0.0.1 ", InvalidName),
            ("127.0.0.1:80", InvalidName),
            ("127.0.0.1%lo", InvalidName),
            ("fe80::1%lo", InvalidName),
            ("[::1]", InvalidName),
            ("a/b", InvalidName),
            ("a@b", InvalidName),
            ("a%2eb", InvalidName),
            ("*.a", InvalidName),
            ("＊.a", InvalidName),
            ("+1", InvalidName),
            ("xn--a", InvalidName),
            ("xn--\u{fc}", InvalidName),
            ("\u{fffd}", InvalidName),
        ] {
            assert_eq!(normalized(written), Err(error), "{written:?}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_not_a_host() {
        let name = [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61),
        ]
        .join(".");
        assert_eq!(name.len(), 253);
        let absolute = format!("{name}.");
        assert_eq!(normalized(&name), Ok(name.clone()));
        assert_eq!(normalized(&absolute), Ok(absolute.clone()));
        for longer in [
            format!("{name}d"),
            format!("{name}。d"),
            format!("{absolute}."),
            "a".repeat(64),
            "ü".repeat(60),
            "\u{ad}".repeat(1 << 20),
            "1".repeat(1 << 20),
        ] {
            assert!(normalized(&longer).is_err(), "{} bytes", longer.len());
        }
    }
}
