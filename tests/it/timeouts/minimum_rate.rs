//! A peer that reads, but too slowly, is reset.

use std::process::Command;

use chrome_sockets::tcp::MinimumRate;
use support::process::Program;
use support::programs::has;
use support::within;

use super::*;

/// 100 bytes in each ten seconds.
const RATE: Timeouts = Timeouts {
    claim: None,
    idle: None,
    send: None,
    send_rate: Some(MinimumRate {
        bytes: 100,
        per: LIMIT,
    }),
};

/// When the first period ends: it begins at the first check.
const FIRST: Duration = Duration::from_millis(10_625);

/// A client of which data waits.
async fn waiting(
    fixture: &mut Fixture,
) -> (ClientSocket, Peer, chrome_sockets::Answer<tcp::SendInfo>) {
    let (client, peer) = fixture.open().await;
    peer.limit_writes(0);
    let sent = client.send(vec![0; 100_000]);
    client.get_info().await.expect("it is open");
    (client, peer, sent)
}

/// Expects the end of the first period, that began to wait then.
async fn expect_end(fixture: &mut Fixture, client: &ClientSocket, from: Instant) {
    let ended = fixture.test.ended(client.id()).await;
    assert_eq!(ended, NetError::TIMED_OUT);
    let (least, took) = (LIMIT, from.elapsed());
    assert!((least..=FIRST + SLACK).contains(&took), "after {took:?}");
}

async fn expect_failed(sent: chrome_sockets::Answer<tcp::SendInfo>) {
    assert_eq!(sent.await.err(), Some(NetError::TIMED_OUT.into()));
}

#[actix_rt::test]
async fn a_peer_that_takes_nothing_is_reset_after_a_period() {
    let mut fixture = Fixture::new(RATE).await;
    let (client, peer, sent) = waiting(&mut fixture).await;
    fixture.expect_end_after(&client, FIRST).await;
    expect_failed(sent).await;
    assert!(peer.is_reset());
    fixture.proof_of_life().await;
}

/// A peer that takes 10 bytes in ten seconds, for a minute: whether its connection lasts.
async fn lasts_with_a_trickle(timeouts: Timeouts) -> bool {
    let mut fixture = Fixture::new(timeouts).await;
    let (client, peer, sent) = waiting(&mut fixture).await;
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        peer.limit_writes(1);
    }
    let info = client.get_info().await.expect("it is open");
    if !info.connected {
        expect_failed(sent).await;
        let ended = fixture.test.ended(client.id()).await;
        assert_eq!(ended, NetError::TIMED_OUT);
    }
    info.connected
}

#[actix_rt::test]
async fn a_trickle_keeps_the_send_timeout_alive() {
    assert!(lasts_with_a_trickle(SEND).await);
}

#[actix_rt::test]
async fn a_trickle_below_the_rate_is_reset() {
    let both = Timeouts {
        send: SEND.send,
        ..RATE
    };
    assert!(!lasts_with_a_trickle(both).await);
}

#[actix_rt::test]
async fn a_peer_at_the_minimum_rate_is_not_cut_off() {
    let mut fixture = Fixture::new(RATE).await;
    let (client, peer, sent) = waiting(&mut fixture).await;
    for _ in 0..100 {
        sleep(Duration::from_secs(5)).await;
        peer.limit_writes(50);
    }
    assert!(fixture.test.try_next().is_none());
    assert!(client.get_info().await.expect("it is open").connected);
    // Then it takes less.
    for _ in 0..5 {
        sleep(Duration::from_secs(5)).await;
        peer.limit_writes(49);
    }
    expect_failed(sent).await;
    assert_eq!(fixture.test.ended(client.id()).await, NetError::TIMED_OUT);
}

#[actix_rt::test]
async fn what_the_kernel_only_buffers_is_not_acknowledged() {
    let mut fixture = Fixture::new(RATE).await;
    let (client, peer, _sent) = waiting(&mut fixture).await;
    let from = Instant::now();
    // The OS takes 200 bytes in each period, and the peer none.
    for second in 1..=10 {
        sleep(Duration::from_secs(1)).await;
        peer.set_unacknowledged(20 * second);
        peer.limit_writes(20);
    }
    expect_end(&mut fixture, &client, from).await;

    // The OS takes nothing, and the peer acknowledges.
    let (client, peer, _sent) = waiting(&mut fixture).await;
    for left in (0..40).rev() {
        peer.set_unacknowledged(100 * left);
        sleep(LIMIT).await;
    }
    assert!(client.get_info().await.expect("it is open").connected);
    client.reset().await.expect("it is open");
}

#[actix_rt::test]
async fn sends_during_a_period_are_not_progress() {
    let mut fixture = Fixture::new(RATE).await;
    let (client, peer, _sent) = waiting(&mut fixture).await;
    let from = Instant::now();
    for _ in 0..10 {
        sleep(Duration::from_secs(1)).await;
        client.try_send(vec![0; 1000]).expect("it is connected");
        peer.limit_writes(9);
    }
    expect_end(&mut fixture, &client, from).await;
}

#[actix_rt::test]
async fn a_queue_that_is_empty_in_between_begins_a_new_period() {
    let mut fixture = Fixture::new(RATE).await;
    let (client, peer) = fixture.open().await;
    for _ in 0..10 {
        peer.limit_writes(0);
        let sent = client.send(&b"x"[..]);
        client.get_info().await.expect("it is open");
        sleep(LIMIT).await;
        peer.unlimit_writes();
        sent.await.expect("it is sent");
        sleep(LIMIT).await;
    }
    assert!(fixture.test.try_next().is_none());
    peer.limit_writes(0);
    client.try_send(&b"x"[..]).expect("it is connected");
    fixture.expect_end_after(&client, FIRST).await;
}

#[actix_rt::test]
async fn pauses_do_not_stop_the_rate() {
    let mut fixture = Fixture::new(RATE).await;
    let (client, _peer, sent) = waiting(&mut fixture).await;
    let from = Instant::now();
    let mut sent = std::pin::pin!(sent);
    while timeout(Duration::from_secs(1), sent.as_mut())
        .await
        .is_err()
    {
        client.set_paused(true).await.expect("it is open");
        client.set_paused(false).await.expect("it is open");
        assert!(from.elapsed() < 2 * LIMIT, "it never ends");
    }
    assert!(from.elapsed() >= LIMIT);
}

/// Reads in small steps, for five seconds if one byte a step, and then all that comes.
const READER: &str = r#"
import socket, sys, time

peer = socket.socket()
peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
peer.settimeout(20)
peer.connect((sys.argv[1], int(sys.argv[2])))
step = int(sys.argv[3])
got = 0
try:
    while True:
        chunk = peer.recv(step if got < 250 or step > 1 else 65536)
        if not chunk:
            print(got, "end", flush=True)
            break
        got += len(chunk)
        time.sleep(0.02 if len(chunk) <= step else 0)
except ConnectionResetError:
    print(got, "reset", flush=True)
"#;

#[actix_rt::test]
async fn a_program_that_drains_byte_by_byte_is_reset_and_a_slow_one_is_served() {
    if !has("python3", "--version", "Python 3.") {
        return;
    }
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let timeouts = Timeouts {
        send: Some(Duration::from_secs(60)),
        send_rate: Some(MinimumRate {
            bytes: 50_000,
            per: Duration::from_secs(2),
        }),
        ..Timeouts::default()
    };
    let set = test.app.tcp_server.set_timeouts(id, timeouts);
    set.await.expect("it is open");
    // 50 bytes, and 800,000 bytes, a second.
    for (step, length, is_served) in [("1", 8_000_000, false), ("16000", 4_000_000, true)] {
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        let reader =
            Program::start(Command::new("python3").args(["-c", READER, &host, &port, step]));
        let client = test.accepted().await;
        client.set_paused(false).await.expect("it is open");
        let sent = client.send(vec![7; length]);
        let outcome = within("the outcome", sent).await;
        if is_served {
            assert_eq!(outcome.map(|sent| sent.bytes_sent), Ok(length));
            client.close().await.expect("it is open");
        } else {
            assert_eq!(outcome.err(), Some(NetError::TIMED_OUT.into()));
            assert_eq!(test.ended(client.id()).await, NetError::TIMED_OUT);
        }
        let ended = tokio::task::spawn_blocking(|| reader.ended());
        let ended = within("its end", ended).await.expect("no panic");
        let output = String::from_utf8_lossy(&ended.stdout).into_owned();
        let expected = match is_served {
            true => format!("{length} end"),
            false => "reset".to_owned(),
        };
        assert!(output.contains(&expected), "{output}");
    }
}
