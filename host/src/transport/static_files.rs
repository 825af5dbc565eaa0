//! The files of the admin page and of the JavaScript client, which are part of the program.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// Lists paths with their types and files. The paths of URLs and files agree, so that relative
/// imports work in both. `host/js` contains links to the client, which cargo packages as files.
macro_rules! files {
    ($($path:literal $kind:ident $file:literal)*) => {
        &[$(($path, $kind, include_bytes!(concat!("../..", $file)))),*]
    };
}

const FILES: &[(&str, &str, &[u8])] = files! {
    "/" HTML "/page/index.html"
    "/page/style.css" STYLE "/page/style.css"
    "/page/page.mjs" SCRIPT "/page/page.mjs"
    "/page/admin.mjs" SCRIPT "/page/admin.mjs"
    "/page/dom.mjs" SCRIPT "/page/dom.mjs"
    "/page/echo.mjs" SCRIPT "/page/echo.mjs"
    "/page/text.mjs" SCRIPT "/page/text.mjs"
    "/page/tree.mjs" SCRIPT "/page/tree.mjs"
    "/page/watch.mjs" SCRIPT "/page/watch.mjs"
    "/js/index.mjs" SCRIPT "/js/index.mjs"
    "/js/api.mjs" SCRIPT "/js/api.mjs"
    "/js/client.mjs" SCRIPT "/js/client.mjs"
    "/js/events.mjs" SCRIPT "/js/events.mjs"
    "/js/frames.mjs" SCRIPT "/js/frames.mjs"
    "/js/mirror.mjs" SCRIPT "/js/mirror.mjs"
    "/js/signatures.mjs" SCRIPT "/js/signatures.mjs"
    "/js/web-socket.mjs" SCRIPT "/js/web-socket.mjs"
};

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Allows only the host's own files, no frame around the page, and no HTML from text, since the
/// page shows texts of apps.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const COOP: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The file at a path.
pub(crate) fn file(path: &str) -> Response<Full<Bytes>> {
    match FILES.iter().find(|(known, _, _)| *known == path) {
        Some((_, kind, bytes)) => response(StatusCode::OK, kind, Bytes::from_static(bytes)),
        None => not_found(),
    }
}

pub(crate) fn not_found() -> Response<Full<Bytes>> {
    text(StatusCode::NOT_FOUND, "There is no such file.")
}

/// Redirects to the same path at this address.
pub(crate) fn redirect(address: &SocketAddr, path: &str) -> Response<Full<Bytes>> {
    let mut response = text(
        StatusCode::TEMPORARY_REDIRECT,
        "The page is served by its IP address.",
    );
    if let Ok(location) = HeaderValue::try_from(format!("http://{address}{path}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A response in plain text.
pub(crate) fn text(status: StatusCode, text: impl ToString) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.to_string().into())
}

pub(crate) fn response(
    status: StatusCode,
    kind: &'static str,
    bytes: Bytes,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        // Idle connections would use up the slots.
        (header::CONNECTION, "close"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Other windows get no reference to the page, and other pages cannot embed its files.
        (COOP, "same-origin"),
        (CORP, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
