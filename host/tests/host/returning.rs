//! Clients that go, and come back: what waits for them and what does not.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Host;
use super::client::{Client, EVENTS, anything};
use support::within;

/// The app's next client, as soon as the host has seen that the last one went.
async fn returned(host: &Host, app: &str) -> Client {
    let again = async {
        loop {
            let hello = json!({ "app": app, "manifest": anything() });
            if let Ok(client) = Client::try_enter(host, hello).await {
                return client;
            }
        }
    };
    within("the app's seat", again).await
}

async fn peer(port: u16) -> TcpStream {
    let connected = TcpStream::connect(("127.0.0.1", port)).await;
    connected.expect("it listens")
}

/// Waits until nobody listens any more.
async fn freed(port: u16) {
    let refused = async { while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {} };
    within("the end of the listener", refused).await;
}

async fn ids(client: &mut Client, function: &str) -> Vec<Value> {
    let infos = client.call(function, json!([])).await;
    let infos = infos[2].as_array().expect("a list").iter();
    infos.map(|info| info["socketId"].clone()).collect()
}

#[actix_rt::test]
async fn who_comes_back_finds_persistent_sockets_and_no_others() {
    let host = Host::dev();
    let mut client = Client::enter(&host, "a").await;
    let instance = client.welcome["instance"].clone();
    let (kept, port) = client
        .server(json!({ "persistent": true, "name": "k" }))
        .await;
    let (_, transient) = client.server(json!({})).await;
    client.vanish();
    freed(transient).await;
    let mut stream = peer(port).await;
    let mut client = returned(&host, "a").await;
    assert_eq!(client.welcome["instance"], instance);
    assert_eq!(ids(&mut client, "tcpServer.getSockets").await, [kept]);
    client.listen(&EVENTS).await;
    let accepted = client.event("tcpServer.onAccept").await;
    assert_eq!(accepted[1], kept, "who came meanwhile is told now");
    client
        .call("tcp.setPaused", json!([accepted[2], false]))
        .await;
    stream.write_all(b"hello").await.expect("it is connected");
    let received = client.event("tcp.onReceive").await;
    assert_eq!(
        (&received[1], &received[2]),
        (&accepted[2], &json!("hello"))
    );
    host.expect_success();
}

#[actix_rt::test]
async fn a_connection_that_the_client_never_heard_of_is_told_to_the_next_one() {
    let host = Host::dev();
    let mut client = Client::enter(&host, "a").await;
    let (server, port) = client.server(json!({ "persistent": true })).await;
    client.acknowledges = false;
    let mut stream = peer(port).await;
    // It has reached this machine's buffers, and nobody has looked at it.
    client.event("tcpServer.onAccept").await;
    client.vanish();
    let mut client = returned(&host, "a").await;
    client.listen(&EVENTS).await;
    let accepted = client.event("tcpServer.onAccept").await;
    assert_eq!(accepted[1], server);
    client
        .call("tcp.setPaused", json!([accepted[2], false]))
        .await;
    stream
        .write_all(b"still here")
        .await
        .expect("it is connected");
    assert_eq!(client.event("tcp.onReceive").await[2], "still here");
    host.expect_success();
}

#[actix_rt::test]
async fn a_connection_that_the_client_has_acknowledged_goes_with_it() {
    let host = Host::dev();
    let mut client = Client::enter(&host, "a").await;
    let (_, port) = client.server(json!({ "persistent": true })).await;
    let mut stream = peer(port).await;
    client.event("tcpServer.onAccept").await;
    // The acknowledgement stands before this call.
    ids(&mut client, "tcp.getSockets").await;
    client.vanish();
    let read = within("the end of the connection", stream.read(&mut [0])).await;
    assert_eq!(read.expect("it is closed"), 0);
    host.expect_success();
}

#[actix_rt::test]
async fn an_app_with_nothing_left_begins_anew() {
    let host = Host::dev();
    let mut client = Client::enter(&host, "a").await;
    let (server, _) = client.server(json!({})).await;
    client.vanish();
    let mut client = returned(&host, "a").await;
    assert_eq!(ids(&mut client, "tcpServer.getSockets").await, [0; 0]);
    let gone = client.call("tcpServer.getInfo", json!([server])).await;
    assert_eq!(gone, json!(["error", 2, "Socket not found"]));
    host.expect_success();
}

#[actix_rt::test]
async fn one_apps_sockets_are_nobody_elses() {
    let host = Host::dev();
    let mut a = Client::enter(&host, "a").await;
    let mut b = Client::enter(&host, "b").await;
    let (server, port) = a.server(json!({})).await;
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
async fn a_host_that_stops_says_so() {
    let host = Host::dev();
    let mut client = Client::enter(&host, "a").await;
    ids(&mut client, "tcp.getSockets").await;
    host.0.terminate();
    assert_eq!(super::client::end(&mut client.socket).await, "stopping");
    host.0.assert_success();
}
