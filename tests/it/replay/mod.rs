//! Replays the steps of one recording, and compares.

mod calls;
mod names;
mod peers;
mod step;

use std::future::ready;
use std::time::Duration;

use actix::{Addr, Handler};
use chrome_sockets::{
    AddListener, App, ClientSocketId, Event, OnEvent, Permissions, Registry, RemoveListener,
};
use futures::future::{FutureExt, LocalBoxFuture};
use serde_json::{Value, json};
use support::{LIMIT, Listener, ListenerEvent, TestApp, within};
use tokio::time::{Instant, sleep, timeout_at};

use self::names::{Kind, Names};
use self::peers::Peers;
use self::step::{Step, binary};
use super::Recording;

/// How much later than in the recording something may come: a busy machine is no fault. Shorter
/// than [`LIMIT`], so that the mismatch is reported here.
const EXTRA_TIME: Duration = Duration::from_secs(LIMIT.as_secs() / 2);

/// Replays a recording, and fails at the first step with another answer.
pub async fn replay(recording: &Recording) {
    let name = recording.name;
    let recorded: Value = serde_json::from_str(recording.text).expect("a recording is JSON");
    for (field, value) in recorded.as_object().expect("a recording is an object") {
        let is_known = match field.as_str() {
            "name" => value == name,
            "steps" | "chromeVersion" | "deviation" | "sockets" => true,
            "chunks" => value.is_boolean(),
            _ => false,
        };
        assert!(is_known, "{name}: {field:?}: {value} is not known here");
    }
    let test = TestApp::new().await;
    let permissions = match recorded.get("sockets") {
        Some(_) => Permissions::from_manifest(recording.text).expect("a recording is a manifest"),
        None => Permissions::all(),
    };
    let set = test.app.set_permissions(permissions).await;
    set.expect("the registry runs");
    let mut replay = Replay {
        test,
        names: Names::default(),
        peers: Peers::default(),
        unanswered: Vec::new(),
        joins: recorded["chunks"] != true,
    };
    let steps = recorded["steps"].as_array().expect("a list of steps");
    for (index, json) in steps.iter().enumerate() {
        replay.play(&Step::new(name, index + 1, json)).await;
    }
}

/// The state of a replay.
struct Replay<'a> {
    test: TestApp,
    names: Names,
    peers: Peers,
    /// Calls that were not awaited, and the kind of their ids.
    unanswered: Vec<(Kind, LocalBoxFuture<'a, Value>)>,
    /// Whether data of one socket is joined.
    joins: bool,
}

impl<'a> Replay<'a> {
    async fn play(&mut self, step: &Step<'a>) {
        if let Some(function) = step.json["call"].as_str() {
            step.reject_other_fields(&["call", "args", "nowait", "bind", "chrome", "documented"]);
            self.call(step, function).await;
        } else if step.json.get("finish").is_some() {
            step.reject_other_fields(&["finish", "chrome", "documented"]);
            self.finish(step).await;
        } else if let Some(events) = step.json["listeners"].as_array() {
            step.reject_other_fields(&["listeners"]);
            self.listen_to(step, events).await;
        } else if let Some(verb) = step.json["peer"].as_str() {
            self.peer(step, verb).await;
        } else if let Some(milliseconds) = step.json["settle"].as_u64() {
            step.reject_other_fields(&["settle", "chrome", "documented"]);
            self.collect_events(step, Duration::from_millis(milliseconds))
                .await;
        } else {
            step.fail("unknown action");
        }
    }

    async fn call(&mut self, step: &Step<'a>, function: &'a str) {
        let Some(args) = step.json["args"].as_array() else {
            step.fail("a call has arguments");
        };
        let args: Vec<Value> = args
            .iter()
            .map(|argument| self.names.resolve(step, argument))
            .collect();
        let ids = match function.split('.').next() {
            Some("tcpServer") => Kind::Server,
            Some("udp") => Kind::Udp,
            _ => Kind::Client,
        };
        let app = self.test.app.clone();
        if step.json["nowait"] == true {
            let of = step.clone();
            let mut answer =
                async move { calls::call(&app, &of, function, &args).await }.boxed_local();
            // The call is made now.
            let answer = match (&mut answer).now_or_never() {
                Some(received) => ready(received).boxed_local(),
                None => answer,
            };
            return self.unanswered.push((ids, answer));
        }
        let deadline = Instant::now() + EXTRA_TIME;
        let mut received = loop {
            let answer = calls::call(&app, step, function, &args);
            let received = within(&format!("the answer to {step}"), answer).await;
            if !step.is_held_elsewhere(&received) || Instant::now() > deadline {
                break received;
            }
            sleep(Duration::from_millis(20)).await;
        };
        if let Some(bind) = step.json.get("bind") {
            self.names
                .bind_fields(step, bind, ids, &received["result"][0]);
        }
        self.names.show(ids, &mut received);
        step.compare(&received);
    }

    /// The answers to all calls that were not awaited.
    async fn finish(&mut self, step: &Step<'_>) {
        let mut all = Vec::new();
        for (ids, answer) in self.unanswered.drain(..) {
            let mut received = within("the answer to a call before", answer).await;
            self.names.show(ids, &mut received);
            all.push(received);
        }
        step.compare(&Value::from(all));
    }

    /// Sets which events have a listener from now on.
    async fn listen_to(&mut self, step: &Step<'_>, events: &[Value]) {
        let mut missing: Vec<&str> = events.iter().map(|event| step.string(event)).collect();
        let App {
            tcp,
            tcp_server,
            udp,
            ..
        } = &self.test.app;
        let listener = &self.test.listener;
        let mut is_wanted = |event: &str| {
            let before = missing.len();
            missing.retain(|wanted| *wanted != event);
            missing.len() < before
        };
        let wanted = is_wanted("tcpServer.onAccept");
        set_listener(&tcp_server.on_accept, listener, wanted).await;
        let wanted = is_wanted("tcpServer.onAcceptError");
        set_listener(&tcp_server.on_accept_error, listener, wanted).await;
        let wanted = is_wanted("tcp.onReceive");
        set_listener(&tcp.on_receive, listener, wanted).await;
        let wanted = is_wanted("tcp.onReceiveError");
        set_listener(&tcp.on_receive_error, listener, wanted).await;
        let wanted = is_wanted("udp.onReceive");
        set_listener(&udp.on_receive, listener, wanted).await;
        let wanted = is_wanted("udp.onReceiveError");
        set_listener(&udp.on_receive_error, listener, wanted).await;
        if !missing.is_empty() {
            step.fail(format_args!("{missing:?} are not known here"));
        }
    }

    async fn peer(&mut self, step: &Step<'_>, verb: &str) {
        let name = step.text("as");
        match verb {
            "connect" => {
                step.reject_other_fields(&["peer", "as", "port", "chrome", "documented"]);
                let port = self.names.resolve(step, &step.json["port"]);
                let connected = self.peers.connect(name, step.port(&port));
                step.compare(&within("the peer's connect", connected).await);
            }
            "udp" => {
                step.reject_other_fields(&["peer", "as", "bind"]);
                let port = self.peers.bind_udp(name).await;
                self.names.bind(Kind::Port, step.text("bind"), port.into());
            }
            "datagram" => {
                step.reject_other_fields(&["peer", "as", "port", "data"]);
                let port = self.names.resolve(step, &step.json["port"]);
                let data = step.data(&step.json["data"]);
                self.peers
                    .send_datagram(step, name, step.port(&port), &data)
                    .await;
            }
            "datagrams" => {
                step.reject_other_fields(&["peer", "as", "chrome", "documented"]);
                let mut received = self.peers.datagrams(step, name).await;
                self.names.show(Kind::Udp, &mut received);
                step.compare(&received);
            }
            "listen" => {
                step.reject_other_fields(&["peer", "as", "bind", "echo"]);
                let echo = step.json.get("echo");
                let echo = echo.is_some_and(|echo| step.flag(echo));
                let port = self.peers.listen(name, echo).await;
                self.names.bind(Kind::Port, step.text("bind"), port.into());
            }
            "send" => {
                step.reject_other_fields(&["peer", "as", "data"]);
                let data = step.data(&step.json["data"]);
                self.peers.send(step, name, &data).await;
            }
            "end" => {
                step.reject_other_fields(&["peer", "as"]);
                self.peers.end(step, name).await;
            }
            "reset" => {
                step.reject_other_fields(&["peer", "as"]);
                self.peers.reset(step, name).await;
            }
            "state" => {
                step.reject_other_fields(&["peer", "as", "chrome", "documented"]);
                step.compare(&self.peers.state(step, name).await);
            }
            _ => step.fail("unknown action of a peer"),
        }
    }

    /// Collects the events since the last time, for as long as recorded, and longer if an
    /// expected one has not come.
    async fn collect_events(&mut self, step: &Step<'_>, recorded: Duration) {
        let start = Instant::now();
        let mut events = Vec::new();
        loop {
            let is_all = step.expected().as_array() == Some(&events);
            let until = start + if is_all { recorded } else { EXTRA_TIME };
            match timeout_at(until, self.test.next()).await {
                Ok(observed) => self.add(&mut events, observed),
                Err(_) => break,
            }
        }
        step.compare(&Value::from(events));
    }

    /// Adds an event in Chrome's form. Data joins that of the event before it if both are of one
    /// socket, since TCP may cut it anywhere.
    fn add(&mut self, events: &mut Vec<Value>, observed: ListenerEvent) {
        let (event, ids, mut info) = match observed {
            ListenerEvent::Accept(server, client) => {
                self.names.bind_accepted(client.id().get());
                let info = json!({ "socketId": server.get(), "clientSocketId": client.id().get() });
                ("tcpServer.onAccept", Kind::Server, info)
            }
            ListenerEvent::AcceptError(server, code) => {
                let info = json!({ "socketId": server.get(), "resultCode": code.code() });
                ("tcpServer.onAcceptError", Kind::Server, info)
            }
            ListenerEvent::Receive(client, data) => {
                let info = received(client, &binary(&data));
                ("tcp.onReceive", Kind::Client, info)
            }
            ListenerEvent::ReceiveError(client, code) => {
                let info = json!({ "socketId": client.get(), "resultCode": code.code() });
                ("tcp.onReceiveError", Kind::Client, info)
            }
            ListenerEvent::Datagram(socket, from, data) => {
                let info = json!({
                    "socketId": socket.get(),
                    "data": { "bytes": binary(&data) },
                    "remoteAddress": from.ip().to_string(),
                    "remotePort": from.port(),
                });
                ("udp.onReceive", Kind::Udp, info)
            }
            ListenerEvent::UdpError(socket, code) => {
                let info = json!({ "socketId": socket.get(), "resultCode": code.code() });
                ("udp.onReceiveError", Kind::Udp, info)
            }
        };
        self.names.show(ids, &mut info);
        match events.last_mut() {
            Some(last)
                if self.joins
                    && event == "tcp.onReceive"
                    && last["event"] == event
                    && last["info"]["socketId"] == info["socketId"] =>
            {
                let joined = [&last["info"], &info]
                    .map(|info| info["data"]["bytes"].as_str().unwrap_or_default())
                    .concat();
                last["info"]["data"]["bytes"] = joined.into();
            }
            _ => events.push(json!({ "event": event, "info": info })),
        }
    }
}

/// Adds or removes the listener of an event.
async fn set_listener<E: Event>(event: &OnEvent<E>, listener: &Addr<Listener>, wanted: bool)
where
    Listener: Handler<E>,
    Registry: Handler<AddListener<E>> + Handler<RemoveListener<E>>,
{
    let recipient = listener.clone().recipient();
    let set = match wanted {
        true => event.add_listener(recipient),
        false => event.remove_listener(recipient),
    };
    set.await.expect("the registry runs");
}

fn received(client: ClientSocketId, data: &str) -> Value {
    json!({ "socketId": client.get(), "data": { "bytes": data } })
}
