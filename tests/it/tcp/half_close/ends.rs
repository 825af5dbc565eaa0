//! Half-close and every end: the rows of the table in `docs/faults.md`.

use std::io::ErrorKind::ConnectionReset;
use std::time::Duration;

use chrome_sockets::tcp::{SecureOptions, Timeouts};
use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
use chrome_sockets::testing::ScriptedNetwork;
use futures::FutureExt;
use support::{LIMIT, subscribe};
use tokio::io::AsyncReadExt;

use super::*;
use crate::handover::expect_handover;
use crate::tcp_server::dial;

/// Long enough for what precedes it, and short enough for a test.
const SOON: Duration = Duration::from_millis(200);

fn persistent() -> SocketProperties {
    SocketProperties {
        persistent: Some(true),
        ..half_open()
    }
}

#[actix_rt::test]
async fn the_peers_reset_ends_a_half_closed_connection_without_another_event() {
    let mut test = TestApp::new().await;
    for resumed in [false, true] {
        let (client, peer) = half_closed(&mut test).await;
        client.set_paused(!resumed).await.expect("it is open");
        client.try_send(&b"unread"[..]).expect("it is connected");
        reset(peer);
        disconnected(&client).await;
        assert_ended(&test.app, client.id()).await;
        assert_eq!(code("send", client.send(&b"late"[..])).await, -15);
        test.expect_no_event().await;
    }
}

#[actix_rt::test]
async fn a_reset_fails_what_waits_on_a_half_closed_connection() {
    let mut test = TestApp::new().await;
    let (client, peer) = half_closed(&mut test).await;
    let sent = client.send(pattern(LARGE));
    let shut = client.shutdown_write();
    reset(peer);
    assert_eq!(code("send", sent).await, -101);
    assert_eq!(code("shutdown_write", shut).await, -101);
    disconnected(&client).await;
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_reset_before_the_report_is_reported_as_the_end_of_the_connection() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    client.update(half_open()).await.expect("update");
    write(&mut peer, b"last words").await;
    peer.shutdown().await.expect("its side ends");
    reset(peer);
    test.expect_no_event().await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.received(client.id(), 10).await, b"last words");
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    disconnected(&client).await;
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_reset_after_shutdown_write_is_reported_as_ever() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = connected(&test).await;
    client.update(half_open()).await.expect("update");
    client.shutdown_write().await.expect("it is connected");
    assert_eq!(read_to_end(&mut peer).await, b"");
    reset(peer);
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    assert_ended(&test.app, client.id()).await;
}

#[actix_rt::test]
async fn close_and_disconnect_of_a_half_closed_connection_deliver_and_raise_nothing() {
    let mut test = TestApp::new().await;
    for close in [false, true] {
        for resumed in [false, true] {
            for shut in [false, true] {
                let (client, mut peer) = half_closed(&mut test).await;
                client.set_paused(!resumed).await.expect("it is open");
                let sent = client.send(pattern(LARGE));
                let shut = shut.then(|| client.shutdown_write());
                match close {
                    true => client.close().await.expect("it is open"),
                    false => client.disconnect().await.expect("it is open"),
                }
                if !close {
                    assert_ended(&test.app, client.id()).await;
                }
                assert!(read_to_end(&mut peer).await == pattern(LARGE));
                assert!(within("the send", sent).await.is_ok());
                if let Some(shut) = shut {
                    assert_eq!(within("the call", shut).await, Ok(()));
                }
                test.expect_no_event().await;
            }
        }
    }
}

#[actix_rt::test]
async fn close_and_disconnect_after_shutdown_write_raise_the_end_of_a_receiving_socket() {
    let mut test = TestApp::new().await;
    for close in [false, true] {
        let (client, mut peer) = connected(&test).await;
        client.shutdown_write().await.expect("it is connected");
        // Unread input: it must not turn the close into a reset.
        client.set_paused(true).await.expect("it is open");
        write(&mut peer, b"never read").await;
        client.set_paused(false).await.expect("it is open");
        let ended = match close {
            true => client.close(),
            false => client.disconnect(),
        };
        ended.await.expect("it is open");
        let mut event = test.next().await;
        if let support::ListenerEvent::Receive(..) = event {
            event = test.next().await;
        }
        assert!(
            matches!(event, support::ListenerEvent::ReceiveError(id, NetError::CONNECTION_CLOSED) if id == client.id()),
            "{event:?}"
        );
        assert_eq!(read_to_end(&mut peer).await, b"");
        test.expect_no_event().await;
    }
}

#[actix_rt::test]
async fn reset_of_a_half_closed_connection_raises_nothing_and_after_shutdown_write_the_end() {
    let mut test = TestApp::new().await;
    for resumed in [false, true] {
        let (client, mut peer) = half_closed(&mut test).await;
        client.set_paused(!resumed).await.expect("it is open");
        let sent = client.send(pattern(LARGE));
        let shut = client.shutdown_write();
        client.reset().await.expect("reset");
        assert_eq!(code("send", sent).await, -3);
        assert_eq!(code("shutdown_write", shut).await, -3);
        assert_ended(&test.app, client.id()).await;
        let mut rest = Vec::new();
        let read = within("the reset", peer.read_to_end(&mut rest)).await;
        assert_eq!(read.expect_err("a reset").kind(), ConnectionReset);
        test.expect_no_event().await;
    }
    for paused in [false, true] {
        let (client, mut peer) = connected(&test).await;
        client.set_paused(paused).await.expect("it is open");
        let sent = client.send(pattern(LARGE));
        let shut = client.shutdown_write();
        client.reset().await.expect("reset");
        assert_eq!(code("send", sent).await, -3);
        assert_eq!(code("shutdown_write", shut).await, -3);
        if !paused {
            assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
        }
        let mut rest = Vec::new();
        let read = within("the reset", peer.read_to_end(&mut rest)).await;
        assert_eq!(read.expect_err("a reset").kind(), ConnectionReset);
        test.expect_no_event().await;
    }
}

#[actix_rt::test]
async fn a_drain_waits_for_a_half_closed_connection_until_it_is_over() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let mut peer = dial(at).await;
    let client = test.accepted().await;
    allow(&client).await;
    end_peer(&mut test, &client, &mut peer).await;
    let mut drained = test.app.tcp_server.drain(server, LIMIT);
    within("the start of the drain", async {
        while TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client.send(&b"answer"[..]).await.expect("it is connected");
    test.expect_no_event().await;
    assert!((&mut drained).now_or_never().is_none(), "it is connected");
    client.shutdown_write().await.expect("it is connected");
    let drained = within("the receipt", drained).await.expect("drained");
    assert_eq!(drained.forced, []);
    assert_eq!(read_to_end(&mut peer).await, b"answer");
}

#[actix_rt::test]
async fn the_deadline_of_a_drain_ends_a_half_closed_connection_without_another_event() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let mut peer = dial(at).await;
    let client = test.accepted().await;
    allow(&client).await;
    end_peer(&mut test, &client, &mut peer).await;
    let drained = test.app.tcp_server.drain(server, SOON);
    let drained = within("the receipt", drained).await.expect("drained");
    assert_eq!((drained.finished, drained.forced), (0, vec![client.id()]));
    disconnected(&client).await;
    assert_ended(&test.app, client.id()).await;
    assert_eq!(read_to_end(&mut peer).await, b"");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_half_closed_connection_keeps_its_place_in_limits_until_it_is_over() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let one = Limits {
        connections: Some(Limit {
            most: 1,
            then: AtLimit::Queue,
        }),
        ..Default::default()
    };
    let set = test.app.tcp_server.set_limits(server, one);
    set.await.expect("valid limits");
    let mut peer = dial(at).await;
    let client = test.accepted().await;
    allow(&client).await;
    end_peer(&mut test, &client, &mut peer).await;
    let _second = dial(at).await;
    test.expect_no_event().await;
    client.shutdown_write().await.expect("it is connected");
    test.accepted().await;
}

#[actix_rt::test]
async fn a_suspension_closes_a_half_closed_connection_that_is_not_persistent() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = half_closed(&mut test).await;
    client.try_send(&b"answer"[..]).expect("it is connected");
    test.app.suspend().await.expect("suspend");
    assert_eq!(read_to_end(&mut peer).await, b"answer");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_persistent_socket_stays_half_closed_while_its_app_is_suspended() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = half_closed(&mut test).await;
    client.update(persistent()).await.expect("update");
    let (shut, mut shut_peer) = connected(&test).await;
    shut.update(persistent()).await.expect("update");
    shut.shutdown_write().await.expect("it is connected");
    test.app.suspend().await.expect("suspend");
    write(&mut shut_peer, b"meanwhile").await;
    shut_peer.shutdown().await.expect("its side ends");
    test.app.resume().await.expect("resume");
    subscribe(&test.app, &test.listener).await.expect("it runs");
    assert!(is_connected(&client).await);
    client.send(&b"answer"[..]).await.expect("it is connected");
    client.shutdown_write().await.expect("it is connected");
    assert_eq!(read_to_end(&mut peer).await, b"answer");
    assert_eq!(test.received(shut.id(), 9).await, b"meanwhile");
    assert_eq!(test.ended(shut.id()).await, NetError::CONNECTION_CLOSED);
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_handover_keeps_both_kinds_of_half_close_with_what_waits() {
    let (mut old, mut new) = (TestApp::new().await, TestApp::new().await);
    // The peer has ended; data waits, and the end behind it.
    let (both, mut both_peer) = half_closed(&mut old).await;
    both.update(persistent()).await.expect("update");
    let sent = both.send(pattern(LARGE));
    let shut = both.shutdown_write();
    // The peer has ended, and the app may send.
    let (reply, mut reply_peer) = half_closed(&mut old).await;
    reply.update(persistent()).await.expect("update");
    // The peer's end is not reported yet.
    let (paused, mut paused_peer) = pair(&mut old).await;
    paused.update(persistent()).await.expect("update");
    paused_peer.shutdown().await.expect("its side ends");
    // The app has ended its side.
    let (asked, mut asked_peer) = connected(&old).await;
    asked.update(persistent()).await.expect("update");
    asked.shutdown_write().await.expect("it is connected");
    assert_eq!(read_to_end(&mut asked_peer).await, b"");

    expect_handover(&old, &new).await;
    assert_eq!(
        within("the send", sent).await.map(|it| it.bytes_sent),
        Ok(LARGE)
    );
    assert_eq!(within("the call", shut).await, Ok(()));
    assert!(read_to_end(&mut both_peer).await == pattern(LARGE));
    let here = async |id| new.app.tcp.socket(id).await.expect("it has arrived");
    let both = here(both.id()).await;
    disconnected(&both).await;

    let reply = here(reply.id()).await;
    let info = reply.get_info().await.expect("it exists");
    assert!(info.connected && info.allow_half_open, "{info:?}");
    reply.set_paused(false).await.expect("it is open");
    reply.send(&b"answer"[..]).await.expect("it is connected");
    reply.shutdown_write().await.expect("it is connected");
    assert_eq!(read_to_end(&mut reply_peer).await, b"answer");

    let (paused, asked) = (here(paused.id()).await, here(asked.id()).await);
    new.expect_no_event().await;
    paused.set_paused(false).await.expect("it is open");
    assert_eq!(new.ended(paused.id()).await, NetError::CONNECTION_CLOSED);
    paused.send(&b"answer"[..]).await.expect("it is connected");
    paused.close().await.expect("it is open");
    assert_eq!(read_to_end(&mut paused_peer).await, b"answer");

    assert_eq!(code("send", asked.send(&b"late"[..])).await, -15);
    write(&mut asked_peer, b"answer").await;
    assert_eq!(new.received(asked.id(), 6).await, b"answer");
    drop(asked_peer);
    assert_eq!(new.ended(asked.id()).await, NetError::CONNECTION_CLOSED);
    assert_ended(&new.app, asked.id()).await;
    new.expect_no_event().await;
    old.expect_no_event().await;
}

#[actix_rt::test]
async fn the_idle_timeout_ends_a_half_closed_connection_paused_or_not() {
    tokio::time::pause();
    let network = ScriptedNetwork::new();
    let mut test = TestApp::with_network(network.clone()).await;
    let (_, at) = test.listen().await;
    for resumed in [false, true] {
        let peer = network.client(at).expect("it listens");
        let client = test.accepted().await;
        let idle = Timeouts {
            idle: Some(Duration::from_secs(10)),
            ..Default::default()
        };
        client.set_timeouts(idle).await.expect("it is open");
        allow(&client).await;
        peer.shutdown();
        assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
        client.set_paused(!resumed).await.expect("it is open");
        // A send starts the time anew.
        tokio::time::sleep(Duration::from_secs(9)).await;
        client.send(&b"answer"[..]).await.expect("it is connected");
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert!(is_connected(&client).await);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_ended(&test.app, client.id()).await;
        assert_eq!(peer.received(), b"answer");
        assert!(peer.is_closed() && !peer.is_reset());
        test.expect_no_event().await;
    }
}

#[actix_rt::test]
async fn the_send_timeout_resets_a_half_closed_connection_whose_peer_takes_nothing() {
    tokio::time::pause();
    let network = ScriptedNetwork::new();
    let mut test = TestApp::with_network(network.clone()).await;
    let (_, at) = test.listen().await;
    let peer = network.client(at).expect("it listens");
    let client = test.accepted().await;
    let send = Timeouts {
        send: Some(Duration::from_secs(10)),
        ..Default::default()
    };
    client.set_timeouts(send).await.expect("it is open");
    allow(&client).await;
    peer.shutdown();
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    peer.limit_writes(1);
    let sent = client.send(&b"answer"[..]);
    let shut = client.shutdown_write();
    let timed_out = Err(NetError::TIMED_OUT.into());
    assert_eq!(within("the send", sent).await.map(drop), timed_out);
    assert_eq!(within("the call", shut).await, timed_out);
    disconnected(&client).await;
    assert!(peer.is_reset());
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn secure_is_refused_after_half_close_and_changes_nothing() {
    let mut test = TestApp::new().await;
    for shut in [true, false] {
        let (client, mut peer) = connected(&test).await;
        client.update(half_open()).await.expect("update");
        match shut {
            true => client.shutdown_write().await.expect("it is connected"),
            false => end_peer(&mut test, &client, &mut peer).await,
        }
        client.set_paused(true).await.expect("it is open");
        let secured = client.secure(SecureOptions::default());
        assert_eq!(secured.await, Err(Error::SocketNotConnected));
        assert!(is_connected(&client).await);
        client.close().await.expect("it is open");
        assert_eq!(read_to_end(&mut peer).await, b"");
    }
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_write_error_ends_a_half_closed_connection() {
    let network = ScriptedNetwork::new();
    let mut test = TestApp::with_network(network.clone()).await;
    let (_, at) = test.listen().await;
    for errno in [libc::ENOBUFS, libc::EPIPE] {
        let peer = network.client(at).expect("it listens");
        let client = test.accepted().await;
        allow(&client).await;
        peer.shutdown();
        assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
        peer.write_error(errno);
        assert!(client.send(&b"lost"[..]).await.is_err());
        disconnected(&client).await;
        assert!(peer.is_closed());
    }
    test.expect_no_event().await;
}
