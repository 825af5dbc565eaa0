//! How a stream writes: at once, queued within a bound, flushed, shut.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use chrome_sockets::Registry;
use chrome_sockets::tcp::{STREAM_WRITE_LIMIT, Timeouts};
use futures::FutureExt;
use tokio::io::AsyncWrite;

use super::*;

/// Writes until a write waits, although the socket had its turns. Returns how much was accepted.
async fn fill(stream: &mut ClientStream) -> usize {
    let chunk = vec![7; 256 * 1024];
    let mut written = 0;
    let mut idle = 0;
    while idle < 100 {
        match stream.write(&chunk).now_or_never() {
            Some(bytes) => {
                written += bytes.expect("it is open");
                idle = 0;
            }
            None => idle += 1,
        }
        stream.socket().get_info().await.expect("it is open");
    }
    written
}

#[actix_rt::test]
async fn writes_to_a_peer_that_does_not_read_wait_at_the_limit_and_are_woken() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let written = fill(&mut stream).await;
    assert!(stream.flush().now_or_never().is_none(), "data is queued");
    let mut waiting = actix_rt::spawn(async move {
        stream.write_all(b"the rest").await.expect("it is open");
        stream.flush().await.expect("it is open");
        stream
    });
    let early = actix_rt::time::timeout(support::QUIET, &mut waiting).await;
    assert!(early.is_err(), "the peer has read nothing");
    let data = read(&mut peer, written).await;
    assert!(data.iter().all(|byte| *byte == 7), "other bytes came");
    assert_eq!(read(&mut peer, 8).await, b"the rest");
    let mut stream = within("the flush", waiting).await.expect("no panic");
    put(&mut stream, b"more").await;
    assert_eq!(read(&mut peer, 4).await, b"more");
}

#[actix_rt::test]
async fn one_stream_queues_no_more_than_its_limit() {
    // With a quota of nothing but the limit and what a send counts at least, a queue beyond the
    // limit would be refused by the quota: so the app's other sockets see what is left.
    let mut test = TestApp::on(Registry::new().write_quota(STREAM_WRITE_LIMIT + 1000)).await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let written = fill(&mut stream).await;
    let (other, mut other_peer) = pair(&mut test).await;
    other.try_send(vec![1; 1000]).expect("the quota has room");
    read(&mut other_peer, 1000).await;
    let refused = other.try_send(vec![1; 1000 + STREAM_WRITE_LIMIT]);
    assert_eq!(refused, Err(Error::WriteQuotaExceeded));
    read(&mut peer, written).await;
}

#[actix_rt::test]
async fn the_send_limit_of_the_socket_holds_for_its_stream_which_goes_on() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let limit = SocketProperties {
        send_limit: Some(10_000),
        ..Default::default()
    };
    stream.socket().update(limit).await.expect("update");
    let written = fill(&mut stream).await;
    let queued = stream.socket().queued_bytes();
    assert!((1..=10_000).contains(&queued), "{queued} bytes are queued");
    read(&mut peer, written).await;
    // Less than what a stream may always queue.
    let limit = SocketProperties {
        send_limit: Some(1),
        ..Default::default()
    };
    stream.socket().update(limit).await.expect("update");
    let writing = actix_rt::spawn(async move {
        stream.write_all(&pattern(LARGE)).await.expect("it is open");
    });
    assert!(read_to_end(&mut peer).await == pattern(LARGE));
    writing.await.expect("no panic");
}

#[actix_rt::test]
async fn a_used_up_quota_slows_a_stream_and_does_not_stop_it() {
    let mut test = TestApp::on(Registry::new().write_quota(1000)).await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let data = pattern(LARGE);
    let sent = data.clone();
    let writing = actix_rt::spawn(async move {
        stream.write_all(&sent).await.expect("it is open");
        stream.shutdown().await.expect("it is open");
    });
    assert!(read_to_end(&mut peer).await == data, "other bytes came");
    within("the end of the writes", writing)
        .await
        .expect("no panic");
}

#[actix_rt::test]
async fn all_bytes_arrive_in_order_through_the_queue_and_past_it() {
    let mut test = TestApp::new().await;
    for timeouts in [None, Some(std::time::Duration::from_secs(100))] {
        let (mut stream, mut peer) = stream(&mut test).await;
        // Timeouts close the fast path, so each write is queued.
        let timeouts = Timeouts {
            send: timeouts,
            ..Default::default()
        };
        stream
            .socket()
            .set_timeouts(timeouts)
            .await
            .expect("it is open");
        let data = pattern(LARGE);
        let sent = data.clone();
        let writing = actix_rt::spawn(async move {
            for chunk in sent.chunks(100_001) {
                stream.write_all(chunk).await.expect("it is open");
            }
            stream.flush().await.expect("it is open");
            drop(stream);
        });
        assert!(read_to_end(&mut peer).await == data, "other bytes came");
        within("the end of the writes", writing)
            .await
            .expect("no panic");
    }
}

#[actix_rt::test]
async fn a_shutdown_sends_what_waits_and_the_end_and_reading_goes_on() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let written = fill(&mut stream).await;
    let mut shutting = actix_rt::spawn(async move {
        stream.shutdown().await.expect("it is open");
        stream
    });
    let early = actix_rt::time::timeout(support::QUIET, &mut shutting).await;
    assert!(early.is_err(), "data waits");
    assert_eq!(read_to_end(&mut peer).await.len(), written);
    let mut stream = within("the shutdown", shutting).await.expect("no panic");
    within("again", stream.shutdown())
        .await
        .expect("it has no effect");
    let error = stream.write(b"late").await.expect_err("it is shut");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(stream.write(b"").await.expect("nothing to write"), 0);
    stream.flush().await.expect("nothing waits");
    write(&mut peer, b"it reads").await;
    assert_eq!(get(&mut stream, 8).await, b"it reads");
    peer.shutdown().await.expect("its side ends");
    assert_eq!(get_all(&mut stream).await, b"");
    let info = stream.socket().get_info().await.expect("it is not closed");
    assert!(!info.connected, "both sides have ended");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_write_that_waits_is_woken_by_the_loss_of_the_peer_and_fails() {
    let mut test = TestApp::new().await;
    let (mut stream, peer) = stream(&mut test).await;
    fill(&mut stream).await;
    let waiting = actix_rt::spawn(async move {
        let mut other = [0; 1];
        let written = stream.write_all(&[1; 1 << 20]).await;
        let flushed = stream.flush().await;
        let shut = stream.shutdown().await;
        let read = stream.read(&mut other).await;
        (written, flushed, shut, read)
    });
    actix_rt::task::yield_now().await;
    reset(peer);
    let (written, flushed, shut, read) = within("the error", waiting).await.expect("no panic");
    for result in [written, flushed, shut, read.map(drop)] {
        let error = result.expect_err("the peer is gone");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error:?}");
    }
    expect_service(&mut test).await;
}

#[actix_rt::test]
async fn one_task_that_reads_and_writes_always_leaves_others_their_turns() {
    let mut test = TestApp::new().await;
    let (mut stream, peer) = stream(&mut test).await;
    // The peer reads in a thread of its own, so a write may never have to wait.
    let peer = peer.into_std().expect("a socket");
    peer.set_nonblocking(false).expect("it blocks");
    std::thread::spawn(move || std::io::copy(&mut &peer, &mut std::io::sink()));
    let writing = actix_rt::spawn(async move {
        loop {
            // In one poll, as a task that never waits.
            let written = poll_fn(|cx| {
                loop {
                    match Pin::new(&mut stream).poll_write(cx, &[1]) {
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(error),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            });
            written.await;
        }
    });
    for _ in 0..10 {
        actix_rt::task::yield_now().await;
    }
    writing.abort();
    expect_service(&mut test).await;
}
