//! `tcpServer.setTls`: its bounds, and that private keys stay private.

use std::process::Command;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use support::QUIET;
use support::process::{Example, Program};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{Client, EVENTS};
use super::{Host, PROGRAM};

const HANDSHAKE_ERROR: &str = "tcpServer.onHandshakeError";

/// Certificate and key of a server, in PEM.
fn pem() -> (String, String) {
    let made = generate_simple_self_signed(["localhost".to_owned()]);
    let CertifiedKey { cert, signing_key } = made.expect("a certificate");
    (cert.pem(), signing_key.serialize_pem())
}

fn options() -> Value {
    let (certificate, key) = pem();
    json!({ "certificate": certificate, "privateKey": key })
}

/// Connects, says something that is not TLS, and waits for the end.
async fn fail_handshake(port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a listener");
    stream
        .write_all(b"not TLS\n")
        .await
        .expect("an open connection");
    // An alert, and the end or a reset.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[actix_rt::test]
async fn failed_handshakes_that_a_client_does_not_acknowledge_are_bounded_and_counted() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    client
        .listen(&[&EVENTS[..], &[HANDSHAKE_ERROR]].concat())
        .await;
    let (id, port) = client.listening_server(json!({})).await;
    let set = client
        .call("tcpServer.setTls", json!([id, options()]))
        .await;
    assert_eq!(set[0], "answer", "{set}");
    client.acknowledges = false;
    for _ in 0..300 {
        fail_handshake(port).await;
    }
    while let Ok(true) = timeout(10 * QUIET, client.receive()).await {}
    client.acknowledges = true;
    client.acknowledge().await;
    let (mut known, mut missed) = (0, 0);
    while known + missed < 300 {
        if known == 128 && missed == 0 {
            // 64 events were unacknowledged, and 64 waited. The next one has the count.
            fail_handshake(port).await;
        }
        let event = client.event(HANDSHAKE_ERROR).await;
        assert_eq!(event[1], id);
        assert_eq!(event[2], -107);
        assert_eq!(event[3], "127.0.0.1");
        known += 1;
        missed += event[5].as_u64().expect("a count");
    }
    assert!(known <= 129, "{known} events were kept");
    assert_eq!(known + missed, 301);
    host.expect_success();
}

#[actix_rt::test]
async fn the_tls_of_server_sockets_counts_in_the_memory_of_the_app() {
    let host = Host::start(&["--dev", "--max-sockets", "200"]);
    let mut client = Client::connect(&host, "a").await;
    let options = options();
    let mut ids = Vec::new();
    let refused = loop {
        let created = client.call("tcpServer.create", json!([])).await;
        let id = created[2]["socketId"].as_u64().expect("an id");
        ids.push(id);
        // The second time replaces the first.
        for _ in 0..2 {
            let set = client.call("tcpServer.setTls", json!([id, options])).await;
            if set[0] == "error" {
                break;
            }
        }
        let set = client.call("tcpServer.setTls", json!([id, options])).await;
        if set[0] == "error" {
            break set;
        }
    };
    assert_eq!(refused[2], "net::ERR_INSUFFICIENT_RESOURCES");
    // 1.6 MB for 200 sockets of each namespace, and 64 KiB for each TLS.
    assert!((15..=25).contains(&ids.len()), "{} with TLS", ids.len());
    let again = json!([ids[ids.len() - 1], options]);
    client.call("tcpServer.setTls", json!([ids[0], null])).await;
    let set = client.call("tcpServer.setTls", again.clone()).await;
    assert_eq!(set[0], "answer", "the memory was given back: {set}");
    let set = client
        .call("tcpServer.setTls", json!([ids[0], options]))
        .await;
    assert_eq!(set[0], "error", "{set}");
    client.call("tcpServer.close", json!([ids[1]])).await;
    let set = client
        .call("tcpServer.setTls", json!([ids[0], options]))
        .await;
    assert_eq!(set[0], "answer", "a closed socket gave it back: {set}");
    host.expect_success();
}

#[actix_rt::test]
async fn a_private_key_is_in_no_line_of_the_log_and_in_no_answer() {
    let mut command = Command::new("env");
    command.args([
        "RUST_LOG=trace",
        PROGRAM,
        "serve",
        "--dev",
        "--listen",
        "127.0.0.1:0",
    ]);
    let mut host = Host(Example::listening(Program::start(&mut command)));
    let mut client = Client::connect(&host, "a").await;
    let (id, port) = client.listening_server(json!({ "persistent": true })).await;
    let (certificate, key) = pem();
    let secret = key.lines().nth(1).expect("a line of the key").to_owned();
    let one_line = key.replace('\n', "");
    let unfinished = key.replace("-----END", "-----EMD");
    for (certificate, key) in [
        (&certificate, &key),
        (&certificate, &one_line),
        (&certificate, &unfinished),
        (&one_line, &key),
        (&certificate, &certificate),
    ] {
        let tls = json!({ "certificate": certificate, "privateKey": key });
        let answer = client.call("tcpServer.setTls", json!([id, tls])).await;
        assert!(!reveals(&answer.to_string(), &secret), "{answer}");
    }
    // Arguments of wrong types, which the host quotes.
    for wrong in [
        json!(key),
        json!([key]),
        json!({ "key": key }),
        json!({ "certificate": [key], "privateKey": key }),
    ] {
        let answer = client.call("tcpServer.setTls", json!([id, wrong])).await;
        assert_eq!(answer[0], "error");
        assert!(!reveals(&answer.to_string(), &secret), "{answer}");
    }
    fail_handshake(port).await;
    client.call("tcpServer.getInfo", json!([id])).await;
    let log = host.0.program.stderr.so_far();
    assert!(log.contains("TLS handshake with 127.0.0.1"), "{log}");
    assert!(!reveals(&log, &secret), "{log}");
    host.expect_success();
}

/// Whether a text has the beginning of a secret, as text or as a list of bytes.
fn reveals(text: &str, secret: &str) -> bool {
    let start = &secret[..12];
    let bytes: Vec<_> = start.bytes().map(|byte| byte.to_string()).collect();
    [start.to_owned(), bytes.join(", "), bytes.join(",")]
        .iter()
        .any(|form| text.contains(form))
}

#[actix_rt::test]
async fn wrong_arguments_of_set_tls_are_refused_and_the_host_goes_on() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let (id, _) = client.listening_server(json!({})).await;
    let (certificate, key) = pem();
    let with_alpn =
        |alpn: Value| json!({ "certificate": certificate, "privateKey": key, "alpn": alpn });
    for wrong in [
        json!([]),
        json!([id, 7]),
        json!([id, "x"]),
        json!([id, []]),
        json!([id, {}]),
        json!([id, { "certificate": certificate }]),
        json!([id, { "privateKey": key }]),
        json!([id, with_alpn(json!("h2"))]),
        json!([id, with_alpn(json!([7]))]),
        json!([id, with_alpn(json!([""]))]),
        json!([id, with_alpn(json!(["x".repeat(256)]))]),
        json!([id, with_alpn(json!(vec!["x".repeat(255); 17]))]),
        json!([id, { "certificate": "x".repeat(64 * 1024 + 1), "privateKey": key }]),
        json!([id, { "certificate": certificate, "privateKey": "x".repeat(16 * 1024 + 1) }]),
        json!([id, with_alpn(json!([])), 1]),
    ] {
        let answer = client.call("tcpServer.setTls", wrong).await;
        assert_eq!(answer[0], "error");
        let text = answer[2].as_str().expect("a text");
        assert!(
            text.starts_with("Invalid call: tcpServer.setTls takes "),
            "{text}"
        );
    }
    for right in [
        json!([id]),
        json!([id, null]),
        json!([id, with_alpn(Value::Null)]),
        json!([id, with_alpn(json!([]))]),
        json!([id, with_alpn(json!(["h2", "http/1.1"]))]),
    ] {
        let answer = client.call("tcpServer.setTls", right).await;
        assert_eq!(answer, json!(["answer", answer[1]]));
    }
    let unknown = client
        .call("tcpServer.setTls", json!([99, options()]))
        .await;
    assert_eq!(unknown[2], "Socket not found");
    host.expect_success();
}
