//! Frames: from the bytes of a transport to messages and back. No I/O; the input is untrusted.
//!
//! A frame stays text until its messages are carried out one by one. A tree of JSON values would
//! take a hundred times the memory.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use derive_more::{Display, Error};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::limits::Limits;
use crate::protocol::message::{Message, Text};

/// Where a frame carries its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    /// Behind the header, as bytes.
    Binary,
    /// In the header, in base64.
    Text,
}

/// Why a frame is invalid.
#[derive(Clone, PartialEq, Eq, Debug, Display, Error)]
pub(crate) enum FrameError {
    #[display("the frame has {length} bytes, the limit is {max}")]
    TooLarge { length: usize, max: usize },
    #[display("the frame is shorter than its header")]
    Short,
    #[display("invalid header: {_0}")]
    Header(#[error(not(source))] String),
    #[display("invalid message: {_0}")]
    Message(#[error(not(source))] &'static str),
    #[display("the frame has data that no message uses")]
    DataLeft,
    #[display("a message uses data that is missing")]
    DataMissing,
    #[display("the first frame must be a hello and nothing else")]
    HelloExpected,
    #[display("a second hello")]
    RepeatedHello,
}

/// A frame of a client.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The hello, as the text of a JSON object.
    pub(crate) hello: Option<Bytes>,
    pub(crate) ack: Option<u64>,
    pub(crate) messages: Messages,
    pub(crate) data: Data,
}

/// The messages of a frame, read one by one from their text.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// The whole JSON array.
    text: Bytes,
    position: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    hello: Option<&'a RawValue>,
    ack: Option<u64>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
}

/// The hello of a client. Later versions may add fields, so unknown ones are ignored.
#[derive(Deserialize, Debug)]
pub(crate) struct Hello<'a> {
    pub(crate) protocol: Versions,
    #[serde(borrow)]
    pub(crate) app: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) client: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) manifest: Option<&'a RawValue>,
    /// The versions of the admin part.
    #[serde(default)]
    pub(crate) admin: Versions,
    #[serde(borrow)]
    pub(crate) key: Option<Text<'a>>,
    /// Over native messaging: the client asks for a WebSocket.
    #[serde(default, rename = "webSocket")]
    pub(crate) web_socket: bool,
}

/// The versions that a client supports.
#[derive(Deserialize, Debug, Default)]
#[serde(from = "Vec<u32>")]
pub(crate) struct Versions(Vec<u32>);

/// Later versions of a longer list are ignored.
const MAX_VERSIONS: usize = 64;

impl From<Vec<u32>> for Versions {
    fn from(mut versions: Vec<u32>) -> Self {
        versions.truncate(MAX_VERSIONS);
        Versions(versions)
    }
}

impl Versions {
    pub(crate) fn contains(&self, version: u32) -> bool {
        self.0.contains(&version)
    }
}

/// The data that the messages of one frame use, in order.
#[derive(Debug)]
pub(crate) struct Data {
    encoding: Encoding,
    rest: Bytes,
    /// The bytes of the whole frame. A slice of its data keeps all of it in memory.
    frame: usize,
    /// The most data of one message.
    pub(crate) max: usize,
}

/// Describes an error in JSON by its position, without repeating the text.
fn header_error(error: &serde_json::Error) -> FrameError {
    use serde_json::error::Category::{Data, Eof, Io, Syntax};
    let text = match error.classify() {
        Data => "an unknown or repeated key, or a value of the wrong type",
        Eof => "it ends too early",
        Io | Syntax => "not JSON",
    };
    let (line, column) = (error.line(), error.column());
    FrameError::Header(format!("{text}, at line {line}, column {column}"))
}

/// Parses an object. Serde alone would also accept a list of the fields' values.
pub(crate) fn parse_object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, FrameError> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(FrameError::Header("not an object".to_owned()));
    }
    serde_json::from_slice(text).map_err(|error| header_error(&error))
}

impl Frame {
    /// Reads a frame of at most `max` bytes.
    pub(crate) fn read(encoding: Encoding, bytes: Bytes, max: usize) -> Result<Self, FrameError> {
        let frame = bytes.len();
        if frame > max {
            return Err(FrameError::TooLarge { length: frame, max });
        }
        let (header, rest) = match encoding {
            Encoding::Text => (bytes, Bytes::new()),
            Encoding::Binary => split_header(bytes)?,
        };
        let data = Data {
            encoding,
            rest,
            frame,
            max: Limits::data(max),
        };
        let read: Header<'_> = parse_object(&header)?;
        let slice = |raw: &RawValue| header.slice_ref(raw.get().as_bytes());
        let messages = Messages {
            text: read.messages.map(slice).unwrap_or_default(),
            position: 0,
        };
        if !messages.text.is_empty() && messages.text[0] != b'[' {
            return Err(FrameError::Header("the messages are not a list".to_owned()));
        }
        Ok(Frame {
            hello: read.hello.map(slice),
            ack: read.ack,
            messages,
            data,
        })
    }

    /// The hello of a first frame, which has nothing else.
    pub(crate) fn into_hello(self) -> Result<Bytes, FrameError> {
        self.data.finish()?;
        let hello = self.hello.filter(|_| self.messages.is_empty());
        hello.ok_or(FrameError::HelloExpected)
    }
}

impl Messages {
    pub(crate) fn is_empty(&self) -> bool {
        let inside = self.text.get(1..).unwrap_or_default();
        let first = inside.iter().find(|byte| !byte.is_ascii_whitespace());
        matches!(first, None | Some(b']'))
    }

    /// Reads the next message; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Message<'_>>, FrameError> {
        // The text is valid JSON: a bracket or a comma precedes each message, and a bracket
        // follows the last.
        let separator = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        let first = self.position.max(1);
        let rest = self.text.get(first..).unwrap_or_default();
        let Some(skipped) = rest.iter().position(|byte| !separator(byte)) else {
            return Ok(None);
        };
        let start = first + skipped;
        if self.text[start] == b']' {
            return Ok(None);
        }
        let deserializer = serde_json::Deserializer::from_slice(&self.text[start..]);
        let mut messages = deserializer.into_iter::<Message<'_>>();
        let message = messages.next();
        self.position = start + messages.byte_offset();
        match message {
            Some(Ok(message)) => Ok(Some(message)),
            _ => Err(FrameError::Message("not a list")),
        }
    }
}

/// Splits a binary frame into its header and data.
fn split_header(mut bytes: Bytes) -> Result<(Bytes, Bytes), FrameError> {
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
    /// The bytes that an argument refers to; `None` if it refers to none.
    pub(crate) fn take(&mut self, argument: &RawValue) -> Result<Option<Bytes>, FrameError> {
        let argument = argument.get();
        match (self.encoding, argument.as_bytes().first()) {
            (Encoding::Binary, Some(b'-' | b'0'..=b'9')) => {
                let count = argument.parse().ok();
                let Some(count) = count.filter(|count| *count <= self.rest.len()) else {
                    return Err(FrameError::DataMissing);
                };
                let bytes = self.rest.split_to(count);
                // A copy, so that a few bytes do not keep the whole frame in memory.
                Ok(Some(match count >= self.frame / 2 {
                    true => bytes,
                    false => Bytes::copy_from_slice(&bytes),
                }))
            }
            (Encoding::Text, Some(b'"')) => {
                let text = serde_json::from_str::<Text<'_>>(argument).ok();
                match text.and_then(|text| STANDARD.decode(&*text.0).ok()) {
                    Some(bytes) => Ok(Some(bytes.into())),
                    None => Err(FrameError::Message("its data is not base64")),
                }
            }
            _ => Ok(None),
        }
    }

    /// Checks that the messages used all data.
    pub(crate) fn finish(self) -> Result<(), FrameError> {
        let is_used = self.rest.is_empty();
        is_used.then_some(()).ok_or(FrameError::DataLeft)
    }
}

/// Writes a frame of these fields (each `"name":value`) and this data.
pub(crate) fn write(encoding: Encoding, fields: &[&str], data: &[u8]) -> Bytes {
    let length = fields.iter().map(|field| field.len() + 1).sum::<usize>() + 1;
    let prefix = match encoding {
        Encoding::Binary => size_of::<u32>(),
        Encoding::Text => 0,
    };
    let mut frame = Vec::with_capacity(prefix + length + data.len() + 1);
    frame.resize(prefix, 0);
    frame.push(b'{');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            frame.push(b',');
        }
        frame.extend_from_slice(field.as_bytes());
    }
    frame.push(b'}');
    if encoding == Encoding::Binary {
        // A frame is far below 4 GiB, so the length fits.
        let length = u32::try_from(frame.len() - prefix).unwrap_or(u32::MAX);
        frame[..prefix].copy_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(data);
    }
    frame.into()
}

/// Appends bytes as a JSON string in base64.
pub(crate) fn push_base64(text: &mut String, bytes: &[u8]) {
    text.push('"');
    STANDARD.encode_string(bytes, text);
    text.push('"');
}

#[cfg(test)]
mod tests;
