//! Which requests are answered: checks `Host` (DNS rebinding) and `Origin` (foreign pages). Only
//! browsers send these truthfully; other clients need the token.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use derive_more::{Display, Error};

use chrome_sockets::AppId;

/// The pages that may connect, besides those that the host serves itself, and as which apps.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    listed: Vec<Listed>,
    is_any: bool,
}

#[derive(Clone, Debug)]
struct Listed {
    origin: String,
    /// The apps that its pages may be; any, otherwise.
    apps: Option<Vec<AppId>>,
}

/// Not an origin: it is written `https://example.com`, `http://localhost:8000`
/// or `chrome-extension://ID`, without a path; with `=APP,APP` behind it if its pages may be these
/// apps alone.
#[derive(Clone, PartialEq, Eq, Debug, Display, Error)]
#[display(
    "{_0:?} is no origin: `scheme://host` or `scheme://host:port`, and `=APP,APP` behind it or nothing"
)]
pub struct OriginError(#[error(not(source))] String);

impl Origins {
    /// Adds one: `https://a.example`, whose pages may be any app, or
    /// `https://a.example=app-a,app-b`, whose pages may be these apps. Of one that is added twice
    /// the apps add up.
    ///
    /// # Errors
    /// It is none; `null`, which any page can be, is not taken either.
    pub fn allow(&mut self, origin: &str) -> Result<(), OriginError> {
        let wrong = || OriginError(origin.to_owned());
        let (page, apps) = match origin.split_once('=') {
            Some((page, apps)) => (page, Some(apps)),
            None => (origin, None),
        };
        let (scheme, host) = page.split_once("://").ok_or_else(wrong)?;
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let is_host = |c: char| c.is_ascii_graphic() && !"/?#@*\\".contains(c);
        if scheme.is_empty()
            || host.is_empty()
            || !scheme.chars().all(is_scheme)
            || !host.chars().all(is_host)
        {
            return Err(wrong());
        }
        let apps = match apps {
            Some(apps) if apps.split(',').any(str::is_empty) => return Err(wrong()),
            Some(apps) => Some(apps.split(',').map(AppId::from).collect()),
            None => None,
        };
        self.listed.push(Listed {
            origin: page.to_ascii_lowercase(),
            apps,
        });
        Ok(())
    }

    /// Lets pages of any origin in: each must show the policy's token.
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

/// What a request says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request<'a> {
    pub(crate) host: Option<&'a str>,
    pub(crate) origin: Option<&'a str>,
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    Host,
    Origin,
    NotOwn,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Host => "Come by an IP address or as localhost: this name is not mine.",
            Refused::Origin => "this page may not connect: start the host with --origin for it",
            Refused::NotOwn => "The host is looked after by the page that it serves, and no other.",
        })
    }
}

/// The address that a request came by, if it says one.
fn literal(host: &str) -> Option<IpAddr> {
    let name = without_port(host);
    let inside = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match inside {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => name.parse::<Ipv4Addr>().ok().map(IpAddr::from),
    }
}

/// Whether a request came by the name `localhost`.
pub(crate) fn is_localhost(host: &str) -> bool {
    without_port(host).eq_ignore_ascii_case("localhost")
}

impl Origins {
    /// Whether a request by this name may be answered. A page whose own name
    /// was made to point here comes by that name, and is refused.
    pub(crate) fn is_host(request: Request<'_>) -> Result<(), Refused> {
        let host = request.host.ok_or(Refused::Host)?;
        match is_localhost(host) || literal(host).is_some() {
            true => Ok(()),
            false => Err(Refused::Host),
        }
    }

    /// As which apps the page that connects may come in; `None`: as any. What is no browser has no
    /// origin.
    pub(crate) fn apps(&self, request: Request<'_>) -> Result<Option<Arc<[AppId]>>, Refused> {
        let Some(origin) = request.origin else {
            return Ok(None);
        };
        if self.is_any || Self::is_own(request).is_ok() {
            return Ok(None);
        }
        let origin = origin.to_ascii_lowercase();
        let mut apps: Option<Vec<AppId>> = None;
        for listed in self.listed.iter().filter(|it| it.origin == origin) {
            match &listed.apps {
                None => return Ok(None),
                Some(more) => apps.get_or_insert_default().extend(more.iter().cloned()),
            }
        }
        apps.map(|apps| Some(apps.into())).ok_or(Refused::Origin)
    }

    /// Whether it is the page that the host serves by this very address, which alone
    /// may look after the host. By the name `localhost` it is none: that is two addresses, and
    /// somebody else may listen on the other one.
    pub(crate) fn is_own(request: Request<'_>) -> Result<(), Refused> {
        let origin = request.origin.map(str::to_ascii_lowercase);
        let is_own = origin
            .as_deref()
            .and_then(|origin| origin.strip_prefix("http://"))
            .zip(request.host)
            .is_some_and(|(origin, host)| {
                literal(host).is_some() && origin.eq_ignore_ascii_case(host)
            });
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

/// Whether a page is this extension's: of Firefox's its id is not in the origin.
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
            Some("http://127.0.0.1:8787"),
            Some("https://good.example"),
            Some("chrome-extension://abcdefgh"),
        ] {
            let apps = origins.apps(request("127.0.0.1:8787", origin));
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
            let apps = origins.apps(request("localhost:8787", Some(origin)));
            assert_eq!(apps, Err(Refused::Origin), "{origin:?}");
        }
        origins.allow_any();
        let any = request("localhost:8787", Some("https://bad.example"));
        assert_eq!(origins.apps(any), Ok(None));
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
        let of = |origin| origins.apps(request("127.0.0.1", Some(origin)));
        let three: Arc<[AppId]> = ["app-a", "app-b", "app-c"].map(AppId::from).into();
        assert_eq!(of("https://a.example"), Ok(Some(three)));
        assert_eq!(
            of("https://b.example"),
            Ok(None),
            "once without apps is any"
        );
        for wrong in ["https://a=", "https://a=,b", "https://a=b,", "=a"] {
            assert!(Origins::default().allow(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_page_is_an_extensions_by_its_origin() {
        let id = "knldjmfmopnpolahpmmgbagdohdnhkik";
        let of = |origin: &str| is_extension(Some(origin), id);
        assert!(of(&format!("chrome-extension://{id}")));
        assert!(!of("chrome-extension://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
        assert!(!of("https://a.example") && !of("null") && !is_extension(None, id));
        let firefox = "sockets@example.org";
        assert!(is_extension(Some("moz-extension://7d5a"), firefox));
        assert!(!is_extension(Some("https://a.example"), firefox));
    }

    #[test]
    fn only_its_own_page_looks_after_the_host() {
        for (name, own) in [
            ("127.0.0.1:8787", "http://127.0.0.1:8787"),
            ("[::1]:8787", "HTTP://[::1]:8787"),
        ] {
            let request = request(name, Some(own));
            assert_eq!(Origins::is_own(request), Ok(()), "{own}");
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
