//! Limits on what hostile clients use: memory, time, connections, log lines.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::SinkExt;
use serde_json::{Value, json};
use support::within;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};

use super::Host;
use super::client::{Client, Socket, all_permissions, close_code, dial, frame, next, request};
use super::hostile::resident;

/// Whether to measure an idle machine with the maximum of hostile clients:
/// `HOST_BENCHMARK=1 cargo test --release -p chrome-sockets-host --test host bounds -- --nocapture --test-threads 1`.
fn is_benchmark() -> bool {
    std::env::var_os("HOST_BENCHMARK").is_some()
}

fn hostile_clients() -> u8 {
    if is_benchmark() { 191 } else { 24 }
}

/// The longest time for an honest client's call beside hostile ones.
fn max_latency(idle: Duration) -> Duration {
    if is_benchmark() {
        idle
    } else {
        Duration::from_secs(15)
    }
}

/// Connects as this app from this loopback address.
async fn connect_from(host: &Host, from: u8, app: &str) -> Socket {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = SocketAddr::from(([127, 0, 1, from], 0));
    socket.bind(from).expect("an address of loopback");
    let stream = within("a connection", socket.connect(host.address()));
    let stream = stream.await.expect("a listener");
    let handshake = client_async(request(host.address()), stream);
    let (mut socket, _) = within("a handshake", handshake).await.expect("a handshake");
    let hello = json!({ "hello": { "protocol": [1], "app": app, "manifest": all_permissions() } });
    socket
        .send(frame(&hello, &[]))
        .await
        .expect("an open connection");
    let answer = next(&mut socket).await.expect("an answer");
    assert!(answer["welcome"].is_object(), "{answer}");
    socket
}

/// The time of the slowest of some calls.
async fn slowest_call(honest: &mut Client, count: u32) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..count {
        let start = Instant::now();
        honest.call("tcp.getSockets", json!([])).await;
        slowest = slowest.max(start.elapsed());
    }
    slowest
}

fn raw_frame(header: &str) -> Message {
    let mut bytes = (header.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    Message::Binary(bytes.into())
}

/// The handshake request of a page.
fn page_request(host: &Host, origin: &'static str) -> Request<()> {
    let mut request = request(host.address());
    let origin = HeaderValue::from_static(origin);
    request.headers_mut().insert("origin", origin);
    request
}

/// Sends tiny frames as fast as possible until the host ends.
fn flood(mut stream: std::net::TcpStream) {
    // The frame `{}`, with a mask of zeros.
    let one = [0x82, 0x86, 0, 0, 0, 0, 2, 0, 0, 0, b'{', b'}'];
    let many = one.repeat(4000);
    while stream.write_all(&many).is_ok() {}
}

/// Creates a client socket.
async fn create(client: &mut Client) -> Value {
    client.call("tcp.create", json!([])).await[2]["socketId"].clone()
}

#[actix_rt::test]
async fn a_frame_uses_no_more_memory_than_its_bytes() {
    let host = Host::dev();
    let mut honest = Client::connect(&host, "honest").await;
    // 7 bytes per object. They wait behind lists that stay unanswered because the client does not read.
    let objects = r#"{"":{}},"#.repeat(120_000);
    let trees = format!(
        r#"{{"messages":[[100,"tcp.getSockets"],[101,"tcp.getSockets"],[102,"tcp.getSockets"],[103,{objects}0]]}}"#
    );
    let name = "\u{1}".repeat(4000);
    let mut open = Vec::new();
    for from in 1..=hostile_clients() {
        let mut socket = connect_from(&host, from, &format!("hostile-{from}")).await;
        for id in 1..=40 {
            let create = json!({ "messages": [[id, "tcp.create", { "name": name }]] });
            // The host may have closed the connection.
            let _ = socket.send(frame(&create, &[])).await;
        }
        let sent = socket.send(raw_frame(&trees));
        let _ = tokio::time::timeout(Duration::from_secs(5), sent).await;
        open.push(socket);
    }
    let slowest = slowest_call(&mut honest, 20).await;
    let grown = resident(&host) >> 20;
    let count = open.len();
    println!("{count} hostile clients: {grown} MiB, an honest call takes {slowest:?}");
    assert!(
        slowest < max_latency(Duration::from_millis(100)),
        "{slowest:?}"
    );
    // As trees of JSON values they would have 80 MiB each.
    assert!(grown < 512, "the host has grown to {grown} MiB");
    host.expect_success();
}

#[actix_rt::test]
async fn a_hello_uses_no_more_memory_than_its_bytes() {
    let host = Host::dev();
    let mut honest = Client::connect(&host, "honest").await;
    let objects = r#"{"":{}},"#.repeat(120_000);
    let hello = format!(r#"{{"hello":{{"protocol":[1],"app":"a","later":[{objects}0]}}}}"#);
    let mut open = Vec::new();
    for _ in 0..8 {
        let dialled = dial(host.address(), request(host.address()));
        let mut socket = dialled.await.expect("a handshake");
        let _ = socket.send(raw_frame(&hello)).await;
        open.push(socket);
    }
    slowest_call(&mut honest, 5).await;
    let grown = resident(&host) >> 20;
    assert!(grown < 150, "the host has grown to {grown} MiB");
    host.expect_success();
}

#[actix_rt::test]
async fn floods_of_tiny_frames_do_not_starve_others() {
    let host = Host::dev();
    let mut honest = Client::connect(&host, "honest").await;
    let mut flooders = Vec::new();
    for from in 1..=8 {
        let socket = connect_from(&host, from, &format!("flooder-{from}")).await;
        let stream = socket.into_inner().into_std().expect("a socket of tokio");
        stream.set_nonblocking(false).expect("an open connection");
        // In threads, so that this test itself does not delay the honest client.
        flooders.push(std::thread::spawn(move || flood(stream)));
    }
    let mut times = Vec::new();
    for _ in 0..if is_benchmark() { 1000 } else { 30 } {
        times.push(slowest_call(&mut honest, 1).await);
    }
    times.sort();
    let late = times[times.len() * 99 / 100];
    let flood = flooders.iter().filter(|flooder| !flooder.is_finished());
    assert_eq!(flood.count(), 8, "all of them are still connected");
    println!("an honest call beside 8 flooders: p99 {late:?}");
    assert!(late < max_latency(Duration::from_millis(20)), "{late:?}");
    host.expect_success();
}

#[actix_rt::test]
async fn answers_and_close_reasons_repeat_little_input() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let long = "\u{1b}x".repeat(50_000);
    for (function, arguments) in [
        (long.clone(), json!([])),
        (format!("tcp.{long}"), json!([1])),
        (format!("tcp.{long}"), json!(["x"])),
        (format!("tcpServer.{long}"), json!([1])),
        ("tcp.getInfo".to_owned(), json!([long])),
        ("tcp.create".to_owned(), json!([{ long.clone(): 1 }])),
        ("tcp.connect".to_owned(), json!([1, long, 1])),
    ] {
        let answer = client.call(&function, arguments).await.to_string();
        assert!(answer.len() < 300, "{answer:.400}");
    }
    let x = "x".repeat(100_000);
    for header in [
        format!(r#"{{"{x}":1}}"#),
        format!(r#"{{"ack":"{x}"}}"#),
        format!(r#"{{"hello":{{"protocol":"{x}"}}}}"#),
        format!(r#"{{"hello":{{"protocol":[1],"app":"{x}"}}}}"#),
    ] {
        let dialled = dial(host.address(), request(host.address()));
        let mut socket = dialled.await.expect("a handshake");
        socket
            .send(raw_frame(&header))
            .await
            .expect("an open connection");
        let last = next(&mut socket).await.expect("a close reason").to_string();
        assert!(
            last.contains("\"close\"") && last.len() < 300,
            "{last:.400}"
        );
    }
    host.expect_success();
}

#[actix_rt::test]
async fn log_lines_about_clients_are_few_and_escaped() {
    let mut host = Host::dev();
    let start = Instant::now();
    let nasty = format!("\u{1b}[2J{}", "\u{9b}31m\r\n".repeat(30_000));
    let client = Client::try_connect(&host, json!({ "app": "a", "client": nasty })).await;
    client.expect("accepted").disconnect();
    for _ in 0..60 {
        let hello = json!({ "app": nasty, "client": nasty, "manifest": { "sockets": nasty } });
        assert!(Client::try_connect(&host, hello).await.is_err());
    }
    host.0.program.stderr.line("are left out");
    let log = host.0.program.stderr.so_far();
    let lines = log.lines().count();
    // The limit applies to each ten seconds.
    let spans = 1 + usize::try_from(start.elapsed().as_secs() / 10).expect("a small number");
    assert!(lines < 40 * spans, "{lines} lines in {:?}", start.elapsed());
    for line in log.lines() {
        assert!(!line.contains(['\u{1b}', '\u{9b}', '\r']), "{line:?}");
        assert!(line.chars().count() < 400, "{line}");
    }
    host.expect_success();
}

#[actix_rt::test]
async fn the_log_shows_connections_rejections_and_denials() {
    let mut host = Host::start(&["--origin", "https://good.example", "--token", "secret"]);
    let foreign = dial(host.address(), page_request(&host, "https://bad.example"));
    let mut socket = foreign.await.expect("a handshake");
    assert_eq!(close_code(&mut socket).await, "origin");
    let line = host.0.program.stderr.line("client rejected (origin)");
    assert!(line.contains("https://bad.example"), "{line}");
    let dialled = dial(host.address(), request(host.address()));
    let mut socket = dialled.await.expect("a handshake");
    assert_eq!(close_code(&mut socket).await, "forbidden");
    host.0
        .program
        .stderr
        .line("client rejected (forbidden): missing or wrong token");
    let mut right = request(host.address());
    let bearer = HeaderValue::from_static("Bearer secret");
    right.headers_mut().insert("authorization", bearer);
    let hello = json!({ "app": "web", "client": "me" });
    let connected = Client::try_connect_with(host.address(), right, hello).await;
    let mut client = connected.unwrap_or_else(|reason| panic!("{reason}"));
    let connected = host.0.program.stderr.line("app web connected");
    assert!(
        connected.contains("127.0.0.1") && connected.contains("\"me\""),
        "{connected}"
    );
    let id = create(&mut client).await;
    let connect = json!([id, "a.example", 25]);
    client.call("tcp.connect", connect).await;
    let denied = "app web: connect a.example:25 denied: its manifest";
    host.0.program.stderr.line(denied);
    let created = client.call("tcpServer.create", json!([])).await;
    let listen = json!([created[2]["socketId"], "0.0.0.0", 80]);
    client.call("tcpServer.listen", listen).await;
    let denied = "app web: listen 0.0.0.0:80 denied: its manifest";
    host.0.program.stderr.line(denied);
    client.disconnect();
    host.0.program.stderr.line("app web disconnected");
    host.expect_success();
}

#[actix_rt::test]
async fn one_frame_cannot_exceed_the_limit_of_sockets() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let limits = &client.welcome["limits"];
    let most = limits["sockets"].as_u64().expect("a number");
    let creates: Vec<Value> = (1..=most + 50)
        .map(|id| json!([id, "tcp.create"]))
        .collect();
    client.send(json!({ "messages": creates })).await;
    let (mut made, mut answered, mut frames) = (0, 0, 0);
    while answered < most + 50 {
        let header = next(&mut client.socket).await.expect("a frame");
        frames += u64::from(!header["messages"].is_null());
        client.send(json!({ "ack": frames })).await;
        for message in header["messages"].as_array().into_iter().flatten() {
            answered += 1;
            made += u64::from(message[0] == "answer");
        }
    }
    assert_eq!(made, most);
    host.expect_success();
}

#[actix_rt::test]
async fn a_list_includes_earlier_creates_and_comes_in_parts() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let name = "\u{1}".repeat(4000);
    let mut messages: Vec<Value> = (1..=20)
        .map(|id| json!([id, "tcp.create", { "name": name }]))
        .collect();
    messages.push(json!([21, "tcp.getSockets"]));
    messages.push(json!([22, "tcp.close", 20]));
    messages.push(json!([23, "tcp.getSockets"]));
    client.send(json!({ "messages": messages })).await;
    let (mut parts, mut listed, mut answers) = (0, [0, 0], 0);
    let mut frames = 0;
    while answers < 2 {
        let header = next(&mut client.socket).await.expect("a frame");
        let messages = header["messages"].as_array().cloned().unwrap_or_default();
        frames += u64::from(!messages.is_empty());
        client.send(json!({ "ack": frames })).await;
        for message in messages {
            let list = match message[1].as_u64() {
                Some(21) => 0,
                Some(23) => 1,
                _ => continue,
            };
            let count = message[2].as_array().map_or(0, Vec::len);
            assert!(count * 24_000 < 100_000, "{count} in a part");
            listed[list] += count;
            parts += 1;
            answers += u64::from(message[0] == "answer");
        }
    }
    assert_eq!(listed, [20, 19]);
    assert!(parts > 10, "{parts}");
    host.expect_success();
}

#[actix_rt::test]
async fn a_failed_update_changes_nothing() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let peer = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = peer.local_addr().expect("an address").port();
    let created = client.call("tcp.create", json!([{ "bufferSize": 4 }]));
    let id = created.await[2]["socketId"].clone();
    let wrong = json!([id, { "bufferSize": 1000, "name": "x".repeat(5000) }]);
    assert_eq!(client.call("tcp.update", wrong).await[0], "error");
    let connect = json!([id, "127.0.0.1", port]);
    assert_eq!(client.call("tcp.connect", connect).await[2], 0);
    let (mut stream, _) = peer.accept().await.expect("a connection");
    let sent = stream.write_all(&[b'x'; 400]).await;
    sent.expect("an open connection");
    let mut received = 0;
    while received < 400 {
        let event = client.event("tcp.onReceive").await;
        let length = event[2].as_str().expect("data").len();
        assert!(length <= 4, "{length} bytes at once");
        received += length;
    }
    host.expect_success();
}

#[actix_rt::test]
async fn the_send_budget_of_all_apps_is_limited() {
    let host = Host::start(&["--dev", "--send-budget", "1"]);
    let peer = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = peer.local_addr().expect("an address").port();
    let mut client = Client::connect(&host, "a").await;
    let id = create(&mut client).await;
    let connect = json!([id, "127.0.0.1", port]);
    client.call("tcp.connect", connect).await;
    // The peer does not read, so sends queue beyond the buffers of the OS.
    let _stream = peer.accept().await.expect("a connection");
    let data = vec![7; 512 * 1024];
    let mut last = 0;
    for _ in 0..60 {
        last = client.start_call("tcp.send", json!([id]), &data).await;
    }
    let refused = client.answer(last).await;
    assert_eq!(refused[2], "Exceeded write quota.");
    // Another client can still use its own share.
    let mut other = Client::connect(&host, "b").await;
    let id = create(&mut other).await;
    let connect = json!([id, "127.0.0.1", port]);
    other.call("tcp.connect", connect).await;
    let sent = other.start_call("tcp.send", json!([id]), b"hello").await;
    assert_eq!(other.answer(sent).await[0], "answer");
    host.expect_success();
}

#[actix_rt::test]
async fn one_page_cannot_use_every_slot() {
    let host = Host::start(&["--dev", "--origin", "https://a.example"]);
    let dial_page = || dial(host.address(), page_request(&host, "https://a.example"));
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(dial_page().await.expect("a handshake"));
    }
    let mut one_more = dial_page().await.expect("a handshake");
    assert_eq!(close_code(&mut one_more).await, "busy");
    Client::connect(&host, "a").await.disconnect();
    host.expect_success();
}

#[actix_rt::test]
async fn one_address_cannot_use_every_slot() {
    let host = Host::dev();
    let mut silent = Vec::new();
    for _ in 0..192 {
        let dialled = dial(host.address(), request(host.address()));
        silent.push(dialled.await.expect("a handshake"));
    }
    let dialled = dial(host.address(), request(host.address()));
    let mut one_more = dialled.await.expect("a handshake");
    assert_eq!(close_code(&mut one_more).await, "busy");
    drop(connect_from(&host, 9, "other").await);
    host.expect_success();
}
