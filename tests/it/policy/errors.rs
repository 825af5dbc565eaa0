//! Policies on accept errors.

use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp_server::{
    AcceptAction, AcceptErrorClass, AcceptErrorInfo, AcceptPolicy, BlockReason,
    MAX_CONNECTION_ERRORS, SocketProperties, UNHANDLED_ACCEPT_ERRORS,
};
use chrome_sockets::{Error, InvalidArgument, NetError};
use support::{EventSender, within};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use super::Fixture;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_millis(250);

const BACK_OFF: AcceptAction = AcceptAction::BackOff {
    first: FIRST,
    last: LAST,
};

impl Fixture {
    /// A fixture with this policy. The test's own listener receives no accept errors.
    pub async fn with(policy: AcceptPolicy) -> (Self, UnboundedReceiver<AcceptErrorInfo>) {
        let fixture = Fixture::new().await;
        let on_error = &fixture.test.app.tcp_server.on_accept_error;
        let test = fixture.test.listener.clone().recipient();
        on_error.remove_listener(test).await.expect("removed");
        let errors = fixture.add_error_listener().await;
        fixture.set_policy(policy).await.expect("a valid policy");
        (fixture, errors)
    }

    pub async fn add_error_listener(&self) -> UnboundedReceiver<AcceptErrorInfo> {
        let (sender, errors) = unbounded_channel();
        let listener = EventSender(sender).start().recipient();
        let on_error = &self.test.app.tcp_server.on_accept_error;
        on_error.add_listener(listener).await.expect("added");
        errors
    }

    async fn set_policy(&self, policy: AcceptPolicy) -> Result<(), Error> {
        let server = &self.test.app.tcp_server;
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

pub async fn next_error(errors: &mut UnboundedReceiver<AcceptErrorInfo>) -> AcceptErrorInfo {
    let info = within("onAcceptError", errors.recv()).await;
    info.expect("the listener runs")
}

#[actix_rt::test]
async fn by_default_a_socket_pauses_as_in_chrome() {
    let (mut fixture, mut errors) = Fixture::with(AcceptPolicy::default()).await;
    for (errno, class) in [
        (libc::EMFILE, AcceptErrorClass::Resources),
        (libc::EBADF, AcceptErrorClass::Listener),
    ] {
        for attempt in 1..=2 {
            fixture.fail(errno);
            let info = next_error(&mut errors).await;
            assert_eq!((info.socket_id, info.errno), (fixture.id, Some(errno)));
            assert_eq!((info.class, info.action), (class, AcceptAction::Pause));
            assert_eq!((info.attempt, info.next_try), (attempt, None));
            assert_eq!(info.missed, 0);
            assert!(fixture.info().await.paused);
            fixture.set_paused(false).await;
        }
        // An accepted connection ends the row of errors.
        let _peer = fixture.dial();
        fixture.test.accepted().await;
    }
}

#[actix_rt::test]
async fn a_socket_that_backs_off_retries_by_itself_and_is_not_paused() {
    let (mut fixture, mut errors) = Fixture::with(resources(BACK_OFF)).await;
    tokio::time::pause();
    let started = Instant::now();
    for _ in 0..4 {
        fixture.fail(libc::EMFILE);
    }
    let _peer = fixture.dial();
    for (attempt, rest) in [(1, 100), (2, 200), (3, 250), (4, 250)] {
        let info = next_error(&mut errors).await;
        assert_eq!((info.attempt, info.action), (attempt, BACK_OFF));
        assert_eq!(info.next_try, Some(Duration::from_millis(rest)));
        let info = fixture.info().await;
        let backing_off = BlockReason::BackingOff(NetError::INSUFFICIENT_RESOURCES);
        assert_eq!(info.blocked_by, [backing_off]);
        assert!(!info.paused, "in Chrome's sense");
        assert_eq!(fixture.network.waiting(fixture.at), 1, "it waits");
    }
    fixture.test.accepted().await;
    let took = started.elapsed();
    // The clock has a resolution of milliseconds.
    let least = Duration::from_millis(800);
    assert!(took >= least && took < 2 * least, "after {took:?}");
    assert_eq!(fixture.info().await.blocked_by, []);
    assert_eq!(fixture.info().await.counts.failed, 4);

    fixture.fail(libc::EMFILE);
    let info = next_error(&mut errors).await;
    assert_eq!(
        (info.attempt, info.next_try),
        (1, Some(FIRST)),
        "the row of errors starts again"
    );
}

#[actix_rt::test]
async fn set_paused_or_another_policy_ends_a_back_off() {
    let hour = Duration::from_secs(3600);
    let for_an_hour = resources(AcceptAction::BackOff {
        first: hour,
        last: hour,
    });
    let (mut fixture, mut errors) = Fixture::with(for_an_hour).await;
    fixture.fail(libc::ENFILE);
    assert_eq!(next_error(&mut errors).await.next_try, Some(hour));
    let first = fixture.dial();
    fixture.test.expect_no_event().await;
    fixture.set_paused(false).await;
    fixture.test.accepted().await;

    fixture.fail(libc::ENFILE);
    assert_eq!(next_error(&mut errors).await.next_try, Some(hour));
    let second = fixture.dial();
    fixture
        .set_policy(AcceptPolicy::default())
        .await
        .expect("it is set");
    fixture.test.accepted().await;
    assert!(!first.is_closed() && !second.is_closed());
}

#[actix_rt::test]
async fn a_pause_during_a_back_off_holds_and_both_are_reported() {
    let (mut fixture, mut errors) = Fixture::with(resources(BACK_OFF)).await;
    tokio::time::pause();
    fixture.fail(libc::EMFILE);
    next_error(&mut errors).await;
    fixture.set_paused(true).await;
    let backing_off = BlockReason::BackingOff(NetError::INSUFFICIENT_RESOURCES);
    assert_eq!(
        fixture.info().await.blocked_by,
        [BlockReason::App, backing_off]
    );
    let _peer = fixture.dial();
    tokio::time::sleep(10 * LAST).await;
    assert!(fixture.test.try_next().is_none(), "it is paused");
    fixture.set_paused(false).await;
    fixture.test.accepted().await;
}

#[actix_rt::test]
async fn a_shed_client_is_closed_and_counted_and_the_next_is_served() {
    let (mut fixture, mut errors) = Fixture::with(resources(AcceptAction::Shed)).await;
    fixture.set_paused(true).await;
    fixture.fail(libc::EMFILE);
    let (shed, served) = (fixture.dial(), fixture.dial());
    fixture.set_paused(false).await;
    let info = next_error(&mut errors).await;
    assert_eq!(info.action, AcceptAction::Shed);
    assert_eq!(info.next_try, Some(Duration::ZERO));
    let client = fixture.test.accepted().await;
    let client = client.get_info().await.expect("it is open");
    assert_eq!(client.peer_addr(), Some(served.addr()));
    assert!(shed.is_closed() && !served.is_closed());
    let counts = fixture.info().await.counts;
    assert_eq!((counts.accepted, counts.delivered), (2, 1));
    assert_eq!((counts.refused, counts.failed), (1, 1));
}

#[actix_rt::test]
async fn without_a_connection_to_shed_the_socket_backs_off() {
    let (mut fixture, mut errors) = Fixture::with(resources(AcceptAction::Shed)).await;
    tokio::time::pause();
    fixture.set_paused(true).await;
    fixture.fail(libc::ENOMEM);
    fixture.fail(libc::ENOMEM);
    let _peer = fixture.dial();
    fixture.set_paused(false).await;
    let info = next_error(&mut errors).await;
    assert!(matches!(info.action, AcceptAction::BackOff { .. }));
    assert!(info.next_try.is_some_and(|rest| !rest.is_zero()));
    fixture.test.accepted().await;
    assert_eq!(fixture.info().await.counts.refused, 0);
}

#[actix_rt::test]
async fn an_error_of_one_connection_is_counted_but_not_reported() {
    let (mut fixture, mut errors) = Fixture::with(AcceptPolicy::default()).await;
    for _ in 0..MAX_CONNECTION_ERRORS {
        fixture.fail(libc::EPROTO);
    }
    let _peer = fixture.dial();
    fixture.test.accepted().await;
    let info = fixture.info().await;
    assert_eq!(info.counts.failed, u64::from(MAX_CONNECTION_ERRORS));
    assert!(!info.paused);
    assert!(errors.try_recv().is_err());
}

#[actix_rt::test]
async fn a_policy_can_pause_at_an_error_of_one_connection() {
    let policy = AcceptPolicy {
        connection: AcceptAction::Pause,
        ..Default::default()
    };
    let (mut fixture, mut errors) = Fixture::with(policy).await;
    fixture.fail(libc::EPROTO);
    let info = next_error(&mut errors).await;
    assert_eq!(info.class, AcceptErrorClass::Connection);
    assert!(fixture.info().await.paused);
    fixture.set_paused(false).await;
    let _peer = fixture.dial();
    fixture.test.accepted().await;
}

#[actix_rt::test]
async fn a_flood_of_errors_is_reported_no_faster_than_listeners_handle_it() {
    const FLOOD: usize = 10 * UNHANDLED_ACCEPT_ERRORS;
    let (mut fixture, mut errors) = Fixture::with(resources(AcceptAction::Shed)).await;
    let mut shed = Vec::new();
    for _ in 0..FLOOD {
        fixture.fail(libc::EMFILE);
        shed.push(fixture.dial());
    }
    let _peer = fixture.dial();
    fixture.test.accepted().await;
    let counts = fixture.info().await.counts;
    assert_eq!(counts.failed, FLOOD as u64);

    // No event was handled: they are kept here.
    let mut kept = Vec::new();
    for attempt in 1..=UNHANDLED_ACCEPT_ERRORS {
        let info = next_error(&mut errors).await;
        assert_eq!((info.attempt as usize, info.missed), (attempt, 0));
        assert_eq!(info.next_try, Some(Duration::ZERO));
        kept.push(info);
    }
    assert!(errors.try_recv().is_err(), "one more than allowed");
    kept.clear();
    for _ in 0..UNHANDLED_ACCEPT_ERRORS {
        next_error(&mut errors).await;
    }
    fixture.fail(libc::EMFILE);
    shed.push(fixture.dial());
    let missed = FLOOD - 2 * UNHANDLED_ACCEPT_ERRORS;
    assert_eq!(next_error(&mut errors).await.missed, missed as u64);
}

#[actix_rt::test]
async fn a_socket_that_closes_by_policy_reports_it_and_is_not_found() {
    let policy = AcceptPolicy {
        listener: AcceptAction::Close,
        ..Default::default()
    };
    let (mut fixture, mut errors) = Fixture::with(policy).await;
    let peer = fixture.dial();
    let client = fixture.test.accepted().await;
    fixture.fail(libc::EINVAL);
    let info = next_error(&mut errors).await;
    assert_eq!(info.action, AcceptAction::Close);
    assert_eq!(info.class, AcceptErrorClass::Listener);
    within("the free port", async {
        while !fixture.network.listening().is_empty() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    let server = fixture.test.app.tcp_server.clone();
    let closed = server.get_info(fixture.id).await;
    assert_eq!(closed, Err(Error::SocketNotFound));
    assert_eq!(server.get_sockets().await, Ok(vec![]));
    assert_eq!(server.close(fixture.id).await, Err(Error::SocketNotFound));

    // The client and the app continue to work.
    client.set_paused(false).await.expect("it is open");
    peer.send("alive");
    assert_eq!(fixture.test.received(client.id(), 5).await, b"alive");
    let (_, at) = fixture.test.listen().await;
    let _peer = fixture.network.client(at).expect("it listens");
    fixture.test.accepted().await;
}

#[actix_rt::test]
async fn a_socket_of_a_suspended_app_is_closed_by_policy_after_loading() {
    let policy = AcceptPolicy {
        listener: AcceptAction::Close,
        ..Default::default()
    };
    let (fixture, _) = Fixture::with(policy).await;
    let app = fixture.test.app.clone();
    let persistent = SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let updated = app.tcp_server.update(fixture.id, persistent);
    updated.await.expect("update");
    within("suspend", app.suspend()).await.expect("suspend");
    fixture.fail(libc::EINVAL);
    within("the pause", async {
        while !fixture.info().await.paused {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    let mut errors = fixture.add_error_listener().await;
    within("resume", app.resume()).await.expect("resume");
    assert_eq!(next_error(&mut errors).await.action, AcceptAction::Close);
    let closed = app.tcp_server.get_info(fixture.id).await;
    assert_eq!(closed, Err(Error::SocketNotFound));
}

/// It would try again at once, and fail again, until the app is loaded.
#[actix_rt::test]
async fn a_resumed_socket_that_is_about_to_close_backs_off() {
    let policy = AcceptPolicy {
        listener: AcceptAction::Close,
        resources: AcceptAction::BackOff {
            first: Duration::from_secs(3600),
            last: Duration::from_secs(3600),
        },
        ..Default::default()
    };
    let (mut fixture, _) = Fixture::with(policy).await;
    let app = fixture.test.app.clone();
    let persistent = SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let updated = app.tcp_server.update(fixture.id, persistent);
    updated.await.expect("update");
    within("suspend", app.suspend()).await.expect("suspend");
    let blocked_by = async |reason| {
        let is_blocked = async {
            while !fixture.info().await.blocked_by.contains(&reason) {
                actix_rt::task::yield_now().await;
            }
        };
        within("the error", is_blocked).await;
    };
    fixture.fail(libc::EINVAL);
    blocked_by(BlockReason::AcceptError(NetError::INVALID_ARGUMENT)).await;
    let resumed = app.tcp_server.set_paused(fixture.id, false);
    resumed.await.expect("it is open");
    fixture.fail(libc::EMFILE);
    let error = NetError::INSUFFICIENT_RESOURCES;
    blocked_by(BlockReason::BackingOff(error)).await;

    let mut errors = fixture.add_error_listener().await;
    within("resume", app.resume()).await.expect("resume");
    assert_eq!(next_error(&mut errors).await.action, AcceptAction::Close);
    assert_eq!(next_error(&mut errors).await.result_code, error);
    let closed = app.tcp_server.get_info(fixture.id).await;
    assert_eq!(closed, Err(Error::SocketNotFound));

    let listener = fixture.test.listener.clone();
    support::subscribe(&app, &listener).await.expect("added");
    let (_, at) = fixture.test.listen().await;
    let _peer = fixture.network.client(at).expect("it listens");
    fixture.test.accepted().await;
}

#[actix_rt::test]
async fn a_policy_that_would_retry_forever_is_refused_and_the_old_one_stays() {
    let (mut fixture, mut errors) = Fixture::with(resources(AcceptAction::Shed)).await;
    let refused = fixture.set_policy(resources(AcceptAction::Continue)).await;
    assert_eq!(refused, Err(InvalidArgument::ContinueForResources.into()));
    fixture.fail(libc::EMFILE);
    let _shed = fixture.dial();
    assert_eq!(next_error(&mut errors).await.action, AcceptAction::Shed);
    let server = &fixture.test.app.tcp_server;
    let unknown = server.set_accept_policy(999.into(), AcceptPolicy::default());
    assert_eq!(unknown.await, Err(Error::SocketNotFound));
    let _peer = fixture.dial();
    fixture.test.accepted().await;
}
