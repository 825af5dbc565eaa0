//! Half-close: one side of a connection ends before the other.

mod ends;
mod programs;

use chrome_sockets::tcp::{ClientSocket, SocketProperties};
use chrome_sockets::{ClientSocketId, Error, NetError};
use support::{TestApp, code, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{
    LARGE, assert_ended, connect, connected, pair, pattern, read, read_to_end, reset, write,
};

fn half_open() -> SocketProperties {
    SocketProperties {
        allow_half_open: Some(true),
        ..Default::default()
    }
}

/// Has an accepted client receive, with `allow_half_open`.
async fn allow(client: &ClientSocket) {
    client.update(half_open()).await.expect("update");
    client.set_paused(false).await.expect("resume");
}

/// The peer ends its side, which is reported.
async fn end_peer(test: &mut TestApp, client: &ClientSocket, peer: &mut TcpStream) {
    peer.shutdown().await.expect("its side ends");
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
}

/// An accepted client whose peer has ended its side, which was reported.
async fn half_closed(test: &mut TestApp) -> (ClientSocket, TcpStream) {
    let (client, mut peer) = pair(test).await;
    allow(&client).await;
    end_peer(test, &client, &mut peer).await;
    (client, peer)
}

async fn is_connected(client: &ClientSocket) -> bool {
    client.get_info().await.expect("it exists").connected
}

/// Waits until the socket has lost its connection.
async fn disconnected(client: &ClientSocket) {
    within("the end of the connection", async {
        while is_connected(client).await {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

#[actix_rt::test]
async fn by_default_the_peers_end_ends_the_connection() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let info = client.get_info().await.expect("it exists");
    assert!(!info.allow_half_open && !info.half_closed);
    client.set_paused(false).await.expect("resume");
    end_peer(&mut test, &client, &mut peer).await;
    assert_ended(&test.app, client.id()).await;
    assert_eq!(code("send", client.send(&b"late"[..])).await, -15);
    assert_eq!(read_to_end(&mut peer).await, b"");
}

#[actix_rt::test]
async fn with_allow_half_open_the_socket_sends_after_the_peers_end_which_is_reported_once() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    allow(&client).await;
    write(&mut peer, b"a request").await;
    peer.shutdown().await.expect("its side ends");
    assert_eq!(test.received(client.id(), 9).await, b"a request");
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    let info = client.get_info().await.expect("it exists");
    assert!(
        info.connected && info.paused && info.allow_half_open && info.half_closed,
        "{info:?}"
    );
    assert!(info.peer_address.is_some());

    // Neither a resume nor a pause reports it again, and sends go on.
    for paused in [false, true, false] {
        client.set_paused(paused).await.expect("it is open");
        let sent = client.send(&b"part "[..]).await.expect("it is connected");
        assert_eq!(sent.bytes_sent, 5);
        client.try_send(&b"and "[..]).expect("it is connected");
    }
    assert_eq!(read(&mut peer, 27).await, b"part and part and part and ");
    client.close().await.expect("close");
    assert_eq!(read_to_end(&mut peer).await, b"");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn the_property_counts_when_the_end_is_reported() {
    let mut test = TestApp::new().await;
    // Set while data and the end wait unread.
    let (client, mut peer) = pair(&mut test).await;
    write(&mut peer, b"first").await;
    peer.shutdown().await.expect("its side ends");
    allow(&client).await;
    assert_eq!(test.received(client.id(), 5).await, b"first");
    test.ended(client.id()).await;
    assert!(is_connected(&client).await);
    // A later change does not end what was kept.
    let off = SocketProperties {
        allow_half_open: Some(false),
        ..Default::default()
    };
    client.update(off).await.expect("update");
    client.send(&b"second"[..]).await.expect("it is connected");
    assert_eq!(read(&mut peer, 6).await, b"second");
}

#[actix_rt::test]
async fn shutdown_write_sends_the_end_and_reading_goes_on() {
    let mut test = TestApp::new().await;
    for allowed in [false, true] {
        let (client, mut peer) = connected(&test).await;
        if allowed {
            client.update(half_open()).await.expect("update");
        }
        client
            .try_send(&b"a question"[..])
            .expect("it is connected");
        client.shutdown_write().await.expect("it is connected");
        assert_eq!(read_to_end(&mut peer).await, b"a question");
        for part in [&b"an answer"[..], b" in parts"] {
            write(&mut peer, part).await;
            assert_eq!(test.received(client.id(), part.len()).await, part);
        }
        let info = client.get_info().await.expect("it exists");
        assert!(info.connected && !info.paused, "{info:?}");
        // Now both sides end.
        drop(peer);
        assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
        assert_ended(&test.app, client.id()).await;
        test.expect_no_event().await;
    }
}

#[actix_rt::test]
async fn shutdown_write_ends_a_half_closed_connection_before_its_answer_and_without_an_event() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = half_closed(&mut test).await;
    client.set_paused(false).await.expect("it is open");
    client.try_send(&b"an answer"[..]).expect("it is connected");
    client.shutdown_write().await.expect("it is connected");
    assert_ended(&test.app, client.id()).await;
    assert_eq!(read_to_end(&mut peer).await, b"an answer");
    let again = client.shutdown_write();
    assert_eq!(code("shutdown_write", again).await, -15);
    test.expect_no_event().await;

    // The socket can connect again, and its next end is reported.
    let mut peer = connect(&test.app, client.id()).await;
    client.set_paused(false).await.expect("resume");
    write(&mut peer, b"alive").await;
    assert_eq!(test.received(client.id(), 5).await, b"alive");
    end_peer(&mut test, &client, &mut peer).await;
    assert!(is_connected(&client).await, "the property stays");
}

#[actix_rt::test]
async fn shutdown_write_waits_for_all_earlier_sends() {
    let mut test = TestApp::new().await;
    let mut peers = Vec::new();
    for half in [false, true] {
        let (client, mut peer) = match half {
            true => half_closed(&mut test).await,
            false => connected(&test).await,
        };
        let data = pattern(LARGE);
        let sent = client.send(data.clone());
        let shut = client.shutdown_write();
        let again = client.shutdown_write();
        let late = client.send(&b"late"[..]);
        assert_eq!(code("send", late).await, -15);
        assert!(is_connected(&client).await, "data waits");
        assert!(read_to_end(&mut peer).await == data);
        assert_eq!(
            within("the send", sent).await.map(|it| it.bytes_sent),
            Ok(LARGE)
        );
        assert_eq!(within("the first call", shut).await, Ok(()));
        assert_eq!(within("the second call", again).await, Ok(()));
        assert_eq!(is_connected(&client).await, !half);
        peers.push(peer);
    }
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn after_shutdown_write_sends_fail_and_a_second_call_has_no_effect() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = connected(&test).await;
    client.shutdown_write().await.expect("it is connected");
    assert_eq!(client.shutdown_write().await, Ok(()));
    for _ in 0..2 {
        assert_eq!(code("send", client.send(&b"late"[..])).await, -15);
    }
    assert_eq!(client.try_send(&b"dropped"[..]), Ok(()));
    assert_eq!(read_to_end(&mut peer).await, b"");
    write(&mut peer, b"still read").await;
    assert_eq!(test.received(client.id(), 10).await, b"still read");
}

#[actix_rt::test]
async fn shutdown_write_needs_a_connection() {
    let test = TestApp::new().await;
    let tcp = &test.app.tcp;
    let id = test.create().await;
    assert_eq!(code("shutdown_write", tcp.shutdown_write(id)).await, -15);
    let client = tcp.socket(id).await.expect("it exists");
    assert_eq!(code("shutdown_write", client.shutdown_write()).await, -15);
    client.close().await.expect("close");
    for answer in [tcp.shutdown_write(id), client.shutdown_write()] {
        assert_eq!(answer.await, Err(Error::SocketNotFound));
    }
    let unknown = tcp.shutdown_write(ClientSocketId::new(77));
    assert_eq!(unknown.await, Err(Error::SocketNotFound));
}

#[actix_rt::test]
async fn shutdown_write_by_id_keeps_its_place_among_sends_by_id() {
    let test = TestApp::new().await;
    let (client, mut peer) = connected(&test).await;
    let (tcp, id) = (&test.app.tcp, client.id());
    let first = tcp.send(id, &b"before"[..]);
    let shut = tcp.shutdown_write(id);
    let late = tcp.send(id, &b"behind"[..]);
    assert!(first.await.is_ok());
    assert_eq!(shut.await, Ok(()));
    assert_eq!(code("send", late).await, -15);
    assert_eq!(read_to_end(&mut peer).await, b"before");
}
