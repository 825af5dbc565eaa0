//! Proxies in front of the gateway (`--proxy-from`) and of the server sockets of apps
//! (`--apps-proxy-from`).

use std::io::Write;
use std::net::SocketAddr;

use futures::SinkExt;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::client_async;

use super::Host;
use super::client::{Client, Socket, all_permissions, frame, next, request};
use super::config::config;
use super::monitoring::{monitored, wait_for};

/// A connection from this loopback address.
async fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind((from, 0).into())
        .expect("an address of loopback");
    let stream = within("a connection", socket.connect(to));
    stream.await.expect("a listener")
}

/// What a proxy sends for a client.
fn header(client: &str) -> String {
    format!("PROXY TCP4 {client} 198.51.100.1 56789 443\r\n")
}

/// Connects as this app, with these bytes before. The answer of the host is the last.
async fn open(host: &Host, from: [u8; 4], before: &str, app: &str) -> (Socket, Value) {
    let mut stream = connect_from(from, host.address()).await;
    stream.write_all(before.as_bytes()).await.expect("write");
    let handshake = client_async(request(host.address()), stream);
    let (mut socket, _) = within("a handshake", handshake).await.expect("a handshake");
    let hello = json!({ "hello": { "protocol": [1], "app": app, "manifest": all_permissions() } });
    // The host rejects a client beyond its limits before it reads the hello, so this may fail.
    let _ = socket.send(frame(&hello, &[])).await;
    let answer = next(&mut socket).await.expect("an answer");
    (socket, answer)
}

const PROXY: [u8; 4] = [127, 0, 0, 9];
const OTHER: [u8; 4] = [127, 0, 0, 1];

#[actix_rt::test]
async fn limits_and_log_lines_count_the_client_that_a_proxy_names() {
    let mut host = Host::start(&[
        "--dev",
        "--proxy-from",
        "127.0.0.9",
        "--proxy-from",
        "2001:db8::/32",
        "--max-clients",
        "8",
        "--max-connections",
        "8",
    ]);
    // Three quarters of the connections are one address's, which is not the proxy's.
    let mut open_sockets = Vec::new();
    for number in 0..6 {
        let app = format!("app-{number}");
        let (socket, answer) = open(&host, PROXY, &header("192.0.2.1"), &app).await;
        assert!(answer["welcome"].is_object(), "{answer}");
        open_sockets.push(socket);
    }
    let (_, answer) = open(&host, PROXY, &header("192.0.2.1"), "app-6").await;
    assert_eq!(answer["close"]["code"], "busy", "{answer}");
    let (_socket, answer) = open(&host, PROXY, &header("192.0.2.2"), "app-7").await;
    assert!(answer["welcome"].is_object(), "{answer}");
    host.0
        .program
        .stderr
        .line("app app-0 connected from 192.0.2.1:");
    host.0
        .program
        .stderr
        .line("app app-7 connected from 192.0.2.2:");
    // A check by the proxy itself, and a client without a proxy.
    let local = "PROXY UNKNOWN\r\n";
    let mut stream = connect_from(PROXY, host.address()).await;
    let get = format!("{local}GET / HTTP/1.1\r\nHost: {}\r\n\r\n", host.address());
    stream.write_all(get.as_bytes()).await.expect("write");
    let mut answer = vec![0; 12];
    let read = within("the answer", stream.read_exact(&mut answer)).await;
    read.expect("read");
    assert_eq!(answer, b"HTTP/1.1 200");
    drop((stream, open_sockets));
    let direct = async {
        loop {
            let (socket, answer) = open(&host, OTHER, "", "direct").await;
            match answer["welcome"].is_object() {
                true => break socket,
                // The places of the others are not free yet.
                false => actix_rt::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    };
    let _direct = within("a free place", direct).await;
    host.0
        .program
        .stderr
        .line("app direct connected from 127.0.0.1:");
    host.expect_success();
}

#[actix_rt::test]
async fn a_proxy_without_a_header_is_rejected_logged_and_counted() {
    let (mut host, metrics) = monitored(&["--dev", "--proxy-from", "127.0.0.9"]);
    let series = "proxy_errors_total";
    for (count, bytes, words) in [
        (1.0, "GET / HTTP/1.1\r\n\r\n", "there is no PROXY header"),
        (
            2.0,
            "PROXY TCP4 1 2 3 4\r\n",
            "the PROXY header is malformed",
        ),
    ] {
        let mut stream = connect_from(PROXY, host.address()).await;
        stream.write_all(bytes.as_bytes()).await.expect("write");
        let mut rest = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
        let line = format!("127.0.0.9: connection rejected: {words}");
        host.0.program.stderr.line(&line);
        wait_for(metrics, series, count).await;
    }
    // Slow ones end in time, and monitoring has no proxy.
    let mut slow = connect_from(PROXY, host.address()).await;
    slow.write_all(b"PROXY TCP4").await.expect("write");
    host.0
        .program
        .stderr
        .line("127.0.0.9: connection rejected: the PROXY header did not arrive");
    wait_for(metrics, series, 3.0).await;
    // From elsewhere a header is a bad request.
    let mut other = connect_from(OTHER, host.address()).await;
    other
        .write_all(header("192.0.2.1").as_bytes())
        .await
        .expect("write");
    other.write_all(b"\r\n").await.expect("write");
    let mut answer = Vec::new();
    let _ = within("the end", other.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    let (_socket, answer) = open(&host, PROXY, &header("192.0.2.1"), "alive").await;
    assert!(answer["welcome"].is_object(), "{answer}");
    host.expect_success();
}

#[actix_rt::test]
async fn an_app_sees_the_client_that_a_proxy_names() {
    let mut host = Host::start(&["--dev", "--apps-proxy-from", "127.0.0.9"]);
    let mut client = Client::connect(&host, "app").await;
    let (_, port) = client.listening_server(json!({})).await;
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    for (from, before, address) in [
        (PROXY, header("192.0.2.7"), "192.0.2.7"),
        (PROXY, "PROXY UNKNOWN\r\n".to_owned(), "127.0.0.9"),
        (OTHER, String::new(), "127.0.0.1"),
    ] {
        let mut peer = connect_from(from, at).await;
        let sent = format!("{before}ping");
        peer.write_all(sent.as_bytes()).await.expect("write");
        let accepted = client.event("tcpServer.onAccept").await;
        let info = client.call("tcp.getInfo", json!([accepted[2]])).await;
        assert_eq!(info[2]["peerAddress"], address, "{info}");
        client
            .call("tcp.setPaused", json!([accepted[2], false]))
            .await;
        assert_eq!(client.event("tcp.onReceive").await[2], "ping");
    }
    // A bad header is no event of the app, and stands in the log.
    let mut peer = connect_from(PROXY, at).await;
    peer.write_all(b"ping").await.expect("write");
    let mut rest = Vec::new();
    let _ = within("the end", peer.read_to_end(&mut rest)).await;
    let log = &mut host.0.program.stderr;
    log.line("rejected: there is no PROXY header");
    let mut peer = connect_from(PROXY, at).await;
    peer.write_all(header("192.0.2.8").as_bytes())
        .await
        .expect("write");
    let accepted = client.event("tcpServer.onAccept").await;
    let info = client.call("tcp.getInfo", json!([accepted[2]])).await;
    assert_eq!(info[2]["peerAddress"], "192.0.2.8");
    host.expect_success();
}

#[actix_rt::test]
async fn a_reload_changes_the_networks() {
    let (folder, path) = config("dev = true\nproxy-from = \"192.0.2.0/24\"\n");
    let mut host = Host::start(&["--config", &path]);
    let (_socket, answer) = open(&host, PROXY, "", "a").await;
    assert!(answer["welcome"].is_object(), "{answer}");
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(b"dev = true\nproxy-from = [\"192.0.2.0/24\", \"127.0.0.9\"]\n")
        .expect("a written file");
    host.0.program.signal(Signal::HUP);
    host.0.program.stderr.line("were read again");
    let (_socket, answer) = open(&host, PROXY, &header("192.0.2.1"), "b").await;
    assert!(answer["welcome"].is_object(), "{answer}");
    host.0
        .program
        .stderr
        .line("app b connected from 192.0.2.1:");
    host.expect_success();
    drop(folder);
}

#[test]
fn a_network_that_is_none_is_an_error_with_a_hint() {
    for (network, words) in [
        ("10.0.0.1/8", "10.0.0.0/8 may be meant"),
        ("localhost", "it is not an IP address"),
        ("10.0.0.0/33", "the prefix length is not"),
    ] {
        for flag in ["--proxy-from", "--apps-proxy-from"] {
            let mut program = std::process::Command::new(super::PROGRAM);
            let program = program.args(["serve", "--check-config", flag, network]);
            let ended = support::process::Program::start(program).ended();
            assert!(!ended.status.success());
            assert!(ended.stderr.contains(words), "{}", ended.stderr);
        }
    }
}
