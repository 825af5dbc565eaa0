//! What a suspension ends, what it keeps, and when it is answered.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp_server::{
    AcceptAction, AcceptErrorInfo, AcceptInfo, AcceptPolicy, SocketProperties,
};
use chrome_sockets::testing::{FaultyNetwork, ScriptedNetwork};
use chrome_sockets::{App, Error, PAUSE_GRACE};
use futures::FutureExt;
use support::{ListenerEvent, TestApp, within};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};

use super::slow_listener::SlowListener;
use super::{
    client_sockets, connect, expect_end, persistent_client, persistent_server, resume,
    server_sockets, suspend,
};
use crate::tcp_server::dial;

#[actix_rt::test]
async fn sockets_that_are_not_persistent_are_closed_in_both_namespaces() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let accepted = dial(at).await;
    let first = test.accepted().await;
    let made = test.create().await;
    let connected = connect(&test.app, made).await;
    suspend(&test.app).await;

    expect_end(accepted).await;
    expect_end(connected).await;
    assert!(
        tokio::net::TcpStream::connect(at).await.is_err(),
        "its port is free"
    );
    assert_eq!(server_sockets(&test.app).await, []);
    assert_eq!(client_sockets(&test.app).await, []);
    let closed = Err(Error::SocketNotFound);
    assert_eq!(test.app.tcp_server.set_paused(server, false).await, closed);
    assert_eq!(test.app.tcp.set_paused(made, false).await, closed);
    assert_eq!(first.set_paused(false).await, closed);
    // Their ids are not allocated again.
    let (later, _) = test.listen().await;
    assert!(later > server);
    assert!(test.create().await > made);
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn calls_on_sockets_that_a_suspension_closes_answer_socket_not_found() {
    let test = TestApp::new().await;
    let (server, _) = test.listen().await;
    let client = test.create().await;
    let app = &test.app;
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    let mut suspended = app.suspend();
    while (&mut suspended).now_or_never().is_none() {
        servers.push(app.tcp_server.get_info(server));
        clients.push(app.tcp.get_info(client));
        tokio::task::yield_now().await;
    }
    let expected =
        |answer: Result<(), Error>| matches!(answer, Ok(()) | Err(Error::SocketNotFound));
    for (server, client) in servers.into_iter().zip(clients) {
        assert!(expected(server.await.map(drop)));
        assert!(expected(client.await.map(drop)));
    }
}

#[actix_rt::test]
async fn persistent_sockets_keep_their_properties() {
    let mut test = TestApp::new().await;
    let (server, at) = persistent_server(&test).await;
    let properties = SocketProperties {
        name: Some("kept".into()),
        ..Default::default()
    };
    let updated = test.app.tcp_server.update(server, properties).await;
    updated.expect("it exists");
    test.app
        .tcp_server
        .set_paused(server, true)
        .await
        .expect("it exists");
    let (client, mut peer) = persistent_client(&test).await;
    let infos = async || {
        let server = test.app.tcp_server.get_info(server).await;
        // The reason that blocks it has changed.
        let server = server.map(|mut info| {
            info.blocked_by.clear();
            info
        });
        (server, test.app.tcp.get_info(client).await)
    };
    let before = infos().await;
    suspend(&test.app).await;
    assert_eq!(infos().await, before);
    resume(&test.app).await;
    assert_eq!(server_sockets(&test.app).await, [server]);
    assert_eq!(client_sockets(&test.app).await, [client]);
    assert_eq!(infos().await, before);

    // They work once listeners are added again.
    drop(support::subscribe(&test.app, &test.listener));
    peer.write_all(b"x").await.expect("it is open");
    assert_eq!(test.received(client, 1).await, b"x");
    test.app
        .tcp_server
        .set_paused(server, false)
        .await
        .expect("it exists");
    let _dialed = dial(at).await;
    test.accepted().await;
}

#[actix_rt::test]
async fn a_client_socket_created_while_suspended_receives_and_sends_after_loading() {
    use tokio::io::AsyncReadExt;
    let mut test = TestApp::new().await;
    suspend(&test.app).await;
    let client = test.create().await;
    resume(&test.app).await;
    drop(support::subscribe(&test.app, &test.listener));
    let mut peer = connect(&test.app, client).await;
    peer.write_all(b"x").await.expect("it is open");
    assert_eq!(test.received(client, 1).await, b"x");
    // More than the OS buffers.
    const LENGTH: usize = 16 << 20;
    let sent = test.app.tcp.send(client, vec![7; LENGTH]);
    let mut all = vec![0; LENGTH];
    let read = within("the sent data", peer.read_exact(&mut all)).await;
    read.expect("it is open");
    assert_eq!(sent.await.map(|sent| sent.bytes_sent), Ok(LENGTH));
}

#[actix_rt::test]
async fn suspending_twice_resuming_twice_and_unknown_apps_are_allowed() {
    let test = TestApp::new().await;
    let app = App::new("never heard of", &test.registry);
    assert_eq!(app.is_suspended().await, Ok(false));
    resume(&app).await;
    suspend(&app).await;
    suspend(&app).await;
    resume(&app).await;
    resume(&app).await;
    assert_eq!(test.app.is_suspended().await, Ok(false), "another app");
}

#[actix_rt::test]
async fn suspend_and_resume_calls_are_carried_out_in_order() {
    let test = TestApp::new().await;
    let app = &test.app;
    let calls = [
        app.suspend(),
        app.resume(),
        app.resume(),
        app.suspend(),
        app.suspend(),
        app.resume(),
        app.suspend(),
    ];
    for call in calls {
        assert_eq!(within("the answer", call).await, Ok(()));
    }
    assert_eq!(app.is_suspended().await, Ok(true));
}

#[actix_rt::test]
async fn a_suspension_does_not_affect_other_apps() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let other = App::new("other", &test.registry);
    suspend(&other).await;
    let _dialed = dial(at).await;
    assert!(matches!(test.next().await, ListenerEvent::Accept(id, _) if id == server));
}

/// Checks that a suspension is answered after the listener has handled its event.
async fn expect_waiting_suspension(
    app: &App,
    began: &mut mpsc::UnboundedReceiver<()>,
    release: oneshot::Sender<()>,
    done: &AtomicBool,
) {
    within("the event", began.recv()).await.expect("it runs");
    let mut answer = app.suspend();
    let early = actix_rt::time::timeout(support::QUIET, &mut answer).await;
    assert!(early.is_err(), "answered before the event was handled");
    assert_eq!(app.is_suspended().await, Ok(true), "but nothing is raised");
    release.send(()).expect("it waits");
    assert_eq!(within("the answer to suspend", answer).await, Ok(()));
    assert!(done.load(SeqCst));
}

#[actix_rt::test]
async fn a_suspension_waits_for_an_on_accept_in_flight() {
    let test = TestApp::new().await;
    let app = App::new("slow", &test.registry);
    let (slow_listener, mut began, release, done) = SlowListener::start();
    app.tcp_server
        .on_accept
        .do_add_listener(slow_listener.recipient());
    let server = app
        .tcp_server
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    app.tcp_server
        .listen(server, "127.0.0.1", 0, None)
        .await
        .expect("listen");
    let info = app.tcp_server.get_info(server).await.expect("it exists");
    let peer = dial(info.local_addr().expect("it listens")).await;
    expect_waiting_suspension(&app, &mut began, release, &done).await;
    expect_end(peer).await;
}

#[actix_rt::test]
async fn a_suspension_waits_for_an_on_receive_in_flight() {
    let test = TestApp::new().await;
    let app = App::new("slow", &test.registry);
    let (slow_listener, mut began, release, done) = SlowListener::start();
    app.tcp
        .on_receive
        .do_add_listener(slow_listener.recipient());
    let client = app
        .tcp
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    let mut peer = connect(&app, client).await;
    peer.write_all(b"x").await.expect("it is open");
    expect_waiting_suspension(&app, &mut began, release, &done).await;
    expect_end(peer).await;
}

#[actix_rt::test]
async fn a_suspension_raises_on_suspend_first_and_waits_for_its_handlers() {
    let test = TestApp::new().await;
    let app = App::new("slow", &test.registry);
    let (slow_listener, mut began, release, done) = SlowListener::start();
    app.on_suspend.do_add_listener(slow_listener.recipient());
    let client = app
        .tcp
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    let mut answer = app.suspend();
    within("onSuspend", began.recv()).await.expect("it runs");
    let early = actix_rt::time::timeout(support::QUIET, &mut answer).await;
    assert!(early.is_err(), "answered before onSuspend was handled");
    // Until then the app has its sockets.
    assert_eq!(
        app.tcp.get_info(client).await.map(|info| info.socket_id),
        Ok(client)
    );
    release.send(()).expect("it waits");
    assert_eq!(within("the answer to suspend", answer).await, Ok(()));
    assert!(done.load(SeqCst));
    assert_eq!(client_sockets(&app).await, []);
    assert_eq!(app.on_suspend.has_listeners().await, Ok(false));
}

#[actix_rt::test]
async fn a_listener_that_keeps_an_event_forever_is_reported_and_the_app_is_suspended() {
    tokio::time::pause();
    let test = TestApp::with_network(chrome_sockets::testing::ScriptedNetwork::new()).await;
    let app = App::new("slow", &test.registry);
    let (slow_listener, mut began, release, _) = SlowListener::start();
    app.on_suspend.do_add_listener(slow_listener.recipient());
    let client = app
        .tcp
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    let asked = tokio::time::Instant::now();
    let answer = app.suspend();
    began.recv().await.expect("it runs");
    assert_eq!(answer.await, Err(Error::EventsInFlight));
    assert_eq!(asked.elapsed().as_secs(), PAUSE_GRACE.as_secs());
    assert_eq!(app.is_suspended().await, Ok(true));
    assert_eq!(app.tcp.get_info(client).await, Err(Error::SocketNotFound));
    drop(release);
    resume(&app).await;
}

#[actix_rt::test]
async fn a_suspension_removes_listeners_so_actors_of_the_app_end() {
    struct Page(Option<oneshot::Sender<()>>);
    impl Actor for Page {
        type Context = Context<Self>;

        fn stopped(&mut self, _: &mut Self::Context) {
            let ended = self.0.take().expect("it ends once");
            let _ = ended.send(());
        }
    }
    impl Handler<AcceptInfo> for Page {
        type Result = ();

        fn handle(&mut self, _: AcceptInfo, _: &mut Self::Context) {}
    }
    let test = TestApp::new().await;
    let (ended, has_ended) = oneshot::channel();
    let page = Page(Some(ended)).start();
    test.app
        .tcp_server
        .on_accept
        .do_add_listener(page.recipient());
    suspend(&test.app).await;
    within("the end of the page", has_ended)
        .await
        .expect("it reported it");
    let app = &test.app;
    assert_eq!(app.tcp_server.on_accept.has_listeners().await, Ok(false));
    assert_eq!(
        app.tcp_server.on_accept_error.has_listeners().await,
        Ok(false)
    );
    assert_eq!(app.tcp.on_receive.has_listeners().await, Ok(false));
    assert_eq!(app.tcp.on_receive_error.has_listeners().await, Ok(false));
}

#[actix_rt::test]
async fn a_client_of_a_suspended_app_receives_all_pending_sends() {
    use tokio::io::AsyncReadExt;
    const LENGTH: usize = 4 << 20;
    let test = TestApp::new().await;
    let client = test.create().await;
    let mut peer = connect(&test.app, client).await;
    drop(test.app.tcp.send(client, vec![7; LENGTH]));
    suspend(&test.app).await;
    let mut all = Vec::new();
    let read = within("the end of what was sent", peer.read_to_end(&mut all)).await;
    read.expect("a clean end");
    assert!(all.len() == LENGTH && all.iter().all(|byte| *byte == 7));
}

/// Suspends an app whose server socket has an undelivered accept error, which closes the socket,
/// and resumes it with a listener. Returns how often the actor then met `fault`.
async fn suspend_with_undelivered_error(fault: Option<&str>) -> (TestApp, u64) {
    struct StoppableListener;
    impl Actor for StoppableListener {
        type Context = Context<Self>;
    }
    impl Handler<AcceptErrorInfo> for StoppableListener {
        type Result = ();

        fn handle(&mut self, _: AcceptErrorInfo, _: &mut Self::Context) {}
    }
    support::stoppable!(StoppableListener);

    const ENOBUFS: i32 = 105;
    const REST: Duration = Duration::from_secs(10);
    let network = ScriptedNetwork::new();
    let faulty = FaultyNetwork::new(network.clone(), 0);
    let test = TestApp::with_network(faulty.clone()).await;
    let (server, at) = test.listen().await;
    let api = &test.app.tcp_server;
    let policy = AcceptPolicy {
        resources: AcceptAction::BackOff {
            first: REST,
            last: REST,
        },
        ..AcceptPolicy::default()
    };
    let set = api.set_accept_policy(server, policy).await;
    set.expect("it succeeds");
    // The error waits for a listener, because the last one has died.
    let own = test.listener.clone().recipient();
    let removed = api.on_accept_error.remove_listener(own.clone()).await;
    removed.expect("the registry runs");
    let dying_listener = StoppableListener.start();
    let added = api
        .on_accept_error
        .add_listener(dying_listener.clone().recipient());
    added.await.expect("the registry runs");
    dying_listener.send(support::Stop).await.expect("it runs");
    network.accept_error(at, ENOBUFS).expect("it listens");
    while api.get_info(server).await.expect("it exists").counts.failed == 0 {
        tokio::task::yield_now().await;
    }
    suspend(&test.app).await;
    let received = test.app.tcp_server.on_accept_error.add_listener(own);
    received.await.expect("the registry runs");
    resume(&test.app).await;
    let rule = fault.map(|fault| faulty.inject(fault.parse().expect("it is right")));
    tokio::time::sleep(REST * 2).await;
    let triggered = rule.map(|rule| faulty.triggered(rule));
    (test, triggered.unwrap_or(0))
}

#[actix_rt::test]
async fn a_server_socket_that_a_suspension_closes_raises_no_event_and_its_actor_ends() {
    tokio::time::pause();
    let (mut test, _) = suspend_with_undelivered_error(None).await;
    assert!(test.try_next().is_none(), "it is closed");
    let (_, turns) = suspend_with_undelivered_error(Some("panic=server")).await;
    assert_eq!(turns, 0, "its actor has ended");
}
