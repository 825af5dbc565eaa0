//! Reads a header from a connection.

use std::future::poll_fn;

use crate::net_error::{self, NetError};
use crate::os::{Stream, retry_if_spurious};
use crate::proxy_protocol::parse::{missing, parse};
use crate::proxy_protocol::{ProxyError, ProxyHeader};

/// Reads a PROXY header, and nothing behind it: the stream can be used as any other then. Waits
/// for the rest of a header without a limit, so the caller needs a timeout. If this is cancelled,
/// the bytes that were read are lost.
///
/// # Errors
/// See [`ProxyError`]; the stream is of no further use.
pub async fn read_header(stream: &mut dyn Stream) -> Result<ProxyHeader, ProxyError> {
    let mut bytes = Vec::new();
    loop {
        // No more than what surely belongs to the header. So no byte has to be given back, and
        // the stream needs neither a buffer nor a layer for the rest of its life.
        let missing = missing(&bytes)?;
        if missing == 0 {
            return parse(&bytes);
        }
        let filled = bytes.len();
        bytes.resize(filled + missing, 0);
        let read =
            poll_fn(|cx| retry_if_spurious(stream.poll_read(cx, &mut bytes[filled..]), cx)).await;
        match read {
            Ok(0) => return Err(NetError::CONNECTION_CLOSED.into()),
            Ok(count) => bytes.truncate(filled + count),
            Err(error) => return Err(net_error::handshake(&error).into()),
        }
    }
}
