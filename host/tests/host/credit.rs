//! Slow clients and fast peers do not exceed the windows and quotas.

use serde_json::json;
use support::{QUIET, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Host;
use super::client::Client;

/// More than all windows and buffers.
const MUCH: usize = 64 * 1024 * 1024;

/// Writes until the host stops reading. Returns the number of bytes written.
async fn fill(stream: &mut TcpStream) -> usize {
    let block = vec![7; 64 * 1024];
    let mut written = 0;
    while written < MUCH {
        match timeout(10 * QUIET, stream.write(&block)).await {
            Ok(count) => written += count.expect("an open connection"),
            Err(_) => break,
        }
    }
    written
}

#[actix_rt::test]
async fn unacknowledged_data_stops_reading_from_the_socket() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let (_, port) = client.listening_server(json!({})).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a listener");
    let accepted = client.event("tcpServer.onAccept").await;
    let socket = accepted[2].clone();
    client
        .call("tcp.update", json!([socket, { "bufferSize": 65536 }]))
        .await;
    client.call("tcp.setPaused", json!([socket, false])).await;
    client.acknowledges = false;
    let written = fill(&mut stream).await;
    // The frames of the client, the buffers of the OS, and a window.
    assert!(written < MUCH / 2, "{written} bytes were read");
    let mut received = 0;
    while let Ok(true) = timeout(10 * QUIET, client.receive()).await {}
    client.acknowledges = true;
    client.acknowledge().await;
    while received < written {
        let data = client.event("tcp.onReceive").await;
        received += data[2].as_str().expect("data").chars().count();
    }
    assert_eq!(received, written, "no data is lost");
    host.expect_success();
}

#[actix_rt::test]
async fn an_app_that_does_not_read_does_not_block_others() {
    let host = Host::dev();
    let mut deaf = Client::connect(&host, "deaf").await;
    let (_, port) = deaf.listening_server(json!({})).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a listener");
    let accepted = deaf.event("tcpServer.onAccept").await;
    deaf.call("tcp.setPaused", json!([accepted[2], false]))
        .await;
    // From here on the client does not read.
    fill(&mut stream).await;
    let mut client = Client::connect(&host, "a").await;
    let (_, port) = client.listening_server(json!({})).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a listener");
    let accepted = client.event("tcpServer.onAccept").await;
    client
        .call("tcp.setPaused", json!([accepted[2], false]))
        .await;
    stream
        .write_all(b"hello")
        .await
        .expect("an open connection");
    assert_eq!(client.event("tcp.onReceive").await[2], "hello");
    host.expect_success();
}

#[actix_rt::test]
async fn sends_beyond_the_quota_fail_and_earlier_ones_arrive() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let quota = client.welcome["limits"]["quota"]
        .as_u64()
        .expect("a number");
    let most = client.welcome["limits"]["data"].as_u64().expect("a number");
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a bound socket");
    let port = listener.local_addr().expect("a bound socket").port();
    let socket = client.call("tcp.create", json!([])).await[2]["socketId"].clone();
    client
        .call("tcp.connect", json!([socket, "127.0.0.1", port]))
        .await;
    let (mut peer, _) = within("the connection", listener.accept())
        .await
        .expect("accepted");
    // The buffers of the OS do not count, so exceed the quota by more than those.
    let data = vec![7; most as usize];
    let count = quota / most + 32;
    let mut sends = Vec::new();
    for _ in 0..count {
        sends.push(client.start_call("tcp.send", json!([socket]), &data).await);
    }
    let refused = client.answer(*sends.last().expect("a send")).await;
    assert_eq!(
        refused,
        json!(["error", sends.last(), "Exceeded write quota."])
    );
    let mut sent = 0;
    let reader = actix_rt::spawn(async move {
        let mut buffer = vec![0; 1 << 20];
        let mut total = 0;
        while let Ok(read @ 1..) = peer.read(&mut buffer).await {
            total += read as u64;
        }
        total
    });
    for id in &sends[..sends.len() - 1] {
        let answer = client.answer(*id).await;
        if answer[0] == "answer" {
            assert_eq!(answer[2], json!({ "resultCode": 0, "bytesSent": most }));
            sent += most;
        }
    }
    assert!(sent >= quota - most, "{sent} of {quota}");
    client.call("tcp.close", json!([socket])).await;
    let arrived = within("the end of the data", reader)
        .await
        .expect("the total");
    assert_eq!(arrived, sent, "only whole sends arrive");
    host.expect_success();
}
