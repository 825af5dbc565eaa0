//! A call of a client: what it asks for, and what does it. What it reads is
//! anybody's.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::excerpt::{Excerpt, REPEATED};
use crate::protocol::arguments::Arguments;
use crate::protocol::frame::{Data, FrameError};
use crate::protocol::message::Message;
use crate::protocol::outcome::{
    Outcome, answer, code, created_socket, nothing, paused_now, sent, server_info, tcp_info,
};
use crate::sessions::stats::Namespace;
use chrome_sockets::App;
use chrome_sockets::NetError;

/// What there is to know of a call besides its outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// `tcp.send` by this socket, of so many bytes.
    Send(u64, usize),
    /// `create`, with a name of so many bytes and this `bufferSize`.
    Create(Namespace, usize, Option<i32>),
    /// `update` of this socket: its name's bytes, and its `bufferSize`.
    Update(Namespace, u64, Option<usize>, Option<i32>),
    /// `close` of this socket.
    Close(Namespace, u64),
    /// `tcp.secure` of this socket, which may close it.
    Secure(u64),
    /// `getSockets`: answered in parts, which its session makes.
    List(Namespace),
    /// A part of a list.
    Part,
    /// `getInfo`, whose answer may be long.
    Info,
    /// `listen` or `connect`: where, for the log.
    Reach(&'static str, Box<str>, i32),
    Other,
}

/// A call that is right: what it is, and its outcome, once it is polled.
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) start: Start,
}

/// What has an app carry a call out.
pub(crate) enum Start {
    Call(Box<StartCall>),
    Send(u64, Bytes),
}

impl Call {
    fn of(self, kind: Kind) -> Self {
        Call { kind, ..self }
    }

    /// A `tcp.send`: its data is given when it starts, counted for as long as it is kept.
    fn send(socket: u64, data: Bytes) -> Self {
        Call {
            kind: Kind::Send(socket, data.len()),
            start: Start::Send(socket, data),
        }
    }
}

type StartCall = dyn FnOnce(&App) -> LocalBoxFuture<'static, Outcome>;

/// Why a call is not carried out.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum CallError {
    /// It alone: it is answered.
    Call(String),
    /// The whole frame.
    Frame(FrameError),
}

impl From<FrameError> for CallError {
    fn from(error: FrameError) -> Self {
        CallError::Frame(error)
    }
}

impl Start {
    /// `data` is what is sent, if it is a send.
    pub(crate) fn begin(self, app: &App) -> LocalBoxFuture<'static, Outcome> {
        match self {
            Start::Call(call) => call(app),
            Start::Send(socket, data) => sent(app.tcp.send(socket.into(), data)),
        }
    }
}

/// Where a call goes, as the log tells it.
fn reach(function: &'static str, address: &str, port: i32) -> Kind {
    let address = Excerpt(address, REPEATED).to_string();
    Kind::Reach(function, address.into(), port)
}

/// A list is not made here.
fn listed() -> LocalBoxFuture<'static, Outcome> {
    std::future::ready(Outcome::default()).boxed_local()
}

/// Reads a call.
pub(crate) fn read(message: Message<'_>, data: &mut Data) -> Result<Call, CallError> {
    let Some((function, left)) = message.into_call() else {
        return Err(CallError::Call(
            "Invalid call: it names no function".to_owned(),
        ));
    };
    let arguments = Arguments {
        function,
        left,
        data,
    };
    let function = arguments.function.clone();
    match function.split_once('.') {
        Some(("tcpServer", name)) => read_server(name, arguments),
        Some(("tcp", name)) => read_tcp(name, arguments),
        _ => Err(arguments.unknown()),
    }
}

fn read_server(name: &str, mut arguments: Arguments<'_, '_>) -> Result<Call, CallError> {
    if let "create" | "getSockets" = name {
        return match name {
            "create" => {
                let properties = arguments.server_properties()?;
                let name = properties.name.as_ref().map_or(0, String::len);
                let call = arguments.done(move |app| {
                    let created = app.tcp_server.create(properties);
                    answer(created, |created| created_socket(created.socket_id.get()))
                });
                call.map(|call| call.of(Kind::Create(Namespace::Server, name, None)))
            }
            _ => {
                let call = arguments.done(|_| listed());
                call.map(|call| call.of(Kind::List(Namespace::Server)))
            }
        };
    }
    let number = arguments.id()?;
    let id = number.into();
    match name {
        "update" => {
            let properties = arguments.server_properties()?;
            let name = properties.name.as_ref().map(String::len);
            let call = arguments.done(move |app| nothing(app.tcp_server.update(id, properties)))?;
            Ok(call.of(Kind::Update(Namespace::Server, number, name, None)))
        }
        "setPaused" => {
            let paused = arguments.flag()?;
            arguments.done(move |app| paused_now(app.tcp_server.set_paused(id, paused)))
        }
        "listen" => {
            let (address, port) = (arguments.text()?, arguments.int()?);
            let backlog = arguments.optional_int()?;
            let kind = reach("listen", &address, port);
            let call = arguments.done(move |app| {
                let listening = app.tcp_server.listen(id, address, port, backlog);
                code(listening, None)
            })?;
            Ok(call.of(kind))
        }
        "disconnect" => arguments.done(move |app| nothing(app.tcp_server.disconnect(id))),
        "close" => {
            let call = arguments.done(move |app| nothing(app.tcp_server.close(id)))?;
            Ok(call.of(Kind::Close(Namespace::Server, number)))
        }
        "getInfo" => {
            let info = move |app: &App| answer(app.tcp_server.get_info(id), server_info);
            Ok(arguments.done(info)?.of(Kind::Info))
        }
        _ => Err(arguments.unknown()),
    }
}

fn read_tcp(name: &str, mut arguments: Arguments<'_, '_>) -> Result<Call, CallError> {
    if let "create" | "getSockets" = name {
        return match name {
            "create" => {
                let properties = arguments.tcp_properties()?;
                let name = properties.name.as_ref().map_or(0, String::len);
                let size = properties.buffer_size;
                let call = arguments.done(move |app| {
                    let created = app.tcp.create(properties);
                    answer(created, |created| created_socket(created.socket_id.get()))
                })?;
                Ok(call.of(Kind::Create(Namespace::Client, name, size)))
            }
            _ => {
                let call = arguments.done(|_| listed());
                call.map(|call| call.of(Kind::List(Namespace::Client)))
            }
        };
    }
    let number = arguments.id()?;
    let id = number.into();
    match name {
        "update" => {
            let properties = arguments.tcp_properties()?;
            let name = properties.name.as_ref().map(String::len);
            let size = properties.buffer_size;
            let call = arguments.done(move |app| nothing(app.tcp.update(id, properties)))?;
            Ok(call.of(Kind::Update(Namespace::Client, number, name, size)))
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
            let kind = reach("connect", &address, port);
            let connect = move |app: &App| code(app.tcp.connect(id, address, port, family), None);
            Ok(arguments.done(connect)?.of(kind))
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
            arguments.end()?;
            Ok(Call::send(number, data))
        }
        "close" => {
            let call = arguments.done(move |app| nothing(app.tcp.close(id)))?;
            Ok(call.of(Kind::Close(Namespace::Client, number)))
        }
        "getInfo" => {
            let info = move |app: &App| answer(app.tcp.get_info(id), tcp_info);
            Ok(arguments.done(info)?.of(Kind::Info))
        }
        _ => Err(arguments.unknown()),
    }
}
