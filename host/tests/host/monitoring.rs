//! `/healthz`, `/readyz` and `/metrics`, and what hostile requests do to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use chrome_sockets::telemetry::METRICS;
use serde_json::json;
use support::process::Program;
use support::programs::has;
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::Host;
use super::client::{Client, all_permissions, close_code, dial, request};

/// A host with monitoring at a free port.
pub fn monitored(arguments: &[&str]) -> (Host, SocketAddr) {
    let mut host = Host::start(&[&["--metrics-listen", "127.0.0.1:0"], arguments].concat());
    let line = host.0.program.stdout.line("metrics on ");
    let address = line.strip_prefix("metrics on http://");
    let address = address.and_then(|it| it.strip_suffix("/metrics"));
    let address = address.and_then(|it| it.parse().ok());
    (host, address.expect("an address"))
}

/// Sends this request from this loopback address. Returns the whole response.
async fn exchange(from: [u8; 4], to: SocketAddr, request: &str) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind((from, 0).into())
        .expect("an address of loopback");
    let stream = within("a connection", socket.connect(to)).await;
    let mut stream = stream.expect("a listener");
    let mut response = Vec::new();
    within("a response", async {
        // The host may answer and close before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.read_to_end(&mut response).await;
    })
    .await;
    String::from_utf8(response).expect("UTF-8")
}

/// The status and the body of a page.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let response = exchange([127, 0, 0, 1], address, &request).await;
    status_and_body(&response)
}

fn status_and_body(response: &str) -> (u16, String) {
    let status = response.split(' ').nth(1).and_then(|it| it.parse().ok());
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.expect("a status"), body.to_owned())
}

/// The values of all metrics by name and labels. Checks the format.
async fn metrics(address: SocketAddr) -> BTreeMap<String, f64> {
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, 200, "{text}");
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    let mut values = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => {
                assert!(help.ends_with('.') && helped.insert(name), "{line}");
            }
            ["#", "TYPE", name, kind] => {
                assert!(typed.insert(name, kind).is_none(), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            }
            _ => {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let name = series.split('{').next().expect("a name");
                // A histogram has several series.
                let parts = ["_bucket", "_sum", "_count"];
                let histogram = parts.iter().find_map(|part| name.strip_suffix(part));
                let histogram = histogram.filter(|it| typed.get(it) == Some(&"histogram"));
                let name = histogram.unwrap_or(name);
                assert!(helped.contains(name) && typed.contains_key(name), "{line}");
                let of_crate = METRICS.iter().any(|metric| metric.name == name);
                assert!(
                    of_crate || name.starts_with("chrome_sockets_host_"),
                    "{line}"
                );
                let value = value.parse().expect("a number");
                assert!(values.insert(series.to_owned(), value).is_none(), "{line}");
            }
        }
    }
    values
}

/// Waits until a metric has this value.
pub async fn wait_for(address: SocketAddr, series: &str, value: f64) {
    let name = format!("chrome_sockets_host_{series}");
    within(&name, async {
        loop {
            let now = metrics(address).await;
            let now = now
                .get(&name)
                .unwrap_or_else(|| panic!("no {name}: {now:?}"));
            if *now == value {
                return;
            }
            assert!(
                *now < value || !name.contains("_total"),
                "{name} is {now}, not {value}"
            );
        }
    })
    .await;
}

#[actix_rt::test]
async fn metrics_count_what_the_host_does() {
    let (host, address) = monitored(&["--dev", "--max-clients", "2"]);
    assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(address, "/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(get(address, "/").await.0, 404);
    wait_for(address, "clients", 0.0).await;
    let mut client = Client::connect(&host, "a-secret-name").await;
    let (_, port) = client.listening_server(json!({})).await;
    let mut peer = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a listener");
    let accepted = client.event("tcpServer.onAccept").await;
    client
        .call("tcp.setPaused", json!([accepted[2], false]))
        .await;
    peer.write_all(b"hello").await.expect("an open connection");
    client.event("tcp.onReceive").await;
    let sent = client
        .start_call("tcp.send", json!([accepted[2]]), b"hi!")
        .await;
    client.answer(sent).await;
    for (series, value) in [
        ("ready", 1.0),
        (
            concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"),
            1.0,
        ),
        ("clients", 1.0),
        ("clients_limit", 2.0),
        ("connections{state=\"open\"}", 1.0),
        ("apps{state=\"connected\"}", 1.0),
        ("apps{state=\"suspended\"}", 0.0),
        ("sockets{namespace=\"tcpServer\"}", 1.0),
        ("sockets{namespace=\"tcp\"}", 1.0),
        ("app_bytes_total{direction=\"received\"}", 5.0),
        ("app_bytes_total{direction=\"sent\"}", 3.0),
        ("app_connections_accepted_total", 1.0),
        ("connections_accepted_total", 1.0),
        ("refused_total{reason=\"busy\"}", 0.0),
    ] {
        wait_for(address, series, value).await;
    }
    let before = metrics(address).await;
    for series in [
        "frames_total{direction=\"received\"}",
        "frames_total{direction=\"sent\"}",
        "gateway_bytes_total{direction=\"received\"}",
        "gateway_bytes_total{direction=\"sent\"}",
        "uptime_seconds",
        "memory_bytes",
    ] {
        let value = before[&format!("chrome_sockets_host_{series}")];
        assert!(value > 0.0, "{series}: {value}");
    }
    // Refused clients, by reason.
    let other = Client::connect(&host, "b").await;
    let busy = Client::try_connect(&host, json!({ "app": "c" })).await;
    assert!(busy.is_err(), "two clients are the limit");
    wait_for(address, "refused_total{reason=\"busy\"}", 1.0).await;
    let bad = json!({ "app": "/", "manifest": all_permissions() });
    assert!(Client::try_connect(&host, bad).await.is_err());
    wait_for(address, "refused_total{reason=\"unknown-app\"}", 1.0).await;
    let unknown = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";
    let response = exchange([127, 0, 0, 1], host.address(), unknown).await;
    assert!(status_and_body(&response).0 >= 400, "{response}");
    wait_for(address, "bad_requests_total", 1.0).await;
    // Clients that go, and the totals of apps that are forgotten.
    other.disconnect();
    wait_for(address, "clients_closed_total{reason=\"left\"}", 1.0).await;
    client
        .send(json!({ "messages": [["no such message"]] }))
        .await;
    wait_for(address, "clients_closed_total{reason=\"bad-frame\"}", 1.0).await;
    wait_for(address, "clients", 0.0).await;
    wait_for(address, "apps{state=\"connected\"}", 0.0).await;
    let after = metrics(address).await;
    let of_host = |series: &&String| series.starts_with("chrome_sockets_host_");
    let count = after.keys().filter(of_host).count();
    assert_eq!(count, before.keys().filter(of_host).count(), "it is fixed");
    assert_eq!(
        after["chrome_sockets_host_app_bytes_total{direction=\"received\"}"],
        5.0
    );
    for (series, value) in &after {
        let name = series.split('{').next().expect("a name");
        let is_less = name.ends_with("_total") && *value < before[series];
        assert!(!is_less, "{series} went back to {value}");
        assert!(!series.contains("secret"), "{series}");
    }
    host.expect_success();

    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/host.md");
    let document = std::fs::read_to_string(document).expect("a document");
    for series in after.keys().filter(of_host) {
        let name = series.split('{').next().expect("a name");
        let name = name.replace("chrome_sockets_host_", "");
        assert!(
            document.contains(&format!("`{name}`")),
            "{name} is not documented"
        );
    }
}

#[actix_rt::test]
async fn the_metrics_of_the_crate_stand_beside_those_of_the_host_without_names_of_apps() {
    let (host, address) = monitored(&["--dev"]);
    let mut client = Client::connect(&host, "a").await;
    let properties = json!({ "name": "a-secret-name" });
    let (_, port) = client.listening_server(properties).await;
    let mut peer = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a listener");
    let accepted = client.event("tcpServer.onAccept").await;
    client
        .call("tcp.setPaused", json!([accepted[2], false]))
        .await;
    peer.write_all(b"hello").await.expect("an open connection");
    client.event("tcp.onReceive").await;
    // The clock of the arbiter has ticked since.
    let lag = "chrome_sockets_loop_lag_seconds_count{arbiter=\"0\"}";
    within("a tick", async {
        while metrics(address).await.get(lag).copied().unwrap_or(0.0) == 0.0 {}
    })
    .await;
    let now = metrics(address).await;
    for (series, value) in [
        ("connections_accepted_total{server=\"\"}", 1.0),
        ("server_connections_open{server=\"\"}", 1.0),
        ("connections_open", 1.0),
        ("received_bytes_total{arbiter=\"0\"}", 5.0),
        ("client_sockets{arbiter=\"0\"}", 1.0),
    ] {
        assert_eq!(now[&format!("chrome_sockets_{series}")], value, "{series}");
    }
    for series in now.keys() {
        assert!(!series.contains("secret"), "{series}");
    }
    client.disconnect();
    host.expect_success();
}

/// With `HOST_BENCHMARK` set (see `bounds.rs`) there are ten thousand connections. The host counts its
/// sockets for each text, so this is about that too.
#[actix_rt::test]
async fn a_scrape_is_quick_however_many_connections_there_are() {
    let connections = match std::env::var_os("HOST_BENCHMARK") {
        Some(_) => 10_000,
        None => 500,
    };
    let (host, address) = monitored(&["--dev", "--max-sockets", "20000"]);
    let mut client = Client::connect(&host, "a").await;
    let (_, port) = client.listening_server(json!({})).await;
    let mut peers = Vec::new();
    for _ in 0..connections {
        let peer = within("a connection", TcpStream::connect(("127.0.0.1", port))).await;
        peers.push(peer.expect("a listener"));
        client.event("tcpServer.onAccept").await;
    }
    let open = "chrome_sockets_connections_open";
    assert_eq!(metrics(address).await[open], f64::from(connections));
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        // A text is valid for 100 ms.
        actix_rt::time::sleep(Duration::from_millis(150)).await;
        let asked_at = Instant::now();
        assert_eq!(get(address, "/metrics").await.0, 200);
        slowest = slowest.max(asked_at.elapsed());
    }
    println!("{connections} connections: the slowest of ten scrapes took {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    client.disconnect();
    host.expect_success();
}

#[actix_rt::test]
async fn without_the_flag_nothing_is_served() {
    let mut host = Host::dev();
    host.key();
    assert!(!host.0.program.stdout.so_far().contains("metrics"));
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(get(host.address(), path).await.0, 404, "{path}");
    }
    host.expect_success();
}

#[actix_rt::test]
async fn apps_cannot_connect_to_the_metrics() {
    let (host, address) = monitored(&["--dev"]);
    let mut client = Client::connect(&host, "a").await;
    for address in [address, host.address()] {
        let created = client.call("tcp.create", json!([])).await;
        let socket = &created[2]["socketId"];
        let target = json!([socket, address.ip().to_string(), address.port()]);
        let connected = client.call("tcp.connect", target).await;
        assert_eq!(connected[0], "error", "{connected}");
    }
    host.expect_success();
}

#[actix_rt::test]
async fn hostile_requests_are_refused_and_do_no_harm() {
    let (host, address) = monitored(&["--dev"]);
    let from = [127, 0, 0, 1];
    let head = |rest: &str| format!("{rest}\r\nhost: {address}\r\n\r\n");
    for (request, expected) in [
        (head("POST /metrics HTTP/1.1"), "405"),
        (head("DELETE /readyz HTTP/1.1"), "405"),
        (head("GET /metrics/.. HTTP/1.1"), "404"),
        (head("GET http://[::1]:1/metrics HTTP/1.1"), "200"),
        (head("GET /metrics?x=1 HTTP/1.1"), "200"),
        (
            "GET /metrics HTTP/1.1\r\nhost: evil.example\r\n\r\n".to_owned(),
            "403",
        ),
        ("GET /metrics HTTP/1.1\r\n\r\n".to_owned(), "403"),
        (head("GET /metrics HTTP/3.0"), "400"),
        ("\u{0}\u{1}\u{2}\r\n\r\n".to_owned(), "400"),
        (
            head(&format!("GET /{} HTTP/1.1", "x".repeat(64 * 1024))),
            "4",
        ),
        (
            head(&format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(64 * 1024))),
            "431",
        ),
        (
            head(&format!("GET / HTTP/1.1{}", "\r\nx: x".repeat(1000))),
            "431",
        ),
    ] {
        let response = exchange(from, address, &request).await;
        let status = response.split(' ').nth(1).unwrap_or_default();
        assert!(
            status.starts_with(expected),
            "{:.60}: {response:.200}",
            request
        );
    }
    let response = exchange(from, address, &head("HEAD /metrics HTTP/1.1")).await;
    assert!(
        response.starts_with("HTTP/1.1 200") && response.ends_with("\r\n\r\n"),
        "{response}"
    );
    // A body that is never read, and one that never comes.
    let large = head("POST /metrics HTTP/1.1\r\ncontent-length: 99999999");
    let response = exchange(from, address, &(large.clone() + &"x".repeat(8 << 20))).await;
    assert!(
        response.is_empty() || response.starts_with("HTTP/1.1 405"),
        "{response}"
    );
    assert!(
        exchange(from, address, &large)
            .await
            .starts_with("HTTP/1.1 405")
    );
    // One address cannot use all connections, and a connection without a request is closed.
    let mut silent = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(address).await.expect("a listener");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nx: ")
            .await
            .expect("an open connection");
        silent.push(stream);
    }
    let request = head("GET /readyz HTTP/1.1");
    let response = exchange([127, 0, 3, 9], address, &request).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    for mut stream in silent {
        let mut rest = Vec::new();
        // Refused connections are reset.
        let _ = within("the end", stream.read_to_end(&mut rest)).await;
    }
    assert_eq!(get(address, "/readyz").await.0, 200);
    // The gateway works as before.
    Client::connect(&host, "a").await.disconnect();
    host.expect_success();
}

#[actix_rt::test]
async fn clients_that_are_rejected_before_the_hello_are_counted() {
    let (host, address) = monitored(&["--dev", "--token", "secret"]);
    let mut socket = dial(host.address(), request(host.address()))
        .await
        .expect("a handshake");
    assert_eq!(close_code(&mut socket).await, "forbidden");
    wait_for(address, "refused_total{reason=\"forbidden\"}", 1.0).await;
    host.expect_success();
}

#[actix_rt::test]
async fn prometheus_accepts_the_metrics() {
    if !has("promtool", "--help", "check metrics") {
        return;
    }
    let (host, address) = monitored(&["--dev"]);
    let mut client = Client::connect(&host, "a").await;
    // With every metric of the crate that a connection can have.
    let (_, port) = client.listening_server(json!({})).await;
    let _peer = TcpStream::connect(("127.0.0.1", port)).await;
    client.event("tcpServer.onAccept").await;
    let (_, text) = get(address, "/metrics").await;
    assert!(text.contains("chrome_sockets_connections_open 1"), "{text}");
    let mut promtool = Program::start(Command::new("promtool").args(["check", "metrics"]));
    let mut input = promtool.stdin();
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let ended = promtool.ended();
    assert!(ended.status.success(), "{}\n{text}", ended.stderr);
    assert_eq!(ended.stderr, "", "{text}");
    client.disconnect();
    host.expect_success();
}
