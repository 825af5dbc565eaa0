//! Who may come in.

use std::fs;
use std::process::Command;

use futures::SinkExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::client::{Client, anything, dial, end, frame, request};
use super::{Host, PROGRAM};
use support::process::Program;
use support::within;

/// The code of the end that answers this hello.
async fn refused(host: &Host, hello: Value) -> String {
    match Client::try_enter(host, hello).await {
        Ok(client) => panic!("it came in: {}", client.welcome),
        Err(end) => end["end"]["code"].as_str().expect("a code").to_owned(),
    }
}

/// The HTTP status that answers a WebSocket by these names; 101 for one.
async fn status(host: &Host, name: &str, origin: Option<&str>) -> u16 {
    let mut request = request(host.address());
    let headers = request.headers_mut();
    headers.insert("host", HeaderValue::from_str(name).expect("a header"));
    if let Some(origin) = origin {
        headers.insert("origin", HeaderValue::from_str(origin).expect("a header"));
    }
    match dial(host.address(), request).await {
        Ok(_) => 101,
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

/// What answers these bytes, to the end.
async fn raw(host: &Host, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(host.address())
        .await
        .expect("it listens");
    stream.write_all(bytes).await.expect("it reads");
    let mut answer = Vec::new();
    // It may be reset, when more was sent than was read.
    let _ = within("the end of the answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[actix_rt::test]
async fn pages_come_in_that_are_its_own_or_on_its_list() {
    let host = Host::start(&["--dev", "--origin", "https://good.example"]);
    let port = host.address().port();
    let own = format!("127.0.0.1:{port}");
    let named = format!("localhost:{port}");
    for (name, origin, expected) in [
        (own.as_str(), None, 101),
        ("127.0.0.1", None, 101),
        (&own, Some(&*format!("http://{own}")), 101),
        (&named, None, 101),
        (&own, Some("https://good.example"), 101),
        (&named, Some("https://good.example"), 101),
        ("rebound.example", None, 403),
        ("rebound.example", Some("http://rebound.example"), 403),
    ] {
        assert_eq!(
            status(&host, name, origin).await,
            expected,
            "{name} {origin:?}"
        );
    }
    for (name, origin) in [
        (own.as_str(), "https://bad.example"),
        (&own, "null"),
        (&own, &*format!("https://{own}")),
        (&own, "http://localhost"),
        (&named, &*format!("http://{named}")),
        (&own, "chrome-extension://knldjmfmopnpolahpmmgbagdohdnhkik"),
    ] {
        let mut request = request(host.address());
        let headers = request.headers_mut();
        headers.insert("host", HeaderValue::from_str(name).expect("a header"));
        headers.insert("origin", HeaderValue::from_str(origin).expect("a header"));
        let mut socket = dial(host.address(), request).await.expect("it is told why");
        assert_eq!(end(&mut socket).await, "origin", "{name} {origin}");
    }
    host.expect_success();
}

/// A handshake that shows this token, as browsers can, of this page.
fn showing(host: &Host, token: Option<&str>, origin: Option<&str>) -> Request<()> {
    let mut request = request(host.address());
    let headers = request.headers_mut();
    if let Some(token) = token {
        let offered = format!("chrome-sockets, chrome-sockets.token.{}", base64url(token));
        let offered = HeaderValue::try_from(offered).expect("a header");
        headers.insert("sec-websocket-protocol", offered);
    }
    if let Some(origin) = origin {
        headers.insert("origin", HeaderValue::from_str(origin).expect("a header"));
    }
    request
}

/// base64url of a text whose length is a multiple of three.
pub fn base64url(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut digits = String::new();
    for three in text.as_bytes().chunks(3) {
        let [a, b, c] = three else {
            panic!("{text:?} has another length");
        };
        let bits = u32::from_be_bytes([0, *a, *b, *c]);
        for shift in [18, 12, 6, 0] {
            digits.push(char::from(DIGITS[(bits >> shift) as usize & 63]));
        }
    }
    digits
}

/// The code of the end that comes before anything was said.
async fn refused_at_once(host: &Host, request: Request<()>) -> String {
    let mut socket = dial(host.address(), request).await.expect("it is told why");
    end(&mut socket).await
}

#[actix_rt::test]
async fn a_token_is_asked_of_everybody_with_the_handshake() {
    let arguments = [
        "--dev",
        "--token",
        "secret",
        "--origin",
        "https://good.example",
    ];
    let host = Host::start(&arguments);
    for token in [None, Some(""), Some("secRet"), Some("secretsec")] {
        let shown = showing(&host, token, None);
        assert_eq!(
            refused_at_once(&host, shown).await,
            "forbidden",
            "{token:?}"
        );
    }
    let mut query = request(host.address());
    *query.uri_mut() = format!("ws://{}/?token=secret", host.address())
        .parse()
        .expect("a URI");
    assert_eq!(refused_at_once(&host, query).await, "forbidden");
    let hello = json!({ "app": "a", "token": "secret" });
    let with_hello = Client::try_enter(&host, hello).await;
    assert_eq!(
        with_hello.err().expect("not here")["end"]["code"],
        "forbidden"
    );
    for origin in [None, Some("https://good.example")] {
        let shown = showing(&host, Some("secret"), origin);
        // What came before makes it wait for a moment.
        let hello = json!({ "app": origin.unwrap_or("none").replace("https://", "") });
        let entered = within("the way in", async {
            loop {
                let entered =
                    Client::try_enter_by(host.address(), shown.clone(), hello.clone()).await;
                match entered {
                    Ok(client) => return client,
                    Err(end) => assert_eq!(end["end"]["code"], "busy", "{origin:?}"),
                }
            }
        });
        entered.await.vanish();
    }
    let mut bearer = request(host.address());
    let value = HeaderValue::from_static("Bearer secret");
    bearer.headers_mut().insert("authorization", value);
    let entered = Client::try_enter_by(host.address(), bearer, json!({ "app": "b" })).await;
    assert!(entered.is_ok());
    let bad = showing(&host, Some("secret"), Some("https://bad.example"));
    assert_eq!(
        refused_at_once(&host, bad).await,
        "origin",
        "with the token too"
    );
    host.expect_success();

    let host = Host::start(&["--dev", "--token", "secret", "--any-origin"]);
    let any = showing(&host, Some("secret"), Some("https://bad.example"));
    let entered = Client::try_enter_by(host.address(), any, json!({ "app": "a" })).await;
    assert!(entered.is_ok());
    host.expect_success();
}

#[test]
fn any_origin_needs_a_token() {
    let mut command = std::process::Command::new(super::PROGRAM);
    command.env_remove("CHROME_SOCKETS_TOKEN");
    let ended = Program::start(command.args(["serve", "--any-origin"])).ended();
    assert!(
        !ended.status.success() && ended.stderr.contains("--token"),
        "{}",
        ended.stderr
    );
}

#[actix_rt::test]
async fn after_wrong_tokens_the_next_has_to_wait_and_then_comes_in() {
    let host = Host::start(&["--dev", "--token", "secret"]);
    let mut codes = Vec::new();
    for _ in 0..8 {
        let wrong = showing(&host, Some("wrong!"), None);
        codes.push(refused_at_once(&host, wrong).await);
    }
    assert_eq!(codes[..5], ["forbidden"; 5]);
    assert!(codes.contains(&"busy".to_owned()), "{codes:?}");
    within("the way in", async {
        loop {
            let right = showing(&host, Some("secret"), None);
            let hello = json!({ "app": "a" });
            if Client::try_enter_by(host.address(), right, hello)
                .await
                .is_ok()
            {
                return;
            }
        }
    })
    .await;
    host.expect_success();
}

#[actix_rt::test]
async fn a_page_is_the_apps_that_its_origin_is_bound_to() {
    let bound = "https://a.example=app-a,app-b";
    let host = Host::start(&["--dev", "--origin", bound, "--origin", "https://b.example"]);
    for (origin, app, code) in [
        ("https://a.example", "app-a", None),
        ("https://a.example", "app-b", None),
        ("https://a.example", "app-c", Some("origin")),
        ("https://b.example", "app-c", None),
    ] {
        let shown = showing(&host, None, Some(origin));
        let hello = json!({ "app": app });
        let entered = Client::try_enter_by(host.address(), shown, hello).await;
        let end = entered.err().map(|end| end["end"]["code"].clone());
        assert_eq!(end, code.map(Value::from), "{origin} {app}");
    }
    host.expect_success();
}

#[actix_rt::test]
async fn an_app_cannot_reach_the_gateway_itself() {
    let mut host = Host::dev();
    let port = host.address().port();
    let mut client = Client::enter(&host, "a").await;
    let other = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let other = other.local_addr().expect("an address").port();
    for (address, port, expected) in [
        ("127.0.0.1", port, -138),
        ("localhost", port, -138),
        ("0.0.0.0", port, -138),
        ("::", port, -138),
        ("::ffff:127.0.0.1", port, -138),
        ("::ffff:0.0.0.0", port, -138),
        ("127.0.0.1", other, 0),
    ] {
        let created = client.call("tcp.create", json!([])).await;
        let socket = &created[2]["socketId"];
        let connect = json!([socket, address, port]);
        let connected = client.call("tcp.connect", connect).await;
        let code = connected.as_array().and_then(|it| it.last()).cloned();
        assert_eq!(code, Some(expected.into()), "{address}:{port} {connected}");
        if expected != 0 {
            let line = format!("app a: connect {address}:{port} denied: it is the host's own port");
            host.0.program.stderr.line(&line);
        }
    }
    host.expect_success();
}

#[actix_rt::test]
async fn http_is_as_the_rfcs_say() {
    let host = Host::dev();
    let own = host.address();
    let upgrade = "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (request, status) in [
        (format!("HEAD / HTTP/1.1\r\nHost: {own}\r\n\r\n"), 200),
        (
            format!("GET http://{own}/ HTTP/1.1\r\nHost: x.example\r\n\r\n"),
            200,
        ),
        (
            format!("GET http://x.example/ HTTP/1.1\r\nHost: {own}\r\n\r\n"),
            403,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\n\r\n"),
            400,
        ),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            format!("GET / HTTP/1.0\r\nHost: {own}\r\n{upgrade}\r\n"),
            200,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: {own}\r\n{upgrade}Sec-WebSocket-Key: x\r\n\r\n"),
            400,
        ),
        (format!("DELETE / HTTP/1.1\r\nHost: {own}\r\n\r\n"), 405),
    ] {
        let answer = raw(&host, request.as_bytes()).await;
        let line = answer.lines().next().unwrap_or_default();
        assert!(
            line.contains(&format!(" {status} ")),
            "{request:.60}: {line}"
        );
        assert_eq!(
            answer.to_ascii_lowercase().contains("allow: get, head"),
            status == 405
        );
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.len());
        assert!(
            !request.starts_with("HEAD") || body == Some(0),
            "HEAD has no body"
        );
    }
    let named = raw(
        &host,
        b"GET /js/api.mjs HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await;
    assert!(named.starts_with("HTTP/1.1 307 "), "{named:.80}");
    assert!(
        named.contains(&format!("location: http://{own}/js/api.mjs")),
        "{named}"
    );
    host.expect_success();
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let mut command = std::process::Command::new(super::PROGRAM);
    let ended = Program::start(command.args(["serve", "--listen", "0.0.0.0:0"])).ended();
    assert!(!ended.status.success());
    assert!(ended.stderr.contains("token"), "{}", ended.stderr);
}

#[actix_rt::test]
async fn the_page_is_served_and_nothing_else() {
    let host = Host::dev();
    let get = |path: &str, name: &str| format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n");
    let page = raw(&host, get("/", "127.0.0.1").as_bytes()).await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    for header in [
        "frame-ancestors 'none'",
        "nosniff",
        "default-src 'none'",
        "script-src 'self';",
        "style-src 'self';",
        "trusted-types 'none'",
        "cross-origin-opener-policy: same-origin",
    ] {
        assert!(page.contains(header), "{header}: {page}");
    }
    assert!(page.contains("<title>chrome-sockets</title>"), "{page}");
    for file in [
        "/page/page.mjs",
        "/js/index.mjs",
        "/js/client.mjs",
        "/js/mirror.mjs",
    ] {
        let script = raw(&host, get(file, "127.0.0.1").as_bytes()).await;
        assert!(script.contains("text/javascript"), "{file}: {script}");
    }
    for (request, status) in [
        (get("/js/../Cargo.toml", "127.0.0.1"), 404),
        (get("/js/%2e%2e/Cargo.toml", "127.0.0.1"), 404),
        (get("/etc/passwd", "127.0.0.1"), 404),
        (get("/", "evil.example"), 403),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nHost: localhost\r\n\r\n".into(), 400),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".into(), 405),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".into(), 426),
        ("nonsense\r\n\r\n".into(), 400),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(40_000)), 431),
    ] {
        let answer = raw(&host, request.as_bytes()).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{request:.60}: {answer:.60}");
    }
    host.expect_success();
}

#[actix_rt::test]
async fn the_first_frame_is_a_hello() {
    let host = Host::dev();
    let address = host.address();
    for (first, code) in [
        (frame(&json!({}), &[]), "bad-hello"),
        (
            frame(&json!({ "messages": [[1, "tcp.create"]] }), &[]),
            "bad-hello",
        ),
        (
            frame(
                &json!({ "hello": { "protocol": [1], "app": "a" }, "messages": [[]] }),
                &[],
            ),
            "bad-hello",
        ),
        (
            frame(&json!({ "hello": { "protocol": [1], "app": "a" } }), b"x"),
            "bad-frame",
        ),
        (
            frame(&json!({ "hello": { "protocol": [2], "app": "a" } }), &[]),
            "version",
        ),
        (frame(&json!({ "hello": { "app": "a" } }), &[]), "bad-frame"),
        (
            frame(&json!({ "hello": { "protocol": [1] } }), &[]),
            "unknown-app",
        ),
        (
            frame(&json!({ "hello": { "protocol": [1], "app": "../a" } }), &[]),
            "unknown-app",
        ),
        (Message::Binary(vec![1, 2, 3].into()), "bad-frame"),
        (Message::Text("hello".into()), "bad-frame"),
    ] {
        let mut socket = dial(address, request(address)).await.expect("it opens");
        socket.send(first.clone()).await.expect("it is open");
        assert_eq!(end(&mut socket).await, code, "{first:?}");
    }
    let mut socket = dial(address, request(address)).await.expect("it opens");
    let hello = r#"{"hello":{"protocol":[9,1],"app":"a","later":{"key":[1]}}}"#;
    socket
        .send(Message::Text(hello.into()))
        .await
        .expect("it is open");
    let answer = super::client::next(&mut socket).await.expect("an answer");
    assert_eq!(
        answer["welcome"]["app"], "a",
        "a text frame is one too: {answer}"
    );
    host.expect_success();
}

#[actix_rt::test]
async fn an_app_does_what_its_manifest_says() {
    let folder = std::env::temp_dir().join(format!("chrome-sockets-host-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let manifest = r#"{ "sockets": { "tcpServer": { "listen": "127.0.0.1:*" } } }"#;
    fs::write(folder.join("web.json"), manifest).expect("written");
    let host = Host::start(&["--manifest", folder.to_str().expect("UTF-8")]);
    assert_eq!(
        refused(&host, json!({ "app": "other" })).await,
        "unknown-app"
    );
    let brought = json!({ "app": "web", "manifest": anything() });
    let mut client = Client::try_enter(&host, brought).await.expect("it has one");
    let id = client.call("tcpServer.create", json!([])).await[2]["socketId"].clone();
    let denied = client
        .call("tcpServer.listen", json!([id, "0.0.0.0", 0]))
        .await;
    assert_eq!(
        denied[0], "error",
        "what a client brings counts with --dev alone"
    );
    assert_eq!(denied[2], "Does not have permission");
    assert_eq!(denied.as_array().map(Vec::len), Some(3));
    let listening = client
        .call("tcpServer.listen", json!([id, "127.0.0.1", 0]))
        .await;
    assert_eq!(
        (&listening[0], &listening[2]),
        (&json!("answer"), &json!(0))
    );
    host.expect_success();
    fs::remove_dir_all(folder).expect("removed");

    let host = Host::start(&[]);
    let mut client = Client::try_enter(&host, json!({ "app": "any" }))
        .await
        .expect("in");
    let id = client.call("tcp.create", json!([])).await[2]["socketId"].clone();
    let denied = client
        .call("tcp.connect", json!([id, "127.0.0.1", 1]))
        .await;
    assert_eq!(denied[2], "Does not have permission");
    host.expect_success();
}

#[actix_rt::test]
async fn an_app_is_one_clients_at_a_time() {
    let host = Host::dev();
    let mut first = Client::enter(&host, "a").await;
    let (_, port) = first.server(json!({})).await;
    let hello = json!({ "app": "a", "manifest": {} });
    assert_eq!(refused(&host, hello).await, "app-in-use");
    let other = Client::enter(&host, "b").await;
    TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("it still listens");
    first.event("tcpServer.onAccept").await;
    other.vanish();
    first.vanish();
    // The host notices in its own time.
    let again = async {
        loop {
            if let Ok(client) = Client::try_enter(&host, json!({ "app": "a" })).await {
                return client;
            }
        }
    };
    within("the seat of one that went", again).await;
    host.expect_success();
}

/// Starts a host that should not serve, and gives its exit code and what it says of that.
fn broken(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    let ended = Program::start(command.args(arguments)).ended();
    assert_eq!(ended.stdout, b"", "it does not listen");
    (ended.status.code(), ended.stderr)
}

#[test]
fn a_manifest_that_cannot_be_used_ends_the_host_at_its_start() {
    let folder = std::env::temp_dir().join(format!("chrome-sockets-start-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let good = folder.join("a.json");
    fs::write(&good, r#"{ "sockets": { "tcp": { "connect": "" } } }"#).expect("written");
    let bad = folder.join("b.json");
    let text = r#"{ "sockets": { "tcpServer": { "listen": ["*:1", "*:x"] } } }"#;
    fs::write(&bad, text).expect("written");
    let fifo = folder.join("c.json");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "a FIFO");
    let place = format!("{}: sockets.tcpServer.listen[1]: ", bad.display());
    let no_file = format!("{}: it is a FIFO", fifo.display());
    for (path, said) in [
        (&folder, &place),
        (&folder, &no_file),
        (&bad, &place),
        (&fifo, &no_file),
        (&folder.join("none.json"), &"No such file".to_owned()),
        (&"/dev/zero".into(), &"it is a device".to_owned()),
    ] {
        let (code, stderr) = broken(&["--manifest", path.to_str().expect("UTF-8")]);
        assert_eq!(code, Some(2), "{}: {stderr}", path.display());
        assert!(stderr.contains(said.as_str()), "{stderr}");
    }
    // What breaks later concerns its app alone.
    fs::remove_file(&fifo).expect("it was made");
    fs::remove_file(&bad).expect("it was made");
    let host = Host::start(&["--manifest", folder.to_str().expect("UTF-8")]);
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "a FIFO");
    actix_rt::System::new().block_on(async {
        assert_eq!(refused(&host, json!({ "app": "c" })).await, "bad-manifest");
        let alive = Client::try_enter(&host, json!({ "app": "a" })).await;
        alive.expect("another app comes in");
    });
    host.expect_success();
    fs::remove_dir_all(folder).expect("it is the test's own");
}

#[test]
fn a_host_says_at_its_start_that_apps_may_do_nothing() {
    let mut closed = Host::start(&[]);
    let line = closed.0.program.stdout.line("--manifest");
    assert!(line.contains("neither listen nor connect"), "{line}");
    closed.expect_success();
    let mut open = Host::dev();
    open.key();
    assert!(!open.0.program.stdout.so_far().contains("neither listen"));
    open.expect_success();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let host = Host::dev();
    let address = host.address().to_string();
    let mut command = Command::new(PROGRAM);
    let second = command.args(["serve", "--dev", "--listen", &address]);
    let ended = Program::start(second).ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let said = format!("{address} is in use");
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    host.expect_success();
}
