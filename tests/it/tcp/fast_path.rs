//! Sends on the fast path: without calls in flight, a send is written in the calling thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrome_sockets::tcp::{ClientSocket, SendInfo, Timeouts};
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{App, ClientSocketId, Error, NetError};
use futures::FutureExt;
use futures::future::join_all;
use support::{TestApp, within};

use super::{connected, pattern, read, read_to_end};

/// A client on a scripted network whose fast path is open.
pub(super) async fn scripted() -> (TestApp, ClientSocket, Peer) {
    let network = ScriptedNetwork::new();
    let peer = network.server(([192, 0, 2, 1], 9).into());
    let test = TestApp::with_network(network).await;
    let id = test.create().await;
    connect(&test.app, id).await;
    let client = test.app.tcp.socket(id).await.expect("it exists");
    (test, client, peer)
}

async fn connect(app: &App, id: ClientSocketId) {
    let connecting = app.tcp.connect(id, "192.0.2.1", 9, Default::default());
    connecting.await.expect("connect");
    // Its answer comes before the end of the call.
    app.tcp.get_info(id).await.expect("it exists");
}

fn immediate_answer(
    answer: impl Future<Output = Result<SendInfo, Error>>,
) -> Option<Result<usize, Error>> {
    let answer = answer.now_or_never()?;
    Some(answer.map(|info| info.bytes_sent))
}

#[actix_rt::test]
async fn a_fast_send_has_been_written_when_the_call_returns() {
    let (_world, client, peer) = scripted().await;
    assert_eq!(immediate_answer(client.send(&b"a send"[..])), Some(Ok(6)));
    assert_eq!(peer.received(), b"a send");
    client.try_send(&b", another"[..]).expect("it is connected");
    assert_eq!(peer.received(), b"a send, another");
}

#[actix_rt::test]
async fn the_rest_of_a_short_write_follows_in_order() {
    let (_world, client, peer) = scripted().await;
    peer.limit_writes(3);
    let first = client.send(&b"first "[..]);
    let second = client.send(&b"second"[..]);
    assert_eq!(peer.received(), b"fir");
    peer.unlimit_writes();
    let third = client.send(&b" third"[..]);
    assert_eq!(
        within("the first", first).await,
        Ok(SendInfo { bytes_sent: 6 })
    );
    assert_eq!(
        within("the second", second).await,
        Ok(SendInfo { bytes_sent: 6 })
    );
    assert_eq!(
        within("the third", third).await,
        Ok(SendInfo { bytes_sent: 6 })
    );
    assert_eq!(peer.received(), b"first second third");
    // Then the fast path is open again.
    assert_eq!(immediate_answer(client.send(&b"!"[..])), Some(Ok(1)));
    assert_eq!(peer.received(), b"first second third!");
}

#[actix_rt::test]
async fn a_fast_send_overtakes_no_earlier_call() {
    let (_world, client, peer) = scripted().await;
    let disconnected = client.disconnect();
    let late = client.send(&b"too late"[..]);
    disconnected.await.expect("disconnect");
    assert_eq!(late.await, Err(NetError::SOCKET_NOT_CONNECTED.into()));
    assert!(peer.is_closed());
    assert_eq!(peer.received(), b"");
    let closed = client.close();
    assert_eq!(
        immediate_answer(client.send(&b"later"[..])),
        Some(Err(Error::SocketNotFound))
    );
    closed.await.expect("it exists");
}

#[actix_rt::test]
async fn a_write_error_answers_the_fast_send_and_all_later_ones() {
    let (_world, client, peer) = scripted().await;
    peer.write_error(libc::ECONNRESET);
    for _ in 0..3 {
        let answer = within("the answer", client.send(&b"lost"[..])).await;
        assert_eq!(answer, Err(NetError::CONNECTION_RESET.into()));
    }
    assert_eq!(peer.received(), b"");
}

#[actix_rt::test]
async fn a_fast_send_counts_in_the_write_quota_only_for_what_waits() {
    let network = ScriptedNetwork::new();
    let peer = network.server(([192, 0, 2, 1], 9).into());
    let registry = chrome_sockets::Registry::with_network(network).write_quota(100);
    let test = TestApp::on(registry).await;
    let id = test.create().await;
    connect(&test.app, id).await;
    let client = test.app.tcp.socket(id).await.expect("it exists");
    for _ in 0..10 {
        client.try_send(&[7; 100][..]).expect("within the quota");
    }
    assert_eq!(peer.received().len(), 1000);
    peer.limit_writes(1);
    client.try_send(&[7; 100][..]).expect("within the quota");
    assert_eq!(client.try_send(&[7; 1][..]), Err(Error::WriteQuotaExceeded));
    assert_eq!(peer.received().len(), 1001);
}

#[actix_rt::test]
async fn a_send_timeout_applies_to_what_a_fast_send_leaves_waiting() {
    tokio::time::pause();
    let (_world, client, peer) = scripted().await;
    let timeouts = Timeouts {
        send: Some(Duration::from_secs(5)),
        ..Default::default()
    };
    client.set_timeouts(timeouts).await.expect("it exists");
    peer.limit_writes(1);
    let stuck = client.send(&b"stuck"[..]);
    let answer = within("the timeout", stuck).await;
    assert_eq!(answer, Err(NetError::TIMED_OUT.into()));
}

#[actix_rt::test]
async fn the_fast_path_of_an_earlier_connection_is_closed() {
    let network = ScriptedNetwork::new();
    let first = network.server(([192, 0, 2, 1], 9).into());
    let second = network.server(([192, 0, 2, 1], 9).into());
    let test = TestApp::with_network(network).await;
    let id = test.create().await;
    connect(&test.app, id).await;
    let client = test.app.tcp.socket(id).await.expect("it exists");
    assert_eq!(immediate_answer(client.send(&b"one"[..])), Some(Ok(3)));
    client.disconnect().await.expect("disconnect");
    connect(&test.app, id).await;
    assert_eq!(immediate_answer(client.send(&b"two"[..])), Some(Ok(3)));
    assert_eq!(
        (first.received(), second.received()),
        (b"one".to_vec(), b"two".to_vec())
    );
}

/// Four threads send on one connection whose peer accepts little at a time: each send is in one
/// piece, and those of a thread are in their order.
#[actix_rt::test]
async fn fast_sends_of_several_threads_are_complete_and_in_order() {
    const THREADS: usize = 4;
    const SENDS: usize = 300;
    let test = TestApp::new().await;
    let (client, mut peer) = connected(&test).await;
    let messages: Arc<[Bytes]> = (0..SENDS).map(|i| pattern(1 + i * 37)).collect();
    let sending = (0..THREADS).map(|thread| {
        let (client, messages) = (client.clone(), messages.clone());
        tokio::task::spawn_blocking(move || {
            for (i, data) in messages.iter().enumerate() {
                let mut send = vec![thread as u8, (i >> 8) as u8, i as u8];
                send.extend_from_slice(data);
                client.try_send(send).expect("it is connected");
            }
        })
    });
    let sending = join_all(sending.collect::<Vec<_>>());
    let reading = async {
        let mut next = [0; THREADS];
        for _ in 0..THREADS * SENDS {
            let head = read(&mut peer, 3).await;
            let (thread, i) = (head[0] as usize, head[1] as usize * 256 + head[2] as usize);
            assert_eq!(next[thread], i, "of thread {thread}");
            next[thread] += 1;
            assert!(
                read(&mut peer, messages[i].len()).await == messages[i],
                "send {i}"
            );
        }
    };
    let (sent, ()) = within("all sends", async { tokio::join!(sending, reading) }).await;
    for sent in sent {
        sent.expect("a thread that sends");
    }
    client.close().await.expect("close");
    assert_eq!(read_to_end(&mut peer).await, b"");
}
