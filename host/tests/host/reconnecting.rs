//! Clients that disconnect and reconnect: which sockets and events they find.

use serde_json::{Value, json};
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Host;
use super::client::{Client, EVENTS, all_permissions};

/// Connects as the app as soon as the host has noticed the disconnect.
pub async fn reconnected(host: &Host, app: &str) -> Client {
    let again = async {
        loop {
            let hello = json!({ "app": app, "manifest": all_permissions() });
            if let Ok(client) = Client::try_connect(host, hello).await {
                return client;
            }
        }
    };
    within("the release of the app", again).await
}

async fn peer(port: u16) -> TcpStream {
    let connected = TcpStream::connect(("127.0.0.1", port)).await;
    connected.expect("a listener")
}

/// Waits until the port is closed.
async fn port_closed(port: u16) {
    let refused = async { while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {} };
    within("the end of the listener", refused).await;
}

async fn ids(client: &mut Client, function: &str) -> Vec<Value> {
    let infos = client.call(function, json!([])).await;
    let infos = infos[2].as_array().expect("a list").iter();
    infos.map(|info| info["socketId"].clone()).collect()
}

#[actix_rt::test]
async fn only_persistent_sockets_survive_a_reconnect() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let instance = client.welcome["instance"].clone();
    let (kept, port) = client
        .listening_server(json!({ "persistent": true, "name": "k" }))
        .await;
    let (_, transient) = client.listening_server(json!({})).await;
    client.disconnect();
    port_closed(transient).await;
    let mut stream = peer(port).await;
    let mut client = reconnected(&host, "a").await;
    assert_eq!(client.welcome["instance"], instance);
    assert_eq!(ids(&mut client, "tcpServer.getSockets").await, [kept]);
    client.listen(&EVENTS).await;
    let accepted = client.event("tcpServer.onAccept").await;
    assert_eq!(accepted[1], kept, "connections that waited are raised now");
    client
        .call("tcp.setPaused", json!([accepted[2], false]))
        .await;
    stream
        .write_all(b"hello")
        .await
        .expect("an open connection");
    let received = client.event("tcp.onReceive").await;
    assert_eq!(
        (&received[1], &received[2]),
        (&accepted[2], &json!("hello"))
    );
    host.expect_success();
}

#[actix_rt::test]
async fn an_unacknowledged_connection_goes_to_the_next_client() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let (server, port) = client.listening_server(json!({ "persistent": true })).await;
    client.acknowledges = false;
    let mut stream = peer(port).await;
    // The client received the event but did not acknowledge it.
    client.event("tcpServer.onAccept").await;
    client.disconnect();
    let mut client = reconnected(&host, "a").await;
    client.listen(&EVENTS).await;
    let accepted = client.event("tcpServer.onAccept").await;
    assert_eq!(accepted[1], server);
    client
        .call("tcp.setPaused", json!([accepted[2], false]))
        .await;
    stream
        .write_all(b"still here")
        .await
        .expect("an open connection");
    assert_eq!(client.event("tcp.onReceive").await[2], "still here");
    host.expect_success();
}

#[actix_rt::test]
async fn an_acknowledged_connection_closes_with_its_client() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let (_, port) = client.listening_server(json!({ "persistent": true })).await;
    let mut stream = peer(port).await;
    client.event("tcpServer.onAccept").await;
    // The host handles the acknowledgement before this call.
    ids(&mut client, "tcp.getSockets").await;
    client.disconnect();
    let read = within("the end of the connection", stream.read(&mut [0])).await;
    assert_eq!(read.expect("a close without a reset"), 0);
    host.expect_success();
}

#[actix_rt::test]
async fn an_app_without_sockets_is_forgotten() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    let (server, _) = client.listening_server(json!({})).await;
    client.disconnect();
    let mut client = reconnected(&host, "a").await;
    assert_eq!(ids(&mut client, "tcpServer.getSockets").await, [0; 0]);
    let answer = client.call("tcpServer.getInfo", json!([server])).await;
    assert_eq!(answer, json!(["error", 2, "Socket not found"]));
    host.expect_success();
}

#[actix_rt::test]
async fn an_app_cannot_use_the_sockets_of_another() {
    let host = Host::dev();
    let mut a = Client::connect(&host, "a").await;
    let mut b = Client::connect(&host, "b").await;
    let (server, port) = a.listening_server(json!({})).await;
    for function in [
        "tcpServer.close",
        "tcpServer.disconnect",
        "tcpServer.getInfo",
    ] {
        let answer = b.call(function, json!([server])).await;
        assert_eq!(
            (&answer[0], &answer[2]),
            (&json!("error"), &json!("Socket not found"))
        );
    }
    peer(port).await;
    a.event("tcpServer.onAccept").await;
    host.expect_success();
}

#[actix_rt::test]
async fn a_stopping_host_sends_a_close_reason() {
    let host = Host::dev();
    let mut client = Client::connect(&host, "a").await;
    ids(&mut client, "tcp.getSockets").await;
    host.0.terminate();
    assert_eq!(
        super::client::close_code(&mut client.socket).await,
        "stopping"
    );
    host.0.assert_success();
}
