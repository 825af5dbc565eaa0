//! Reads frames that any client may have sent, for the fuzzer.

use bytes::Bytes;

use super::call;
use super::frame::{self, Form, Frame, Hello};
use super::message::Kind;

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
    if let Some(hello) = &frame.hello {
        let _ = frame::object::<Hello<'_>>(hello);
    }
    while let Ok(Some(message)) = frame.messages.next() {
        match message.kind() {
            Some(Kind::Call(_)) => {
                if let Err(call::Wrong::Frame(_)) = call::read(message, &mut frame.data) {
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
