//! Plays the steps of one recording, and compares.

mod calls;
mod names;
mod peers;
mod step;

use std::time::Duration;

use chrome_sockets::{ClientSocketId, Permissions};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use self::names::{Kind, Names};
use self::peers::Peers;
use self::step::{Step, binary};
use super::Recording;
use crate::support::{Heard, LIMIT, World, within};

/// How long what was expected may come later than it came when it was
/// recorded: a busy machine is no fault. Shorter than [`LIMIT`], so that the
/// mismatch is told here.
const PATIENCE: Duration = Duration::from_secs(LIMIT.as_secs() / 2);

/// Plays a recording, and fails at the first step whose answer is another.
pub async fn replay(recording: &Recording) {
    let name = recording.name;
    let recorded: Value = serde_json::from_str(recording.text).expect("a recording is JSON");
    for (field, value) in recorded.as_object().expect("a recording is an object") {
        let is_known = match field.as_str() {
            "name" => value == name,
            "steps" | "chromeVersion" | "deviation" | "sockets" => true,
            _ => false,
        };
        assert!(is_known, "{name}: {field:?}: {value} is not known here");
    }
    let world = World::new().await;
    let permissions = match recorded.get("sockets") {
        Some(_) => Permissions::from_manifest(recording.text).expect("a recording is a manifest"),
        None => Permissions::all(),
    };
    let set = world.app.set_permissions(permissions).await;
    set.expect("the registry runs");
    let mut stage = Stage {
        world,
        names: Names::default(),
        peers: Peers::default(),
    };
    let steps = recorded["steps"].as_array().expect("a list of steps");
    for (index, json) in steps.iter().enumerate() {
        stage.play(&Step::new(name, index + 1, json)).await;
    }
}

/// What a recording plays on.
struct Stage {
    world: World,
    names: Names,
    peers: Peers,
}

impl Stage {
    async fn play(&mut self, step: &Step<'_>) {
        if let Some(function) = step.json["call"].as_str() {
            step.only(&["call", "args", "bind", "chrome", "documented"]);
            self.call(step, function).await;
        } else if let Some(verb) = step.json["peer"].as_str() {
            self.peer(step, verb).await;
        } else if let Some(milliseconds) = step.json["settle"].as_u64() {
            step.only(&["settle", "chrome", "documented"]);
            self.settle(step, Duration::from_millis(milliseconds)).await;
        } else {
            step.fail("what to do is not known here");
        }
    }

    async fn call(&mut self, step: &Step<'_>, function: &str) {
        let Some(args) = step.json["args"].as_array() else {
            step.fail("a call has arguments");
        };
        let args: Vec<Value> = args
            .iter()
            .map(|argument| self.names.resolve(step, argument))
            .collect();
        let answer = calls::call(&self.world.app, step, function, &args);
        let mut got = within(&format!("the answer to {step}"), answer).await;
        let ids = if function.starts_with("tcpServer.") {
            Kind::Server
        } else {
            Kind::Client
        };
        if let Some(bind) = step.json.get("bind") {
            self.names.bind_fields(step, bind, ids, &got["result"][0]);
        }
        self.names.show(ids, &mut got);
        step.compare(&got);
    }

    async fn peer(&mut self, step: &Step<'_>, verb: &str) {
        let name = step.text("as");
        match verb {
            "connect" => {
                step.only(&["peer", "as", "port", "chrome", "documented"]);
                let port = self.names.resolve(step, &step.json["port"]);
                let connected = self.peers.connect(name, step.port(&port));
                step.compare(&within("the peer's connect", connected).await);
            }
            "listen" => {
                step.only(&["peer", "as", "bind", "echo"]);
                let port = peers::listen(step.flag(&step.json["echo"])).await;
                self.names.bind(Kind::Port, step.text("bind"), port.into());
            }
            "send" => {
                step.only(&["peer", "as", "data"]);
                let data = step.bytes(step.text("data"));
                self.peers.send(step, name, &data).await;
            }
            "end" => {
                step.only(&["peer", "as"]);
                self.peers.end(step, name).await;
            }
            "state" => {
                step.only(&["peer", "as", "chrome", "documented"]);
                step.compare(&self.peers.state(step, name).await);
            }
            _ => step.fail("what the peer does is not known here"),
        }
    }

    /// Collects the events since the last time, for as long as was recorded,
    /// and on if what is expected has not come by then.
    async fn settle(&mut self, step: &Step<'_>, recorded: Duration) {
        let start = Instant::now();
        let mut events = Vec::new();
        loop {
            let is_all = step.expected().as_array() == Some(&events);
            let until = start + if is_all { recorded } else { PATIENCE };
            match timeout_at(until, self.world.next()).await {
                Ok(heard) => self.add(&mut events, heard),
                Err(_) => break,
            }
        }
        step.compare(&Value::from(events));
    }

    /// Adds an event in Chrome's form. Data joins that of the event before it
    /// if both are of one socket: how TCP cuts it is nobody's promise.
    fn add(&mut self, events: &mut Vec<Value>, heard: Heard) {
        let (event, ids, mut info) = match heard {
            Heard::Accept(server, client) => {
                self.names.bind_accepted(client.id().get());
                let info = json!({ "socketId": server.get(), "clientSocketId": client.id().get() });
                ("tcpServer.onAccept", Kind::Server, info)
            }
            Heard::AcceptError(server, code) => {
                let info = json!({ "socketId": server.get(), "resultCode": code.code() });
                ("tcpServer.onAcceptError", Kind::Server, info)
            }
            Heard::Receive(client, data) => {
                let info = received(client, &binary(&data));
                ("tcp.onReceive", Kind::Client, info)
            }
            Heard::ReceiveError(client, code) => {
                let info = json!({ "socketId": client.get(), "resultCode": code.code() });
                ("tcp.onReceiveError", Kind::Client, info)
            }
        };
        self.names.show(ids, &mut info);
        match events.last_mut() {
            Some(last)
                if event == "tcp.onReceive"
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

fn received(client: ClientSocketId, data: &str) -> Value {
    json!({ "socketId": client.get(), "data": { "bytes": data } })
}
