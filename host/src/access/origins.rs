//! Checks `Host` (DNS rebinding) and `Origin` (foreign pages). Only browsers send these
//! truthfully; other clients need the token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use chrome_sockets::AppId;
use derive_more::{Display, Error};

/// The pages that may connect besides the host's own, and as which apps.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    listed: Vec<Listed>,
    is_any: bool,
}

#[derive(Clone, Debug)]
struct Listed {
    origin: String,
    /// The apps that its pages may be; `None`: any.
    apps: Option<Vec<AppId>>,
}

/// Not an origin. An origin is written `https://example.com`, `http://localhost:8000`
/// or `chrome-extension://ID`, without a path. A suffix `=APP,APP` restricts its pages to these
/// apps.
#[derive(Clone, PartialEq, Eq, Debug, Display, Error)]
#[display(
    "{_0:?} is not an origin: write `scheme://host` or `scheme://host:port`, optionally followed by `=APP,APP`"
)]
pub struct OriginError(#[error(not(source))] String);

impl Origins {
    /// Adds an origin: `https://a.example`, whose pages may be any app, or
    /// `https://a.example=app-a,app-b`, whose pages may be these apps. Adding an origin twice
    /// allows the apps of both.
    ///
    /// # Errors
    /// The text is not an origin. `null` is not accepted, because any page can have it.
    pub fn allow(&mut self, origin: &str) -> Result<(), OriginError> {
        let error = || OriginError(origin.to_owned());
        let (page, apps) = match origin.split_once('=') {
            Some((page, apps)) => (page, Some(apps)),
            None => (origin, None),
        };
        let (scheme, host) = page.split_once("://").ok_or_else(error)?;
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let is_host = |c: char| c.is_ascii_graphic() && !"/?#@*\\".contains(c);
        if scheme.is_empty()
            || host.is_empty()
            || !scheme.chars().all(is_scheme)
            || !host.chars().all(is_host)
        {
            return Err(error());
        }
        let apps = match apps {
            Some(apps) if apps.split(',').any(str::is_empty) => return Err(error()),
            Some(apps) => Some(apps.split(',').map(AppId::from).collect()),
            None => None,
        };
        self.listed.push(Listed {
            origin: page.to_ascii_lowercase(),
            apps,
        });
        Ok(())
    }

    /// Allows every origin. Each page must then show the policy's token.
    pub fn allow_any(&mut self) {
        self.is_any = true;
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
        for others in others {
            self.listed.extend(others.listed);
            self.is_any |= others.is_any;
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Display)]
pub(crate) enum Refusal {
    #[display("Use an IP address or localhost: the host does not answer to this name.")]
    Host,
    #[display("this origin may not connect: start the host with --origin for it")]
    Origin,
    #[display("Only the page that the host serves may open an admin connection.")]
    NotOwnPage,
}

/// The IP address in a `Host`, if it is one.
fn ip_literal(host: &str) -> Option<IpAddr> {
    let name = without_port(host);
    let in_brackets = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match in_brackets {
        Some(address) => address.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => name.parse::<Ipv4Addr>().ok().map(IpAddr::from),
    }
}

pub(crate) fn is_localhost(host: &str) -> bool {
    without_port(host).eq_ignore_ascii_case("localhost")
}

impl Origins {
    /// Checks the `Host` of a request. A page can point its own name to this machine (DNS
    /// rebinding), but the browser then sends that name.
    pub(crate) fn check_host(host: &str) -> Result<(), Refusal> {
        let is_valid = is_localhost(host) || ip_literal(host).is_some();
        is_valid.then_some(()).ok_or(Refusal::Host)
    }

    /// The apps that a page may be; `None`: any. A program that is not a browser sends no origin,
    /// and may be any.
    pub(crate) fn allowed_apps(
        &self,
        host: &str,
        origin: Option<&str>,
    ) -> Result<Option<Arc<[AppId]>>, Refusal> {
        let Some(page) = origin else {
            return Ok(None);
        };
        if self.is_any || Self::check_own_page(host, origin).is_ok() {
            return Ok(None);
        }
        let page = page.to_ascii_lowercase();
        let mut apps: Option<Vec<AppId>> = None;
        for listed in self.listed.iter().filter(|it| it.origin == page) {
            match &listed.apps {
                None => return Ok(None),
                Some(more) => apps.get_or_insert_default().extend(more.iter().cloned()),
            }
        }
        apps.map(|apps| Some(apps.into())).ok_or(Refusal::Origin)
    }

    /// Checks that a request comes from the page that the host serves by this very IP address.
    /// The name `localhost` does not count: it resolves to two addresses, and another program may
    /// listen on the other one.
    pub(crate) fn check_own_page(host: &str, origin: Option<&str>) -> Result<(), Refusal> {
        let origin = origin.map(str::to_ascii_lowercase);
        let authority = origin.as_deref().and_then(|it| it.strip_prefix("http://"));
        let is_own =
            authority.is_some_and(|it| it.eq_ignore_ascii_case(host)) && ip_literal(host).is_some();
        is_own.then_some(()).ok_or(Refusal::NotOwnPage)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether the origin belongs to this extension. Firefox's origins do not contain the id, so any
/// extension's origin counts there.
pub(crate) fn is_extension(origin: Option<&str>, extension: &str) -> bool {
    let Some(origin) = origin else {
        return false;
    };
    let is_chromes = extension.len() == 32 && extension.bytes().all(|c| (b'a'..=b'p').contains(&c));
    match is_chromes {
        true => origin.strip_prefix("chrome-extension://") == Some(extension),
        false => origin.starts_with("moz-extension://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_ip_addresses_are_valid_hosts() {
        for host in [
            "localhost",
            "LOCALHOST:8787",
            "127.0.0.1:8787",
            "[::1]:1",
            "[::1]",
            "10.0.0.7",
        ] {
            assert_eq!(Origins::check_host(host), Ok(()), "{host}");
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
            assert_eq!(Origins::check_host(host), Err(Refusal::Host), "{host}");
        }
    }

    #[test]
    fn own_and_listed_pages_may_connect() {
        let mut origins = Origins::default();
        origins.allow("https://Good.example").expect("an origin");
        origins
            .allow("chrome-extension://abcdefgh")
            .expect("an origin");
        for origin in [
            None,
            Some("http://127.0.0.1:8787"),
            Some("https://good.example"),
            Some("chrome-extension://abcdefgh"),
        ] {
            let apps = origins.allowed_apps("127.0.0.1:8787", origin);
            assert_eq!(apps, Ok(None), "{origin:?}");
        }
        for origin in [
            "null",
            "",
            "http://localhost",
            "http://localhost:8787",
            "https://localhost:8787",
            "http://good.example",
            "https://good.example.evil.example",
            "https://good.example:444",
            "http://127.0.0.1:8787",
        ] {
            let apps = origins.allowed_apps("localhost:8787", Some(origin));
            assert_eq!(apps, Err(Refusal::Origin), "{origin:?}");
        }
        origins.allow_any();
        let any = origins.allowed_apps("localhost:8787", Some("https://bad.example"));
        assert_eq!(any, Ok(None));
    }

    #[test]
    fn an_origin_is_bound_to_its_apps() {
        let mut origins = Origins::default();
        for origin in [
            "https://a.example=app-a,app-b",
            "https://a.example=app-c",
            "https://b.example=app-b",
            "https://b.example",
        ] {
            origins.allow(origin).expect("an origin");
        }
        let apps = |origin| origins.allowed_apps("127.0.0.1", Some(origin));
        let three: Arc<[AppId]> = ["app-a", "app-b", "app-c"].map(AppId::from).into();
        assert_eq!(apps("https://a.example"), Ok(Some(three)));
        assert_eq!(
            apps("https://b.example"),
            Ok(None),
            "one entry without apps allows any"
        );
        for wrong in ["https://a=", "https://a=,b", "https://a=b,", "=a"] {
            assert!(Origins::default().allow(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_extensions_pages_are_known_by_their_origin() {
        let id = "knldjmfmopnpolahpmmgbagdohdnhkik";
        let is_its = |origin: &str| is_extension(Some(origin), id);
        assert!(is_its(&format!("chrome-extension://{id}")));
        assert!(!is_its(
            "chrome-extension://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        ));
        assert!(!is_its("https://a.example") && !is_its("null") && !is_extension(None, id));
        let firefox = "sockets@example.org";
        assert!(is_extension(Some("moz-extension://7d5a"), firefox));
        assert!(!is_extension(Some("https://a.example"), firefox));
    }

    #[test]
    fn only_the_page_served_by_ip_address_is_the_hosts_own() {
        for (name, own) in [
            ("127.0.0.1:8787", "http://127.0.0.1:8787"),
            ("[::1]:8787", "HTTP://[::1]:8787"),
        ] {
            assert_eq!(Origins::check_own_page(name, Some(own)), Ok(()), "{own}");
        }
        for other in [
            Some("http://localhost:8787"),
            None,
            Some("null"),
            Some("https://localhost:8787"),
            Some("http://localhost"),
            Some("http://127.0.0.1:8787"),
            Some("https://good.example"),
            Some("chrome-extension://abcdefgh"),
        ] {
            let checked = Origins::check_own_page("localhost:8787", other);
            assert_eq!(checked, Err(Refusal::NotOwnPage), "{other:?}");
        }
        let nameless = Origins::check_own_page("", Some("http://"));
        assert_eq!(nameless, Err(Refusal::NotOwnPage));
    }

    #[test]
    fn invalid_origins_are_rejected() {
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
