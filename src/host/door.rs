//! Which requests are answered at all. A browser says in `Host` by what name it
//! came here, and in `Origin` for which page; nobody else has to be honest.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use derive_more::{Display, Error};

/// The pages that may connect, besides those that the host serves itself.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

/// Not an origin: it is written `https://example.com`, `http://localhost:8000`
/// or `chrome-extension://ID`, without a path.
#[derive(Clone, PartialEq, Eq, Debug, Display, Error)]
#[display("{_0:?} is no origin: `scheme://host`, or `scheme://host:port`, and nothing behind it")]
pub struct OriginError(#[error(not(source))] String);

impl Origins {
    /// Adds one.
    ///
    /// # Errors
    /// It is none; `null`, which any page can be, is not taken either.
    pub fn allow(&mut self, origin: &str) -> Result<(), OriginError> {
        let wrong = || OriginError(origin.to_owned());
        let (scheme, host) = origin.split_once("://").ok_or_else(wrong)?;
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let is_host = |c: char| c.is_ascii_graphic() && !"/?#@*\\".contains(c);
        if scheme.is_empty()
            || host.is_empty()
            || !scheme.chars().all(is_scheme)
            || !host.chars().all(is_host)
        {
            return Err(wrong());
        }
        self.0.push(origin.to_ascii_lowercase());
        Ok(())
    }
}

impl FromStr for Origins {
    type Err = OriginError;

    fn from_str(origin: &str) -> Result<Self, OriginError> {
        let mut origins = Origins::default();
        origins.allow(origin)?;
        Ok(origins)
    }
}

impl Extend<Origins> for Origins {
    fn extend<I: IntoIterator<Item = Origins>>(&mut self, others: I) {
        self.0
            .extend(others.into_iter().flat_map(|others| others.0));
    }
}

/// What a request says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request<'a> {
    pub(super) host: Option<&'a str>,
    pub(super) origin: Option<&'a str>,
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    Host,
    Origin,
    NotOwn,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Host => "Come by an IP address or as localhost: this name is not mine.",
            Refused::Origin => "This page may not connect: start the host with --origin for it.",
            Refused::NotOwn => "The host is looked after by the page that it serves, and no other.",
        })
    }
}

impl Origins {
    /// Whether a request by this name may be answered. A page whose own name
    /// was made to point here comes by that name, and is refused.
    pub(super) fn is_host(request: Request<'_>) -> Result<(), Refused> {
        let name = request.host.map(without_port).ok_or(Refused::Host)?;
        let is_v6 = |name: &str| {
            let inside = name
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            inside.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        };
        match name.eq_ignore_ascii_case("localhost")
            || name.parse::<Ipv4Addr>().is_ok()
            || is_v6(name)
        {
            true => Ok(()),
            false => Err(Refused::Host),
        }
    }

    /// Whether the page that connects may. What is no browser has none.
    pub(super) fn is_origin(&self, request: Request<'_>) -> Result<(), Refused> {
        let Some(origin) = request.origin else {
            return Ok(());
        };
        let is_own = Self::is_own(request).is_ok();
        match is_own || self.0.contains(&origin.to_ascii_lowercase()) {
            true => Ok(()),
            false => Err(Refused::Origin),
        }
    }

    /// Whether it is the page that the host serves by this very name, which alone
    /// may look after the host.
    pub(super) fn is_own(request: Request<'_>) -> Result<(), Refused> {
        let origin = request.origin.map(str::to_ascii_lowercase);
        let is_own = origin
            .as_deref()
            .and_then(|origin| origin.strip_prefix("http://"))
            .zip(request.host)
            .is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host));
        match is_own {
            true => Ok(()),
            false => Err(Refused::NotOwn),
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(host: &'a str, origin: Option<&'a str>) -> Request<'a> {
        Request {
            host: Some(host),
            origin,
        }
    }

    #[test]
    fn a_name_that_points_here_is_not_this_hosts() {
        for host in [
            "localhost",
            "LOCALHOST:8787",
            "127.0.0.1:8787",
            "[::1]:1",
            "[::1]",
            "10.0.0.7",
        ] {
            assert_eq!(Origins::is_host(request(host, None)), Ok(()), "{host}");
        }
        for host in [
            "evil.example:8787",
            "localhost.evil.example",
            "",
            "[::1",
            "127.0.0.1.evil.example",
            "::1",
            "0x7f.1",
            "2130706433",
        ] {
            assert_eq!(
                Origins::is_host(request(host, None)),
                Err(Refused::Host),
                "{host}"
            );
        }
        assert_eq!(Origins::is_host(Request::default()), Err(Refused::Host));
    }

    #[test]
    fn a_page_is_the_hosts_own_or_on_the_list() {
        let mut origins = Origins::default();
        origins.allow("https://Good.example").expect("an origin");
        origins
            .allow("chrome-extension://abcdefgh")
            .expect("an origin");
        for origin in [
            None,
            Some("http://localhost:8787"),
            Some("https://good.example"),
            Some("chrome-extension://abcdefgh"),
        ] {
            let is_origin = origins.is_origin(request("localhost:8787", origin));
            assert_eq!(is_origin, Ok(()), "{origin:?}");
        }
        for origin in [
            "null",
            "",
            "http://localhost",
            "https://localhost:8787",
            "http://good.example",
            "https://good.example.evil.example",
            "https://good.example:444",
            "http://127.0.0.1:8787",
        ] {
            let is_origin = origins.is_origin(request("localhost:8787", Some(origin)));
            assert_eq!(is_origin, Err(Refused::Origin), "{origin:?}");
        }
    }

    #[test]
    fn only_its_own_page_looks_after_the_host() {
        for own in ["http://localhost:8787", "HTTP://LocalHost:8787"] {
            let request = request("localhost:8787", Some(own));
            assert_eq!(Origins::is_own(request), Ok(()), "{own}");
        }
        for other in [
            None,
            Some("null"),
            Some("https://localhost:8787"),
            Some("http://localhost"),
            Some("http://127.0.0.1:8787"),
            Some("https://good.example"),
            Some("chrome-extension://abcdefgh"),
        ] {
            let is_own = Origins::is_own(request("localhost:8787", other));
            assert_eq!(is_own, Err(Refused::NotOwn), "{other:?}");
        }
        let nameless = Request {
            host: None,
            origin: Some("http://"),
        };
        assert_eq!(Origins::is_own(nameless), Err(Refused::NotOwn));
    }

    #[test]
    fn what_is_no_origin_is_not_put_on_the_list() {
        for origin in [
            "null",
            "*",
            "https://",
            "https://*",
            "https://a/",
            "https://a/b",
            "a.example",
            "https://a b",
            "://a",
            "https://a@b",
        ] {
            assert!(Origins::default().allow(origin).is_err(), "{origin}");
        }
    }
}
