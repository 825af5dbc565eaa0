//! HTTP/1.1 on one connection, bounded in time and memory.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::excerpt::for_log;
use crate::transport::io::Io;

/// The most bytes of a request's head.
const REQUEST_HEAD: usize = 16 * 1024;

/// Serves a connection, which may take no longer than `limit`. The bodies of requests are not
/// read.
pub(crate) async fn serve(
    io: Io,
    limit: Duration,
    respond: impl Fn(Request<Incoming>) -> Response<Full<Bytes>>,
) {
    let service = service_fn(|request| {
        let response = respond(request);
        async { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(REQUEST_HEAD)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    // The timeout also bounds how long the client takes to read the response.
    match tokio::time::timeout(limit, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("a request failed: {}", for_log(&error.to_string())),
        Err(_) => log::debug!("a request took too long"),
    }
}
