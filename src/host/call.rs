//! A call of a client: what it asks for, and what does it. What it reads is
//! anybody's.

use futures::future::LocalBoxFuture;
use serde_json::Value;

use super::arguments::Arguments;
use super::frame::{Data, FrameError};
use super::outcome::{
    Outcome, answer, code, created_socket, nothing, paused_now, sent, server_info, server_infos,
    tcp_info, tcp_infos,
};
use crate::app::App;
use crate::net_error::NetError;

/// What there is to know of a call besides its outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `tcp.send` of so many bytes.
    Send(usize),
    /// `tcp.create`, with this `bufferSize`.
    Create(Option<i32>),
    /// `tcp.update` of this socket's `bufferSize`.
    Resize(u64, i32),
    /// `tcp.close` of this socket, or `tcp.secure`, which may close it.
    Close(u64),
    Other,
}

/// A call that is right: what it is, and its outcome, once it is polled.
pub(super) struct Call {
    pub(super) kind: Kind,
    pub(super) start: Box<Start>,
}

/// Has an app do it.
type Start = dyn FnOnce(&App) -> LocalBoxFuture<'static, Outcome>;

/// Why a call is not carried out.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// It alone: it is answered.
    Call(String),
    /// The whole frame.
    Frame(FrameError),
}

impl From<FrameError> for Wrong {
    fn from(error: FrameError) -> Self {
        Wrong::Frame(error)
    }
}

/// Reads a call, after its id.
pub(super) fn read(call: &mut [Value], data: &mut Data) -> Result<Call, Wrong> {
    let Some((Value::String(function), arguments)) = call.split_first_mut() else {
        return Err(Wrong::Call("Invalid call: it names no function".to_owned()));
    };
    let arguments = Arguments {
        function,
        left: arguments,
        data,
    };
    match arguments.function.split_once('.') {
        Some(("tcpServer", name)) => read_server(name, arguments),
        Some(("tcp", name)) => read_tcp(name, arguments),
        _ => Err(arguments.unknown()),
    }
}

fn read_server(name: &str, mut arguments: Arguments<'_>) -> Result<Call, Wrong> {
    if let "create" | "getSockets" = name {
        return match name {
            "create" => {
                let properties = arguments.server_properties()?;
                arguments.done(move |app| {
                    let created = app.tcp_server.create(properties);
                    answer(created, |created| created_socket(created.socket_id.get()))
                })
            }
            _ => arguments.done(|app| answer(app.tcp_server.get_sockets(), server_infos)),
        };
    }
    let id = arguments.id()?.into();
    match name {
        "update" => {
            let properties = arguments.server_properties()?;
            arguments.done(move |app| nothing(app.tcp_server.update(id, properties)))
        }
        "setPaused" => {
            let paused = arguments.flag()?;
            arguments.done(move |app| paused_now(app.tcp_server.set_paused(id, paused)))
        }
        "listen" => {
            let (address, port) = (arguments.text()?, arguments.int()?);
            let backlog = arguments.optional_int()?;
            arguments.done(move |app| {
                let listening = app.tcp_server.listen(id, address, port, backlog);
                code(listening, None)
            })
        }
        "disconnect" => arguments.done(move |app| nothing(app.tcp_server.disconnect(id))),
        "close" => arguments.done(move |app| nothing(app.tcp_server.close(id))),
        "getInfo" => arguments.done(move |app| answer(app.tcp_server.get_info(id), server_info)),
        _ => Err(arguments.unknown()),
    }
}

fn read_tcp(name: &str, mut arguments: Arguments<'_>) -> Result<Call, Wrong> {
    if let "create" | "getSockets" = name {
        return match name {
            "create" => {
                let properties = arguments.tcp_properties()?;
                let size = properties.buffer_size;
                let mut call = arguments.done(move |app| {
                    let created = app.tcp.create(properties);
                    answer(created, |created| created_socket(created.socket_id.get()))
                })?;
                call.kind = Kind::Create(size);
                Ok(call)
            }
            _ => arguments.done(|app| answer(app.tcp.get_sockets(), tcp_infos)),
        };
    }
    let number = arguments.id()?;
    let id = number.into();
    match name {
        "update" => {
            let properties = arguments.tcp_properties()?;
            let size = properties.buffer_size;
            let mut call = arguments.done(move |app| nothing(app.tcp.update(id, properties)))?;
            if let Some(size) = size {
                call.kind = Kind::Resize(number, size);
            }
            Ok(call)
        }
        "setPaused" => {
            let paused = arguments.flag()?;
            arguments.done(move |app| paused_now(app.tcp.set_paused(id, paused)))
        }
        "setKeepAlive" => {
            let enable = arguments.flag()?;
            let delay = arguments.optional_int()?;
            arguments.done(move |app| {
                let set = app.tcp.set_keep_alive(id, enable, delay);
                code(set, Some(NetError::FAILED))
            })
        }
        "setNoDelay" => {
            let no_delay = arguments.flag()?;
            arguments.done(move |app| {
                let set = app.tcp.set_no_delay(id, no_delay);
                code(set, Some(NetError::FAILED))
            })
        }
        "connect" => {
            let (address, port) = (arguments.text()?, arguments.int()?);
            let family = arguments.dns_query_type()?;
            arguments.done(move |app| code(app.tcp.connect(id, address, port, family), None))
        }
        "disconnect" => arguments.done(move |app| nothing(app.tcp.disconnect(id))),
        "secure" => {
            let options = arguments.secure_options()?;
            let mut call = arguments.done(move |app| {
                let secured = app.tcp.secure(id, options);
                code(secured, Some(NetError::INVALID_ARGUMENT))
            })?;
            call.kind = Kind::Close(number);
            Ok(call)
        }
        "send" => {
            let data = arguments.data()?;
            let length = data.len();
            let mut call = arguments.done(move |app| sent(app.tcp.send(id, data)))?;
            call.kind = Kind::Send(length);
            Ok(call)
        }
        "close" => {
            let mut call = arguments.done(move |app| nothing(app.tcp.close(id)))?;
            call.kind = Kind::Close(number);
            Ok(call)
        }
        "getInfo" => arguments.done(move |app| answer(app.tcp.get_info(id), tcp_info)),
        _ => Err(arguments.unknown()),
    }
}
