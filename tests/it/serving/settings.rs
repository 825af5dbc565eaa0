//! Serving with pauses, limits, timeouts, drains, suspensions, TLS and handovers.

use std::time::Duration;

use actix_rt::time::timeout;
use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp::Timeouts;
use chrome_sockets::tcp_server::{self, AtLimit, BlockReason, Limit, Limits};
use chrome_sockets::{Error, tcp};
use support::{LIMIT, QUIET, subscribe};

use super::*;
use crate::handover::expect_handover;

#[actix_rt::test]
async fn a_handler_that_pauses_its_client_while_it_starts_is_not_resumed() {
    for kind in [Kind::PauseInFactory, Kind::PauseInStarted] {
        let test = TestApp::new().await;
        let mut log = Log::new();
        let (_, at) = serve(&test, &log, kind).await;
        let mut peer = dial(at).await;
        write(&mut peer, b"waits").await;
        let client = log.expect(Step::Started).await;
        let quiet = timeout(QUIET, log.logged.recv()).await;
        assert!(quiet.is_err(), "{kind:?}: {quiet:?}");
        assert!(client.get_info().await.expect("it exists").paused);
        client.set_paused(false).await.expect("it exists");
        assert_eq!(log.received(client.id(), 5).await, b"waits");
        assert_eq!(read(&mut peer, 5).await, b"waits");
    }
}

#[actix_rt::test]
async fn a_second_factory_replaces_the_first_and_without_one_on_accept_is_raised() {
    let mut test = TestApp::new().await;
    let (mut first, mut second) = (Log::new(), Log::new());
    let (server, at) = serve(&test, &first, Kind::Echo).await;
    let mut served = dial(at).await;
    let client = first.expect(Step::Started).await;
    let tcp_server = test.app.tcp_server.clone();
    tcp_server
        .serve(server, second.factory(Kind::Echo))
        .await
        .expect("it exists");
    assert_serves(&mut second, at).await;
    tcp_server.stop_serving(server).await.expect("it exists");
    let mut peer = dial(at).await;
    let accepted = test.accepted().await;
    accepted.set_paused(false).await.expect("it is open");
    write(&mut peer, b"app").await;
    assert_eq!(test.received(accepted.id(), 3).await, b"app");
    tcp_server.do_serve(server, second.factory(Kind::Echo));
    tcp_server.do_stop_serving(server);
    tcp_server.do_serve(server, second.factory(Kind::Echo));
    tcp_server.get_info(server).await.expect("it exists");
    assert_serves(&mut second, at).await;
    // The first client has its handler still.
    write(&mut served, b"still").await;
    assert_eq!(read(&mut served, 5).await, b"still");
    assert_eq!(first.received(client.id(), 5).await, b"still");
    tcp_server.close(server).await.expect("close");
    let closed = tcp_server.stop_serving(server).await;
    assert_eq!(closed, Err(Error::SocketNotFound));
    write(&mut served, b"more").await;
    assert_eq!(read(&mut served, 4).await, b"more");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn clients_whose_on_accept_has_waited_get_handlers() {
    let test = TestApp::new().await;
    test.remove_listener().await;
    let mut log = Log::new();
    let (server, at) = test.listen().await;
    let mut peers = Vec::new();
    for i in 0..10u8 {
        let mut peer = dial(at).await;
        write(&mut peer, &[i]).await;
        peers.push(peer);
    }
    let tcp_server = &test.app.tcp_server;
    let info = tcp_server.get_info(server).await.expect("it exists");
    assert_eq!(info.blocked_by, [BlockReason::NoListener]);
    let serving = tcp_server.serve(server, log.factory(Kind::Echo));
    serving.await.expect("it exists");
    for (i, peer) in peers.iter_mut().enumerate() {
        assert_eq!(read(peer, 1).await, [i as u8]);
    }
    let info = tcp_server.get_info(server).await.expect("it exists");
    assert_eq!(info.blocked_by, []);
    drop(peers);
    let mut ended = 0;
    while ended < 10 {
        ended += usize::from(log.next().await.step == Step::Dropped);
    }
    assert_serves(&mut log, at).await;
}

#[actix_rt::test]
async fn a_paused_server_socket_and_one_at_its_limit_start_no_handler() {
    let test = TestApp::new().await;
    let mut log = Log::new();
    let (server, at) = serve(&test, &log, Kind::Echo).await;
    let tcp_server = test.app.tcp_server.clone();
    tcp_server.set_paused(server, true).await.expect("pause");
    let peer = dial(at).await;
    let quiet = timeout(QUIET, log.logged.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    let one = Limits {
        connections: Some(Limit {
            most: 1,
            then: AtLimit::Queue,
        }),
        ..Limits::default()
    };
    tcp_server.set_limits(server, one).await.expect("set");
    let waits = dial(at).await;
    tcp_server.set_paused(server, false).await.expect("resume");
    log.expect(Step::Started).await;
    let quiet = timeout(QUIET, log.logged.recv()).await;
    assert!(quiet.is_err(), "it has one place: {quiet:?}");
    drop(peer);
    log.expect(Step::End(NetError::CONNECTION_CLOSED)).await;
    let mut steps = [log.next().await.step, log.next().await.step];
    steps.sort_by_key(|step| *step == Step::Started);
    assert_eq!(steps, [Step::Dropped, Step::Started]);
    drop(waits);
    log.expect(Step::End(NetError::CONNECTION_CLOSED)).await;
    log.expect(Step::Dropped).await;
    assert_serves(&mut log, at).await;
}

#[actix_rt::test]
async fn a_served_client_is_claimed_and_its_idle_timeout_is_the_handlers_to_hear_of() {
    let test = TestApp::new().await;
    let mut log = Log::new();
    let (server, at) = serve(&test, &log, Kind::Echo).await;
    let timeouts = Timeouts {
        claim: Some(Duration::from_millis(50)),
        idle: Some(Duration::from_millis(300)),
        ..Timeouts::default()
    };
    let set = test.app.tcp_server.set_timeouts(server, timeouts);
    set.await.expect("it exists");
    let mut peer = dial(at).await;
    let client = log.expect(Step::Started).await;
    let started = std::time::Instant::now();
    log.expect(Step::End(NetError::TIMED_OUT)).await;
    assert!(started.elapsed() >= Duration::from_millis(200), "the claim");
    log.expect(Step::Dropped).await;
    assert_eq!(read_to_end(&mut peer).await, b"");
    assert_eq!(client.get_info().await, Err(Error::SocketNotFound));
    assert_serves(&mut log, at).await;
}

#[actix_rt::test]
async fn a_drain_waits_for_handlers_and_tells_those_that_it_ends() {
    let test = TestApp::new().await;
    let mut log = Log::new();
    let (server, at) = serve(&test, &log, Kind::Echo).await;
    let mut first = dial(at).await;
    let one = log.expect(Step::Started).await;
    let _second = dial(at).await;
    let two = log.expect(Step::Started).await;
    let drained = test
        .app
        .tcp_server
        .drain(server, Duration::from_millis(500));
    write(&mut first, b"STOP").await;
    assert_eq!(read_to_end(&mut first).await, b"STOP");
    assert_eq!(log.received(one.id(), 4).await, b"STOP");
    log.expect(Step::Dropped).await;
    let ended = log.expect(Step::End(NetError::ABORTED)).await;
    assert_eq!(ended, two);
    log.expect(Step::Dropped).await;
    let drained = within("the receipt", drained).await.expect("drained");
    assert_eq!((drained.finished, drained.forced), (1, vec![two.id()]));
    let tcp_server = test.app.tcp_server.clone();
    let listening = tcp_server.listen(server, "127.0.0.1", 0, None);
    listening.await.expect("listen");
    let info = tcp_server.get_info(server).await.expect("it exists");
    assert_serves(&mut log, info.local_addr().expect("it listens")).await;
}

#[actix_rt::test]
async fn a_suspension_ends_handlers_and_serving_and_an_event_page_serves_again() {
    let mut test = TestApp::new().await;
    let mut log = Log::new();
    let (server, at) = serve(&test, &log, Kind::Echo).await;
    let persistent = tcp_server::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let updated = test.app.tcp_server.update(server, persistent);
    updated.await.expect("update");
    let sender = log.sender.clone();
    let page = EventPage::new(move |app| {
        let sender = sender.clone();
        async move {
            let factory = move |info: AcceptInfo, _| Session::new(&info, Kind::Echo, &sender);
            app.tcp_server.serve(server, factory).await
        }
    });
    test.app.set_event_page(Some(page)).await.expect("set");
    let mut transient = dial(at).await;
    log.expect(Step::Started).await;
    let mut kept = dial(at).await;
    let client = log.expect(Step::Started).await;
    let persistent = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(persistent).await.expect("update");

    test.app.suspend().await.expect("suspend");
    log.expect(Step::Dropped).await;
    log.expect(Step::Dropped).await;
    assert_eq!(read_to_end(&mut transient).await, b"");
    // Data for the persistent client, or a connection, loads the app.
    assert_serves(&mut log, at).await;
    let info = client.get_info().await.expect("it is open");
    assert!(info.connected, "{info:?}");
    let next = Session {
        client: client.clone(),
        kind: Kind::Echo,
        log: log.sender.clone(),
    };
    client
        .set_listeners(SocketListeners::of(&next.start()))
        .await
        .expect("it is open");
    log.expect(Step::Started).await;
    write(&mut kept, b"kept").await;
    assert_eq!(read(&mut kept, 4).await, b"kept");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn after_a_handover_the_next_process_serves_and_sets_listeners_of_open_clients() {
    let old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let mut log = Log::new();
    let (server, at) = serve(&old, &log, Kind::Echo).await;
    let persistent = tcp_server::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let updated = old.app.tcp_server.update(server, persistent);
    updated.await.expect("update");
    let mut peer = dial(at).await;
    let client = log.expect(Step::Started).await;
    let persistent = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(persistent).await.expect("update");
    let mut transient = dial(at).await;
    log.expect(Step::Started).await;
    write(&mut peer, b"old").await;
    assert_eq!(read(&mut peer, 3).await, b"old");
    assert_eq!(log.received(client.id(), 3).await, b"old");

    new.remove_listener().await;
    expect_handover(&old, &new).await;
    // The handler of the client that has gone; the other one goes on.
    log.expect(Step::Dropped).await;
    write(&mut transient, b"stays").await;
    assert_eq!(read(&mut transient, 5).await, b"stays");
    log.next().await;

    write(&mut peer, b"new").await;
    let mut there = Log::new();
    let serving = new.app.tcp_server.serve(server, there.factory(Kind::Echo));
    serving.await.expect("it has arrived");
    let open = new.app.tcp.get_sockets().await.expect("it runs");
    let ids: Vec<_> = open.iter().map(|info| info.socket_id).collect();
    assert_eq!(ids, [client.id()]);
    let client = new.app.tcp.socket(client.id()).await.expect("it exists");
    let next = Session {
        client: client.clone(),
        kind: Kind::Echo,
        log: there.sender.clone(),
    };
    client.do_set_listeners(SocketListeners::of(&next.start()));
    assert_eq!(read(&mut peer, 3).await, b"new");
    there.expect(Step::Started).await;
    assert_eq!(there.received(client.id(), 3).await, b"new");
    assert_serves(&mut there, at).await;
    subscribe(&new.app, &new.listener).await.expect("it runs");
    new.expect_no_event().await;
    drop(old);
}

#[actix_rt::test]
async fn an_encrypted_client_has_its_handler_after_the_handshake() {
    let authority = crate::tls::certificates::Authority::new();
    let issued = authority.issue("localhost");
    let mut test = TestApp::new().await;
    let mut log = Log::new();
    let (server, at) = serve(&test, &log, Kind::Echo).await;
    let set = test.app.tcp_server.set_tls(server, Some(issued.server()));
    set.await.expect("it exists");
    let stream = dial(at).await;
    let quiet = timeout(QUIET, log.logged.recv()).await;
    assert!(quiet.is_err(), "no handshake yet: {quiet:?}");
    let config = authority.config(&[&chrome_sockets::rustls::version::TLS13]);
    let name = "localhost".try_into().expect("a name");
    let connecting = tokio_rustls::TlsConnector::from(config).connect(name, stream);
    let mut peer = within("the handshake", connecting)
        .await
        .expect("it succeeds");
    let client = log.expect(Step::Started).await;
    write(&mut peer, b"secret").await;
    assert_eq!(read(&mut peer, 6).await, b"secret");
    assert_eq!(log.received(client.id(), 6).await, b"secret");
    write(&mut peer, b"PANIC").await;
    log.expect(Step::Dropped).await;
    assert_eq!(test.ended(client.id()).await, NetError::FAILED);
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_shutdown_tells_handlers_and_delivers_what_they_have_sent() {
    let test = TestApp::new().await;
    let mut log = Log::new();
    let (_, at) = serve(&test, &log, Kind::Echo).await;
    let mut peer = dial(at).await;
    let client = log.expect(Step::Started).await;
    client.try_send(pattern(LARGE)).expect("it is open");
    let reading = actix_rt::spawn(async move { read_to_end(&mut peer).await });
    let down = timeout(LIMIT, test.registry.send(chrome_sockets::Shutdown)).await;
    down.expect("in time").expect("it runs").expect("it ends");
    assert!(reading.await.expect("it reads") == pattern(LARGE));
    log.expect(Step::End(NetError::CONNECTION_CLOSED)).await;
    log.expect(Step::Dropped).await;
}
