//! Frames: from the bytes of a transport to messages and back. Pure; what it
//! reads is anybody's. A frame stays text until a message of it is carried out: no tree
//! is made of it, which would take a hundred times as much.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use derive_more::{Display, Error};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::limits::FRAME;
use crate::protocol::message::{Message, Text};

/// Where the data of a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    /// Behind the header.
    Binary,
    /// In the header, in base64.
    Text,
}

/// Why a frame is none.
#[derive(Clone, PartialEq, Eq, Debug, Display, Error)]
pub(crate) enum FrameError {
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
pub(crate) struct Frame {
    /// The object of a hello, as text.
    pub(crate) hello: Option<Bytes>,
    pub(crate) ack: Option<u64>,
    pub(crate) messages: Messages,
    pub(crate) data: Data,
}

/// The messages of a frame, of which those that were not read yet are text.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// The whole array.
    text: Bytes,
    at: usize,
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

/// Who comes in. What is not known here is a later version's.
#[derive(Deserialize, Debug)]
pub(crate) struct Hello<'a> {
    pub(crate) protocol: Versions,
    #[serde(borrow)]
    pub(crate) app: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) client: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) manifest: Option<&'a RawValue>,
    /// Versions: of one that would look after the host.
    #[serde(default)]
    #[serde(rename = "admin")]
    pub(crate) admin_session: Versions,
    #[serde(borrow)]
    pub(crate) key: Option<Text<'a>>,
    /// By native messaging: it would rather come by WebSocket.
    #[serde(default)]
    pub(crate) elsewhere: bool,
}

/// The versions that a client speaks.
#[derive(Deserialize, Debug, Default)]
#[serde(from = "Vec<u32>")]
pub(crate) struct Versions(Vec<u32>);

/// A client that speaks more versions than this says so of the first.
const MAX_VERSIONS: usize = 64;

impl From<Vec<u32>> for Versions {
    fn from(mut versions: Vec<u32>) -> Self {
        versions.truncate(MAX_VERSIONS);
        Versions(versions)
    }
}

impl Versions {
    pub(crate) fn has(&self, version: u32) -> bool {
        self.0.contains(&version)
    }
}

/// What the messages of one frame take their bytes from.
#[derive(Debug)]
pub(crate) struct Data {
    form: Encoding,
    left: Bytes,
    /// The size of the whole frame, which stays in memory as long as a large
    /// part of it does.
    frame: usize,
}

/// What is wrong in a JSON text: where, and nothing of the text itself.
fn what(error: &serde_json::Error) -> FrameError {
    use serde_json::error::Category::{Data, Eof, Io, Syntax};
    let what = match error.classify() {
        Data => "an unknown or repeated key, or a value of the wrong type",
        Eof => "it ends too early",
        Io | Syntax => "no JSON",
    };
    let (line, column) = (error.line(), error.column());
    FrameError::Header(format!("{what}, at line {line}, column {column}"))
}

/// Reads an object. Where serde expects a struct it takes a list of its fields too: this is none.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, FrameError> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(FrameError::Header("it is no object".to_owned()));
    }
    serde_json::from_slice(text).map_err(|error| what(&error))
}

impl Frame {
    /// Reads a frame of either form.
    pub(crate) fn read(form: Encoding, bytes: Bytes) -> Result<Self, FrameError> {
        let frame = bytes.len();
        if frame > FRAME {
            return Err(FrameError::TooLarge(frame));
        }
        let (header, left) = match form {
            Encoding::Text => (bytes, Bytes::new()),
            Encoding::Binary => split(bytes)?,
        };
        let data = Data { form, left, frame };
        let read: Header<'_> = object(&header)?;
        let part = |raw: &RawValue| header.slice_ref(raw.get().as_bytes());
        let messages = Messages {
            text: read.messages.map(part).unwrap_or_default(),
            at: 0,
        };
        if !messages.text.is_empty() && messages.text[0] != b'[' {
            return Err(FrameError::Header("its messages are no list".to_owned()));
        }
        Ok(Frame {
            hello: read.hello.map(part),
            ack: read.ack,
            messages,
            data,
        })
    }

    /// The hello, if the frame is that and nothing else.
    pub(crate) fn into_hello(self) -> Result<Option<Bytes>, FrameError> {
        self.data.end()?;
        Ok(self.hello.filter(|_| self.messages.is_empty()))
    }
}

impl Messages {
    pub(crate) fn is_empty(&self) -> bool {
        let inside = self.text.get(1..).unwrap_or_default();
        let first = inside.iter().find(|byte| !byte.is_ascii_whitespace());
        matches!(first, None | Some(b']'))
    }

    /// Reads the next one; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Message<'_>>, FrameError> {
        // Before each is a bracket or a comma, after the last a bracket: the text is JSON.
        let separator = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        let first = self.at.max(1);
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
        self.at = start + messages.byte_offset();
        match message {
            Some(Ok(message)) => Ok(Some(message)),
            _ => Err(FrameError::Message("it is no list")),
        }
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
    pub(crate) fn take(&mut self, argument: &RawValue) -> Result<Option<Bytes>, FrameError> {
        let argument = argument.get();
        match (self.form, argument.as_bytes().first()) {
            (Encoding::Binary, Some(b'-' | b'0'..=b'9')) => {
                let count = argument.parse().ok();
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
            (Encoding::Text, Some(b'"')) => {
                let text = serde_json::from_str::<Text<'_>>(argument).ok();
                match text.and_then(|text| STANDARD.decode(&*text.0).ok()) {
                    Some(bytes) => Ok(Some(bytes.into())),
                    None => Err(FrameError::Message("its data is not in base64")),
                }
            }
            _ => Ok(None),
        }
    }

    /// Every message has taken what is its own.
    pub(crate) fn end(self) -> Result<(), FrameError> {
        match self.left.is_empty() {
            true => Ok(()),
            false => Err(FrameError::DataLeft),
        }
    }
}

/// A frame of these keys (each `"name":value`) and this data, as it travels.
pub(crate) fn write(form: Encoding, keys: &[&str], data: &[u8]) -> Bytes {
    let length = keys.iter().map(|key| key.len() + 1).sum::<usize>() + 1;
    let prefix = match form {
        Encoding::Binary => size_of::<u32>(),
        Encoding::Text => 0,
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
    if form == Encoding::Binary {
        // A header is shorter than a frame, whose length fits.
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
