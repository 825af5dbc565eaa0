//! What a request asks for: a file, or a WebSocket (RFC 9110, 9112 and 6455). Nothing of it is
//! trusted.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::access::origins;
use crate::access::origins::{Origins, Refused};
use crate::transport::static_files;
use chrome_sockets::AppId;

/// Where a WebSocket looks after the host; at `/` it is an app.
const CARETAKER: &str = "/admin";

/// The subprotocol of the host, which it selects if it is offered.
const PROTOCOL: &str = "chrome-sockets";

/// A subprotocol that begins so shows the token: behind it, in base64url without padding.
const TOKEN: &str = "chrome-sockets.token.";

/// The methods that there are.
const METHODS: &str = "GET, HEAD";

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    Page { path: String, host: Host },
    WebSocket(WebSocket),
}

/// The name by which a request came.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) is_localhost: bool,
}

/// A handshake that is right.
#[derive(Debug)]
pub(crate) struct WebSocket {
    host: String,
    pub(crate) origin: Option<String>,
    pub(crate) is_caretaker: bool,
    /// What it shows.
    pub(crate) token: Option<String>,
    accept: String,
    offers_protocol: bool,
}

/// A request that is answered with why not.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    header: Option<(HeaderName, &'static str)>,
}

impl Wrong {
    fn new(status: StatusCode, text: impl ToString) -> Self {
        Wrong {
            status,
            text: text.to_string(),
            header: None,
        }
    }

    /// Whether the owner of the host may want to know.
    pub(crate) fn is_worth_a_line(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = static_files::text(self.status, self.text);
        if let Some((name, value)) = self.header {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }
}

fn bad(text: &str) -> Wrong {
    Wrong::new(StatusCode::BAD_REQUEST, text)
}

/// Reads a request's head.
pub(crate) fn read<B>(request: &Request<B>) -> Result<Asked, Wrong> {
    let headers = request.headers();
    let host = host(request)?;
    let said = origins::Request {
        host: Some(&host),
        origin: None,
    };
    if let Err(refused) = Origins::is_host(said) {
        return Err(Wrong::new(StatusCode::FORBIDDEN, refused));
    }
    let is_get = request.method() == Method::GET;
    if !is_get && request.method() != Method::HEAD {
        return Err(Wrong {
            header: Some((header::ALLOW, METHODS)),
            ..Wrong::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "There is only GET and HEAD here.",
            )
        });
    }
    // A server ignores `Upgrade` in HTTP/1.0.
    let may_upgrade = is_get && request.version() >= Version::HTTP_11;
    let path = request.uri().path();
    if !may_upgrade || !has_word(headers, &header::UPGRADE, "websocket") {
        return Ok(Asked::Page {
            path: path.to_owned(),
            host: Host {
                is_localhost: origins::is_localhost(&host),
            },
        });
    }
    let is_caretaker = match path {
        "/" => false,
        CARETAKER => true,
        _ => {
            let what = "There is no WebSocket at this path.";
            return Err(Wrong::new(StatusCode::NOT_FOUND, what));
        }
    };
    if !has_word(headers, &header::CONNECTION, "upgrade") {
        return Err(bad("This is no WebSocket request."));
    }
    if only(headers, &header::SEC_WEBSOCKET_VERSION)? != Some("13") {
        return Err(Wrong {
            header: Some((header::SEC_WEBSOCKET_VERSION, "13")),
            ..Wrong::new(
                StatusCode::UPGRADE_REQUIRED,
                "This is no WebSocket of version 13.",
            )
        });
    }
    let key = only(headers, &header::SEC_WEBSOCKET_KEY)?.unwrap_or_default();
    if STANDARD.decode(key).ok().map(|key| key.len()) != Some(16) {
        return Err(bad("This is no WebSocket key."));
    }
    let offered = || words(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    Ok(Asked::WebSocket(WebSocket {
        host,
        origin: only(headers, &header::ORIGIN)?.map(str::to_owned),
        is_caretaker,
        token: token(headers)?,
        accept: derive_accept_key(key.as_bytes()),
        offers_protocol: offered().any(|word| word == PROTOCOL),
    }))
}

/// By what name a request came: that of its target, if it has one, or its `Host`, of which there is
/// one.
fn host<B>(request: &Request<B>) -> Result<String, Wrong> {
    let host = only(request.headers(), &header::HOST)?;
    let host = host.ok_or_else(|| bad("There is no Host."))?;
    let uri = request.uri();
    let is_http = uri.scheme_str().is_none_or(|scheme| scheme == "http");
    if !is_http || uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err(bad("This target is another server's."));
    }
    Ok(uri.authority().map_or(host, |it| it.as_str()).to_owned())
}

/// The token that a handshake shows: as a subprotocol, which browsers can offer, or as
/// `Authorization: Bearer`.
fn token(headers: &HeaderMap) -> Result<Option<String>, Wrong> {
    let mut offered = words(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    if let Some(token) = offered.find_map(|word| word.strip_prefix(TOKEN)) {
        let token = URL_SAFE_NO_PAD.decode(token).ok();
        return Ok(token.and_then(|token| String::from_utf8(token).ok()));
    }
    let authorization = only(headers, &header::AUTHORIZATION)?.unwrap_or_default();
    let (scheme, token) = authorization.split_once(' ').unwrap_or_default();
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    Ok(is_bearer.then(|| token.trim().to_owned()))
}

impl WebSocket {
    fn said(&self) -> origins::Request<'_> {
        origins::Request {
            host: Some(&self.host),
            origin: self.origin.as_deref(),
        }
    }

    /// Whether it is of the page that the host serves.
    pub(crate) fn is_own(&self) -> Result<(), Refused> {
        Origins::is_own(self.said())
    }

    pub(crate) fn is_of_extension(&self, extension: &str) -> bool {
        origins::is_extension(self.origin.as_deref(), extension)
    }

    /// As which apps it may come in.
    pub(crate) fn apps(&self, origins: &Origins) -> Result<Option<Arc<[AppId]>>, Refused> {
        origins.apps(self.said())
    }

    /// The handshake's answer.
    pub(crate) fn accepted(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::try_from(&self.accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if self.offers_protocol {
            let protocol = HeaderValue::from_static(PROTOCOL);
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

/// A header that is there once at most, and is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Wrong> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(bad("A header is no text.")),
        },
        (Some(_), Some(_)) => Err(bad("A header is there twice.")),
    }
}

/// The words of a list.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    words(headers, name).any(|value| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
