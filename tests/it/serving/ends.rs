//! The handler and the connection end together.

use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
use chrome_sockets::{Error, tcp};
use support::until;

use super::*;

/// The peers of so many clients that go on while another one ends.
async fn bystanders(log: &mut Log, at: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut peers = Vec::new();
    for _ in 0..count {
        peers.push(dial(at).await);
        log.expect(Step::Started).await;
    }
    peers
}

async fn assert_bystanders_are_served(log: &mut Log, peers: &mut [TcpStream]) {
    for peer in peers.iter_mut() {
        write(peer, b"ping").await;
    }
    for peer in peers.iter_mut() {
        assert_eq!(read(peer, 4).await, b"ping");
        let logged = log.next().await;
        assert_eq!(logged.step, Step::Data(Bytes::from_static(b"ping")));
    }
}

/// Expects the end of this client to be reported to the app's listeners, and its id to be gone.
async fn expect_failure(test: &mut TestApp) {
    let id = match test.next().await {
        support::ListenerEvent::ReceiveError(id, NetError::FAILED) => id,
        other => panic!("expected onReceiveError, not {other:?}"),
    };
    let info = test.app.tcp.get_info(id).await;
    assert_eq!(info, Err(Error::SocketNotFound));
}

#[actix_rt::test]
async fn a_panic_of_a_handler_ends_only_its_connection_and_is_reported() {
    let mut test = TestApp::new().await;
    let mut log = Log::new();
    let (_, at) = serve(&test, &log, Kind::Echo).await;
    let mut others = bystanders(&mut log, at, 20).await;
    for _ in 0..5 {
        let mut peer = dial(at).await;
        let client = log.expect(Step::Started).await;
        write(&mut peer, b"good").await;
        assert_eq!(read(&mut peer, 4).await, b"good");
        assert_eq!(log.received(client.id(), 4).await, b"good");
        write(&mut peer, b"PANIC").await;
        assert_eq!(read_to_end(&mut peer).await, b"", "its end is clean");
        log.expect(Step::Dropped).await;
        expect_failure(&mut test).await;
        assert_bystanders_are_served(&mut log, &mut others).await;
    }
    test.expect_no_event().await;
    assert_serves(&mut log, at).await;
}

#[actix_rt::test]
async fn a_handler_that_panics_while_it_starts_or_at_the_end_is_reported_too() {
    for kind in [Kind::PanicInFactory, Kind::PanicInStarted, Kind::PanicAtEnd] {
        let mut test = TestApp::new().await;
        let mut log = Log::new();
        let (server, at) = serve(&test, &log, Kind::Echo).await;
        let mut others = bystanders(&mut log, at, 3).await;
        let panicking = test.app.tcp_server.serve(server, log.factory(kind));
        panicking.await.expect("it exists");
        for _ in 0..3 {
            let mut peer = dial(at).await;
            write(&mut peer, b"data").await;
            let expected: &[u8] = match kind {
                Kind::PanicAtEnd => b"data",
                _ => b"",
            };
            peer.shutdown().await.expect("shut");
            let mut answer = Vec::new();
            // What was sent to a client without a handler is unread, and its end may be a reset.
            let _ = within("the end", peer.read_to_end(&mut answer)).await;
            assert_eq!(answer, expected, "{kind:?}");
            expect_failure(&mut test).await;
        }
        while log.logged.try_recv().is_ok() {}
        assert_bystanders_are_served(&mut log, &mut others).await;
        test.app
            .tcp_server
            .do_serve(server, log.factory(Kind::Echo));
        test.app
            .tcp_server
            .get_info(server)
            .await
            .expect("it exists");
        assert_serves(&mut log, at).await;
        assert_eq!(test.app.tcp.get_sockets().await.expect("it runs").len(), 3);
        test.expect_no_event().await;
    }
}

#[actix_rt::test]
async fn a_handler_that_stops_closes_its_client_and_what_it_sent_arrives() {
    let mut test = TestApp::new().await;
    let mut log = Log::new();
    let (server, at) = serve(&test, &log, Kind::AnswerAndStop).await;
    for _ in 0..3 {
        let mut peer = dial(at).await;
        // Stays unread, which must not turn the close into a reset.
        write(&mut peer, &pattern(10_000)).await;
        log.expect(Step::Started).await;
        let client = log.expect(Step::Dropped).await;
        until("the close", || client.try_send("late").is_err()).await;
        assert!(read_to_end(&mut peer).await == pattern(LARGE));
    }
    let echo = test.app.tcp_server.serve(server, log.factory(Kind::Echo));
    echo.await.expect("it exists");
    // Behind what it has handled.
    let mut peer = dial(at).await;
    write(&mut peer, b"first").await;
    assert_eq!(read(&mut peer, 5).await, b"first");
    write(&mut peer, b"STOP").await;
    assert_eq!(read_to_end(&mut peer).await, b"STOP");
    test.expect_no_event().await;
    assert_eq!(test.app.tcp.get_sockets().await, Ok(Vec::new()));
}

#[actix_rt::test]
async fn a_handler_whose_client_has_ended_ends_without_a_call() {
    let mut test = TestApp::new().await;
    let mut log = Log::new();
    let (_, at) = serve(&test, &log, Kind::Echo).await;
    // By a reset.
    let peer = dial(at).await;
    log.expect(Step::Started).await;
    peer.set_zero_linger().expect("the option is set");
    drop(peer);
    log.expect(Step::End(NetError::CONNECTION_CLOSED)).await;
    log.expect(Step::Dropped).await;
    // By its own call.
    for close in [true, false] {
        let mut peer = dial(at).await;
        let client = log.expect(Step::Started).await;
        match close {
            true => client.do_close(),
            false => client.do_disconnect(),
        }
        assert_eq!(read_to_end(&mut peer).await, b"");
        log.expect(Step::End(NetError::CONNECTION_CLOSED)).await;
        if close {
            log.expect(Step::Dropped).await;
        } else {
            // The socket is the handler's, until it stops.
            client.get_info().await.expect("it exists");
            client.do_close();
            log.expect(Step::Dropped).await;
        }
    }
    test.expect_no_event().await;
    assert_serves(&mut log, at).await;
}

#[actix_rt::test]
async fn a_handler_keeps_a_half_open_connection_until_it_stops() {
    let test = TestApp::new().await;
    let mut log = Log::new();
    let (_, at) = serve(&test, &log, Kind::HalfOpen).await;
    let mut peer = dial(at).await;
    write(&mut peer, b"question").await;
    peer.shutdown().await.expect("shut");
    let client = log.expect(Step::Started).await;
    assert_eq!(log.received(client.id(), 8).await, b"question");
    log.expect(Step::End(NetError::CONNECTION_CLOSED)).await;
    // Long after the end, as far as the handler is concerned.
    assert!(client.get_info().await.expect("it exists").connected);
    client.send("answer").await.expect("it is half-open");
    assert_eq!(read(&mut peer, 14).await, b"questionanswer");
    log.expect_nothing();
    client.close().await.expect("close");
    assert_eq!(read_to_end(&mut peer).await, b"");
    log.expect(Step::Dropped).await;
    assert_eq!(test.app.tcp.get_sockets().await, Ok(Vec::new()));
}

#[actix_rt::test]
async fn a_handler_that_gives_its_client_away_may_stop() {
    let mut test = TestApp::new().await;
    let mut log = Log::new();
    let (_, at) = serve(&test, &log, Kind::Echo).await;
    let mut peer = dial(at).await;
    let client = log.expect(Step::Started).await;
    let other = Session {
        client: client.clone(),
        kind: Kind::Echo,
        log: log.sender.clone(),
    };
    let other = other.start();
    log.expect(Step::Started).await;
    client
        .set_listeners(SocketListeners::of(&other))
        .await
        .expect("it is open");
    // The socket held the first handler's only address.
    log.expect(Step::Dropped).await;
    write(&mut peer, b"other").await;
    assert_eq!(read(&mut peer, 5).await, b"other");
    assert_eq!(log.received(client.id(), 5).await, b"other");
    // To the app's listeners, which are no handler.
    client.set_listeners(None).await.expect("it is open");
    write(&mut peer, b"app").await;
    assert_eq!(test.received(client.id(), 3).await, b"app");
    drop(peer);
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    client.close().await.expect("it is not closed by itself");
    drop(other);
    assert_serves_after_drop(&mut log, at).await;
}

async fn assert_serves_after_drop(log: &mut Log, at: SocketAddr) {
    log.expect(Step::Dropped).await;
    assert_serves(log, at).await;
}

#[actix_rt::test]
async fn a_handler_that_adds_itself_as_a_listener_of_the_send_queue_stays_the_handler() {
    let mut test = TestApp::new().await;
    let mut log = Log::new();
    let (_, at) = serve(&test, &log, Kind::WatchQueue).await;
    for last in [&b"PANIC"[..], b"STOP"] {
        let mut peer = dial(at).await;
        log.expect(Step::Started).await;
        log.expect(Step::Queue(SendQueueLevel::High)).await;
        assert!(read(&mut peer, LARGE).await == pattern(LARGE));
        log.expect(Step::Queue(SendQueueLevel::Low)).await;
        write(&mut peer, last).await;
        if last == b"STOP" {
            assert_eq!(read_to_end(&mut peer).await, b"STOP");
            log.expect(Step::Data(Bytes::from_static(b"STOP"))).await;
        } else {
            assert_eq!(read_to_end(&mut peer).await, b"");
            expect_failure(&mut test).await;
        }
        log.expect(Step::Dropped).await;
    }
    test.expect_no_event().await;
    assert_eq!(test.app.tcp.get_sockets().await, Ok(Vec::new()));
}

#[actix_rt::test]
async fn a_panic_gives_back_the_clients_place_in_limits() {
    let mut test = TestApp::new().await;
    let mut log = Log::new();
    let (server, at) = serve(&test, &log, Kind::Echo).await;
    let one = Limits {
        connections: Some(Limit {
            most: 1,
            then: AtLimit::Queue,
        }),
        ..Limits::default()
    };
    let set = test.app.tcp_server.set_limits(server, one);
    set.await.expect("it exists");
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(dial(at).await);
    }
    for mut peer in peers {
        log.expect(Step::Started).await;
        log.expect_nothing();
        write(&mut peer, b"PANIC").await;
        log.expect(Step::Dropped).await;
        expect_failure(&mut test).await;
    }
    assert_serves(&mut log, at).await;
}

/// Restarted by actix's supervisor when it stops.
struct Supervised {
    restarts: UnboundedSender<()>,
}

impl Actor for Supervised {
    type Context = Context<Self>;
}

impl actix::Supervised for Supervised {
    fn restarting(&mut self, _: &mut Self::Context) {
        let _ = self.restarts.send(());
    }
}

impl Handler<ReceiveInfo> for Supervised {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, ctx: &mut Self::Context) {
        if *info.data == b"STOP"[..] {
            ctx.stop();
        }
        let client = info.client().clone();
        client.forward(info).expect("it is open");
    }
}

impl Handler<ReceiveErrorInfo> for Supervised {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        info.client().do_close();
    }
}

#[actix_rt::test]
async fn a_listener_under_a_supervisor_keeps_its_connection_when_it_is_restarted() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let mut peer = dial(at).await;
    let client = test.accepted().await;
    let (restarts, mut restarted) = unbounded_channel();
    let supervised = actix::Supervisor::start(|_| Supervised { restarts });
    client.do_set_listeners(SocketListeners::of(&supervised));
    client.do_set_paused(false);
    for _ in 0..5 {
        write(&mut peer, b"STOP").await;
        assert_eq!(read(&mut peer, 4).await, b"STOP");
        within("the restart", restarted.recv())
            .await
            .expect("it runs");
        write(&mut peer, b"on").await;
        assert_eq!(read(&mut peer, 2).await, b"on");
    }
    drop((peer, supervised));
    let end = within("the end of the actor", restarted.recv()).await;
    assert_eq!(end, None);
    test.expect_no_event().await;
    let open: Result<Vec<tcp::SocketInfo>, _> = test.app.tcp.get_sockets().await;
    assert_eq!(open, Ok(Vec::new()));
}
