//! How a connection ends: the code for the client, and a text for people.

use serde_json::json;

use crate::excerpt::line;
use crate::protocol::frame::FrameError;
use crate::protocol::outbox::Overrun;
use crate::sessions::budget::Unread;

/// The host's last word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CloseReason {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// The codes of the protocol, each with the code that ends a WebSocket.
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

    /// The code with which the WebSocket is closed (RFC 6455, 7.4.1).
    pub(crate) fn web_socket(self) -> u16 {
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
    /// The message may repeat what a client said: it is cut and escaped.
    pub(crate) fn new(code: Code, message: impl ToString) -> Self {
        CloseReason {
            code,
            message: line(&message.to_string()).to_string(),
        }
    }

    /// The key of the last frame.
    pub(crate) fn key(&self) -> String {
        let end = json!({ "code": self.code.name(), "message": self.message });
        format!(r#""end":{end}"#)
    }
}

impl From<Unread> for CloseReason {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => CloseReason::new(Code::BadFrame, "a frame is too large"),
            Unread::Full => {
                CloseReason::new(Code::Memory, "all clients together hold too much memory")
            }
        }
    }
}

impl From<FrameError> for CloseReason {
    fn from(error: FrameError) -> Self {
        CloseReason::new(Code::BadFrame, error)
    }
}

impl From<Overrun> for CloseReason {
    fn from(_: Overrun) -> Self {
        CloseReason::new(
            Code::Overrun,
            "a frame is acknowledged that was not sent, or far too few are",
        )
    }
}
