//! `connect` fails, or hangs.

use super::*;

#[actix_rt::test]
async fn each_connect_error_has_its_code_and_the_socket_can_connect_again() {
    let mut fixture = Fixture::new().await;
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    let other = SocketAddr::from(([192, 0, 2, 2], 80));
    for (errno, expected) in [
        (libc::ECONNREFUSED, -102),
        (libc::ETIMEDOUT, -118),
        (libc::EACCES, -138),
        (libc::EPERM, -138),
        (libc::ENETUNREACH, -109),
        (libc::EHOSTUNREACH, -109),
        (libc::EADDRNOTAVAIL, -108),
        (libc::ECONNRESET, -101),
        (libc::ECONNABORTED, -103),
        (libc::ENETDOWN, -106),
        (libc::EMFILE, -12),
        (libc::ENOBUFS, -176),
        (libc::EPROTO, -104),
    ] {
        let id = fixture.test.create().await;
        let before = fixture.test.app.tcp.get_info(id).await;
        // A connect that is pending while the other fails.
        let hold = fixture.network.block_connect(other);
        let slow = fixture.test.create().await;
        let slow_peer = fixture.network.server(other);
        let slow_answer = connect(&fixture.test, slow, "192.0.2.2", 80);
        until("the slow connect", || hold.waiting() == 1).await;

        fixture.network.connect_error(far, errno);
        let refused = connect(&fixture.test, id, "192.0.2.1", 80);
        assert_eq!(code("connect", refused).await, expected, "errno {errno}");
        let info = fixture.test.app.tcp.get_info(id).await;
        assert_eq!(info, before, "errno {errno}");

        hold.release();
        within("the slow connect", slow_answer)
            .await
            .expect("it continues");
        assert_id_talks(&mut fixture.test, slow, &slow_peer).await;
        let peer = fixture.network.server(far);
        let again = connect(&fixture.test, id, "192.0.2.1", 80);
        within("connect", again)
            .await
            .expect("it can connect afterwards");
        assert_id_talks(&mut fixture.test, id, &peer).await;
        fixture.assert_alive(vec![]).await;
    }
}

/// How a pending connect is aborted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Abort {
    Disconnect,
    Close,
}

#[actix_rt::test]
async fn disconnect_and_close_abort_a_connect_or_resolve_that_hangs() {
    let mut fixture = Fixture::new().await;
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    for give_up in [Abort::Disconnect, Abort::Close] {
        for host in ["192.0.2.1", "far.example"] {
            let what = format!("{give_up:?} while {host} hangs");
            let hold = match host {
                "192.0.2.1" => fixture.network.block_connect(far),
                name => fixture.network.block_resolve(name),
            };
            let id = fixture.test.create().await;
            let attempt = connect(&fixture.test, id, host, 80);
            until("the connect", || hold.waiting() == 1).await;
            let during = fixture.dial();

            let tcp = fixture.test.app.tcp.clone();
            let ended = match give_up {
                Abort::Disconnect => tcp.disconnect(id),
                Abort::Close => tcp.close(id),
            };
            within(&what, ended).await.expect("it is aborted");
            assert_eq!(code(&what, attempt).await, -3);
            until("the end of the connect", || hold.waiting() == 0).await;
            hold.release();
            match give_up {
                Abort::Disconnect => {
                    let info = tcp.get_info(id).await.expect("the id stays");
                    assert!(!info.connected && !info.paused, "{what}: {info:?}");
                    // An `onReceiveError` of the aborted connect would come now.
                    fixture.assert_alive(vec![during]).await;
                    let peer = fixture.network.server(far);
                    let again = connect(&fixture.test, id, "192.0.2.1", 80);
                    within("connect", again)
                        .await
                        .expect("it can connect afterwards");
                    assert_id_talks(&mut fixture.test, id, &peer).await;
                }
                Abort::Close => {
                    assert_eq!(tcp.get_info(id).await, Err(Error::SocketNotFound));
                    fixture.assert_alive(vec![during]).await;
                }
            }
        }
    }
}

#[actix_rt::test]
async fn a_second_connect_while_connecting_fails_and_the_first_continues() {
    let mut fixture = Fixture::new().await;
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    let hold = fixture.network.block_connect(far);
    let peer = fixture.network.server(far);
    let id = fixture.test.create().await;
    let first = connect(&fixture.test, id, "192.0.2.1", 80);
    for host in ["192.0.2.1", "192.0.2.9", "other.example", ""] {
        let second = connect(&fixture.test, id, host, 80);
        assert_eq!(code("the second connect", second).await, -104, "{host:?}");
    }
    until("the connect", || hold.waiting() == 1).await;
    let attempts = fixture.network.calls();
    let attempts = attempts
        .iter()
        .filter(|call| !matches!(call, Call::Listen { .. }));
    assert_eq!(attempts.count(), 1, "the refused ones ask the OS nothing");
    let during = fixture.dial();
    hold.release();
    within("the first connect", first).await.expect("connect");
    let third = connect(&fixture.test, id, "192.0.2.1", 80);
    assert_eq!(code("connect", third).await, -23, "it is connected now");

    fixture.assert_alive(vec![during]).await;
    assert_id_talks(&mut fixture.test, id, &peer).await;
}
