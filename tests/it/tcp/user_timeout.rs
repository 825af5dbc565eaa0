//! `TCP_USER_TIMEOUT`, as the property `user_timeout`.

use chrome_sockets::tcp::SocketProperties;
use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{InvalidArgument, NetError};
use rustix::net::sockopt::tcp_user_timeout;
use support::descriptors;

use super::*;

/// What the OS has as the user timeout of a connection, in milliseconds.
fn os_user_timeout(local: SocketAddr, peer: SocketAddr) -> u32 {
    tcp_user_timeout(descriptors::find(local, peer)).expect("the option is read")
}

fn user_timeout(timeout: Duration) -> SocketProperties {
    SocketProperties {
        user_timeout: Some(timeout),
        ..Default::default()
    }
}

#[actix_rt::test]
async fn the_user_timeout_is_set_on_accepted_and_on_later_connections() {
    let mut test = TestApp::new().await;
    let tcp = test.app.tcp.clone();
    let (accepted, peer) = pair(&mut test).await;
    let info = accepted.get_info().await.expect("it exists");
    assert_eq!(info.user_timeout, None);
    let peer_at = peer.local_addr().expect("its address");
    let local = info.local_addr().expect("it is connected");
    for (given, expected) in [
        (Duration::from_secs(9), 9000),
        (Duration::from_micros(1500), 2),
        (Duration::ZERO, 0),
    ] {
        accepted.update(user_timeout(given)).await.expect("update");
        assert_eq!(os_user_timeout(local, peer_at), expected, "{given:?}");
        let info = accepted.get_info().await.expect("it exists");
        let shown = info.user_timeout.map_or(0, |it| it.as_millis());
        assert_eq!(shown, expected.into(), "{given:?}");
    }

    // It stays for the connections that follow.
    let created = tcp.create(user_timeout(Duration::from_secs(7))).await;
    let id = created.expect("create").socket_id;
    for _ in 0..2 {
        let (listener, at) = foreign_listener().await;
        connect_to(&test.app, id, at).await.expect("connect");
        let (_peer, from) = listener.accept().await.expect("accept");
        assert_eq!(os_user_timeout(from, at), 7000);
        tcp.disconnect(id).await.expect("disconnect");
    }
    // Other updates keep it.
    tcp.update(id, Default::default()).await.expect("update");
    let info = tcp.get_info(id).await.expect("it exists");
    assert_eq!(info.user_timeout, Some(Duration::from_secs(7)));
    let too_long = Duration::from_millis(1 << 31);
    let refused = tcp.update(id, user_timeout(too_long)).await;
    assert_eq!(refused, Err(InvalidArgument::UserTimeoutTooLong.into()));
    assert_eq!(tcp.get_info(id).await, Ok(info), "nothing changes");
}

#[actix_rt::test]
async fn the_os_ends_a_connection_whose_peer_does_not_read() {
    let mut test = TestApp::new().await;
    let (client, _peer) = pair(&mut test).await;
    let half_a_second = user_timeout(Duration::from_millis(500));
    client.update(half_a_second).await.expect("update");
    client.set_paused(false).await.expect("resume");
    let sent = within("the answer", client.send(pattern(LARGE))).await;
    let end = test.ended(client.id()).await;
    // The OS reports its error once: to the write, or to the read.
    let timed_out = NetError::TIMED_OUT;
    assert!(sent.is_err());
    assert!(
        sent == Err(timed_out.into()) || end == timed_out,
        "{sent:?} {end}"
    );
    assert_ended(&test.app, client.id()).await;
}

#[actix_rt::test]
async fn a_network_without_user_timeouts_says_so() {
    let network = ScriptedNetwork::new();
    let test = TestApp::with_network(network.clone()).await;
    let at = SocketAddr::from(([192, 0, 2, 1], 80));
    let _server = network.server(at);
    let id = test.create().await;
    connect_to(&test.app, id, at).await.expect("connect");
    let refused = test
        .app
        .tcp
        .update(id, user_timeout(Duration::from_secs(1)));
    assert_eq!(refused.await, Err(NetError::NOT_IMPLEMENTED.into()));
    let info = test.app.tcp.get_info(id).await.expect("it exists");
    assert_eq!(info.user_timeout, None);
}
