//! What the host serves to a browser: a page, and the client that it is made
//! with. All of it is in the program.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// Each path with its type and its file, which lies at the same path here, so that both
/// find each other. `host/js` has links to the client, which a package gets as files.
macro_rules! files {
    ($($path:literal $kind:ident $file:literal)*) => {
        &[$(($path, $kind, include_bytes!(concat!("../..", $file)))),*]
    };
}

const FILES: &[(&str, &str, &[u8])] = files! {
    "/" HTML "/page/index.html"
    "/page/style.css" STYLE "/page/style.css"
    "/page/page.mjs" SCRIPT "/page/page.mjs"
    "/page/caretaker.mjs" SCRIPT "/page/caretaker.mjs"
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

/// Nothing but what is from here, nobody around it, and no text that becomes
/// elements: what the page shows are the texts of others.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Whoever has opened it or embeds parts of it shares nothing with it.
const ISOLATED: [(&str, &str); 2] = [
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// The file at a path.
pub(crate) fn file(path: &str) -> Response<Full<Bytes>> {
    match FILES.iter().find(|(known, _, _)| *known == path) {
        Some((_, kind, bytes)) => answer(StatusCode::OK, kind, Bytes::from_static(bytes)),
        None => missing(),
    }
}

/// There is no such file.
pub(crate) fn missing() -> Response<Full<Bytes>> {
    text(StatusCode::NOT_FOUND, "There is no such page.")
}

/// The file is at this address.
pub(crate) fn moved(address: &SocketAddr, path: &str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::TEMPORARY_REDIRECT, "The page is elsewhere.");
    if let Ok(place) = HeaderValue::try_from(format!("http://{address}{path}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// An answer that is a sentence.
pub(crate) fn text(status: StatusCode, text: impl ToString) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", text.to_string().into())
}

fn answer(status: StatusCode, kind: &'static str, bytes: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        // A request a connection: none is kept without need.
        (header::CONNECTION, "close"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in ISOLATED {
        let name = HeaderName::from_static(name);
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
