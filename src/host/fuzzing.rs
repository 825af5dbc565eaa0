//! Reads frames that any client may have sent, for the fuzzer.

use bytes::Bytes;
use serde_json::Value;

use super::call;
use super::frame::{Form, Frame};

/// Reads a frame and every call in it, as a session does.
pub(crate) fn frame(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let form = match first % 2 {
        0 => Form::Text,
        _ => Form::Binary,
    };
    let Ok(mut frame) = Frame::read(form, Bytes::copy_from_slice(bytes)) else {
        return;
    };
    for message in &mut frame.header.messages {
        let Some((Value::Number(_), call)) = message.split_first_mut() else {
            return;
        };
        if let Err(call::Wrong::Frame(_)) = call::read(call, &mut frame.data) {
            return;
        }
    }
    let _ = frame.data.end();
}
