//! What the host serves to a browser: a page, and the client that it is made
//! with. All of it is in the program.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

/// Each path with its type and its text.
const FILES: &[(&str, &str, &[u8])] = &[
    ("/", HTML, include_bytes!("../../js/page/index.html")),
    (
        "/page.mjs",
        SCRIPT,
        include_bytes!("../../js/page/page.mjs"),
    ),
    (
        "/js/index.mjs",
        SCRIPT,
        include_bytes!("../../js/index.mjs"),
    ),
    ("/js/api.mjs", SCRIPT, include_bytes!("../../js/api.mjs")),
    (
        "/js/client.mjs",
        SCRIPT,
        include_bytes!("../../js/client.mjs"),
    ),
    (
        "/js/events.mjs",
        SCRIPT,
        include_bytes!("../../js/events.mjs"),
    ),
    (
        "/js/frames.mjs",
        SCRIPT,
        include_bytes!("../../js/frames.mjs"),
    ),
    (
        "/js/mirror.mjs",
        SCRIPT,
        include_bytes!("../../js/mirror.mjs"),
    ),
    (
        "/js/signatures.mjs",
        SCRIPT,
        include_bytes!("../../js/signatures.mjs"),
    ),
    (
        "/js/web-socket.mjs",
        SCRIPT,
        include_bytes!("../../js/web-socket.mjs"),
    ),
];

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Nothing but what is from here, and nobody around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The file at a path.
pub(super) fn file(path: &str) -> Response<Full<Bytes>> {
    match FILES.iter().find(|(known, _, _)| *known == path) {
        Some((_, kind, bytes)) => answer(StatusCode::OK, kind, Bytes::from_static(bytes)),
        None => text(StatusCode::NOT_FOUND, "There is no such page."),
    }
}

/// An answer that is a sentence.
pub(super) fn text(status: StatusCode, text: impl ToString) -> Response<Full<Bytes>> {
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
    response
}
