//! Bounds of an app hold over all arbiters together.

use std::time::Duration;

use chrome_sockets::tcp::WINDOW;
use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
use chrome_sockets::{AppLimits, Error};
use support::{EventSender, ListenerEvent};

use super::*;

#[actix_rt::test]
async fn an_app_has_at_most_four_megabytes_unhandled_over_all_arbiters() {
    const PEERS: usize = 150;
    const EACH: usize = WINDOW;
    let mut test = TestApp::on(Registry::new().arbiters(3)).await;
    let tcp = &test.app.tcp;
    let removed = tcp
        .on_receive
        .remove_listener(test.listener.clone().recipient());
    removed.await.expect("it runs");
    let (sender, mut kept) = unbounded_channel();
    let keeping_listener = EventSender(sender).start();
    tcp.on_receive
        .add_listener(keeping_listener.recipient())
        .await
        .expect("it runs");
    let (_, at) = test.listen().await;
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        let (client, mut peer) = accept(&mut test, at).await;
        write(&mut peer, &vec![7; EACH]).await;
        client.do_set_paused(false);
        peers.push((client, peer));
    }
    let mut held = Vec::new();
    while let Ok(info) = actix_rt::time::timeout(Duration::from_millis(500), kept.recv()).await {
        held.push(info.expect("it runs"));
    }
    let bytes = |held: &[ReceiveInfo]| held.iter().map(|info| info.data.len()).sum::<usize>();
    let all = bytes(&held);
    // A socket that reads when there is room may fill its whole window.
    assert!(all <= (64 + 3) * WINDOW, "{all} bytes are held");
    assert!(all >= 50 * WINDOW, "only {all} bytes were raised");
    drop(held);
    let mut rest = all;
    while rest < PEERS * EACH {
        let info = within("the rest", kept.recv()).await.expect("it runs");
        rest += info.data.len();
    }
}

#[actix_rt::test]
async fn all_arbiters_share_the_write_quota() {
    let mut test = TestApp::on(Registry::new().arbiters(2).write_quota(48 << 20)).await;
    let (_, at) = test.listen().await;
    let (one, _one_peer) = accept(&mut test, at).await;
    let (two, _two_peer) = accept(&mut test, at).await;
    let many = vec![0; 40 << 20];
    one.try_send(many.clone()).expect("it is within the quota");
    assert_eq!(two.try_send(many), Err(Error::WriteQuotaExceeded));
}

#[actix_rt::test]
async fn limits_are_exact_over_all_arbiters() {
    let mut test = TestApp::on(Registry::new().arbiters(3)).await;
    let connections = Some(Limit {
        most: 5,
        then: AtLimit::Close,
    });
    let accepted = Limits {
        connections,
        ..Limits::default()
    };
    let limits = AppLimits {
        accepted,
        sockets: Some(4),
    };
    test.app.set_limits(limits).await.expect("valid limits");
    let (_, at) = test.listen().await;
    for _ in 0..3 {
        test.create().await;
    }
    let one_more = test.app.tcp.create(Default::default()).await;
    assert_eq!(one_more, Err(Error::TooManySockets));
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(accept(&mut test, at).await);
    }
    let mut refused = dial(at).await;
    let mut rest = Vec::new();
    let end = within("its end", refused.read_to_end(&mut rest)).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    let (client, _) = peers.pop().expect("five");
    client.close().await.expect("close");
    let _sixth = dial(at).await;
    assert!(matches!(test.next().await, ListenerEvent::Accept(..)));
}
