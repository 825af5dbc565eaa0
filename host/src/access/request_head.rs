//! Reads the head of a request, for a file or a WebSocket (RFC 9110, 9112 and 6455). The input is
//! untrusted.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use chrome_sockets::AppId;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::access::origins;
use crate::access::origins::{Origins, Refusal};
use crate::transport::static_files;

/// The path of admin connections. Apps connect at `/`.
const ADMIN_PATH: &str = "/admin";

/// The host's subprotocol, which the host selects if the client offers it.
const PROTOCOL: &str = "chrome-sockets";

/// The prefix of the subprotocol that carries the token, in base64url without padding.
const TOKEN_PREFIX: &str = "chrome-sockets.token.";

const METHODS: &str = "GET, HEAD";

/// A valid request.
#[derive(Debug)]
pub(crate) enum Requested {
    File {
        path: String,
        /// Its `Host` is `localhost`.
        is_localhost: bool,
    },
    WebSocket(WebSocketRequest),
}

/// A valid WebSocket handshake.
#[derive(Debug)]
pub(crate) struct WebSocketRequest {
    host: String,
    pub(crate) origin: Option<String>,
    pub(crate) is_admin: bool,
    pub(crate) token: Option<String>,
    accept: String,
    offers_protocol: bool,
}

/// An error response.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    header: Option<(HeaderName, &'static str)>,
}

impl Rejection {
    fn new(status: StatusCode, text: impl ToString) -> Self {
        Rejection {
            status,
            text: text.to_string(),
            header: None,
        }
    }

    fn with_header(self, name: HeaderName, value: &'static str) -> Self {
        Rejection {
            header: Some((name, value)),
            ..self
        }
    }

    /// Whether to log it: a wrong `Host` may be an attack, the others are mistakes.
    pub(crate) fn is_logged(&self) -> bool {
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

fn bad_request(text: &str) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, text)
}

/// Reads a request's head.
pub(crate) fn read<B>(request: &Request<B>) -> Result<Requested, Rejection> {
    let headers = request.headers();
    let host = host(request)?;
    if let Err(refusal) = Origins::check_host(&host) {
        return Err(Rejection::new(StatusCode::FORBIDDEN, refusal));
    }
    let is_get = request.method() == Method::GET;
    if !is_get && request.method() != Method::HEAD {
        let text = "Only GET and HEAD are allowed.";
        let rejection = Rejection::new(StatusCode::METHOD_NOT_ALLOWED, text);
        return Err(rejection.with_header(header::ALLOW, METHODS));
    }
    // RFC 9110, 7.8: a server ignores `Upgrade` in HTTP/1.0.
    let may_upgrade = is_get && request.version() >= Version::HTTP_11;
    let path = request.uri().path();
    if !may_upgrade || !list_contains(headers, &header::UPGRADE, "websocket") {
        return Ok(Requested::File {
            path: path.to_owned(),
            is_localhost: origins::is_localhost(&host),
        });
    }
    let is_admin = match path {
        "/" => false,
        ADMIN_PATH => true,
        _ => {
            let text = "There is no WebSocket at this path.";
            return Err(Rejection::new(StatusCode::NOT_FOUND, text));
        }
    };
    if !list_contains(headers, &header::CONNECTION, "upgrade") {
        return Err(bad_request("Connection: upgrade is missing."));
    }
    if single(headers, &header::SEC_WEBSOCKET_VERSION)? != Some("13") {
        let text = "The WebSocket version must be 13.";
        let rejection = Rejection::new(StatusCode::UPGRADE_REQUIRED, text);
        return Err(rejection.with_header(header::SEC_WEBSOCKET_VERSION, "13"));
    }
    let key = single(headers, &header::SEC_WEBSOCKET_KEY)?.unwrap_or_default();
    if STANDARD.decode(key).ok().map(|key| key.len()) != Some(16) {
        return Err(bad_request("Sec-WebSocket-Key is not 16 bytes in base64."));
    }
    let mut offered = list(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    Ok(Requested::WebSocket(WebSocketRequest {
        host,
        origin: single(headers, &header::ORIGIN)?.map(str::to_owned),
        is_admin,
        token: token(headers)?,
        accept: derive_accept_key(key.as_bytes()),
        offers_protocol: offered.any(|protocol| protocol == PROTOCOL),
    }))
}

/// The host that the request addresses: the one of an absolute target, else the `Host` header,
/// which must be there once.
fn host<B>(request: &Request<B>) -> Result<String, Rejection> {
    let host = single(request.headers(), &header::HOST)?;
    let host = host.ok_or_else(|| bad_request("Host is missing."))?;
    let uri = request.uri();
    let is_http = uri.scheme_str().is_none_or(|scheme| scheme == "http");
    if !is_http || uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err(bad_request("The target belongs to another server."));
    }
    Ok(uri.authority().map_or(host, |it| it.as_str()).to_owned())
}

/// The token of a handshake: a subprotocol, the only header that a page can set, or
/// `Authorization: Bearer`.
fn token(headers: &HeaderMap) -> Result<Option<String>, Rejection> {
    let mut offered = list(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    if let Some(token) = offered.find_map(|protocol| protocol.strip_prefix(TOKEN_PREFIX)) {
        let token = URL_SAFE_NO_PAD.decode(token).ok();
        return Ok(token.and_then(|token| String::from_utf8(token).ok()));
    }
    let authorization = single(headers, &header::AUTHORIZATION)?.unwrap_or_default();
    let (scheme, token) = authorization.split_once(' ').unwrap_or_default();
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    Ok(is_bearer.then(|| token.trim().to_owned()))
}

impl WebSocketRequest {
    /// Checks that it comes from the page that the host serves.
    pub(crate) fn check_own_page(&self) -> Result<(), Refusal> {
        Origins::check_own_page(&self.host, self.origin.as_deref())
    }

    pub(crate) fn is_of_extension(&self, extension: &str) -> bool {
        origins::is_extension(self.origin.as_deref(), extension)
    }

    /// The apps that it may be; `None`: any.
    pub(crate) fn allowed_apps(&self, origins: &Origins) -> Result<Option<Arc<[AppId]>>, Refusal> {
        origins.allowed_apps(&self.host, self.origin.as_deref())
    }

    /// The response that completes the handshake.
    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
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

/// The text of a header that must not be repeated; `None` if it is missing.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Rejection> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(bad_request("A header is not text.")),
        },
        // A proxy and the host might each use a different one.
        (Some(_), Some(_)) => Err(bad_request("A header is repeated.")),
    }
}

/// The items of a comma-separated header.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn list_contains(headers: &HeaderMap, name: &HeaderName, item: &str) -> bool {
    list(headers, name).any(|value| value.eq_ignore_ascii_case(item))
}

#[cfg(test)]
mod tests;
