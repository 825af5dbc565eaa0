//! Which clients may connect: hosts, origins, tokens, hellos and manifests.

use std::fs;

use futures::SinkExt;
use serde_json::{Value, json};
use support::process::Program;
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Host;
use super::client::{Client, all_permissions, close_code, dial, frame, request};

/// The code of the close reason that answers this hello.
pub async fn rejection(host: &Host, hello: Value) -> String {
    match Client::try_connect(host, hello).await {
        Ok(client) => panic!("accepted: {}", client.welcome),
        Err(reason) => reason["close"]["code"].as_str().expect("a code").to_owned(),
    }
}

/// The HTTP status of a handshake with this `Host` and `Origin`.
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

/// Sends these bytes, and returns everything that the host sends.
async fn raw_response(host: &Host, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(host.address())
        .await
        .expect("a listener");
    stream.write_all(bytes).await.expect("an open connection");
    let mut answer = Vec::new();
    // The host resets the connection if it did not read everything.
    let _ = within("the end of the answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[actix_rt::test]
async fn own_and_listed_pages_may_connect() {
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
        let mut socket = dial(host.address(), request).await.expect("a handshake");
        assert_eq!(close_code(&mut socket).await, "origin", "{name} {origin}");
    }
    host.expect_success();
}

/// A handshake request with this token as a subprotocol and this origin.
fn request_with(host: &Host, token: Option<&str>, origin: Option<&str>) -> Request<()> {
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

/// The code of the close reason that follows the handshake, before any hello.
async fn handshake_rejection(host: &Host, request: Request<()>) -> String {
    let mut socket = dial(host.address(), request).await.expect("a handshake");
    close_code(&mut socket).await
}

#[actix_rt::test]
async fn every_client_must_show_the_token_with_its_handshake() {
    let arguments = [
        "--dev",
        "--token",
        "secret",
        "--origin",
        "https://good.example",
    ];
    let host = Host::start(&arguments);
    for token in [None, Some(""), Some("secRet"), Some("secretsec")] {
        let request = request_with(&host, token, None);
        assert_eq!(
            handshake_rejection(&host, request).await,
            "forbidden",
            "{token:?}"
        );
    }
    let mut query = request(host.address());
    *query.uri_mut() = format!("ws://{}/?token=secret", host.address())
        .parse()
        .expect("a URI");
    assert_eq!(handshake_rejection(&host, query).await, "forbidden");
    let hello = json!({ "app": "a", "token": "secret" });
    let with_hello = Client::try_connect(&host, hello).await;
    assert_eq!(
        with_hello.err().expect("rejected")["close"]["code"],
        "forbidden"
    );
    for origin in [None, Some("https://good.example")] {
        let request = request_with(&host, Some("secret"), origin);
        // The wrong tokens before cause a delay.
        let hello = json!({ "app": origin.unwrap_or("none").replace("https://", "") });
        let connected = within("a connection", async {
            loop {
                let connected =
                    Client::try_connect_with(host.address(), request.clone(), hello.clone()).await;
                match connected {
                    Ok(client) => return client,
                    Err(reason) => assert_eq!(reason["close"]["code"], "busy", "{origin:?}"),
                }
            }
        });
        connected.await.disconnect();
    }
    let mut bearer = request(host.address());
    let value = HeaderValue::from_static("Bearer secret");
    bearer.headers_mut().insert("authorization", value);
    let connected = Client::try_connect_with(host.address(), bearer, json!({ "app": "b" })).await;
    assert!(connected.is_ok());
    let bad = request_with(&host, Some("secret"), Some("https://bad.example"));
    assert_eq!(
        handshake_rejection(&host, bad).await,
        "origin",
        "in spite of the token"
    );
    host.expect_success();

    let host = Host::start(&["--dev", "--token", "secret", "--any-origin"]);
    let any = request_with(&host, Some("secret"), Some("https://bad.example"));
    let connected = Client::try_connect_with(host.address(), any, json!({ "app": "a" })).await;
    assert!(connected.is_ok());
    host.expect_success();
}

#[test]
fn any_origin_needs_a_token() {
    let mut command = std::process::Command::new(super::PROGRAM);
    command.env_remove("CHROME_SOCKETS_TOKEN");
    let ended = Program::start(command.args(["serve", "--any-origin"])).ended();
    assert!(
        ended.status.code() == Some(2) && ended.stderr.contains("any-origin needs a token"),
        "{}",
        ended.stderr
    );
}

#[actix_rt::test]
async fn wrong_tokens_delay_the_next_attempt() {
    let host = Host::start(&["--dev", "--token", "secret"]);
    let mut codes = Vec::new();
    for _ in 0..8 {
        let wrong = request_with(&host, Some("wrong!"), None);
        codes.push(handshake_rejection(&host, wrong).await);
    }
    assert_eq!(codes[..5], ["forbidden"; 5]);
    assert!(codes.contains(&"busy".to_owned()), "{codes:?}");
    within("a connection", async {
        loop {
            let right = request_with(&host, Some("secret"), None);
            let hello = json!({ "app": "a" });
            if Client::try_connect_with(host.address(), right, hello)
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
async fn an_origin_can_be_bound_to_apps() {
    let bound = "https://a.example=app-a,app-b";
    let host = Host::start(&["--dev", "--origin", bound, "--origin", "https://b.example"]);
    for (origin, app, code) in [
        ("https://a.example", "app-a", None),
        ("https://a.example", "app-b", None),
        ("https://a.example", "app-c", Some("origin")),
        ("https://b.example", "app-c", None),
    ] {
        let request = request_with(&host, None, Some(origin));
        let hello = json!({ "app": app });
        let connected = Client::try_connect_with(host.address(), request, hello).await;
        let rejected = connected
            .err()
            .map(|reason| reason["close"]["code"].clone());
        assert_eq!(rejected, code.map(Value::from), "{origin} {app}");
    }
    host.expect_success();
}

#[actix_rt::test]
async fn apps_cannot_connect_to_the_gateway() {
    let mut host = Host::dev();
    let port = host.address().port();
    let mut client = Client::connect(&host, "a").await;
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
async fn http_follows_the_rfcs() {
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
        let answer = raw_response(&host, request.as_bytes()).await;
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
    let named = raw_response(
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
fn an_address_that_other_machines_reach_needs_a_token() {
    let mut command = std::process::Command::new(super::PROGRAM);
    let ended = Program::start(command.args(["serve", "--listen", "0.0.0.0:0"])).ended();
    assert!(!ended.status.success());
    assert!(ended.stderr.contains("token"), "{}", ended.stderr);
}

#[actix_rt::test]
async fn only_the_files_of_the_page_are_served() {
    let host = Host::dev();
    let get = |path: &str, name: &str| format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n");
    let page = raw_response(&host, get("/", "127.0.0.1").as_bytes()).await;
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
        let script = raw_response(&host, get(file, "127.0.0.1").as_bytes()).await;
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
        let answer = raw_response(&host, request.as_bytes()).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{request:.60}: {answer:.60}");
    }
    host.expect_success();
}

#[actix_rt::test]
async fn the_first_frame_must_be_a_hello() {
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
        let mut socket = dial(address, request(address)).await.expect("a handshake");
        socket
            .send(first.clone())
            .await
            .expect("an open connection");
        assert_eq!(close_code(&mut socket).await, code, "{first:?}");
    }
    let mut socket = dial(address, request(address)).await.expect("a handshake");
    let hello = r#"{"hello":{"protocol":[9,1],"app":"a","later":{"key":[1]}}}"#;
    socket
        .send(Message::Text(hello.into()))
        .await
        .expect("an open connection");
    let answer = super::client::next(&mut socket).await.expect("an answer");
    assert_eq!(
        answer["welcome"]["app"], "a",
        "text frames are accepted too: {answer}"
    );
    host.expect_success();
}

#[actix_rt::test]
async fn an_app_is_limited_to_its_manifest() {
    let folder = std::env::temp_dir().join(format!("chrome-sockets-host-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let manifest = r#"{ "sockets": { "tcpServer": { "listen": "127.0.0.1:*" } } }"#;
    fs::write(folder.join("web.json"), manifest).expect("a written file");
    let host = Host::start(&["--manifest", folder.to_str().expect("UTF-8")]);
    assert_eq!(
        rejection(&host, json!({ "app": "other" })).await,
        "unknown-app"
    );
    let with_manifest = json!({ "app": "web", "manifest": all_permissions() });
    let mut client = Client::try_connect(&host, with_manifest)
        .await
        .expect("accepted");
    let id = client.call("tcpServer.create", json!([])).await[2]["socketId"].clone();
    let denied = client
        .call("tcpServer.listen", json!([id, "0.0.0.0", 0]))
        .await;
    assert_eq!(
        denied[0], "error",
        "a client's manifest counts only with --dev"
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
    let mut client = Client::try_connect(&host, json!({ "app": "any" }))
        .await
        .expect("accepted");
    let id = client.call("tcp.create", json!([])).await[2]["socketId"].clone();
    let denied = client
        .call("tcp.connect", json!([id, "127.0.0.1", 1]))
        .await;
    assert_eq!(denied[2], "Does not have permission");
    host.expect_success();
}

#[actix_rt::test]
async fn an_app_has_one_client_at_a_time() {
    let host = Host::dev();
    let mut first = Client::connect(&host, "a").await;
    let (_, port) = first.listening_server(json!({})).await;
    let hello = json!({ "app": "a", "manifest": {} });
    assert_eq!(rejection(&host, hello).await, "app-in-use");
    let other = Client::connect(&host, "b").await;
    TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a listener");
    first.event("tcpServer.onAccept").await;
    other.disconnect();
    first.disconnect();
    // The host may notice the disconnect later.
    let again = async {
        loop {
            if let Ok(client) = Client::try_connect(&host, json!({ "app": "a" })).await {
                return client;
            }
        }
    };
    within("the release of the app", again).await;
    host.expect_success();
}
