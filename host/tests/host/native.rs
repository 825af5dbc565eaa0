//! Native messaging: the protocol over pipes, in Chrome's framing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{ChildStdin, Command};

use serde_json::{Value, json};
use support::process::Program;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};

use super::PROGRAM;
use super::client::{self, Client, all_permissions};

const EXTENSION: &str = "knldjmfmopnpolahpmmgbagdohdnhkik";

/// A native host, started as by a browser.
struct Native {
    program: Program,
    stdin: ChildStdin,
    read: usize,
}

impl Native {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("native-host").args(arguments);
        command.arg(format!("chrome-extension://{EXTENSION}/"));
        let mut program = Program::start(&mut command);
        Native {
            stdin: program.stdin(),
            program,
            read: 0,
        }
    }

    fn connect(arguments: &[&str]) -> Self {
        let mut native = Self::start(arguments);
        native.send(&json!({ "hello": { "protocol": [1], "manifest": all_permissions() } }));
        let welcome = native.next();
        assert_eq!(welcome["welcome"]["app"], EXTENSION, "{welcome}");
        native
    }

    fn send(&mut self, frame: &Value) {
        self.send_bytes(frame.to_string().as_bytes());
    }

    fn send_bytes(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len())
            .expect("a length below 4 GiB")
            .to_ne_bytes();
        // A write fails if the host has ended, which its last frame shows.
        let _ = self
            .stdin
            .write_all(&length)
            .and_then(|()| self.stdin.write_all(frame));
    }

    /// The next frame.
    fn next(&mut self) -> Value {
        let start = self.read + 4;
        let length = &self.program.stdout.bytes(start)[self.read..start];
        let length = u32::from_ne_bytes(length.try_into().expect("4 bytes")) as usize;
        assert!(
            length <= 1 << 20,
            "Chrome accepts no frame of {length} bytes"
        );
        self.read = start + length;
        let frame = &self.program.stdout.bytes(self.read)[start..self.read];
        serde_json::from_slice(frame).expect("JSON")
    }

    /// The next message with this name.
    fn message(&mut self, first: &str) -> Value {
        loop {
            let frame = self.next();
            let messages = frame["messages"].as_array().into_iter().flatten();
            if let Some(found) = messages.clone().find(|message| message[0] == first) {
                return found.clone();
            }
            assert!(frame["close"].is_null(), "before {first}: {frame}");
        }
    }

    /// The browser closes the port.
    fn expect_success(self) {
        let Native { program, stdin, .. } = self;
        drop(stdin);
        let ended = program.ended();
        assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[test]
fn calls_and_events_are_json() {
    let mut native = Native::connect(&["--dev"]);
    native.send(&json!({ "messages": [
        ["listen", ["tcp.onReceive", "tcpServer.onAccept"]],
        [1, "tcpServer.create"],
        [2, "tcpServer.listen", 1, "127.0.0.1", 0],
        [3, "tcpServer.getInfo", 1],
    ] }));
    let mut port = None;
    while port.is_none() {
        let answer = native.message("answer");
        let frame = answer[2]["localPort"].as_u64();
        port = frame.or_else(|| {
            // `message` skips the rest of a frame, which may contain this answer.
            native.send(&json!({ "messages": [[9, "tcpServer.getInfo", 1]] }));
            native.message("answer")[2]["localPort"].as_u64()
        });
    }
    let port = port.expect("a port") as u16;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a listener");
    let client = native.message("tcpServer.onAccept")[2].clone();
    stream.write_all(&[0, 255, 10]).expect("an open connection");
    native.send(&json!({ "ack": 1, "messages": [[10, "tcp.setPaused", client, false]] }));
    assert_eq!(native.message("tcp.onReceive")[2], "AP8K");
    native.send(&json!({ "messages": [[11, "tcp.send", client, "AAEC"]] }));
    let mut answer = [9; 3];
    stream.read_exact(&mut answer).expect("a sent frame");
    assert_eq!(answer, [0, 1, 2]);
    native.expect_success();
    let refused = TcpStream::connect(("127.0.0.1", port));
    assert!(refused.is_err(), "its sockets close with it");
}

/// Asks for a WebSocket. Returns its address and token.
fn request_web_socket(arguments: &[&str]) -> (Native, SocketAddr, String) {
    let mut native = Native::start(arguments);
    native.send(&json!({ "hello": { "protocol": [1], "webSocket": true } }));
    let answer = native.next();
    let url = answer["webSocket"]["url"].as_str().expect("a URL");
    let address = url.strip_prefix("ws://").expect("a WebSocket's");
    let address: SocketAddr = address.trim_end_matches('/').parse().expect("an address");
    let token = answer["webSocket"]["token"].as_str().expect("a token");
    (native, address, token.to_owned())
}

/// A handshake request with this token and origin.
fn handshake(address: SocketAddr, token: &str, origin: Option<&str>) -> Request<()> {
    let mut request = client::request(address);
    let headers = request.headers_mut();
    let token = format!("Bearer {token}");
    headers.insert(
        "authorization",
        HeaderValue::try_from(token).expect("a header"),
    );
    if let Some(origin) = origin {
        headers.insert("origin", HeaderValue::from_str(origin).expect("a header"));
    }
    request
}

#[actix_rt::test]
async fn an_extension_gets_a_web_socket_of_its_own() {
    let (native, address, token) = request_web_socket(&["--dev"]);
    assert!(address.ip().is_loopback() && token.len() >= 32, "{token}");
    let other = "0".repeat(token.len());
    let own = format!("chrome-extension://{EXTENSION}");
    for (token, hello, code) in [
        ("", json!({}), "forbidden"),
        (&*other, json!({}), "forbidden"),
        (&*token, json!({ "app": "another" }), "unknown-app"),
    ] {
        let request = handshake(address, token, Some(&own));
        let connected = Client::try_connect_with(address, request, hello).await;
        let refused = connected.err().expect("rejected");
        assert_eq!(refused["close"]["code"], code, "{refused}");
    }
    // Other origins get 404, even with the token.
    for origin in [
        None,
        Some("https://a.example"),
        Some("null"),
        Some("chrome-extension://a"),
    ] {
        let answer = client::dial(address, handshake(address, &token, origin)).await;
        let Err(Error::Http(response)) = answer else {
            panic!("{origin:?}: {answer:?}");
        };
        assert_eq!(response.status().as_u16(), 404, "{origin:?}");
    }
    let mut page = TcpStream::connect(address).expect("a listener");
    let get = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    page.write_all(get.as_bytes()).expect("an open connection");
    let mut answer = String::new();
    page.read_to_string(&mut answer).expect("a response");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");

    let hello = json!({ "manifest": all_permissions() });
    let request = handshake(address, &token, Some(&own));
    let connected = Client::try_connect_with(address, request.clone(), hello.clone()).await;
    let mut client = connected.unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(client.welcome["app"], EXTENSION);
    let (_, port) = client.listening_server(json!({})).await;
    let second = Client::try_connect_with(address, request, hello).await;
    assert_eq!(
        second.err().expect("rejected")["close"]["code"],
        "app-in-use"
    );

    // When the browser closes the port, the WebSocket and the sockets close too.
    native.expect_success();
    while client::next(&mut client.socket).await.is_some() {}
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn an_extension_that_cannot_use_the_web_socket_stays() {
    let (mut native, address, _) = request_web_socket(&["--dev"]);
    native.send(&json!({ "hello": { "protocol": [1], "manifest": all_permissions() } }));
    assert_eq!(native.next()["welcome"]["app"], EXTENSION);
    native.send(&json!({ "messages": [[1, "tcpServer.create"]] }));
    let created = json!(["answer", 1, { "socketId": 1 }]);
    assert_eq!(native.message("answer"), created);
    assert!(
        TcpStream::connect(address).is_err(),
        "the WebSocket port is closed"
    );
    native.expect_success();
}

#[test]
fn an_extension_has_only_its_permissions() {
    let mut native = Native::connect(&[]);
    native.send(&json!({ "messages": [[1, "tcp.create"], [2, "tcp.connect", 1, "127.0.0.1", 1]] }));
    let denied = native.message("error");
    assert_eq!(denied, json!(["error", 2, "Does not have permission"]));
    native.expect_success();

    let mut native = Native::start(&["--dev"]);
    native.send(&json!({ "hello": { "protocol": [1], "app": "another" } }));
    assert_eq!(native.next()["close"]["code"], "unknown-app");
    native.expect_success();
}

#[test]
fn native_host_must_be_started_by_a_browser() {
    let ended = Program::start(Command::new(PROGRAM).arg("native-host")).ended();
    assert!(!ended.status.success() && ended.stdout.is_empty());
    assert!(ended.stderr.contains("browser"), "{}", ended.stderr);
}

#[test]
fn invalid_frames_end_it_with_a_close_reason() {
    for (bytes, code) in [
        (b"{".to_vec(), "bad-frame"),
        (b"".to_vec(), "bad-frame"),
        (vec![0xff; 100], "bad-frame"),
        (vec![b' '; (1 << 20) + 1], "bad-frame"),
        (br#"{"ack":1}"#.to_vec(), "overrun"),
        (br#"{"messages":[["explode"]]}"#.to_vec(), "bad-frame"),
        (
            br#"{"messages":[[1,"tcp.send",1,"?"]]}"#.to_vec(),
            "bad-frame",
        ),
    ] {
        let mut native = Native::connect(&["--dev"]);
        native.send_bytes(&bytes);
        let last = native.next();
        assert_eq!(last["close"]["code"], code, "{last}");
        native.expect_success();
    }
}

#[test]
fn the_end_of_input_within_a_frame_ends_it() {
    let mut native = Native::connect(&["--dev"]);
    native
        .stdin
        .write_all(&[200, 0, 0, 0, b'{'])
        .expect("an open connection");
    native.expect_success();
}

#[test]
fn mutated_frames_never_crash_it() {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::{Config, TestRunner};

    let good = json!({ "ack": 0, "messages": [
        ["listen", ["tcp.onReceive"]], [1, "tcp.create", { "name": "x" }], [2, "tcp.send", 1, "AAEC"],
        [3, "tcpServer.create"], [4, "tcpServer.listen", 1, "127.0.0.1", 0], [5, "tcp.getSockets"],
    ] })
    .to_string();
    let mut runner = TestRunner::new(Config::default());
    let changes = proptest::collection::vec((0..400_usize, proptest::num::u8::ANY), 1..4);
    for _ in 0..200 {
        let mut native = Native::connect(&["--dev"]);
        for _ in 0..50 {
            let mut bytes = good.clone().into_bytes();
            let changes = changes.new_tree(&mut runner).expect("changes").current();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            native.send_bytes(&bytes);
        }
        native.expect_success();
    }
}
