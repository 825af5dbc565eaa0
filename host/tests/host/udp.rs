//! `chrome.sockets.udp` for clients: events, windows, persistence, limits, admins and metrics.

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::{QUIET, within};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Host;
use super::admin::connect_admin;
use super::client::{Client, EVENTS, all_permissions};
use super::monitoring::{monitored, wait_for};
use super::reconnecting::reconnected;

/// A bound socket of the client, and its address.
async fn bound(client: &mut Client, properties: Value) -> (u64, SocketAddr) {
    let created = client.call("udp.create", json!([properties])).await;
    let id = created[2]["socketId"].as_u64().expect("an id");
    let bound = client.call("udp.bind", json!([id, "127.0.0.1", 0])).await;
    assert_eq!(bound[2], 0, "{bound}");
    let info = client.call("udp.getInfo", json!([id])).await;
    let port = info[2]["localPort"].as_u64().expect("a port");
    (id, SocketAddr::from(([127, 0, 0, 1], port as u16)))
}

async fn peer() -> (UdpSocket, u16) {
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let port = peer.local_addr().expect("it is bound").port();
    (peer, port)
}

async fn receive(peer: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 65_536];
    let received = within("a datagram", peer.recv_from(&mut buffer)).await;
    let (length, _) = received.expect("a bound socket");
    buffer[..length].to_vec()
}

async fn send(client: &mut Client, id: u64, data: &[u8], to: &str, port: u16) -> Value {
    let sent = client
        .start_call_with("udp.send", json!([id]), data, json!([to, port]))
        .await;
    client.answer(sent).await
}

/// A datagram travels in both directions.
async fn expect_alive(client: &mut Client, id: u64, at: SocketAddr) {
    let (peer, port) = peer().await;
    peer.send_to(b"in", at).await.expect("sent");
    let event = client.event("udp.onReceive").await;
    assert_eq!(event, json!(["udp.onReceive", id, "in", "127.0.0.1", port]));
    let sent = send(client, id, b"out", "127.0.0.1", port).await;
    assert_eq!(sent[2], json!({ "resultCode": 0, "bytesSent": 3 }));
    assert_eq!(receive(&peer).await, b"out");
}

#[actix_rt::test]
async fn each_datagram_is_an_event_of_its_own() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let (id, at) = bound(&mut client, json!({ "bufferSize": 65_535 })).await;
    let (peer, port) = peer().await;
    let datagrams = [
        b"one".to_vec(),
        Vec::new(),
        b"two".to_vec(),
        vec![b'x'; 65_507],
        Vec::new(),
    ];
    // A paused socket reads them together, when it is resumed.
    client.call("udp.setPaused", json!([id, true])).await;
    for data in &datagrams {
        peer.send_to(data, at).await.expect("sent");
    }
    client.call("udp.setPaused", json!([id, false])).await;
    for data in &datagrams {
        let text = String::from_utf8(data.clone()).expect("UTF-8");
        let event = client.event("udp.onReceive").await;
        assert_eq!(event, json!(["udp.onReceive", id, text, "127.0.0.1", port]));
    }
    for data in &datagrams {
        let sent = send(&mut client, id, data, "127.0.0.1", port).await;
        assert_eq!(sent[2], json!({ "resultCode": 0, "bytesSent": data.len() }));
        assert_eq!(&receive(&peer).await, data);
    }
    let too_long = send(&mut client, id, &[0; 65_536], "127.0.0.1", port).await;
    assert_eq!(too_long[2], "net::ERR_MSG_TOO_BIG");
    assert_eq!(too_long[3], json!({ "resultCode": -142 }));
    expect_alive(&mut client, id, at).await;
    host.expect_success();
}

#[actix_rt::test]
async fn a_client_that_acknowledges_nothing_stops_the_reading_and_the_os_drops() {
    let mut host = Host::dev();
    let key = host.key();
    let mut client = Client::connect(&host, "a").await;
    let (id, at) = bound(&mut client, json!({})).await;
    let (peer, _) = peer().await;
    let mut admin = connect_admin(&host, &key).await;
    client.acknowledges = false;
    // One client may have 4,096 small datagrams of a socket unacknowledged.
    let sent = 60_000_u64;
    for number in 0..sent {
        let number = number.to_string();
        peer.send_to(number.as_bytes(), at).await.expect("sent");
    }
    // The client reads all that comes.
    while let Ok(true) = timeout(10 * QUIET, client.receive()).await {}
    let row = admin.call("host.listUdp", json!(["a", false])).await[2]["sockets"][0].clone();
    let passed = row["datagramsReceived"].as_u64().expect("a count");
    assert!(passed < 10_000, "{row}");
    let dropped = row["dropped"].as_u64().expect("Linux tells it");
    assert!(dropped > 0 && passed + dropped <= sent, "{row}");
    client.acknowledges = true;
    client.acknowledge().await;
    // What waited comes in order, and nothing is missing in between.
    let mut last = None;
    let mut received = 0;
    while received < sent - dropped {
        let event = client.event("udp.onReceive").await;
        let number: u64 = event[2].as_str().expect("data").parse().expect("a number");
        assert!(last.is_none_or(|last| last < number), "{last:?}, {number}");
        last = Some(number);
        received += 1;
    }
    expect_alive(&mut client, id, at).await;
    host.expect_success();
}

#[actix_rt::test]
async fn persistent_sockets_wait_for_the_next_client() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let (kept, at) = bound(&mut client, json!({ "persistent": true, "name": "k" })).await;
    let (_, transient) = bound(&mut client, json!({})).await;
    client.disconnect();
    let free = async { while UdpSocket::bind(transient).await.is_err() {} };
    within("the end of the other socket", free).await;
    let (peer, port) = peer().await;
    peer.send_to(b"meanwhile", at).await.expect("sent");
    let mut client = reconnected(&host, "a").await;
    let infos = client.call("udp.getSockets", json!([])).await;
    let info = json!({
        "socketId": kept, "persistent": true, "name": "k", "paused": false,
        "localAddress": "127.0.0.1", "localPort": at.port(),
    });
    assert_eq!(infos[2], json!([info]));
    client.listen(&EVENTS).await;
    let event = client.event("udp.onReceive").await;
    assert_eq!(
        event,
        json!(["udp.onReceive", kept, "meanwhile", "127.0.0.1", port])
    );
    expect_alive(&mut client, kept, at).await;
    host.expect_success();
}

#[actix_rt::test]
async fn the_number_of_sockets_is_limited_in_each_namespace() {
    let host = Host::start(&["--dev", "--max-sockets", "2"]);
    let mut client = Client::connect(&host, "a").await;
    client.call("tcp.create", json!([])).await;
    let (id, at) = bound(&mut client, json!({})).await;
    assert_eq!(client.call("udp.create", json!([])).await[0], "answer");
    let refused = client.call("udp.create", json!([])).await;
    assert_eq!(refused[2], "Too many sockets");
    client.call("udp.close", json!([2])).await;
    assert_eq!(client.call("udp.create", json!([])).await[0], "answer");
    expect_alive(&mut client, id, at).await;
    host.expect_success();
}

#[actix_rt::test]
async fn what_the_manifest_or_the_host_denies_is_refused_and_logged() {
    let mut host = Host::dev();
    let own = host.address().port();
    let mut client = Client::connect(&host, "a").await;
    let (id, at) = bound(&mut client, json!({})).await;
    for address in ["127.0.0.1", "0.0.0.0", "localhost"] {
        let denied = send(&mut client, id, b"x", address, own).await;
        let expected = json!({ "resultCode": -10 });
        assert_eq!(
            (&denied[2], &denied[3]),
            (&json!("net::ERR_ACCESS_DENIED"), &expected),
            "{address}"
        );
        let line = format!("app a: send {address}:{own} denied: it is the host's own port");
        host.0.program.stderr.line(&line);
    }
    expect_alive(&mut client, id, at).await;
    let manifest = json!({ "sockets": { "udp": { "bind": "127.0.0.1", "send": "127.0.0.1" } } });
    let hello = json!({ "app": "web", "manifest": manifest });
    let mut web = Client::try_connect(&host, hello).await.expect("a welcome");
    web.listen(&EVENTS).await;
    let (id, at) = bound(&mut web, json!({})).await;
    let denied = web.call("udp.bind", json!([id, "0.0.0.0", 53])).await;
    let text = "App does not have permission";
    assert_eq!(denied, json!(["error", denied[1], text]));
    let line = "app web: bind 0.0.0.0:53 denied: its manifest";
    host.0.program.stderr.line(line);
    let denied = send(&mut web, id, b"x", "a.example", 25).await;
    assert_eq!(denied, json!(["error", denied[1], text]));
    let line = "app web: send a.example:25 denied: its manifest";
    host.0.program.stderr.line(line);
    let denied = web.call("udp.joinGroup", json!([id, "224.0.0.251"])).await;
    assert_eq!(denied, json!(["error", denied[1], text]));
    expect_alive(&mut web, id, at).await;
    host.expect_success();
}

#[actix_rt::test]
async fn admins_list_pause_and_close_sockets_and_metrics_count_datagrams() {
    let (mut host, metrics) = monitored(&["--dev"]);
    let key = host.key();
    let mut client = Client::connect(&host, "a").await;
    let (id, at) = bound(&mut client, json!({ "name": "dns" })).await;
    expect_alive(&mut client, id, at).await;
    for (series, value) in [
        ("sockets{namespace=\"udp\"}", 1.0),
        ("app_datagrams_total{direction=\"received\"}", 1.0),
        ("app_datagrams_total{direction=\"sent\"}", 1.0),
        ("app_bytes_total{direction=\"received\"}", 2.0),
        ("app_bytes_total{direction=\"sent\"}", 3.0),
    ] {
        wait_for(metrics, series, value).await;
    }
    let mut admin = connect_admin(&host, &key).await;
    let apps = admin.call("host.listApps", json!([])).await[2].clone();
    assert_eq!(
        (&apps["apps"][0]["udp"], &apps["all"]["udp"]),
        (&json!(1), &json!(1))
    );
    let listed = admin.call("host.listUdp", json!(["a", true])).await[2].clone();
    let row = json!({
        "socketId": id, "persistent": false, "name": "dns", "paused": false,
        "localAddress": "127.0.0.1", "localPort": at.port(),
        "received": 2, "sent": 3, "datagramsReceived": 1, "datagramsSent": 1, "dropped": 0,
        "age": listed["sockets"][0]["age"],
    });
    assert_eq!(
        (&listed["total"], &listed["sockets"]),
        (&json!(1), &json!([row]))
    );
    for text in ["DNS", &at.to_string()] {
        let found = admin.call("host.find", json!([text])).await[2].clone();
        assert_eq!(found["total"], 1, "{text}");
        assert_eq!(found["found"][0]["kind"], "udp");
        assert_eq!(found["found"][0]["socketId"], id);
    }
    let pause = |paused: bool| json!(["a", "udp", id, paused]);
    assert_eq!(admin.call("host.setPaused", pause(true)).await[0], "answer");
    let info = client.call("udp.getInfo", json!([id])).await;
    assert_eq!(info[2]["paused"], true);
    assert_eq!(
        admin.call("host.setPaused", pause(false)).await[0],
        "answer"
    );
    expect_alive(&mut client, id, at).await;
    // Each closed socket raises one event: it raises it itself unless it is paused.
    let (paused, _) = bound(&mut client, json!({})).await;
    client.call("udp.setPaused", json!([paused, true])).await;
    for id in [id, paused] {
        let closed = admin.call("host.close", json!(["a", "udp", id])).await;
        assert_eq!(closed[0], "answer");
        let event = client.event("udp.onReceiveError").await;
        assert_eq!(event, json!(["udp.onReceiveError", id, -100]));
        let closed = client.call("udp.close", json!([id])).await;
        assert_eq!(closed[2], "Socket not found");
    }
    wait_for(metrics, "sockets{namespace=\"udp\"}", 0.0).await;
    wait_for(metrics, "app_bytes_total{direction=\"received\"}", 4.0).await;
    host.expect_success();
}

#[actix_rt::test]
async fn an_app_cannot_use_the_sockets_of_another() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let (id, at) = bound(&mut client, json!({})).await;
    let hello = json!({ "app": "b", "manifest": all_permissions() });
    let mut other = Client::try_connect(&host, hello).await.expect("a welcome");
    let (_, port) = peer().await;
    let sent = send(&mut other, id, b"x", "127.0.0.1", port).await;
    assert_eq!(sent[2], "Socket not found");
    let joined = other
        .call("udp.joinGroup", json!([id, "224.0.0.251"]))
        .await;
    assert_eq!(joined, json!(["error", joined[1], "Socket not found"]));
    assert_eq!(other.call("udp.getSockets", json!([])).await[2], json!([]));
    expect_alive(&mut client, id, at).await;
    host.expect_success();
}
