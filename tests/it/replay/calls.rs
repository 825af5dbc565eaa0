//! Recorded calls as calls of this crate, and their answers in Chrome's form.

use std::net::IpAddr;

use chrome_sockets::tcp::{DnsQueryType, TlsVersionConstraints};
use chrome_sockets::{App, Error, NetError, tcp, tcp_server, udp};
use serde_json::{Value, json};

use super::step::Step;

/// Calls a function of an app: `{result: [callback arguments], lastError?}`.
pub async fn call(app: &App, step: &Step<'_>, function: &str, args: &[Value]) -> Value {
    match function.split_once('.') {
        Some(("tcpServer", function)) => call_server(app, step, function, args).await,
        Some(("tcp", function)) => call_tcp(app, step, function, args).await,
        Some(("udp", function)) => call_udp(app, step, function, args).await,
        _ => step.fail("the namespace is not known here"),
    }
}

async fn call_server(app: &App, step: &Step<'_>, function: &str, args: &[Value]) -> Value {
    let server = &app.tcp_server;
    let id = |value| step.id(value).into();
    match (function, args) {
        ("create", [properties]) => {
            let created = server.create(server_properties(step, properties)).await;
            let id = created.map(|created| json!([{ "socketId": created.socket_id.get() }]));
            answer(id, nothing)
        }
        ("update", [socket, properties]) => {
            let properties = server_properties(step, properties);
            done(server.update(id(socket), properties).await)
        }
        ("setPaused", [socket, paused]) => {
            done(server.set_paused(id(socket), step.flag(paused)).await)
        }
        ("listen", [socket, address, port, backlog @ ..]) if backlog.len() < 2 => {
            let (address, port) = (step.string(address), step.int(port));
            let backlog = backlog.first().map(|backlog| step.int(backlog));
            let listening = server.listen(id(socket), address, port, backlog).await;
            answer(listening.map(|()| json!([0])), code)
        }
        ("disconnect", [socket]) => done(server.disconnect(id(socket)).await),
        ("close", [socket]) => done(server.close(id(socket)).await),
        ("getInfo", [socket]) => {
            let info = server.get_info(id(socket)).await;
            answer(info.map(|info| json!([server_info(info)])), nothing)
        }
        ("getSockets", []) => {
            let infos = server.get_sockets().await;
            let list = infos.map(|infos| infos.into_iter().map(server_info).collect::<Value>());
            answer(list.map(|list| json!([list])), nothing)
        }
        _ => step.fail("the call is not known here"),
    }
}

async fn call_tcp(app: &App, step: &Step<'_>, function: &str, args: &[Value]) -> Value {
    let tcp = &app.tcp;
    let id = |value| step.id(value).into();
    match (function, args) {
        ("create", [properties]) => {
            let created = tcp.create(tcp_properties(step, properties)).await;
            let id = created.map(|created| json!([{ "socketId": created.socket_id.get() }]));
            answer(id, nothing)
        }
        ("update", [socket, properties]) => {
            let properties = tcp_properties(step, properties);
            done(tcp.update(id(socket), properties).await)
        }
        ("setPaused", [socket, paused]) => {
            done(tcp.set_paused(id(socket), step.flag(paused)).await)
        }
        ("setKeepAlive", [socket, enable, delay @ ..]) if delay.len() < 2 => {
            let enable = step.flag(enable);
            let delay = delay.first().map(|delay| step.int(delay));
            let set = tcp.set_keep_alive(id(socket), enable, delay).await;
            answer(set.map(|()| json!([0])), option_code)
        }
        ("setNoDelay", [socket, no_delay]) => {
            let set = tcp.set_no_delay(id(socket), step.flag(no_delay)).await;
            answer(set.map(|()| json!([0])), option_code)
        }
        ("connect", [socket, address, port, query @ ..]) if query.len() < 2 => {
            let (address, port) = (step.string(address), step.int(port));
            let query = match query.first().map(|query| step.string(query)) {
                None | Some("any") => DnsQueryType::Any,
                Some("ipv4") => DnsQueryType::Ipv4,
                Some("ipv6") => DnsQueryType::Ipv6,
                Some(_) => step.fail("the query type is not known here"),
            };
            let connected = tcp.connect(id(socket), address, port, query).await;
            answer(connected.map(|()| json!([0])), code)
        }
        ("secure", [socket, options @ ..]) if options.len() < 2 => {
            let options = options.first();
            let options = options.map_or_else(Default::default, |it| secure_options(step, it));
            let secured = tcp.secure(id(socket), options).await;
            answer(secured.map(|()| json!([0])), secure_code)
        }
        ("disconnect", [socket]) => done(tcp.disconnect(id(socket)).await),
        ("send", [socket, data]) => {
            let data = step.data(data);
            let sent = tcp.send(id(socket), data).await;
            let info = sent.map(|sent| json!([{ "resultCode": 0, "bytesSent": sent.bytes_sent }]));
            answer(info, send_code)
        }
        ("close", [socket]) => done(tcp.close(id(socket)).await),
        ("getInfo", [socket]) => {
            let info = tcp.get_info(id(socket)).await;
            answer(info.map(|info| json!([tcp_info(info)])), nothing)
        }
        ("getSockets", []) => {
            let infos = tcp.get_sockets().await;
            let list = infos.map(|infos| infos.into_iter().map(tcp_info).collect::<Value>());
            answer(list.map(|list| json!([list])), nothing)
        }
        _ => step.fail("the call is not known here"),
    }
}

async fn call_udp(app: &App, step: &Step<'_>, function: &str, args: &[Value]) -> Value {
    let udp = &app.udp;
    let id = |value| step.id(value).into();
    let zero = |done: Result<(), Error>| answer(done.map(|()| json!([0])), code);
    match (function, args) {
        ("create", [properties]) => {
            let created = udp.create(udp_properties(step, properties)).await;
            let id = created.map(|created| json!([{ "socketId": created.socket_id.get() }]));
            answer(id, nothing)
        }
        ("update", [socket, properties]) => {
            let properties = udp_properties(step, properties);
            done(udp.update(id(socket), properties).await)
        }
        ("setPaused", [socket, paused]) => {
            done(udp.set_paused(id(socket), step.flag(paused)).await)
        }
        ("bind", [socket, address, port]) => {
            let (address, port) = (step.string(address), step.int(port));
            zero(udp.bind(id(socket), address, port).await)
        }
        ("send", [socket, data, address, port]) => {
            let (address, port) = (step.string(address), step.int(port));
            let (data, query) = (step.data(data), DnsQueryType::Any);
            let sent = udp.send(id(socket), data, address, port, query).await;
            let info = sent.map(|sent| json!([{ "resultCode": 0, "bytesSent": sent.bytes_sent }]));
            answer(info, send_code)
        }
        ("close", [socket]) => done(udp.close(id(socket)).await),
        ("getInfo", [socket]) => {
            let info = udp.get_info(id(socket)).await;
            answer(info.map(|info| json!([udp_info(info)])), nothing)
        }
        ("getSockets", []) => {
            let infos = udp.get_sockets().await;
            let list = infos.map(|infos| infos.into_iter().map(udp_info).collect::<Value>());
            answer(list.map(|list| json!([list])), nothing)
        }
        ("joinGroup", [socket, group]) => {
            zero(udp.join_group(id(socket), step.string(group)).await)
        }
        ("leaveGroup", [socket, group]) => {
            zero(udp.leave_group(id(socket), step.string(group)).await)
        }
        ("getJoinedGroups", [socket]) => {
            let groups = udp.get_joined_groups(id(socket)).await;
            let groups = groups.map(|groups| groups.iter().map(ToString::to_string).collect());
            answer(groups.map(|groups: Vec<String>| json!([groups])), nothing)
        }
        ("setMulticastTimeToLive", [socket, ttl]) => zero(
            udp.set_multicast_time_to_live(id(socket), step.int(ttl))
                .await,
        ),
        ("setMulticastLoopbackMode", [socket, enabled]) => zero(
            udp.set_multicast_loopback_mode(id(socket), step.flag(enabled))
                .await,
        ),
        ("setBroadcast", [socket, enabled]) => {
            zero(udp.set_broadcast(id(socket), step.flag(enabled)).await)
        }
        _ => step.fail("the call is not known here"),
    }
}

/// An answer from the callback's arguments; failures have their own form.
fn answer(outcome: Result<Value, Error>, failed: fn(Error) -> Value) -> Value {
    match outcome {
        Ok(arguments) => json!({ "result": arguments }),
        Err(error) => json!({ "result": failed(error), "lastError": error.last_error() }),
    }
}

/// The answer of a function whose callback has no arguments.
fn done(outcome: Result<(), Error>) -> Value {
    answer(outcome.map(|()| json!([])), nothing)
}

fn nothing(_: Error) -> Value {
    json!([])
}

fn code(error: Error) -> Value {
    error
        .net_error()
        .map_or(json!([]), |error| json!([error.code()]))
}

fn send_code(error: Error) -> Value {
    error
        .net_error()
        .map_or(json!([]), |error| json!([{ "resultCode": error.code() }]))
}

/// The two functions that set an option answer a code for an unknown socket.
fn option_code(error: Error) -> Value {
    match error {
        Error::SocketNotFound => json!([NetError::FAILED.code()]),
        error => code(error),
    }
}

/// `secure` does so too, with another code.
fn secure_code(error: Error) -> Value {
    match error {
        Error::SocketNotFound => json!([NetError::INVALID_ARGUMENT.code()]),
        error => code(error),
    }
}

fn secure_options(step: &Step<'_>, json: &Value) -> tcp::SecureOptions {
    let mut options = tcp::SecureOptions::default();
    for (field, value) in step.object(json) {
        match field.as_str() {
            "tlsVersion" => {
                let name = |end: &str| value.get(end).map(|name| step.string(name));
                let versions = TlsVersionConstraints::from_names(name("min"), name("max"));
                options.tls_version = Some(versions);
            }
            _ => step.fail(format_args!("the option {field} is not known here")),
        }
    }
    options
}

fn server_properties(step: &Step<'_>, json: &Value) -> tcp_server::SocketProperties {
    let mut properties = tcp_server::SocketProperties::default();
    for (field, value) in step.object(json) {
        match field.as_str() {
            "persistent" => properties.persistent = Some(step.flag(value)),
            "name" => properties.name = Some(step.string(value).to_owned()),
            _ => step.fail(format_args!("the property {field} is not known here")),
        }
    }
    properties
}

fn tcp_properties(step: &Step<'_>, json: &Value) -> tcp::SocketProperties {
    let mut properties = tcp::SocketProperties::default();
    for (field, value) in step.object(json) {
        match field.as_str() {
            "persistent" => properties.persistent = Some(step.flag(value)),
            "name" => properties.name = Some(step.string(value).to_owned()),
            "bufferSize" => properties.buffer_size = Some(step.int(value)),
            _ => step.fail(format_args!("the property {field} is not known here")),
        }
    }
    properties
}

fn udp_properties(step: &Step<'_>, json: &Value) -> udp::SocketProperties {
    let mut properties = udp::SocketProperties::default();
    for (field, value) in step.object(json) {
        match field.as_str() {
            "persistent" => properties.persistent = Some(step.flag(value)),
            "name" => properties.name = Some(step.string(value).to_owned()),
            "bufferSize" => properties.buffer_size = Some(step.int(value)),
            _ => step.fail(format_args!("the property {field} is not known here")),
        }
    }
    properties
}

fn udp_info(info: udp::SocketInfo) -> Value {
    present(json!({
        "socketId": info.socket_id.get(),
        "persistent": info.persistent,
        "name": info.name,
        "bufferSize": info.buffer_size,
        "paused": info.paused,
        "localAddress": text(info.local_address),
        "localPort": info.local_port,
    }))
}

fn server_info(info: tcp_server::SocketInfo) -> Value {
    present(json!({
        "socketId": info.socket_id.get(),
        "persistent": info.persistent,
        "name": info.name,
        "paused": info.paused,
        "localAddress": text(info.local_address),
        "localPort": info.local_port,
    }))
}

fn tcp_info(info: tcp::SocketInfo) -> Value {
    present(json!({
        "socketId": info.socket_id.get(),
        "persistent": info.persistent,
        "name": info.name,
        "bufferSize": info.buffer_size,
        "paused": info.paused,
        "connected": info.connected,
        "localAddress": text(info.local_address),
        "localPort": info.local_port,
        "peerAddress": text(info.peer_address),
        "peerPort": info.peer_port,
    }))
}

fn text(address: Option<IpAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}

/// Chrome omits absent fields.
fn present(mut info: Value) -> Value {
    if let Some(fields) = info.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    info
}
