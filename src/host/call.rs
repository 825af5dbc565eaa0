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
    /// `tcp.send` by this socket, of so many bytes.
    Send(u64, usize),
    /// `tcp.create`, with this `bufferSize`.
    Create(Option<i32>),
    /// `tcp.update` of this socket's `bufferSize`.
    Resize(u64, i32),
    /// `tcp.close` of this socket.
    Close(u64),
    /// `tcp.secure` of this socket, which may close it.
    Secure(u64),
    /// `tcpServer.create`.
    CreateServer,
    /// `tcpServer.close` of this socket.
    CloseServer(u64),
    /// `getSockets`, whose answer may be long.
    List,
    Other,
}

/// A call that is right: what it is, and its outcome, once it is polled.
pub(super) struct Call {
    pub(super) kind: Kind,
    pub(super) start: Box<Start>,
}

impl Call {
    fn of(self, kind: Kind) -> Self {
        Call { kind, ..self }
    }
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
                let call = arguments.done(move |app| {
                    let created = app.tcp_server.create(properties);
                    answer(created, |created| created_socket(created.socket_id.get()))
                });
                call.map(|call| call.of(Kind::CreateServer))
            }
            _ => {
                let call = arguments.done(|app| answer(app.tcp_server.get_sockets(), server_infos));
                call.map(|call| call.of(Kind::List))
            }
        };
    }
    let number = arguments.id()?;
    let id = number.into();
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
        "close" => {
            let call = arguments.done(move |app| nothing(app.tcp_server.close(id)))?;
            Ok(call.of(Kind::CloseServer(number)))
        }
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
                let call = arguments.done(move |app| {
                    let created = app.tcp.create(properties);
                    answer(created, |created| created_socket(created.socket_id.get()))
                })?;
                Ok(call.of(Kind::Create(size)))
            }
            _ => {
                let call = arguments.done(|app| answer(app.tcp.get_sockets(), tcp_infos));
                call.map(|call| call.of(Kind::List))
            }
        };
    }
    let number = arguments.id()?;
    let id = number.into();
    match name {
        "update" => {
            let properties = arguments.tcp_properties()?;
            let size = properties.buffer_size;
            let call = arguments.done(move |app| nothing(app.tcp.update(id, properties)))?;
            let kind = size.map_or(Kind::Other, |size| Kind::Resize(number, size));
            Ok(call.of(kind))
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
            let call = arguments.done(move |app| {
                let secured = app.tcp.secure(id, options);
                code(secured, Some(NetError::INVALID_ARGUMENT))
            })?;
            Ok(call.of(Kind::Secure(number)))
        }
        "send" => {
            let data = arguments.data()?;
            let length = data.len();
            let call = arguments.done(move |app| sent(app.tcp.send(id, data)))?;
            Ok(call.of(Kind::Send(number, length)))
        }
        "close" => {
            let call = arguments.done(move |app| nothing(app.tcp.close(id)))?;
            Ok(call.of(Kind::Close(number)))
        }
        "getInfo" => arguments.done(move |app| answer(app.tcp.get_info(id), tcp_info)),
        _ => Err(arguments.unknown()),
    }
}
