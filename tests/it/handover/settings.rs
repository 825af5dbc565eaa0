//! Policies and limits are transferred with their sockets.

use chrome_sockets::tcp::{SendMarks, Timeouts};
use chrome_sockets::tcp_server::{
    AcceptAction, AcceptPolicy, AtLimit, BlockReason, Limit, LimitKind, LimitScope, Limits,
    RateLimit,
};
use chrome_sockets::{AppLimits, Error};
use support::EventSender;
use tokio::sync::mpsc::unbounded_channel;

use super::*;

fn connections(most: usize) -> Limits {
    Limits {
        connections: Some(Limit {
            most,
            then: AtLimit::Queue,
        }),
        ..Limits::default()
    }
}

#[actix_rt::test]
async fn policy_and_limits_are_transferred_and_apply_in_the_successor() {
    let old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (id, address) = persistent_server(&old, "web").await;
    let (plain, _) = persistent_server(&old, "plain").await;
    let policy = AcceptPolicy {
        connection: AcceptAction::Escalate,
        resources: AcceptAction::Shed,
        listener: AcceptAction::BackOff {
            first: Duration::from_millis(3),
            last: LIMIT,
        },
    };
    let limits = Limits {
        per_peer: Some(Limit {
            most: 1000,
            then: AtLimit::Reset,
        }),
        rate: Some(RateLimit {
            most: 5000,
            per: LIMIT,
            then: AtLimit::Close,
        }),
        ..connections(1)
    };
    let server = &old.app.tcp_server;
    let set = server.set_accept_policy(id, policy).await;
    set.expect("a valid policy");
    let set = server.set_limits(id, limits).await;
    set.expect("valid limits");

    expect_handover(&old, &new).await;
    let server = new.app.tcp_server.clone();
    let info = server.get_info(id).await.expect("it has arrived");
    assert_eq!((info.accept_policy, info.limits), (policy, limits));
    let info = server.get_info(plain).await.expect("it has arrived");
    assert_eq!(info.accept_policy, AcceptPolicy::default());
    assert_eq!((info.limits, info.timeouts), Default::default());

    let _peers = [dial(address), dial(address)];
    let first = new.accepted().await;
    new.expect_no_event().await;
    let info = server.get_info(id).await.expect("it has arrived");
    let limit = LimitKind::Connections(LimitScope::Socket);
    assert_eq!(info.blocked_by, [BlockReason::Limit(limit)]);
    first.close().await.expect("it is open");
    new.accepted().await;
    assert_eq!(info.timeouts, Timeouts::default());
}

#[actix_rt::test]
async fn an_apps_limits_are_transferred_unless_the_successor_has_set_others() {
    for has_others in [false, true] {
        let old = TestApp::new().await;
        let mut new = TestApp::new().await;
        let (id, address) = persistent_server(&old, "").await;
        let limits = AppLimits {
            accepted: connections(1),
            sockets: Some(1),
        };
        old.app.set_limits(limits).await.expect("valid limits");
        if has_others {
            let others = AppLimits {
                accepted: connections(2),
                sockets: None,
            };
            new.app.set_limits(others).await.expect("valid limits");
        }
        expect_handover(&old, &new).await;
        let most = if has_others { 2 } else { 1 };
        let _peers = [dial(address), dial(address), dial(address)];
        for _ in 0..most {
            new.accepted().await;
        }
        new.expect_no_event().await;
        let info = new
            .app
            .tcp_server
            .get_info(id)
            .await
            .expect("it has arrived");
        let limit = LimitKind::Connections(LimitScope::App);
        assert_eq!(info.blocked_by, [BlockReason::Limit(limit)]);
        let created = new.app.tcp.create(Default::default()).await;
        match has_others {
            true => drop(created.expect("it succeeds")),
            false => assert_eq!(created, Err(Error::TooManySockets)),
        }
    }
}

#[actix_rt::test]
async fn a_transferred_connection_is_ended_by_a_drain_of_the_successor() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (client, peer) = accept_persistent(&mut old, address).await;
    expect_handover(&old, &new).await;
    let drained = new.app.drain(Duration::from_millis(50)).await;
    let drained = drained.expect("the registry runs");
    assert_eq!((drained.finished, drained.forced), (0, vec![client.id()]));
    assert_eq!(new.ended(client.id()).await, NetError::ABORTED);
    drop(peer);
}

#[actix_rt::test]
async fn the_send_queue_its_limit_and_its_marks_are_transferred() {
    let mut old = TestApp::new().await;
    let new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "web").await;
    let (client, mut peer) = accept_persistent(&mut old, address).await;
    let (plain, _plain_peer) = accept_persistent(&mut old, address).await;
    let marks = SendMarks {
        high: 1000,
        low: 10,
    };
    let properties = tcp::SocketProperties {
        send_limit: Some(1 << 24),
        send_marks: Some(marks),
        ..Default::default()
    };
    client.update(properties).await.expect("it is open");
    client.try_send(vec![7; 1 << 24]).expect("within the limit");
    let (sender, mut events) = unbounded_channel::<tcp::SendQueueInfo>();
    let listener = EventSender(sender).start();
    let on_send_queue = &new.app.tcp.on_send_queue;
    let added = on_send_queue.add_listener(listener.recipient());
    added.await.expect("the registry runs");

    expect_handover(&old, &new).await;
    let info = new.app.tcp.get_info(client.id()).await.expect("it is here");
    assert_eq!(
        (info.send_limit, info.send_marks),
        (Some(1 << 24), Some(marks))
    );
    assert!(info.queued_bytes > 1000, "{info:?}");
    let info = new.app.tcp.get_info(plain.id()).await.expect("it is here");
    assert_eq!((info.send_limit, info.send_marks), (None, None));
    assert_eq!(client.queued_bytes(), 0, "nothing waits in the old process");

    // The level is raised in the new process.
    let here = new.app.tcp.socket(client.id()).await.expect("it is here");
    assert_eq!(here.try_send(vec![0; 1 << 24]), Err(Error::SendQueueFull));
    let high = within("the high mark", events.recv()).await.expect("alive");
    assert_eq!(high.level, tcp::SendQueueLevel::High);
    drop(high);
    let reading = tokio::task::spawn_blocking(move || {
        let mut data = vec![0; 1 << 24];
        peer.read_exact(&mut data).map(|()| data)
    });
    let data = within("the data", reading).await.expect("no panic");
    assert!(data.expect("all of it").iter().all(|byte| *byte == 7));
    let low = within("the low mark", events.recv()).await.expect("alive");
    assert_eq!(low.level, tcp::SendQueueLevel::Low);
}
