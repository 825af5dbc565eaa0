//! What loads an app, and how its events are raised then.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::lifecycle::{EventPage, LOAD_LIMIT};
use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{Error, NetError};
use support::{ListenerEvent, TestApp, subscribe, within};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::{
    client_sockets, page, persistent_client, persistent_server, resume, server_sockets, suspend,
    with_page,
};
use crate::tcp_server::{dial, expect_accept};

const EMFILE: i32 = 24;

#[actix_rt::test]
async fn a_connection_loads_the_app_and_is_reported_once() {
    let mut test = TestApp::new().await;
    let (server, at) = persistent_server(&test).await;
    let starts = with_page(&test).await;
    for time in 1..=3 {
        suspend(&test.app).await;
        let peer = dial(at).await;
        expect_accept(&mut test, &peer).await;
        assert_eq!(starts.load(SeqCst), time);
        assert_eq!(test.app.is_suspended().await, Ok(false));
        assert_eq!(server_sockets(&test.app).await, [server]);
    }
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn waiting_connections_are_reported_in_order_and_at_most_one_is_accepted_before_loading() {
    let mut test = TestApp::new().await;
    let (_, at) = persistent_server(&test).await;
    suspend(&test.app).await;
    let mut peers = Vec::new();
    for _ in 0..50 {
        peers.push(dial(at).await);
    }
    // Without an event page nothing loads the app.
    test.expect_no_event().await;
    for _ in 0..5 {
        // Each call gives the server socket a turn.
        assert_eq!(server_sockets(&test.app).await.len(), 1);
    }
    assert!(client_sockets(&test.app).await.len() <= 1);
    assert_eq!(test.app.is_suspended().await, Ok(true));
    // A new event page is started for waiting connections.
    let starts = with_page(&test).await;
    for peer in &peers {
        expect_accept(&mut test, peer).await;
    }
    assert_eq!(starts.load(SeqCst), 1);
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn without_an_event_page_listeners_added_while_suspended_receive_everything_after_resume() {
    let mut test = TestApp::new().await;
    let (_, at) = persistent_server(&test).await;
    suspend(&test.app).await;
    let first = dial(at).await;
    subscribe(&test.app, &test.listener).await.expect("it runs");
    test.expect_no_event().await;
    resume(&test.app).await;
    expect_accept(&mut test, &first).await;
    let second = dial(at).await;
    expect_accept(&mut test, &second).await;
}

#[actix_rt::test]
async fn data_of_a_persistent_client_loads_the_app_and_none_is_lost() {
    let mut test = TestApp::new().await;
    let starts = with_page(&test).await;
    let (client, mut peer) = persistent_client(&test).await;
    for time in 1..=3_u8 {
        suspend(&test.app).await;
        assert_eq!(starts.load(SeqCst), usize::from(time) - 1, "nothing waits");
        peer.write_all(&[time; 10_000]).await.expect("it is open");
        assert_eq!(test.received(client, 10_000).await, [time; 10_000]);
        assert_eq!(starts.load(SeqCst), usize::from(time));
    }
}

#[actix_rt::test]
async fn a_suspended_apps_client_is_not_read() {
    const LENGTH: usize = 8 << 20;
    let mut test = TestApp::new().await;
    let (client, mut peer) = persistent_client(&test).await;
    suspend(&test.app).await;
    let (sent, mut is_sent) = mpsc::unbounded_channel();
    actix_rt::spawn(async move {
        peer.write_all(&vec![5; LENGTH]).await.expect("it is open");
        let _ = sent.send(peer);
    });
    test.expect_no_event().await;
    assert!(is_sent.try_recv().is_err(), "the kernel cannot hold it all");
    with_page(&test).await;
    let data = test.received(client, LENGTH).await;
    assert!(data.iter().all(|byte| *byte == 5));
    within("the peer's send", is_sent.recv()).await;
}

#[actix_rt::test]
async fn the_end_of_a_persistent_clients_connection_loads_the_app() {
    let mut test = TestApp::new().await;
    let starts = with_page(&test).await;
    let (client, peer) = persistent_client(&test).await;
    suspend(&test.app).await;
    drop(peer);
    assert_eq!(test.ended(client).await, NetError::CONNECTION_CLOSED);
    assert_eq!(starts.load(SeqCst), 1);
    assert_eq!(client_sockets(&test.app).await, [client]);
}

#[actix_rt::test]
async fn an_accept_error_pauses_the_socket_loads_the_app_and_is_reported() {
    let network = ScriptedNetwork::new();
    let mut test = TestApp::with_network(network.clone()).await;
    let starts = with_page(&test).await;
    let (server, at) = persistent_server(&test).await;
    suspend(&test.app).await;
    network.accept_error(at, EMFILE).expect("it listens");
    let peer = network.client(at).expect("it listens");
    match test.next().await {
        ListenerEvent::AcceptError(id, code) => {
            assert_eq!((id, code), (server, NetError::INSUFFICIENT_RESOURCES));
        }
        other => panic!("expected onAcceptError, not {other:?}"),
    }
    assert_eq!(starts.load(SeqCst), 1);
    test.expect_no_event().await;
    test.app
        .tcp_server
        .set_paused(server, false)
        .await
        .expect("it exists");
    let client = test.accepted().await;
    assert_eq!(
        client.get_info().await.map(|info| info.peer_port),
        Ok(Some(peer.addr().port()))
    );
}

#[actix_rt::test]
async fn paused_sockets_load_nothing() {
    let mut test = TestApp::new().await;
    let starts = with_page(&test).await;
    let (server, at) = persistent_server(&test).await;
    let (client, mut peer) = persistent_client(&test).await;
    test.app
        .tcp_server
        .set_paused(server, true)
        .await
        .expect("it exists");
    test.app
        .tcp
        .set_paused(client, true)
        .await
        .expect("it exists");
    suspend(&test.app).await;
    let dialed = dial(at).await;
    peer.write_all(b"x").await.expect("it is open");
    test.expect_no_event().await;
    assert_eq!(starts.load(SeqCst), 0);
    // A call by an administrator of the app resumes them.
    test.app
        .tcp_server
        .set_paused(server, false)
        .await
        .expect("it exists");
    expect_accept(&mut test, &dialed).await;
    suspend(&test.app).await;
    test.app
        .tcp
        .set_paused(client, false)
        .await
        .expect("it exists");
    assert_eq!(test.received(client, 1).await, b"x");
    assert_eq!(starts.load(SeqCst), 2);
}

#[actix_rt::test]
async fn an_unreported_client_loads_nothing_while_its_server_socket_is_paused() {
    let mut test = TestApp::new().await;
    let (server, at) = persistent_server(&test).await;
    let paused = |paused| test.app.tcp_server.set_paused(server, paused);
    suspend(&test.app).await;
    let peer = dial(at).await;
    let accepted = async { while client_sockets(&test.app).await.is_empty() {} };
    within("the connection", accepted).await;
    paused(true).await.expect("it exists");
    resume(&test.app).await;
    suspend(&test.app).await;
    let starts = with_page(&test).await;
    assert_eq!(server_sockets(&test.app).await, [server]);
    assert_eq!(test.app.is_suspended().await, Ok(true));
    assert_eq!(starts.load(SeqCst), 0);
    paused(false).await.expect("it exists");
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn no_event_is_raised_before_the_page_has_started() {
    let mut test = TestApp::new().await;
    let (_, at) = persistent_server(&test).await;
    let gate = Arc::new(Semaphore::new(0));
    let (listener, closed) = (test.another_listener(), gate.clone());
    let page = EventPage::new(move |app| {
        let (listener, gate) = (listener().start(), closed.clone());
        async move {
            subscribe(&app, &listener).await?;
            gate.acquire().await.expect("it stays").forget();
            Ok(())
        }
    });
    test.app.set_event_page(Some(page)).await.expect("it runs");
    suspend(&test.app).await;
    let peer = dial(at).await;
    test.expect_no_event().await;
    assert_eq!(
        test.app.tcp_server.on_accept.has_listeners().await,
        Ok(true)
    );
    let mut answer = test.app.resume();
    let early = actix_rt::time::timeout(support::QUIET, &mut answer).await;
    assert!(early.is_err(), "answered before the page has started");
    gate.add_permits(1);
    assert_eq!(within("the answer to resume", answer).await, Ok(()));
    expect_accept(&mut test, &peer).await;
    test.expect_no_event().await;
}

/// An event page that fails in the given way `times` times, and then starts.
fn failing_page<R>(
    test: &TestApp,
    times: usize,
    fail: impl Fn() -> R + Send + Sync + 'static,
) -> (EventPage, Arc<AtomicUsize>)
where
    R: Future<Output = Result<(), Error>> + 'static,
{
    let tries = Arc::new(AtomicUsize::new(0));
    let (listener, count) = (test.another_listener(), tries.clone());
    let page = EventPage::new(move |app| {
        let fails = count.fetch_add(1, SeqCst) < times;
        // An event page that fails may have added listeners: they are removed.
        let added = subscribe(&app, &listener().start());
        let failure = fails.then(&fail);
        async move {
            added.await?;
            match failure {
                Some(failure) => failure.await,
                None => Ok(()),
            }
        }
    });
    (page, tries)
}

#[actix_rt::test]
async fn a_page_that_does_not_start_is_retried_with_growing_back_off() {
    tokio::time::pause();
    const TIMES: usize = 4;
    for how in ["an error", "a panic", "an early panic", "taking for ever"] {
        let network = ScriptedNetwork::new();
        let mut test = TestApp::with_network(network.clone()).await;
        let (_, at) = persistent_server(&test).await;
        let (page, tries) = failing_page(&test, TIMES, move || async move {
            match how {
                "an error" => Err(Error::WriteQuotaExceeded),
                "taking for ever" => std::future::pending().await,
                _ => panic!("the page fails"),
            }
        });
        test.app.set_event_page(Some(page)).await.expect("it runs");
        suspend(&test.app).await;
        let began = Instant::now();
        let peer = network.client(at).expect("it listens");
        let client = match test.next_before(6 * LOAD_LIMIT).await {
            ListenerEvent::Accept(_, client) => client,
            other => panic!("expected onAccept, not {other:?}"),
        };
        let info = client.get_info().await.expect("it is open");
        assert_eq!(info.peer_port, Some(peer.addr().port()));
        assert_eq!(tries.load(SeqCst), TIMES + 1, "{how}");
        // 100, 200, 400 and 800 ms.
        let mut least = Duration::from_millis(1500);
        if how == "taking for ever" {
            least += 4 * LOAD_LIMIT;
        }
        let took = began.elapsed();
        assert!(
            took >= least && took < least + Duration::from_secs(1),
            "{how}: {took:?}"
        );
        test.expect_no_event().await;
    }
}

#[actix_rt::test]
async fn resume_answers_why_the_page_did_not_start_and_the_app_stays_suspended() {
    let test = TestApp::new().await;
    for (page, expected) in [
        (
            failing_page(&test, 1, || async { Err(Error::WriteQuotaExceeded) }).0,
            Error::WriteQuotaExceeded,
        ),
        (
            failing_page(&test, 1, || async { panic!("the page fails") }).0,
            Error::NotLoaded,
        ),
    ] {
        test.app.set_event_page(Some(page)).await.expect("it runs");
        suspend(&test.app).await;
        assert_eq!(within("the answer", test.app.resume()).await, Err(expected));
        assert_eq!(test.app.is_suspended().await, Ok(true));
        assert_eq!(
            test.app.tcp_server.on_accept.has_listeners().await,
            Ok(false)
        );
        resume(&test.app).await;
    }
}

#[actix_rt::test]
async fn a_suspension_during_loading_is_carried_out_after_it() {
    let test = TestApp::new().await;
    let (page, starts) = page(&test);
    test.app.set_event_page(Some(page)).await.expect("it runs");
    suspend(&test.app).await;
    let (resumed, suspended) = (test.app.resume(), test.app.suspend());
    assert_eq!(within("the answer to resume", resumed).await, Ok(()));
    assert_eq!(within("the answer to suspend", suspended).await, Ok(()));
    assert_eq!(starts.load(SeqCst), 1);
    assert_eq!(test.app.is_suspended().await, Ok(true));
    assert_eq!(
        test.app.tcp_server.on_accept.has_listeners().await,
        Ok(false)
    );
}

#[actix_rt::test]
async fn a_client_whose_listener_died_before_reading_it_is_kept_and_reported_after_loading() {
    let network = ScriptedNetwork::new();
    let mut test = TestApp::with_network(network.clone()).await;
    let (_, at) = persistent_server(&test).await;
    suspend(&test.app).await;
    let peer = network.client(at).expect("it listens");
    // It was accepted to find that it waits; another suspension does not close it.
    test.expect_no_event().await;
    resume(&test.app).await;
    suspend(&test.app).await;
    assert!(!peer.is_closed());
    with_page(&test).await;
    let client = test.accepted().await;
    assert_eq!(
        client.get_info().await.map(|info| info.peer_port),
        Ok(Some(peer.addr().port()))
    );
    test.expect_no_event().await;
}
