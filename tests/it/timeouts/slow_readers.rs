//! A peer that acknowledges makes progress, whatever the kernel buffers; one that acknowledges
//! nothing is reset.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use chrome_sockets::NetError;
use chrome_sockets::tcp::Timeouts;
use support::{TestApp, within};
use tokio::time::timeout;

use crate::lingering::foreign_peers::content;

const LENGTH: usize = 8_000_000;

async fn fixture(timeouts: Timeouts) -> (TestApp, chrome_sockets::tcp::ClientSocket, TcpStream) {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let set = test.app.tcp_server.set_timeouts(id, timeouts);
    set.await.expect("it is open");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    // A small window opens often.
    socket.set_recv_buffer_size(16 * 1024).expect("it is set");
    socket.connect(&at.into()).expect("it listens");
    let client = test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    (test, client, socket.into())
}

const SECOND: Timeouts = Timeouts {
    claim: None,
    idle: None,
    send: Some(Duration::from_secs(1)),
    send_rate: None,
};

#[actix_rt::test]
async fn a_send_timeout_does_not_end_a_slow_but_steady_reader() {
    for timeouts in [
        SECOND,
        Timeouts {
            idle: SECOND.send,
            send: None,
            ..SECOND
        },
    ] {
        let (mut test, client, mut peer) = fixture(timeouts).await;
        let mut sent = std::pin::pin!(client.send(content(LENGTH)));
        let reader = tokio::task::spawn_blocking(move || {
            let mut got = Vec::new();
            let mut piece = vec![0; 16 * 1024];
            // The peer's kernel must free much more before it accepts more data.
            for _ in 0..40 {
                std::thread::sleep(Duration::from_millis(100));
                let read = peer.read(&mut piece).expect("it is not reset");
                got.extend_from_slice(&piece[..read]);
            }
            while got.len() < LENGTH {
                let read = peer.read(&mut piece).expect("it is not reset");
                assert!(read > 0, "a clean end after {} bytes", got.len());
                got.extend_from_slice(&piece[..read]);
            }
            (got, peer)
        });
        assert!(
            timeout(Duration::from_millis(10), sent.as_mut())
                .await
                .is_err(),
            "the kernel has taken all: the test shows nothing"
        );
        let (got, _peer) = within("everything", reader).await.expect("it is not reset");
        assert!(got == content(LENGTH));
        assert_eq!(
            sent.await.map(|it| it.bytes_sent),
            Ok(LENGTH),
            "{timeouts:?}"
        );
        assert!(test.try_next().is_none());
    }
}

#[actix_rt::test]
async fn a_send_timeout_resets_a_peer_that_reads_nothing() {
    let (mut test, client, mut peer) = fixture(SECOND).await;
    let sent = client.send(content(LENGTH));
    assert_eq!(test.ended(client.id()).await, NetError::TIMED_OUT);
    assert_eq!(sent.await.err(), Some(NetError::TIMED_OUT.into()));
    let cut = tokio::task::spawn_blocking(move || peer.read_to_end(&mut Vec::new()));
    let cut = within("the reset", cut).await.expect("no panic");
    cut.expect_err("a clean end would hide missing data");
}
