//! Frames: from the bytes of a transport to messages and back. Pure; what it
//! reads is anybody's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use derive_more::{Display, Error};
use serde::Deserialize;
use serde_json::Value;

use super::limits::FRAME;

/// Where the data of a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Behind the header.
    Binary,
    /// In the header, in base64.
    Text,
}

/// Why a frame is none.
#[derive(Clone, PartialEq, Eq, Debug, Display, Error)]
pub(super) enum FrameError {
    #[display("the frame has {_0} bytes, {FRAME} are the most")]
    TooLarge(#[error(not(source))] usize),
    #[display("the frame is shorter than it says")]
    Short,
    #[display("the header is wrong: {_0}")]
    Header(#[error(not(source))] String),
    #[display("a message is wrong: {_0}")]
    Message(#[error(not(source))] &'static str),
    #[display("the frame has data that no message takes")]
    DataLeft,
    #[display("a message takes data that is not there")]
    DataMissing,
}

/// What a client sends.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) header: Header,
    pub(super) data: Data,
}

#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) hello: Option<Hello>,
    pub(super) ack: Option<u64>,
    #[serde(default)]
    pub(super) messages: Vec<Vec<Value>>,
}

/// Who comes in. What is not known here is a later version's.
#[derive(Deserialize, Debug)]
pub(super) struct Hello {
    pub(super) protocol: Vec<u32>,
    pub(super) app: Option<String>,
    pub(super) client: Option<String>,
    pub(super) token: Option<String>,
    pub(super) manifest: Option<Value>,
    /// Versions: of one that would look after the host.
    #[serde(default)]
    #[serde(rename = "admin")]
    pub(super) caretaker: Vec<u32>,
    pub(super) key: Option<String>,
    /// By native messaging: it would rather come by WebSocket.
    #[serde(default)]
    pub(super) elsewhere: bool,
}

/// What the messages of one frame take their bytes from.
#[derive(Debug)]
pub(super) struct Data {
    form: Form,
    left: Bytes,
    /// The size of the whole frame, which stays in memory as long as a large
    /// part of it does.
    frame: usize,
}

impl Frame {
    /// Reads a frame of either form.
    pub(super) fn read(form: Form, bytes: Bytes) -> Result<Self, FrameError> {
        let frame = bytes.len();
        if frame > FRAME {
            return Err(FrameError::TooLarge(frame));
        }
        let (header, left) = match form {
            Form::Text => (bytes, Bytes::new()),
            Form::Binary => split(bytes)?,
        };
        let header = serde_json::from_slice(&header)
            .map_err(|error| FrameError::Header(error.to_string()))?;
        let data = Data { form, left, frame };
        Ok(Frame { header, data })
    }
}

/// A binary frame's header and data.
fn split(mut bytes: Bytes) -> Result<(Bytes, Bytes), FrameError> {
    let (length, _) = bytes.split_first_chunk().ok_or(FrameError::Short)?;
    let length = u32::from_le_bytes(*length) as usize;
    let _ = bytes.split_to(size_of::<u32>());
    if length > bytes.len() {
        return Err(FrameError::Short);
    }
    let header = bytes.split_to(length);
    Ok((header, bytes))
}

impl Data {
    /// The bytes that an argument stands for; `None`: it stands for none.
    pub(super) fn take(&mut self, argument: &Value) -> Result<Option<Bytes>, FrameError> {
        match (self.form, argument) {
            (Form::Binary, Value::Number(count)) => {
                let count = count.as_u64().and_then(|count| count.try_into().ok());
                let Some(count) = count.filter(|count| *count <= self.left.len()) else {
                    return Err(FrameError::DataMissing);
                };
                let taken = self.left.split_to(count);
                // A few bytes must not keep a whole frame.
                let is_most = count >= self.frame / 2;
                let taken = if is_most {
                    taken
                } else {
                    Bytes::copy_from_slice(&taken)
                };
                Ok(Some(taken))
            }
            (Form::Text, Value::String(text)) => match STANDARD.decode(text) {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(_) => Err(FrameError::Message("its data is not in base64")),
            },
            _ => Ok(None),
        }
    }

    /// Every message has taken what is its own.
    pub(super) fn end(self) -> Result<(), FrameError> {
        match self.left.is_empty() {
            true => Ok(()),
            false => Err(FrameError::DataLeft),
        }
    }
}

/// A frame of these keys (each `"name":value`) and this data, as it travels.
pub(super) fn write(form: Form, keys: &[&str], data: &[u8]) -> Bytes {
    let length = keys.iter().map(|key| key.len() + 1).sum::<usize>() + 1;
    let prefix = match form {
        Form::Binary => size_of::<u32>(),
        Form::Text => 0,
    };
    let mut frame = Vec::with_capacity(prefix + length + data.len() + 1);
    frame.resize(prefix, 0);
    frame.push(b'{');
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            frame.push(b',');
        }
        frame.extend_from_slice(key.as_bytes());
    }
    frame.push(b'}');
    if form == Form::Binary {
        // A header is shorter than a frame, whose length fits.
        let length = u32::try_from(frame.len() - prefix).unwrap_or(u32::MAX);
        frame[..prefix].copy_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(data);
    }
    frame.into()
}

/// Appends bytes as a JSON string in base64.
pub(super) fn push_base64(text: &mut String, bytes: &[u8]) {
    text.push('"');
    STANDARD.encode_string(bytes, text);
    text.push('"');
}

#[cfg(test)]
mod tests;
