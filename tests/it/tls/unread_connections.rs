//! Encrypted connections that end while they are not read.

use chrome_sockets::NetError;
use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
use tokio::io::AsyncWriteExt;

use super::{TlsFixture, connect, write};
use crate::tcp_server::dial;

#[actix_rt::test]
async fn an_end_is_reported_without_an_on_receive_listener_and_data_before_it_is_kept() {
    let mut fixture = TlsFixture::new().await;
    let (_, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let on_receive = fixture.test.app.tcp.on_receive.clone();
    let receiver = fixture.test.listener.clone();
    for (data, resets) in [("", false), ("", true), ("kept", false), ("kept", true)] {
        let removed = on_receive.remove_listener(receiver.clone().recipient());
        removed.await.expect("it is gone");
        let mut peer = connect(at, &fixture.authority)
            .await
            .expect("the handshake");
        let client = fixture.test.accepted().await;
        client.set_paused(false).await.expect("resume");
        write(&mut peer, data.as_bytes()).await;
        match resets {
            true => peer
                .get_ref()
                .0
                .set_zero_linger()
                .expect("the option is set"),
            false => peer.shutdown().await.expect("close_notify"),
        }
        drop(peer);
        if !data.is_empty() {
            fixture.test.expect_no_event().await;
            let added = on_receive.add_listener(receiver.clone().recipient());
            added.await.expect("it is added");
            let received = fixture.test.received(client.id(), data.len()).await;
            assert_eq!(received, data.as_bytes());
        }
        let end = fixture.test.ended(client.id()).await;
        assert_eq!(end, NetError::CONNECTION_CLOSED, "{data:?}, {resets}");
        client.close().await.expect("it is open");
    }
}

#[actix_rt::test]
async fn a_paused_socket_whose_peer_reset_frees_its_place_and_keeps_received_data() {
    let mut fixture = TlsFixture::new().await;
    let (id, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    let limits = Limits {
        connections: Some(Limit {
            most: 1,
            then: AtLimit::Queue,
        }),
        ..Default::default()
    };
    let set = fixture.test.app.tcp_server.set_limits(id, limits).await;
    set.expect("valid limits");
    for data in ["", "kept"] {
        let mut peer = connect(at, &fixture.authority)
            .await
            .expect("the handshake");
        let client = fixture.test.accepted().await;
        write(&mut peer, data.as_bytes()).await;
        let waiting = dial(at).await;
        peer.get_ref()
            .0
            .set_zero_linger()
            .expect("the option is set");
        drop(peer);
        let authority = &fixture.authority;
        let second =
            super::connect_as(waiting, authority.config(&[&super::rustls::version::TLS13]));
        let second_peer = second.await.expect("its turn has come");
        let second = fixture.test.accepted().await;
        client.set_paused(false).await.expect("resume");
        if !data.is_empty() {
            let received = fixture.test.received(client.id(), data.len()).await;
            assert_eq!(received, data.as_bytes());
        }
        let end = fixture.test.ended(client.id()).await;
        assert_eq!(end, NetError::CONNECTION_CLOSED, "{data:?}");
        second.close().await.expect("it was open");
        drop(second_peer);
    }
}
