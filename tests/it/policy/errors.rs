//! What is done about accept errors.

use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp_server::{
    AcceptAction, AcceptErrorClass, AcceptErrorInfo, AcceptPolicy, BlockReason, SocketProperties,
    UNHANDLED_ACCEPT_ERRORS, UNLUCKY_ACCEPTS,
};
use chrome_sockets::{Error, NetError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::Scene;
use support::within;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_millis(250);

const BACK_OFF: AcceptAction = AcceptAction::BackOff {
    first: FIRST,
    last: LAST,
};

/// Passes accept errors on.
struct Ear(UnboundedSender<AcceptErrorInfo>);

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<AcceptErrorInfo> for Ear {
    type Result = ();

    fn handle(&mut self, info: AcceptErrorInfo, _: &mut Self::Context) {
        let _ = self.0.send(info);
    }
}

impl Scene {
    /// A scene with this policy, in which the world hears no accept errors.
    pub async fn with(policy: AcceptPolicy) -> (Self, UnboundedReceiver<AcceptErrorInfo>) {
        let scene = Scene::new().await;
        let on_error = &scene.world.app.tcp_server.on_accept_error;
        let world = scene.world.listener.clone().recipient();
        on_error.remove_listener(world).await.expect("removed");
        let errors = scene.hear_errors().await;
        scene.set_policy(policy).await.expect("a good policy");
        (scene, errors)
    }

    pub async fn hear_errors(&self) -> UnboundedReceiver<AcceptErrorInfo> {
        let (tell, errors) = unbounded_channel();
        let ear = Ear(tell).start().recipient();
        let on_error = &self.world.app.tcp_server.on_accept_error;
        on_error.add_listener(ear).await.expect("added");
        errors
    }

    async fn set_policy(&self, policy: AcceptPolicy) -> Result<(), Error> {
        let server = &self.world.app.tcp_server;
        within("the answer", server.set_accept_policy(self.id, policy)).await
    }

    pub fn fail(&self, errno: i32) {
        let failed = self.network.accept_error(self.at, errno);
        failed.expect("it listens");
    }

    pub fn dial(&self) -> chrome_sockets::testing::Peer {
        self.network.client(self.at).expect("it listens")
    }
}

fn resources(action: AcceptAction) -> AcceptPolicy {
    AcceptPolicy {
        resources: action,
        ..Default::default()
    }
}

pub async fn told(errors: &mut UnboundedReceiver<AcceptErrorInfo>) -> AcceptErrorInfo {
    let info = within("onAcceptError", errors.recv()).await;
    info.expect("the listener runs")
}

#[actix_rt::test]
async fn by_default_a_socket_pauses_as_in_chrome() {
    let (mut scene, mut errors) = Scene::with(AcceptPolicy::default()).await;
    for (errno, class) in [
        (libc::EMFILE, AcceptErrorClass::Resources),
        (libc::EBADF, AcceptErrorClass::Listener),
    ] {
        for attempt in 1..=2 {
            scene.fail(errno);
            let info = told(&mut errors).await;
            assert_eq!((info.socket_id, info.errno), (scene.id, Some(errno)));
            assert_eq!((info.class, info.action), (class, AcceptAction::Pause));
            assert_eq!((info.attempt, info.next_try), (attempt, None));
            assert_eq!(info.missed, 0);
            assert!(scene.info().await.paused);
            scene.set_paused(false).await;
        }
        // One that is accepted ends the row of errors.
        let _peer = scene.dial();
        scene.world.accepted().await;
    }
}

#[actix_rt::test]
async fn a_socket_that_backs_off_retries_by_itself_and_is_not_paused() {
    let (mut scene, mut errors) = Scene::with(resources(BACK_OFF)).await;
    tokio::time::pause();
    let started = Instant::now();
    for _ in 0..4 {
        scene.fail(libc::EMFILE);
    }
    let _peer = scene.dial();
    for (attempt, rest) in [(1, 100), (2, 200), (3, 250), (4, 250)] {
        let info = told(&mut errors).await;
        assert_eq!((info.attempt, info.action), (attempt, BACK_OFF));
        assert_eq!(info.next_try, Some(Duration::from_millis(rest)));
        let info = scene.info().await;
        let resting = BlockReason::BackingOff(NetError::INSUFFICIENT_RESOURCES);
        assert_eq!(info.blocked_by, [resting]);
        assert!(!info.paused, "in Chrome's sense");
        assert_eq!(scene.network.waiting(scene.at), 1, "it waits in line");
    }
    scene.world.accepted().await;
    let took = started.elapsed();
    // The clock has milliseconds.
    let least = Duration::from_millis(800);
    assert!(took >= least && took < 2 * least, "after {took:?}");
    assert_eq!(scene.info().await.blocked_by, []);
    assert_eq!(scene.info().await.counts.failed, 4);

    scene.fail(libc::EMFILE);
    let info = told(&mut errors).await;
    assert_eq!((info.attempt, info.next_try), (1, Some(FIRST)), "anew");
}

#[actix_rt::test]
async fn set_paused_or_another_policy_ends_a_back_off() {
    let hour = Duration::from_secs(3600);
    let for_an_hour = resources(AcceptAction::BackOff {
        first: hour,
        last: hour,
    });
    let (mut scene, mut errors) = Scene::with(for_an_hour).await;
    scene.fail(libc::ENFILE);
    assert_eq!(told(&mut errors).await.next_try, Some(hour));
    let first = scene.dial();
    scene.world.nothing().await;
    scene.set_paused(false).await;
    scene.world.accepted().await;

    scene.fail(libc::ENFILE);
    assert_eq!(told(&mut errors).await.next_try, Some(hour));
    let second = scene.dial();
    scene
        .set_policy(AcceptPolicy::default())
        .await
        .expect("set");
    scene.world.accepted().await;
    assert!(!first.is_closed() && !second.is_closed());
}

#[actix_rt::test]
async fn a_pause_during_a_back_off_holds_and_both_are_reported() {
    let (mut scene, mut errors) = Scene::with(resources(BACK_OFF)).await;
    tokio::time::pause();
    scene.fail(libc::EMFILE);
    told(&mut errors).await;
    scene.set_paused(true).await;
    let resting = BlockReason::BackingOff(NetError::INSUFFICIENT_RESOURCES);
    assert_eq!(scene.info().await.blocked_by, [BlockReason::App, resting]);
    let _peer = scene.dial();
    tokio::time::sleep(10 * LAST).await;
    assert!(scene.world.heard_already().is_none(), "it is paused");
    scene.set_paused(false).await;
    scene.world.accepted().await;
}

#[actix_rt::test]
async fn a_shed_client_is_closed_and_counted_and_the_next_is_served() {
    let (mut scene, mut errors) = Scene::with(resources(AcceptAction::Shed)).await;
    scene.set_paused(true).await;
    scene.fail(libc::EMFILE);
    let (shed, served) = (scene.dial(), scene.dial());
    scene.set_paused(false).await;
    let info = told(&mut errors).await;
    assert_eq!(info.action, AcceptAction::Shed);
    assert_eq!(info.next_try, Some(Duration::ZERO));
    let client = scene.world.accepted().await;
    let client = client.get_info().await.expect("it is open");
    assert_eq!(client.peer_addr(), Some(served.addr()));
    assert!(shed.is_closed() && !served.is_closed());
    let counts = scene.info().await.counts;
    assert_eq!((counts.accepted, counts.delivered), (2, 1));
    assert_eq!((counts.refused, counts.failed), (1, 1));
}

#[actix_rt::test]
async fn without_a_connection_to_shed_the_socket_backs_off() {
    let (mut scene, mut errors) = Scene::with(resources(AcceptAction::Shed)).await;
    tokio::time::pause();
    scene.set_paused(true).await;
    scene.fail(libc::ENOMEM);
    scene.fail(libc::ENOMEM);
    let _peer = scene.dial();
    scene.set_paused(false).await;
    let info = told(&mut errors).await;
    assert!(matches!(info.action, AcceptAction::BackOff { .. }));
    assert!(info.next_try.is_some_and(|rest| !rest.is_zero()));
    scene.world.accepted().await;
    assert_eq!(scene.info().await.counts.refused, 0);
}

#[actix_rt::test]
async fn an_error_of_one_connection_is_counted_but_not_reported() {
    let (mut scene, mut errors) = Scene::with(AcceptPolicy::default()).await;
    for _ in 0..UNLUCKY_ACCEPTS {
        scene.fail(libc::EPROTO);
    }
    let _peer = scene.dial();
    scene.world.accepted().await;
    let info = scene.info().await;
    assert_eq!(info.counts.failed, u64::from(UNLUCKY_ACCEPTS));
    assert!(!info.paused);
    assert!(errors.try_recv().is_err());
}

#[actix_rt::test]
async fn a_policy_can_pause_at_an_error_of_one_connection() {
    let policy = AcceptPolicy {
        connection: AcceptAction::Pause,
        ..Default::default()
    };
    let (mut scene, mut errors) = Scene::with(policy).await;
    scene.fail(libc::EPROTO);
    let info = told(&mut errors).await;
    assert_eq!(info.class, AcceptErrorClass::Connection);
    assert!(scene.info().await.paused);
    scene.set_paused(false).await;
    let _peer = scene.dial();
    scene.world.accepted().await;
}

#[actix_rt::test]
async fn a_flood_of_errors_is_reported_no_faster_than_listeners_handle_it() {
    const FLOOD: usize = 10 * UNHANDLED_ACCEPT_ERRORS;
    let (mut scene, mut errors) = Scene::with(resources(AcceptAction::Shed)).await;
    let mut shed = Vec::new();
    for _ in 0..FLOOD {
        scene.fail(libc::EMFILE);
        shed.push(scene.dial());
    }
    let _peer = scene.dial();
    scene.world.accepted().await;
    let counts = scene.info().await.counts;
    assert_eq!(counts.failed, FLOOD as u64);

    // Nobody has handled any: they are kept here.
    let mut kept = Vec::new();
    for attempt in 1..=UNHANDLED_ACCEPT_ERRORS {
        let info = told(&mut errors).await;
        assert_eq!((info.attempt as usize, info.missed), (attempt, 0));
        assert_eq!(info.next_try, Some(Duration::ZERO));
        kept.push(info);
    }
    assert!(errors.try_recv().is_err(), "one more than may be");
    kept.clear();
    for _ in 0..UNHANDLED_ACCEPT_ERRORS {
        told(&mut errors).await;
    }
    scene.fail(libc::EMFILE);
    shed.push(scene.dial());
    let missed = FLOOD - 2 * UNHANDLED_ACCEPT_ERRORS;
    assert_eq!(told(&mut errors).await.missed, missed as u64);
}

#[actix_rt::test]
async fn a_socket_that_closes_by_policy_reports_it_and_is_not_found() {
    let policy = AcceptPolicy {
        listener: AcceptAction::Close,
        ..Default::default()
    };
    let (mut scene, mut errors) = Scene::with(policy).await;
    let peer = scene.dial();
    let client = scene.world.accepted().await;
    scene.fail(libc::EINVAL);
    let info = told(&mut errors).await;
    assert_eq!(info.action, AcceptAction::Close);
    assert_eq!(info.class, AcceptErrorClass::Listener);
    within("the free port", async {
        while !scene.network.listening().is_empty() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    let server = scene.world.app.tcp_server.clone();
    let gone = server.get_info(scene.id).await;
    assert_eq!(gone, Err(Error::SocketNotFound));
    assert_eq!(server.get_sockets().await, Ok(vec![]));
    assert_eq!(server.close(scene.id).await, Err(Error::SocketNotFound));

    // The client lives on, and so does the app.
    client.set_paused(false).await.expect("it is open");
    peer.send("alive");
    assert_eq!(scene.world.received(client.id(), 5).await, b"alive");
    let (_, at) = scene.world.listen().await;
    let _peer = scene.network.client(at).expect("it listens");
    scene.world.accepted().await;
}

#[actix_rt::test]
async fn a_socket_of_a_suspended_app_is_closed_by_policy_after_loading() {
    let policy = AcceptPolicy {
        listener: AcceptAction::Close,
        ..Default::default()
    };
    let (scene, _) = Scene::with(policy).await;
    let app = scene.world.app.clone();
    let persistent = SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let updated = app.tcp_server.update(scene.id, persistent);
    updated.await.expect("update");
    within("suspend", app.suspend()).await.expect("suspend");
    scene.fail(libc::EINVAL);
    within("the pause", async {
        while !scene.info().await.paused {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    let mut errors = scene.hear_errors().await;
    within("resume", app.resume()).await.expect("resume");
    assert_eq!(told(&mut errors).await.action, AcceptAction::Close);
    let gone = app.tcp_server.get_info(scene.id).await;
    assert_eq!(gone, Err(Error::SocketNotFound));
}

#[actix_rt::test]
async fn a_policy_that_would_retry_forever_is_refused_and_the_old_one_stays() {
    let (mut scene, mut errors) = Scene::with(resources(AcceptAction::Shed)).await;
    let refused = scene.set_policy(resources(AcceptAction::GoOn)).await;
    assert_eq!(refused, Err(NetError::INVALID_ARGUMENT.into()));
    scene.fail(libc::EMFILE);
    let _shed = scene.dial();
    assert_eq!(told(&mut errors).await.action, AcceptAction::Shed);
    let server = &scene.world.app.tcp_server;
    let unknown = server.set_accept_policy(999.into(), AcceptPolicy::default());
    assert_eq!(unknown.await, Err(Error::SocketNotFound));
    let _peer = scene.dial();
    scene.world.accepted().await;
}
