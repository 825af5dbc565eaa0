//! `unload` leaves nothing.

use std::sync::atomic::Ordering::SeqCst;

use actix::prelude::*;
use chrome_sockets::lifecycle::{EventPage, SuspendInfo};
use chrome_sockets::{App, Error, tcp_server};
use support::{KeepingListener, TestApp, subscribe, within};
use tokio::net::TcpStream;

use super::{
    client_sockets, expect_end, persistent_client, persistent_server, server_sockets, suspend,
    with_page,
};
use crate::tcp_server::{dial, expect_accept};

#[actix_rt::test]
async fn unload_closes_all_sockets_and_frees_their_ports() {
    let mut test = TestApp::new().await;
    let (server, at) = persistent_server(&test).await;
    let (other_server, other_at) = test.listen().await;
    let accepted = dial(at).await;
    let first = test.accepted().await;
    let (client, peer) = persistent_client(&test).await;
    let app = &test.app;
    assert_eq!(within("the answer to unload", app.unload()).await, Ok(()));
    for at in [at, other_at] {
        assert!(TcpStream::connect(at).await.is_err(), "{at} is free");
    }
    expect_end(accepted).await;
    expect_end(peer).await;
    assert_eq!(server_sockets(app).await, []);
    assert_eq!(client_sockets(app).await, []);
    let closed = Err(Error::SocketNotFound);
    assert_eq!(first.set_paused(false).await, closed);
    assert_eq!(app.tcp.set_paused(client, false).await, closed);
    for server in [server, other_server] {
        assert_eq!(app.tcp_server.set_paused(server, false).await, closed);
    }
}

#[actix_rt::test]
async fn unload_of_a_suspended_app_closes_waiting_clients() {
    let mut test = TestApp::new().await;
    let starts = with_page(&test).await;
    let (_, at) = persistent_server(&test).await;
    test.app.set_event_page(None).await.expect("it runs");
    suspend(&test.app).await;
    let waiting = dial(at).await;
    test.expect_no_event().await;
    test.app.unload().await.expect("it runs");
    expect_end(waiting).await;
    assert_eq!(starts.load(SeqCst), 0);
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn after_unload_the_same_id_is_a_new_app() {
    let mut test = TestApp::new().await;
    let starts = with_page(&test).await;
    let (before, _) = persistent_server(&test).await;
    suspend(&test.app).await;
    test.app.unload().await.expect("it runs");
    assert_eq!(test.app.is_suspended().await, Ok(false));
    // The event page and the listeners are removed; ids continue.
    let (server, at) = persistent_server(&test).await;
    assert!(server > before);
    let peer = dial(at).await;
    test.expect_no_event().await;
    drop(subscribe(&test.app, &test.listener));
    expect_accept(&mut test, &peer).await;
    suspend(&test.app).await;
    let _waiting = dial(at).await;
    test.expect_no_event().await;
    assert_eq!(starts.load(SeqCst), 0);
}

#[actix_rt::test]
async fn unload_does_not_affect_other_apps_and_accepts_unknown_ones() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let other = App::new("other", &test.registry);
    assert_eq!(other.unload().await, Ok(()));
    assert_eq!(other.unload().await, Ok(()));
    let peer = dial(at).await;
    expect_accept(&mut test, &peer).await;
}

#[actix_rt::test]
async fn pending_calls_are_answered_by_an_unload() {
    let test = TestApp::new().await;
    let app = &test.app;
    // An app that is being suspended, with two pending calls.
    let keeping_listener = KeepingListener::<SuspendInfo>::default().start();
    app.on_suspend.do_add_listener(keeping_listener.recipient());
    let waiting = [app.suspend(), app.resume(), app.suspend()];
    assert_eq!(app.unload().await, Ok(()));
    for answer in waiting {
        assert_eq!(within("the answer", answer).await, Err(Error::Unloaded));
    }
    // An app that is being loaded.
    let never = EventPage::new(|_| std::future::pending());
    app.set_event_page(Some(never)).await.expect("it runs");
    suspend(app).await;
    let waiting = [app.suspend(), app.resume(), app.suspend()];
    assert_eq!(app.unload().await, Ok(()));
    let [first, rest @ ..] = waiting;
    assert_eq!(within("the answer", first).await, Ok(()));
    let [_, last] = rest;
    assert_eq!(within("the answer", last).await, Err(Error::Unloaded));
    let created = app
        .tcp_server
        .create(tcp_server::SocketProperties::default());
    assert!(created.await.is_ok(), "a new app with the same id");
}
