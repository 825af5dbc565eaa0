//! Timeouts are transferred with their sockets.

use chrome_sockets::tcp::{MinimumRate, Timeouts};

use super::*;

#[actix_rt::test]
async fn timeouts_are_transferred_with_their_sockets() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (id, address) = persistent_server(&old, "web").await;
    let of_accepted = Timeouts {
        claim: Some(LIMIT),
        idle: Some(3 * LIMIT),
        send: None,
        send_rate: None,
    };
    let set = old.app.tcp_server.set_timeouts(id, of_accepted);
    set.await.expect("it is open");
    let (client, _peer) = accept_persistent(&mut old, address).await;
    let own = Timeouts {
        send: Some(LIMIT),
        send_rate: Some(MinimumRate {
            bytes: u64::MAX,
            per: LIMIT,
        }),
        ..Timeouts::default()
    };
    client.set_timeouts(own).await.expect("it is open");

    expect_handover(&old, &new).await;
    let info = new.app.tcp.get_info(client.id()).await;
    assert_eq!(info.map(|info| info.timeouts), Ok(own));
    let _later = dial(address);
    let later = new.accepted().await;
    let info = later.get_info().await;
    assert_eq!(info.map(|info| info.timeouts), Ok(of_accepted));
}

#[actix_rt::test]
async fn the_user_timeout_is_transferred_with_its_socket() {
    let mut old = TestApp::new().await;
    let new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "web").await;
    let (client, _peer) = accept_persistent(&mut old, address).await;
    let timeout = Duration::from_secs(9);
    let properties = tcp::SocketProperties {
        user_timeout: Some(timeout),
        ..Default::default()
    };
    client.update(properties).await.expect("it is open");
    let before = client.get_info().await.expect("it is open");

    expect_handover(&old, &new).await;
    let info = new.app.tcp.get_info(client.id()).await.expect("it is here");
    assert_eq!(info.user_timeout, Some(timeout));
    assert_eq!(info.local, before.local);
    assert_eq!(info.local_addr(), Some(address));
}
