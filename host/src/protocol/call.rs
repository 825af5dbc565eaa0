//! Reads the calls of an app's client. The input is untrusted.

use bytes::Bytes;
use chrome_sockets::{App, NetError, tls, udp};
use futures::FutureExt;
use futures::future::ready;
use serde_json::json;

use crate::excerpt::for_answer;
use crate::limits::HANDSHAKES;
use crate::protocol::arguments::{Arguments, CallError, TlsOptions};
use crate::protocol::frame::Data;
use crate::protocol::message::Message;
use crate::protocol::outcome::{
    Outcome, OutcomeFuture, code_outcome, empty_outcome, listen_outcome, pause_outcome,
    server_info, tcp_info, udp_info, value_outcome,
};
use crate::sessions::stats::Namespace;

/// What the session must know of a call to account for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// `tcp.send`: the socket, and the bytes of the data.
    Send(u64, usize),
    /// `udp.send`: the socket, the bytes of the data, and the address and port, to log a denial.
    SendTo(u64, usize, Box<str>, i32),
    /// `create`: the bytes of the name, and the `bufferSize`.
    Create(Namespace, usize, Option<i32>),
    /// `update`: the socket, the bytes of the name, and the `bufferSize`.
    Update(Namespace, u64, Option<usize>, Option<i32>),
    Close(Namespace, u64),
    /// `tcpServer.setTls`: the socket, and the bytes of certificates and key; `None` takes the
    /// TLS away.
    SetTls(u64, Option<usize>),
    /// `tcp.secure`, which closes the socket if the handshake fails.
    Secure(u64),
    /// One part of a `getSockets` answer.
    ListPart,
    /// `getInfo`, whose answer may be long.
    Info,
    /// `listen`, `connect` or `bind`: the function, address and port, to log a denial.
    Open(&'static str, Box<str>, i32),
    Other,
}

/// A valid call.
pub(crate) enum Call {
    /// `tcp.send`: the session charges the data to its quota before it starts the call.
    Send(u64, Bytes),
    /// `udp.send`, likewise.
    SendTo(Box<SendTo>),
    /// `getSockets`: the session answers it in parts.
    List(Namespace),
    Other(Kind, Box<StartCall>),
}

/// The arguments of `udp.send`.
pub(crate) struct SendTo {
    pub(crate) socket: u64,
    pub(crate) data: Bytes,
    pub(crate) address: String,
    pub(crate) port: i32,
    pub(crate) query_type: udp::DnsQueryType,
}

type StartCall = dyn FnOnce(&App) -> OutcomeFuture;

fn call<F>(arguments: Arguments<'_, '_>, kind: Kind, start: F) -> Result<Call, CallError>
where
    F: FnOnce(&App) -> OutcomeFuture + 'static,
{
    arguments.expect_end()?;
    Ok(Call::Other(kind, Box::new(start)))
}

fn list(arguments: Arguments<'_, '_>, namespace: Namespace) -> Result<Call, CallError> {
    arguments.expect_end()?;
    Ok(Call::List(namespace))
}

fn open(function: &'static str, address: &str, port: i32) -> Kind {
    Kind::Open(function, for_answer(address).to_string().into(), port)
}

/// Reads certificates and key. The error does not contain them.
fn tls_server(options: &TlsOptions) -> Result<tls::Server, tls::Error> {
    let (certificates, key) = (&options.certificates, &options.private_key);
    let server = tls::Server::from_pem(certificates.as_bytes(), key.as_bytes())?;
    let server = server.handshakes(HANDSHAKES);
    Ok(server.alpn(options.alpn.iter().map(String::as_str)))
}

fn created(id: u64) -> Outcome {
    Outcome {
        created: Some(id),
        ..Outcome::value(json!({ "socketId": id }))
    }
}

/// Reads a call.
pub(crate) fn read(message: Message<'_>, data: &mut Data) -> Result<Call, CallError> {
    let arguments = Arguments::read(message, data)?;
    let function = arguments.function.clone();
    match function.split_once('.') {
        Some(("tcpServer", name)) => read_server(name, arguments),
        Some(("tcp", name)) => read_tcp(name, arguments),
        Some(("udp", name)) => read_udp(name, arguments),
        Some(("system", "network.getNetworkInterfaces")) => network_interfaces(arguments),
        _ => Err(arguments.unknown_function()),
    }
}

fn network_interfaces(arguments: Arguments<'_, '_>) -> Result<Call, CallError> {
    call(arguments, Kind::Info, |app| {
        let interfaces = app.system_network.get_network_interfaces();
        value_outcome(interfaces, |interfaces| {
            let interfaces = interfaces.into_iter().map(|it| {
                json!({ "name": it.name, "address": it.address, "prefixLength": it.prefix_length })
            });
            Outcome::value(interfaces.collect())
        })
    })
}

fn read_server(name: &str, mut arguments: Arguments<'_, '_>) -> Result<Call, CallError> {
    match name {
        "create" => {
            let properties = arguments.server_properties()?;
            let length = properties.name.as_ref().map_or(0, String::len);
            let kind = Kind::Create(Namespace::Server, length, None);
            return call(arguments, kind, move |app| {
                let answer = app.tcp_server.create(properties);
                value_outcome(answer, |info| created(info.socket_id.get()))
            });
        }
        "getSockets" => return list(arguments, Namespace::Server),
        // All other functions begin with a socket id.
        _ => {}
    }
    let number = arguments.socket_id()?;
    let id = number.into();
    match name {
        "update" => {
            let properties = arguments.server_properties()?;
            let length = properties.name.as_ref().map(String::len);
            let kind = Kind::Update(Namespace::Server, number, length, None);
            call(arguments, kind, move |app| {
                empty_outcome(app.tcp_server.update(id, properties))
            })
        }
        "setPaused" => {
            let is_paused = arguments.flag()?;
            call(arguments, Kind::Other, move |app| {
                pause_outcome(app.tcp_server.set_paused(id, is_paused))
            })
        }
        "listen" => {
            let (address, port) = (arguments.text()?, arguments.int()?);
            let backlog = arguments.optional_int()?;
            let kind = open("listen", &address, port);
            call(arguments, kind, move |app| {
                listen_outcome(app.tcp_server.listen(id, address, port, backlog))
            })
        }
        "setTls" => {
            let options = arguments.tls_options()?;
            let kind = Kind::SetTls(number, options.as_ref().map(TlsOptions::bytes));
            call(arguments, kind, move |app| {
                match options.as_ref().map(tls_server).transpose() {
                    Ok(tls) => empty_outcome(app.tcp_server.set_tls(id, tls)),
                    Err(error) => {
                        let text = format!("Invalid certificate or key: {error}");
                        ready(Outcome::refused(text)).boxed_local()
                    }
                }
            })
        }
        "disconnect" => call(arguments, Kind::Other, move |app| {
            empty_outcome(app.tcp_server.disconnect(id))
        }),
        "close" => {
            let kind = Kind::Close(Namespace::Server, number);
            call(arguments, kind, move |app| {
                empty_outcome(app.tcp_server.close(id))
            })
        }
        "getInfo" => call(arguments, Kind::Info, move |app| {
            let info = app.tcp_server.get_info(id);
            value_outcome(info, |info| Outcome::value(server_info(info)))
        }),
        _ => Err(arguments.unknown_function()),
    }
}

fn read_tcp(name: &str, mut arguments: Arguments<'_, '_>) -> Result<Call, CallError> {
    match name {
        "create" => {
            let properties = arguments.tcp_properties()?;
            let length = properties.name.as_ref().map_or(0, String::len);
            let kind = Kind::Create(Namespace::Client, length, properties.buffer_size);
            return call(arguments, kind, move |app| {
                let answer = app.tcp.create(properties);
                value_outcome(answer, |info| created(info.socket_id.get()))
            });
        }
        "getSockets" => return list(arguments, Namespace::Client),
        _ => {}
    }
    let number = arguments.socket_id()?;
    let id = number.into();
    match name {
        "update" => {
            let properties = arguments.tcp_properties()?;
            let length = properties.name.as_ref().map(String::len);
            let kind = Kind::Update(Namespace::Client, number, length, properties.buffer_size);
            call(arguments, kind, move |app| {
                empty_outcome(app.tcp.update(id, properties))
            })
        }
        "setPaused" => {
            let is_paused = arguments.flag()?;
            call(arguments, Kind::Other, move |app| {
                pause_outcome(app.tcp.set_paused(id, is_paused))
            })
        }
        "setKeepAlive" => {
            let (enable, delay) = (arguments.flag()?, arguments.optional_int()?);
            call(arguments, Kind::Other, move |app| {
                let set = app.tcp.set_keep_alive(id, enable, delay);
                code_outcome(set, Some(NetError::FAILED))
            })
        }
        "setNoDelay" => {
            let no_delay = arguments.flag()?;
            call(arguments, Kind::Other, move |app| {
                code_outcome(app.tcp.set_no_delay(id, no_delay), Some(NetError::FAILED))
            })
        }
        "connect" => {
            let (address, port) = (arguments.text()?, arguments.int()?);
            let query_type = arguments.dns_query_type()?;
            let kind = open("connect", &address, port);
            call(arguments, kind, move |app| {
                code_outcome(app.tcp.connect(id, address, port, query_type), None)
            })
        }
        "disconnect" => call(arguments, Kind::Other, move |app| {
            empty_outcome(app.tcp.disconnect(id))
        }),
        "secure" => {
            let options = arguments.secure_options()?;
            call(arguments, Kind::Secure(number), move |app| {
                let secured = app.tcp.secure(id, options);
                code_outcome(secured, Some(NetError::INVALID_ARGUMENT))
            })
        }
        "send" => {
            let data = arguments.data()?;
            arguments.expect_end()?;
            Ok(Call::Send(number, data))
        }
        "close" => {
            let kind = Kind::Close(Namespace::Client, number);
            call(arguments, kind, move |app| empty_outcome(app.tcp.close(id)))
        }
        "getInfo" => call(arguments, Kind::Info, move |app| {
            let info = app.tcp.get_info(id);
            value_outcome(info, |info| Outcome::value(tcp_info(info)))
        }),
        _ => Err(arguments.unknown_function()),
    }
}

fn read_udp(name: &str, mut arguments: Arguments<'_, '_>) -> Result<Call, CallError> {
    match name {
        "create" => {
            let properties = arguments.udp_properties()?;
            let length = properties.name.as_ref().map_or(0, String::len);
            let kind = Kind::Create(Namespace::Udp, length, None);
            return call(arguments, kind, move |app| {
                let answer = app.udp.create(properties);
                value_outcome(answer, |info| created(info.socket_id.get()))
            });
        }
        "getSockets" => return list(arguments, Namespace::Udp),
        _ => {}
    }
    let number = arguments.socket_id()?;
    let id = number.into();
    match name {
        "update" => {
            let properties = arguments.udp_properties()?;
            let length = properties.name.as_ref().map(String::len);
            let kind = Kind::Update(Namespace::Udp, number, length, None);
            call(arguments, kind, move |app| {
                empty_outcome(app.udp.update(id, properties))
            })
        }
        "setPaused" => {
            let is_paused = arguments.flag()?;
            call(arguments, Kind::Other, move |app| {
                pause_outcome(app.udp.set_paused(id, is_paused))
            })
        }
        "bind" => {
            let (address, port) = (arguments.text()?, arguments.int()?);
            let kind = open("bind", &address, port);
            call(arguments, kind, move |app| {
                code_outcome(app.udp.bind(id, address, port), None)
            })
        }
        "send" => {
            let send = SendTo {
                socket: number,
                data: arguments.data()?,
                address: arguments.text()?,
                port: arguments.int()?,
                query_type: arguments.dns_query_type()?,
            };
            arguments.expect_end()?;
            Ok(Call::SendTo(Box::new(send)))
        }
        "close" => {
            let kind = Kind::Close(Namespace::Udp, number);
            call(arguments, kind, move |app| empty_outcome(app.udp.close(id)))
        }
        "getInfo" => call(arguments, Kind::Info, move |app| {
            let info = app.udp.get_info(id);
            value_outcome(info, |info| Outcome::value(udp_info(info)))
        }),
        "joinGroup" => {
            let group = arguments.text()?;
            call(arguments, Kind::Other, move |app| {
                code_outcome(app.udp.join_group(id, group), None)
            })
        }
        "leaveGroup" => {
            let group = arguments.text()?;
            call(arguments, Kind::Other, move |app| {
                code_outcome(app.udp.leave_group(id, group), None)
            })
        }
        "getJoinedGroups" => call(arguments, Kind::Info, move |app| {
            value_outcome(app.udp.get_joined_groups(id), |groups| {
                let groups = groups.iter().map(ToString::to_string);
                Outcome::value(groups.collect::<Vec<_>>().into())
            })
        }),
        "setMulticastTimeToLive" => {
            let time_to_live = arguments.int()?;
            call(arguments, Kind::Other, move |app| {
                code_outcome(app.udp.set_multicast_time_to_live(id, time_to_live), None)
            })
        }
        "setMulticastLoopbackMode" => {
            let enabled = arguments.flag()?;
            call(arguments, Kind::Other, move |app| {
                code_outcome(app.udp.set_multicast_loopback_mode(id, enabled), None)
            })
        }
        "setBroadcast" => {
            let enabled = arguments.flag()?;
            call(arguments, Kind::Other, move |app| {
                code_outcome(app.udp.set_broadcast(id, enabled), None)
            })
        }
        _ => Err(arguments.unknown_function()),
    }
}
