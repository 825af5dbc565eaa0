//! The entry points of the fuzzer: request heads and frames from untrusted clients.

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri, Version};

use crate::access::origins::Origins;
use crate::access::request_head;
use crate::access::request_head::Requested;
use crate::limits::Limits;
use crate::protocol::arguments::CallError;
use crate::protocol::frame::{Encoding, Frame, Hello};
use crate::protocol::message::Kind;
use crate::protocol::{call, frame};

const MAX_FRAME: usize = Limits::DEFAULT.frame;

/// Reads a frame and every call in it, as a session does.
pub fn frame(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let encoding = match first % 2 {
        0 => Encoding::Text,
        _ => Encoding::Binary,
    };
    let Ok(mut frame) = Frame::read(encoding, Bytes::copy_from_slice(bytes), MAX_FRAME) else {
        return;
    };
    if let Some(hello) = &frame.hello {
        let _ = frame::parse_object::<Hello<'_>>(hello);
    }
    while let Ok(Some(message)) = frame.messages.next() {
        match message.kind() {
            Some(Kind::Call(_)) => {
                if let Err(CallError::Frame(_)) = call::read(message, &mut frame.data) {
                    return;
                }
            }
            Some(Kind::Listen) => {
                let _ = message.event_names(|_| {});
            }
            Some(Kind::BadId) | None => return,
        }
    }
    let _ = frame.data.finish();
}

/// Reads the head of a request as the gateway does: its first line and its headers.
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
    match request_head::read(&request) {
        Ok(Requested::File { .. }) => {}
        Ok(Requested::WebSocket(socket)) => {
            let origins = Origins::default();
            let _ = (socket.allowed_apps(&origins), socket.check_own_page());
            let status = socket.response().status();
            assert_eq!(status, StatusCode::SWITCHING_PROTOCOLS);
        }
        Err(rejection) => assert!(rejection.into_response().status().is_client_error()),
    }
}
