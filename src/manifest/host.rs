//! A host in the one form in which hosts are compared, and resolved.

use std::net::IpAddr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

/// The longest name there is, and the longest label of one (RFC 1035).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A host, in a form that depends on the host alone and not on how an app
/// wrote it.
///
/// This form is compared, and the same is given to the resolver: no way of
/// writing a host reaches another one than the one that was compared.
#[derive(Clone, Debug)]
pub(crate) enum Host {
    /// An address as Rust reads it, which takes IPv4 in its canonical form
    /// alone; an IPv4 address inside IPv6 stays what it is.
    Address(IpAddr),
    /// A name that no resolver takes for an address.
    Name(Name),
}

/// A host's name in ASCII and lower case.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    /// The dot of an absolute name included.
    text: Box<str>,
}

/// Why a text is no host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoHost {
    EmptyLabel,
    TooLong,
    /// Some resolver takes it for an address: `127.1`, `0x7f000001`,
    /// `2130706433`, `127.0.0.1.`
    Number,
    /// A character that no name has, or one that IDNA forbids.
    NoName,
}

impl Host {
    /// The host that this text means.
    pub(crate) fn parse(text: &str) -> Result<Host, NoHost> {
        if let Ok(address) = text.parse() {
            return Ok(Host::Address(address));
        }
        // Nothing that is longer has a name's length in ASCII, but for
        // characters that IDNA drops, which nobody needs by the hundred.
        if text.chars().nth(MAX_NAME + 1).is_some() {
            return Err(NoHost::TooLong);
        }
        let uts46 = Uts46::new();
        // What is not in a name's alphabet is found below, and lengths too.
        let (deny, length) = (AsciiDenyList::EMPTY, DnsLength::Ignore);
        let ascii = uts46
            .to_ascii(text.as_bytes(), deny, Hyphens::Allow, length)
            .map_err(|_| NoHost::NoName)?;
        let name = Name {
            text: ascii.into_owned().into_boxed_str(),
        };
        check(name.relative())?;
        match name.relative().rsplit('.').next() {
            Some(last) if is_number(last) => Err(NoHost::Number),
            _ => Ok(Host::Name(name)),
        }
    }
}

impl Name {
    /// The name without the dot of an absolute one, which makes no difference
    /// to a comparison.
    pub(crate) fn relative(&self) -> &str {
        self.text.strip_suffix('.').unwrap_or(&self.text)
    }

    /// Whether it is `localhost`, or a name below it.
    pub(crate) fn is_localhost(&self) -> bool {
        let below = self.relative().strip_suffix("localhost");
        below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
    }

    /// The name for the resolver. An absolute one stays that, because it must
    /// not be looked for below the machine's own domains.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

fn check(name: &str) -> Result<(), NoHost> {
    if name.split('.').any(str::is_empty) {
        return Err(NoHost::EmptyLabel);
    }
    // `_` is in names that exist, though not in those of RFC 1123.
    let in_alphabet = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if !name.bytes().all(in_alphabet) {
        return Err(NoHost::NoName);
    }
    if name.len() > MAX_NAME || name.split('.').any(|label| label.len() > MAX_LABEL) {
        return Err(NoHost::TooLong);
    }
    Ok(())
}

/// Whether C's `strtoul` takes all of it: `inet_aton`, and with it every
/// resolver, reads `7`, `0x7f` and `0177` as parts of an IPv4 address.
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

    /// The form of a host, as text.
    fn form(text: &str) -> Result<String, NoHost> {
        Host::parse(text).map(|host| match host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.as_str().to_owned(),
        })
    }

    #[test]
    fn localhost_and_what_is_below_it_is_loopback() {
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
    fn every_way_of_writing_a_host_has_one_form() {
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
            assert_eq!(form(written).as_deref(), Ok(expected), "{written:?}");
        }
    }

    #[test]
    fn what_has_no_one_form_is_no_host() {
        use NoHost::{EmptyLabel, NoName, Number};
        for (written, why) in [
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
            ("a b", NoName),
            (" a", NoName),
            ("a\n", NoName),
            ("a\0", NoName),
            ("127.0.0.1\0", NoName),
            ("127.0.0.1 ", NoName),
            ("127.0.0.1:80", NoName),
            ("127.0.0.1%lo", NoName),
            ("fe80::1%lo", NoName),
            ("[::1]", NoName),
            ("a/b", NoName),
            ("a@b", NoName),
            ("a%2eb", NoName),
            ("*.a", NoName),
            ("＊.a", NoName),
            ("+1", NoName),
            ("xn--a", NoName),
            ("xn--\u{fc}", NoName),
            ("\u{fffd}", NoName),
        ] {
            assert_eq!(form(written), Err(why), "{written:?}");
        }
    }

    #[test]
    fn what_is_longer_than_a_name_is_no_host() {
        let name = [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61),
        ]
        .join(".");
        assert_eq!(name.len(), 253);
        let absolute = format!("{name}.");
        assert_eq!(form(&name), Ok(name.clone()));
        assert_eq!(form(&absolute), Ok(absolute.clone()));
        for longer in [
            format!("{name}d"),
            format!("{name}。d"),
            format!("{absolute}."),
            "a".repeat(64),
            "ü".repeat(60),
            "\u{ad}".repeat(1 << 20),
            "1".repeat(1 << 20),
        ] {
            assert!(form(&longer).is_err(), "{} bytes", longer.len());
        }
    }
}
