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
    pub(crate) fn name(self) -> &'static str {
        match self {
            Code::BadFrame => "bad-frame",
            Code::BadHello => "bad-hello",
            Code::Version => "version",
            Code::Forbidden => "forbidden",
            Code::Origin => "origin",
            Code::UnknownApp => "unknown-app",
            Code::BadManifest => "bad-manifest",
            Code::AppInUse => "app-in-use",
            Code::Busy => "busy",
            Code::Overrun => "overrun",
            Code::Memory => "memory",
            Code::TooSlow => "too-slow",
            Code::Stopping => "stopping",
        }
    }

    /// The close code of the WebSocket (RFC 6455, 7.4.1).
    pub(crate) fn web_socket_code(self) -> u16 {
        match self {
            Code::BadFrame | Code::BadHello | Code::Overrun => 1002,
            Code::Version
            | Code::Forbidden
            | Code::Origin
            | Code::UnknownApp
            | Code::BadManifest => 1008,
            Code::AppInUse | Code::Busy | Code::Memory | Code::TooSlow => 1013,
            Code::Stopping => 1001,
        }
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
