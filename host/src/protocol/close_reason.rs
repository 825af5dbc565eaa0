//! Why the host closes a connection: a code for the client, and a text for people.

use serde_json::json;

use crate::excerpt::for_log;
use crate::protocol::frame::FrameError;
use crate::protocol::outbox::Overrun;
use crate::sessions::budget::ReadStop;

/// The content of the host's last frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CloseReason {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// The codes of `docs/protocol.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Code {
    BadFrame,
    BadHello,
    Version,
    Forbidden,
    Origin,
    UnknownApp,
    BadManifest,
    AppInUse,
    Busy,
    Overrun,
    Memory,
    TooSlow,
    Stopping,
}

impl Code {
    /// In the order of their numbers.
    pub(crate) const ALL: [Code; 13] = [
        Code::BadFrame,
        Code::BadHello,
        Code::Version,
        Code::Forbidden,
        Code::Origin,
        Code::UnknownApp,
        Code::BadManifest,
        Code::AppInUse,
        Code::Busy,
        Code::Overrun,
        Code::Memory,
        Code::TooSlow,
        Code::Stopping,
    ];

    /// Its name, and the close code of the WebSocket (RFC 6455, 7.4.1).
    fn details(self) -> (&'static str, u16) {
        match self {
            Code::BadFrame => ("bad-frame", 1002),
            Code::BadHello => ("bad-hello", 1002),
            Code::Version => ("version", 1008),
            Code::Forbidden => ("forbidden", 1008),
            Code::Origin => ("origin", 1008),
            Code::UnknownApp => ("unknown-app", 1008),
            Code::BadManifest => ("bad-manifest", 1008),
            Code::AppInUse => ("app-in-use", 1013),
            Code::Busy => ("busy", 1013),
            Code::Overrun => ("overrun", 1002),
            Code::Memory => ("memory", 1013),
            Code::TooSlow => ("too-slow", 1013),
            Code::Stopping => ("stopping", 1001),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.details().0
    }

    pub(crate) fn web_socket_code(self) -> u16 {
        self.details().1
    }
}

impl CloseReason {
    /// Cuts and escapes the message, which may contain text of a client.
    pub(crate) fn new(code: Code, message: impl ToString) -> Self {
        CloseReason {
            code,
            message: for_log(&message.to_string()).to_string(),
        }
    }

    pub(crate) fn bad_call_id() -> Self {
        let text = "a call id must be an integer up to 2^53-1 and greater than the one before";
        CloseReason::new(Code::Overrun, text)
    }

    /// The field of the last frame.
    pub(crate) fn field(&self) -> String {
        let reason = json!({ "code": self.code.name(), "message": self.message });
        format!(r#""close":{reason}"#)
    }
}

impl From<ReadStop> for CloseReason {
    fn from(stop: ReadStop) -> Self {
        match stop {
            ReadStop::TooLarge => CloseReason::new(Code::BadFrame, "a frame is too large"),
            ReadStop::MemoryFull => {
                CloseReason::new(Code::Memory, "all clients together use too much memory")
            }
        }
    }
}

impl From<FrameError> for CloseReason {
    fn from(error: FrameError) -> Self {
        let code = match error {
            FrameError::HelloExpected | FrameError::RepeatedHello => Code::BadHello,
            _ => Code::BadFrame,
        };
        CloseReason::new(code, error)
    }
}

impl From<Overrun> for CloseReason {
    fn from(_: Overrun) -> Self {
        CloseReason::new(
            Code::Overrun,
            "the client acknowledged a frame that was not sent, or far too few frames",
        )
    }
}
