//! `listen` and `accept` fail.

use super::*;

#[actix_rt::test]
async fn each_listen_error_has_its_code_and_the_socket_can_listen_again() {
    let mut fixture = Fixture::new().await;
    for (errno, expected) in [
        (libc::EADDRINUSE, -147),
        (libc::EADDRNOTAVAIL, -108),
        (libc::EACCES, -10),
        (libc::EPERM, -10),
        (libc::EMFILE, -12),
        (libc::ENFILE, -12),
        (libc::ENOMEM, -13),
        (libc::ENOBUFS, -176),
        (libc::EINVAL, -4),
        (libc::EAFNOSUPPORT, -109),
        (libc::EOPNOTSUPP, -11),
        (libc::ENOTSOCK, -2),
    ] {
        let server = fixture.test.app.tcp_server.clone();
        let id = server.create(Default::default()).await.expect("create");
        let id = id.socket_id;
        let before = server.get_info(id).await;
        fixture.network.listen_error(errno);
        let refused = server.listen(id, "127.0.0.1", 0, None);
        assert_eq!(code("listen", refused).await, expected, "errno {errno}");
        assert_eq!(server.get_info(id).await, before, "errno {errno}");

        // The next call succeeds.
        let during = fixture.dial();
        let listening = server.listen(id, "127.0.0.1", 0, None).await;
        assert_eq!(listening, Ok(()), "after errno {errno}");
        fixture.assert_alive(vec![during]).await;
        let info = server.get_info(id).await.expect("it exists");
        let at = info.local_addr().expect("it listens");
        let peer = fixture.network.client(at).expect("it listens");
        let client = expect_accept(&mut fixture.test, &peer).await;
        assert_talks(&mut fixture.test, &client, &peer).await;
    }
}

#[actix_rt::test]
async fn each_accept_error_is_reported_pauses_and_keeps_waiting_clients() {
    let mut fixture = Fixture::new().await;
    let server = fixture.test.app.tcp_server.clone();
    for (errno, expected) in [
        (libc::EMFILE, -12),
        (libc::ENFILE, -12),
        (libc::ENOBUFS, -176),
        (libc::ENOMEM, -13),
        (libc::EPERM, -10),
        (libc::EINVAL, -4),
        (libc::ETIMEDOUT, -7),
    ] {
        let faulty = fixture.network.accept_error(fixture.at, errno);
        faulty.expect("it listens");
        let during = vec![fixture.dial(), fixture.dial(), fixture.dial()];
        match fixture.test.next().await {
            ListenerEvent::AcceptError(from, error) => {
                assert_eq!((from, error.code()), (fixture.server, expected), "{errno}");
            }
            other => panic!("expected onAcceptError for errno {errno}, not {other:?}"),
        }
        let info = server.get_info(fixture.server).await.expect("it exists");
        assert!(info.paused, "after errno {errno}");
        assert_eq!(
            info.local_addr(),
            Some(fixture.at),
            "it continues to listen"
        );
        assert_eq!(fixture.network.waiting(fixture.at), 3, "they wait");

        let resumed = server.set_paused(fixture.server, false).await;
        resumed.expect("resume");
        // The next event is the first client's, so no error was reported twice.
        fixture.assert_alive(during).await;
    }
}

#[actix_rt::test]
async fn accept_errors_between_waiting_clients_and_after_resume_lose_no_client() {
    let mut fixture = Fixture::new().await;
    let server = fixture.test.app.tcp_server.clone();
    let pause = async |paused| server.set_paused(fixture.server, paused).await;
    pause(true).await.expect("pause");
    let first = fixture.dial();
    for _ in 0..3 {
        let faulty = fixture.network.accept_error(fixture.at, libc::EMFILE);
        faulty.expect("it listens");
    }
    let during = vec![fixture.dial(), fixture.dial()];
    pause(false).await.expect("resume");

    let client = expect_accept(&mut fixture.test, &first).await;
    for _ in 0..3 {
        match fixture.test.next().await {
            ListenerEvent::AcceptError(_, error) => assert_eq!(error.code(), -12),
            other => panic!("expected onAcceptError, not {other:?}"),
        }
        assert_eq!(fixture.network.waiting(fixture.at), 2);
        pause(false).await.expect("resume");
    }
    fixture.assert_alive(during).await;
    assert_talks(&mut fixture.test, &client, &first).await;
}

#[actix_rt::test]
async fn aborted_connections_and_interrupted_accepts_are_not_reported() {
    let mut fixture = Fixture::new().await;
    for round in 0..1000 {
        let errno = [libc::ECONNABORTED, libc::EINTR][usize::from(round % 10 == 0)];
        let faulty = fixture.network.accept_error(fixture.at, errno);
        faulty.expect("it listens");
    }
    let during = vec![fixture.dial()];
    // The next event is the client's.
    fixture.assert_alive(during).await;
    let info = fixture.test.app.tcp_server.get_info(fixture.server).await;
    assert!(!info.expect("it exists").paused);
}

#[actix_rt::test]
async fn errors_of_single_connections_do_not_pause_while_other_connections_wait() {
    let mut fixture = Fixture::new().await;
    let server = fixture.test.app.tcp_server.clone();
    let (network, at) = (fixture.network.clone(), fixture.at);
    let fails = |errno, times| {
        for _ in 0..times {
            network.accept_error(at, errno).expect("it listens");
        }
    };
    for errno in [libc::EPROTO, libc::ENETDOWN, libc::EHOSTUNREACH] {
        fails(errno, 64);
        let during = vec![fixture.dial()];
        // The next event is the client's.
        fixture.assert_alive(during).await;
    }
    // A listener that only fails is not polled forever.
    fails(libc::EPROTO, 65);
    let during = vec![fixture.dial()];
    match fixture.test.next().await {
        ListenerEvent::AcceptError(_, error) => assert_eq!(error.code(), -2),
        other => panic!("expected onAcceptError, not {other:?}"),
    }
    assert_eq!(network.waiting(at), 1);
    let info = server.get_info(fixture.server).await.expect("it exists");
    assert!(info.paused);
    let resumed = server.set_paused(fixture.server, false).await;
    resumed.expect("resume");
    fixture.assert_alive(during).await;
}
