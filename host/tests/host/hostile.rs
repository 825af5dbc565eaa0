//! Clients that break the protocol: each is told, or ended, and nobody else
//! notices.

use futures::SinkExt;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::Host;
use super::client::{Client, end, frame};
use support::within;

/// An app that goes on while others misbehave.
struct Witness {
    client: Client,
    port: u16,
}

impl Witness {
    async fn of(host: &Host) -> Self {
        let mut client = Client::enter(host, "witness").await;
        let (_, port) = client.server(json!({})).await;
        Witness { client, port }
    }

    async fn is_undisturbed(&mut self) {
        let connected = TcpStream::connect(("127.0.0.1", self.port)).await;
        let mut stream = connected.expect("it listens");
        let accepted = self.client.event("tcpServer.onAccept").await;
        let socket = &accepted[2];
        self.client
            .call("tcp.setPaused", json!([socket, false]))
            .await;
        stream.write_all(b"ping").await.expect("it is connected");
        assert_eq!(self.client.event("tcp.onReceive").await[2], "ping");
        let send = self
            .client
            .begin("tcp.send", json!([socket]), b"pong")
            .await;
        self.client.answer(send).await;
        let mut pong = [0; 4];
        within("the pong", stream.read_exact(&mut pong))
            .await
            .expect("it came");
        self.client.call("tcp.close", json!([socket])).await;
    }
}

#[actix_rt::test]
async fn a_call_that_is_wrong_is_answered_and_does_nothing() {
    let host = Host::dev();
    let mut client = Client::enter(&host, "a").await;
    for call in [
        json!([]),
        json!([7]),
        json!(["tcp.explode", 1]),
        json!(["udp.create"]),
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
    assert_eq!(none[2], json!([]), "nothing was made");
    host.expect_success();
}

#[actix_rt::test]
async fn a_client_that_breaks_the_protocol_is_told_and_ended() {
    let host = Host::dev();
    let mut witness = Witness::of(&host).await;
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
        let hello = json!({ "app": "hostile", "manifest": super::client::anything() });
        let client = within("a seat", async {
            loop {
                if let Ok(client) = Client::try_enter(&host, hello.clone()).await {
                    return client;
                }
            }
        });
        let mut socket = client.await.socket;
        // Half of what is too large may be refused before it is written.
        let _ = socket.send(breach).await;
        let mut last = super::client::next(&mut socket).await.expect("a last word");
        while last["end"].is_null() {
            last = super::client::next(&mut socket).await.expect("a last word");
        }
        assert_eq!(last["end"]["code"], code, "{shown}: {last}");
    }
    witness.is_undisturbed().await;
    host.expect_success();
}

#[actix_rt::test]
async fn a_client_with_more_unanswered_calls_than_the_welcome_allows_is_ended() {
    let host = Host::dev();
    let mut witness = Witness::of(&host).await;
    let mut client = Client::enter(&host, "hostile").await;
    let most = client.welcome["limits"]["calls"].as_u64();
    let most = most.expect("a number");
    let (server, port) = client.server(json!({})).await;
    let pauses = |server: u64, count: u64| {
        let ids = 1000..1000 + count;
        let pauses = ids.map(|id| json!([id, "tcpServer.setPaused", server, true]));
        json!({ "messages": pauses.collect::<Value>() })
    };
    // A pause is answered when what was told before it is acknowledged: this is not.
    client.acknowledges = false;
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    let _first = stream.expect("it listens");
    client.event("tcpServer.onAccept").await;
    client.say(pauses(server, most)).await;
    client.acknowledges = true;
    client.catch_up().await;
    let last = client.answer(1000 + most - 1).await;
    assert_eq!(last[0], "answer", "as many as there may be are no defect");
    client.vanish();
    // A pause is answered after five seconds too: if the host was too busy to read all of them
    // in that time, they are said again.
    let mut was_ended = false;
    for attempt in 0..5 {
        let mut client = Client::enter(&host, &format!("hostile-{attempt}")).await;
        let (server, port) = client.server(json!({})).await;
        client.acknowledges = false;
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let _second = stream.expect("it listens");
        client.event("tcpServer.onAccept").await;
        client.say(pauses(server, most + 1)).await;
        let last = super::client::next(&mut client.socket).await;
        let code = last.as_ref().map(|last| last["end"]["code"].clone());
        if code == Some("overrun".into()) {
            was_ended = true;
            break;
        }
        let answers = &last.expect("an answer")["messages"];
        assert_eq!(answers[0][0], "answer", "the first pause: {answers:.80}");
    }
    assert!(
        was_ended,
        "so many calls were unanswered, and none was too many"
    );
    witness.is_undisturbed().await;
    host.expect_success();
}

#[actix_rt::test]
async fn ten_thousand_mutated_frames_harm_nobody() {
    let host = Host::dev();
    let mut witness = Witness::of(&host).await;
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
    let enter = async |round: usize| {
        let hello = json!({ "app": format!("hostile-{}", round % 7) });
        Client::try_enter(&host, hello).await.ok()
    };
    mutate(&good, enter).await;
    witness.is_undisturbed().await;
    host.expect_success();
}

#[actix_rt::test]
async fn ten_thousand_mutated_frames_of_a_caretaker_harm_nobody() {
    let mut host = Host::dev();
    let key = host.key();
    let mut witness = Witness::of(&host).await;
    // Nobody's sockets but its own are worth a try.
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
    let enter = async |_| Some(super::caretaker::caretaker(&host, &key).await);
    mutate(&good, enter).await;
    witness.is_undisturbed().await;
    host.expect_success();
}

/// Sends a frame thousands of times, each time with a few bytes changed, on
/// connections that are made whenever there is none.
async fn mutate(good: &Message, enter: impl AsyncFn(usize) -> Option<Client>) {
    let mut runner = TestRunner::new(Config::default());
    let changes = proptest::collection::vec((0..400_usize, proptest::num::u8::ANY), 0..4);
    let mut survivors = 0;
    let mut socket = None;
    for round in 0..10_000 {
        if socket.is_none() {
            socket = enter(round).await.map(|client| client.socket);
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
        // One whose frame was bad has been closed by the time of the next.
        if open.send(Message::Binary(bytes.into())).await.is_ok() {
            survivors += 1;
            socket = Some(open);
        }
    }
    assert!(survivors > 1000, "{survivors}");
}

#[actix_rt::test]
async fn a_caretaker_that_asks_without_end_disturbs_nobody() {
    let mut host = Host::dev();
    let key = host.key();
    let mut witness = Witness::of(&host).await;
    let mut client = Client::enter(&host, "a").await;
    let name = "\u{1}".repeat(4000);
    for _ in 0..100 {
        client
            .begin("tcp.create", json!([{ "name": name }]), &[])
            .await;
    }
    let mut look = super::caretaker::caretaker(&host, &key).await;
    let lists: Vec<Value> = (1..20_000)
        .map(|id| json!([id, "host.listClients", "a", null, true]))
        .collect();
    look.say(json!({ "messages": lists })).await;
    // It asks on and reads nothing.
    let flood = async {
        while look
            .socket
            .send(frame(&json!({ "messages": [] }), &[]))
            .await
            .is_ok()
        {}
    };
    let flooded = tokio::time::timeout(std::time::Duration::from_secs(3), flood).await;
    assert!(flooded.is_err(), "it was ended");
    witness.is_undisturbed().await;
    let grown = resident(&host);
    assert!(grown < 200 << 20, "the host has grown to {grown} bytes");
    host.expect_success();
}

#[actix_rt::test]
async fn connections_that_say_nothing_take_no_ones_place() {
    let host = Host::dev();
    let mut witness = Witness::of(&host).await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        let stream = TcpStream::connect(host.address()).await;
        let mut stream = stream.expect("it listens");
        // Half a request.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: local").await;
        silent.push(stream);
    }
    witness.is_undisturbed().await;
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
    within("the page, when they are gone", again).await;
    host.expect_success();
}

#[actix_rt::test]
async fn a_client_that_reads_no_answers_is_not_read() {
    let host = Host::dev();
    let mut witness = Witness::of(&host).await;
    let mut client = Client::enter(&host, "a").await;
    let name = "x".repeat(4000);
    for _ in 0..100 {
        client
            .begin("tcp.create", json!([{ "name": name }]), &[])
            .await;
    }
    // Each answer has 400 KB: they cannot all be kept.
    let flood = async {
        loop {
            client.begin("tcp.getSockets", json!([]), &[]).await;
        }
    };
    let flooded = tokio::time::timeout(std::time::Duration::from_secs(3), flood).await;
    assert!(flooded.is_err());
    witness.is_undisturbed().await;
    let grown = resident(&host);
    assert!(grown < 200 << 20, "the host has grown to {grown} bytes");
    host.expect_success();
}

/// The host's memory, in bytes.
pub fn resident(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.0.program.id()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.expect("a size").trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().expect("a number") * 1024
}

#[actix_rt::test]
async fn one_frame_that_asks_for_much_is_answered_piece_by_piece() {
    let host = Host::dev();
    let mut client = Client::enter(&host, "a").await;
    let name = "\u{1}".repeat(4000);
    let create = json!({ "messages": (1..=500).map(|id| json!([id, "tcp.create", { "name": name }])).collect::<Vec<_>>() });
    // Each has 24 KB, so they go in parts.
    for create in create["messages"].as_array().expect("a list").chunks(40) {
        client.say(json!({ "messages": create })).await;
    }
    let lists: Vec<Value> = (501..=2500)
        .map(|id| json!([id, "tcp.getSockets"]))
        .collect();
    // 24 GB of answers, if they were all made at once.
    client.say(json!({ "messages": lists })).await;
    let answers = client.answer(501).await;
    assert_eq!(answers[0], "answer");
    let grown = resident(&host);
    assert!(grown < 300 << 20, "the host has grown to {grown} bytes");
    client.vanish();
    Witness::of(&host).await.is_undisturbed().await;
    host.expect_success();
}

#[actix_rt::test]
async fn a_client_has_so_many_sockets_and_no_more() {
    let host = Host::dev();
    let mut client = Client::enter(&host, "a").await;
    let most = client.welcome["limits"]["sockets"]
        .as_u64()
        .expect("a number");
    for namespace in ["tcp", "tcpServer"] {
        let (create, close) = (format!("{namespace}.create"), format!("{namespace}.close"));
        let properties = json!([{ "persistent": true }]);
        let mut last = 0;
        for _ in 0..most {
            last = client.begin(&create, properties.clone(), &[]).await;
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
    client.vanish();
    let again = async {
        loop {
            let hello = json!({ "app": "a", "manifest": super::client::anything() });
            if let Ok(client) = Client::try_enter(&host, hello).await {
                return client;
            }
        }
    };
    let mut client = within("the app's seat", again).await;
    let refused = client.call("tcp.create", json!([])).await;
    assert_eq!(refused[2], "Too many sockets", "those that waited count");
    host.expect_success();
}

#[actix_rt::test]
async fn an_end_closes_the_connection() {
    let host = Host::dev();
    let mut client = Client::enter(&host, "a").await;
    client.say(json!({ "ack": 99 })).await;
    assert_eq!(end(&mut client.socket).await, "overrun");
    host.expect_success();
}
