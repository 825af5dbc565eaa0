//! Clients that violate the protocol: they get an error or are disconnected, and others are not affected.

use futures::SinkExt;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::Host;
use super::client::{Client, close_code, frame};

/// An app that must keep working beside hostile clients.
struct Witness {
    client: Client,
    port: u16,
}

impl Witness {
    async fn connect(host: &Host) -> Self {
        let mut client = Client::connect(host, "witness").await;
        let (_, port) = client.listening_server(json!({})).await;
        Witness { client, port }
    }

    async fn assert_works(&mut self) {
        let connected = TcpStream::connect(("127.0.0.1", self.port)).await;
        let mut stream = connected.expect("a listener");
        let accepted = self.client.event("tcpServer.onAccept").await;
        let socket = &accepted[2];
        self.client
            .call("tcp.setPaused", json!([socket, false]))
            .await;
        stream.write_all(b"ping").await.expect("an open connection");
        assert_eq!(self.client.event("tcp.onReceive").await[2], "ping");
        let send = self
            .client
            .start_call("tcp.send", json!([socket]), b"pong")
            .await;
        self.client.answer(send).await;
        let mut pong = [0; 4];
        within("the pong", stream.read_exact(&mut pong))
            .await
            .expect("a pong");
        self.client.call("tcp.close", json!([socket])).await;
    }
}

#[actix_rt::test]
async fn invalid_calls_are_answered_and_do_nothing() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    for call in [
        json!([]),
        json!([7]),
        json!(["tcp.explode", 1]),
        json!(["udp.listen"]),
        json!(["udp.create", { "allowHalfOpen": true }]),
        json!(["udp.bind", 1, "127.0.0.1"]),
        json!(["udp.send", 1, "127.0.0.1", 1]),
        json!(["udp.send", 1]),
        json!(["udp.setBroadcast", 1, 1]),
        json!(["udp.joinGroup", 1, 224]),
        json!(["udp.setMulticastTimeToLive", 1]),
        json!(["create"]),
        json!(["tcp.getInfo"]),
        json!(["tcp.getInfo", "1"]),
        json!(["tcp.getInfo", 1.5]),
        json!(["tcp.getInfo", 1, 2]),
        json!(["tcp.create", { "persistent": 1 }]),
        json!(["tcp.create", { "bufferSize": 1e9 }]),
        json!(["tcp.create", { "bufferSize": 4294967296_u64 }]),
        json!(["tcp.create", { "name": [] }]),
        json!(["tcp.create", { "socketId": 1 }]),
        json!(["tcpServer.create", { "bufferSize": 1 }]),
        json!(["tcpServer.listen", 1, "127.0.0.1"]),
        json!(["tcpServer.listen", 1, 127, 0]),
        json!(["tcpServer.listen", 1, "127.0.0.1", 99999999999_u64]),
        json!(["tcp.connect", 1, "127.0.0.1", 1, "ipv5"]),
        json!(["tcp.secure", 1, { "tlsVersion": 1 }]),
        json!(["tcp.send", 1]),
        json!(["tcp.send", 1, "eA=="]),
    ] {
        let (function, arguments) = match call.as_array().map(Vec::as_slice) {
            Some([Value::String(function), arguments @ ..]) => {
                (function.clone(), arguments.to_vec())
            }
            _ => continue,
        };
        let answer = client.call(&function, arguments.into()).await;
        assert_eq!(answer[0], "error", "{call}: {answer}");
        let text = answer[2].as_str().expect("a text");
        assert!(text.starts_with("Invalid call: "), "{call}: {text}");
    }
    for id in [json!(0), json!(-1), json!(i64::MIN), json!(i64::MAX)] {
        let answer = client.call("tcp.getInfo", json!([id])).await;
        assert_eq!(answer[2], "Socket not found", "{id}");
    }
    let none = client.call("tcp.getSockets", json!([])).await;
    assert_eq!(none[2], json!([]), "no socket was created");
    host.expect_success();
}

#[actix_rt::test]
async fn invalid_frames_close_the_connection_with_a_reason() {
    let host = Host::dev();
    let mut witness = Witness::connect(&host).await;
    let deep = format!("{{\"messages\":[[{}]]}}", "[".repeat(200_000));
    let create = json!([1, "tcp.create", {}]);
    for (breach, code) in [
        (Message::Binary(vec![].into()), "bad-frame"),
        (Message::Binary(vec![0xff; 8].into()), "bad-frame"),
        (Message::Text("[1]".into()), "bad-frame"),
        (Message::Text(deep.into()), "bad-frame"),
        (
            frame(&json!({ "messages": [["explode"]] }), &[]),
            "bad-frame",
        ),
        (
            frame(&json!({ "messages": [["listen", ["tcp.onExplode"]]] }), &[]),
            "bad-frame",
        ),
        (
            frame(&json!({ "messages": [["listen", [7]]] }), &[]),
            "bad-frame",
        ),
        (frame(&json!({ "messages": [[]] }), &[]), "bad-frame"),
        (frame(&json!({}), b"left"), "bad-frame"),
        (
            frame(&json!({ "messages": [[1, "tcp.send", 1, 5]] }), b"four"),
            "bad-frame",
        ),
        (
            frame(&json!({ "hello": { "protocol": [1], "app": "b" } }), &[]),
            "bad-hello",
        ),
        (Message::Text("[null,null,[]]".into()), "bad-frame"),
        (
            frame(&json!({ "messages": [{ "0": 1 }] }), &[]),
            "bad-frame",
        ),
        (
            frame(&json!({ "messages": [[1_u64 << 53, "tcp.create"]] }), &[]),
            "overrun",
        ),
        (frame(&json!({ "ack": 1000 }), &[]), "overrun"),
        (
            frame(&json!({ "messages": [create, create] }), &[]),
            "overrun",
        ),
        (
            frame(&json!({ "messages": [[0, "tcp.create"]] }), &[]),
            "overrun",
        ),
        (
            frame(&json!({ "messages": [[-1, "tcp.create"]] }), &[]),
            "overrun",
        ),
        (
            Message::Binary(vec![b' '; (1 << 20) + 1].into()),
            "bad-frame",
        ),
    ] {
        let shown = format!("{breach:.80?}");
        let hello = json!({ "app": "hostile", "manifest": super::client::all_permissions() });
        let client = within("a connection", async {
            loop {
                if let Ok(client) = Client::try_connect(&host, hello.clone()).await {
                    return client;
                }
            }
        });
        let mut socket = client.await.socket;
        // The host may close before a frame that is too large is written.
        let _ = socket.send(breach).await;
        let mut last = super::client::next(&mut socket)
            .await
            .expect("a close reason");
        while last["close"].is_null() {
            last = super::client::next(&mut socket)
                .await
                .expect("a close reason");
        }
        assert_eq!(last["close"]["code"], code, "{shown}: {last}");
    }
    witness.assert_works().await;
    host.expect_success();
}

#[actix_rt::test]
async fn too_many_unanswered_calls_close_the_connection() {
    let host = Host::dev();
    let mut witness = Witness::connect(&host).await;
    let mut client = Client::connect(&host, "hostile").await;
    let most = client.welcome["limits"]["calls"].as_u64();
    let most = most.expect("a number");
    let (server, port) = client.listening_server(json!({})).await;
    let pauses = |server: u64, count: u64| {
        let ids = 1000..1000 + count;
        let pauses = ids.map(|id| json!([id, "tcpServer.setPaused", server, true]));
        json!({ "messages": pauses.collect::<Value>() })
    };
    // A pause is answered when earlier events are acknowledged, which this client does not do.
    client.acknowledges = false;
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    let _first = stream.expect("a listener");
    client.event("tcpServer.onAccept").await;
    client.send(pauses(server, most)).await;
    client.acknowledges = true;
    client.acknowledge().await;
    let last = client.answer(1000 + most - 1).await;
    assert_eq!(last[0], "answer", "the limit itself is allowed");
    client.disconnect();
    // The host answers a pause after five seconds in any case. If it was too busy to read all calls
    // in that time, try again.
    let mut was_closed = false;
    for attempt in 0..5 {
        let mut client = Client::connect(&host, &format!("hostile-{attempt}")).await;
        let (server, port) = client.listening_server(json!({})).await;
        client.acknowledges = false;
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let _second = stream.expect("a listener");
        client.event("tcpServer.onAccept").await;
        client.send(pauses(server, most + 1)).await;
        let last = super::client::next(&mut client.socket).await;
        let code = last.as_ref().map(|last| last["close"]["code"].clone());
        if code == Some("overrun".into()) {
            was_closed = true;
            break;
        }
        let answers = &last.expect("an answer")["messages"];
        assert_eq!(answers[0][0], "answer", "the first pause: {answers:.80}");
    }
    assert!(was_closed, "no attempt exceeded the limit");
    witness.assert_works().await;
    host.expect_success();
}

#[actix_rt::test]
async fn ten_thousand_mutated_frames_do_no_harm() {
    let host = Host::dev();
    let mut witness = Witness::connect(&host).await;
    let good = frame(
        &json!({ "ack": 0, "messages": [
            ["listen", ["tcp.onReceive", "tcpServer.onAccept"]],
            [1, "tcp.create", { "name": "x", "bufferSize": 9 }],
            [2, "tcpServer.create"],
            [3, "tcpServer.listen", 1, "127.0.0.1", 0, 5],
            [4, "tcp.send", 1, 3],
            [5, "tcp.getSockets"],
            [6, "tcp.connect", 1, "127.0.0.1", 1, "ipv4"],
        ] }),
        b"abc",
    );
    let connect = async |round: usize| {
        let hello = json!({ "app": format!("hostile-{}", round % 7) });
        Client::try_connect(&host, hello).await.ok()
    };
    mutate(&good, connect).await;
    witness.assert_works().await;
    host.expect_success();
}

#[actix_rt::test]
async fn ten_thousand_mutated_admin_frames_do_no_harm() {
    let mut host = Host::dev();
    let key = host.key();
    let mut witness = Witness::connect(&host).await;
    // For an app that does not exist, so that the witness stays unaffected.
    let good = frame(
        &json!({ "ack": 0, "messages": [
            [1, "host.listApps", 0, 9],
            [2, "host.listServers", "hostile", 0, 9],
            [3, "host.listClients", "hostile", 1, true, 0, 9],
            [4, "host.setPaused", "hostile", "tcpServer", 1, true],
            [5, "host.close", "hostile", "tcp", 1],
        ] }),
        &[],
    );
    let connect = async |_| Some(super::admin::connect_admin(&host, &key).await);
    mutate(&good, connect).await;
    witness.assert_works().await;
    host.expect_success();
}

/// Sends a frame thousands of times with random changes, and reconnects whenever the host closes.
async fn mutate(good: &Message, connect: impl AsyncFn(usize) -> Option<Client>) {
    let mut runner = TestRunner::new(Config::default());
    let changes = proptest::collection::vec((0..400_usize, proptest::num::u8::ANY), 0..4);
    let mut survivors = 0;
    let mut socket = None;
    for round in 0..10_000 {
        if socket.is_none() {
            socket = connect(round).await.map(|client| client.socket);
        }
        let Some(mut open) = socket.take() else {
            continue;
        };
        let mut bytes = good.clone().into_data().to_vec();
        let changes = changes.new_tree(&mut runner).expect("changes").current();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        // After an invalid frame the next send fails.
        if open.send(Message::Binary(bytes.into())).await.is_ok() {
            survivors += 1;
            socket = Some(open);
        }
    }
    assert!(survivors > 1000, "{survivors}");
}

#[actix_rt::test]
async fn endless_admin_calls_do_not_affect_clients() {
    let mut host = Host::dev();
    let key = host.key();
    let mut witness = Witness::connect(&host).await;
    let mut client = Client::connect(&host, "a").await;
    let name = "\u{1}".repeat(4000);
    for _ in 0..100 {
        client
            .start_call("tcp.create", json!([{ "name": name }]), &[])
            .await;
    }
    let mut admin = super::admin::connect_admin(&host, &key).await;
    let lists: Vec<Value> = (1..20_000)
        .map(|id| json!([id, "host.listClients", "a", null, true]))
        .collect();
    admin.send(json!({ "messages": lists })).await;
    // Sends on without reading answers.
    let flood = async {
        while admin
            .socket
            .send(frame(&json!({ "messages": [] }), &[]))
            .await
            .is_ok()
        {}
    };
    let flooded = tokio::time::timeout(std::time::Duration::from_secs(3), flood).await;
    assert!(flooded.is_err(), "it was disconnected");
    witness.assert_works().await;
    let grown = resident(&host);
    assert!(grown < 200 << 20, "the host has grown to {grown} bytes");
    host.expect_success();
}

#[actix_rt::test]
async fn silent_connections_do_not_block_others() {
    let host = Host::dev();
    let mut witness = Witness::connect(&host).await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        let stream = TcpStream::connect(host.address()).await;
        let mut stream = stream.expect("a listener");
        // Half a request.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: local").await;
        silent.push(stream);
    }
    witness.assert_works().await;
    drop(silent);
    let again = async {
        loop {
            let Ok(mut stream) = TcpStream::connect(host.address()).await else {
                continue;
            };
            let _ = stream
                .write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                .await;
            let mut answer = String::new();
            if stream.read_to_string(&mut answer).await.is_ok() && answer.contains(" 200 ") {
                return;
            }
        }
    };
    within("the page after their end", again).await;
    host.expect_success();
}

#[actix_rt::test]
async fn a_client_that_does_not_read_is_not_read() {
    let host = Host::dev();
    let mut witness = Witness::connect(&host).await;
    let mut client = Client::connect(&host, "a").await;
    let name = "x".repeat(4000);
    for _ in 0..100 {
        client
            .start_call("tcp.create", json!([{ "name": name }]), &[])
            .await;
    }
    // Each answer has 400 KB, so the host cannot keep all of them.
    let flood = async {
        loop {
            client.start_call("tcp.getSockets", json!([]), &[]).await;
        }
    };
    let flooded = tokio::time::timeout(std::time::Duration::from_secs(3), flood).await;
    assert!(flooded.is_err());
    witness.assert_works().await;
    let grown = resident(&host);
    assert!(grown < 200 << 20, "the host has grown to {grown} bytes");
    host.expect_success();
}

/// The resident memory of the host in bytes.
pub fn resident(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.0.program.id()));
    let status = status.expect("a running host");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.expect("a size").trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().expect("a number") * 1024
}

#[actix_rt::test]
async fn a_frame_with_large_answers_is_answered_in_parts() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let name = "\u{1}".repeat(4000);
    let create = json!({ "messages": (1..=500).map(|id| json!([id, "tcp.create", { "name": name }])).collect::<Vec<_>>() });
    // Each call has 24 KB, so all do not fit into one frame.
    for create in create["messages"].as_array().expect("a list").chunks(40) {
        client.send(json!({ "messages": create })).await;
    }
    let lists: Vec<Value> = (501..=2500)
        .map(|id| json!([id, "tcp.getSockets"]))
        .collect();
    // All answers together would have 24 GB.
    client.send(json!({ "messages": lists })).await;
    let answers = client.answer(501).await;
    assert_eq!(answers[0], "answer");
    let grown = resident(&host);
    assert!(grown < 300 << 20, "the host has grown to {grown} bytes");
    client.disconnect();
    Witness::connect(&host).await.assert_works().await;
    host.expect_success();
}

#[actix_rt::test]
async fn the_number_of_sockets_is_limited() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let most = client.welcome["limits"]["sockets"]
        .as_u64()
        .expect("a number");
    for namespace in ["tcp", "tcpServer"] {
        let (create, close) = (format!("{namespace}.create"), format!("{namespace}.close"));
        let properties = json!([{ "persistent": true }]);
        let mut last = 0;
        for _ in 0..most {
            last = client.start_call(&create, properties.clone(), &[]).await;
        }
        let socket = client.answer(last).await[2]["socketId"].clone();
        let refused = client.call(&create, properties.clone()).await;
        assert_eq!(
            (&refused[0], &refused[2]),
            (&json!("error"), &json!("Too many sockets"))
        );
        client.call(&close, json!([999_999])).await;
        assert_eq!(client.call(&create, properties.clone()).await[0], "error");
        client.call(&close, json!([socket])).await;
        assert_eq!(client.call(&create, properties).await[0], "answer");
    }
    client.disconnect();
    let again = async {
        loop {
            let hello = json!({ "app": "a", "manifest": super::client::all_permissions() });
            if let Ok(client) = Client::try_connect(&host, hello).await {
                return client;
            }
        }
    };
    let mut client = within("the release of the app", again).await;
    let refused = client.call("tcp.create", json!([])).await;
    assert_eq!(refused[2], "Too many sockets", "persistent sockets count");
    host.expect_success();
}

#[actix_rt::test]
async fn a_close_reason_ends_the_connection() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    client.send(json!({ "ack": 99 })).await;
    assert_eq!(close_code(&mut client.socket).await, "overrun");
    host.expect_success();
}
