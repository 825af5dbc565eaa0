//! Reads heads of requests and frames that any client may have sent, for the fuzzer.

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri, Version};

use crate::access::handshake;
use crate::access::handshake::Asked;
use crate::access::origins::Origins;
use crate::protocol::call;
use crate::protocol::frame;
use crate::protocol::frame::{Encoding, Frame, Hello};
use crate::protocol::message::Kind;

/// Reads a frame and every call in it, as a session does.
pub fn frame(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let form = match first % 2 {
        0 => Encoding::Text,
        _ => Encoding::Binary,
    };
    let Ok(mut frame) = Frame::read(form, Bytes::copy_from_slice(bytes)) else {
        return;
    };
    if let Some(hello) = &frame.hello {
        let _ = frame::object::<Hello<'_>>(hello);
    }
    while let Ok(Some(message)) = frame.messages.next() {
        match message.kind() {
            Some(Kind::Call(_)) => {
                if let Err(call::CallError::Frame(_)) = call::read(message, &mut frame.data) {
                    return;
                }
            }
            Some(Kind::Listen) => {
                let _ = message.names(|_| {});
            }
            Some(Kind::BadId) | None => return,
        }
    }
    let _ = frame.data.end();
}

/// Reads the head of a request, as the gateway does: its first line, and its headers.
pub fn head(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut first = lines
        .next()
        .unwrap_or_default()
        .splitn(3, |byte| *byte == b' ');
    let mut word = || first.next().unwrap_or_default();
    let (method, target) = (Method::from_bytes(word()), Uri::try_from(word()));
    let (Ok(method), Ok(target)) = (method, target) else {
        return;
    };
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = target;
    *request.version_mut() = match word() {
        b"HTTP/1.0" => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    for line in lines {
        let mut sides = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(sides.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(sides.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    match handshake::read(&request) {
        Ok(Asked::Page { .. }) => {}
        Ok(Asked::WebSocket(socket)) => {
            let _ = (socket.apps(&Origins::default()), socket.is_own());
            let status = socket.accepted().status();
            assert_eq!(status, StatusCode::SWITCHING_PROTOCOLS);
        }
        Err(wrong) => assert!(wrong.into_response().status().is_client_error()),
    }
}
