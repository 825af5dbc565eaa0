//! What a stream reads, in which order, and how much waits unread.

use std::io;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp::{ReceiveInfo, WINDOW};
use futures::FutureExt;
use support::{ListenerEvent, QUIET, until};

use super::*;

/// What the kernel may buffer for the two ends of a loopback connection.
const KERNEL: usize = 8 * 1024 * 1024;

/// Writes as much as fits while nobody reads.
fn fill(peer: &TcpStream) -> usize {
    let chunk = vec![7; 64 * 1024];
    let mut written = 0;
    while let Ok(bytes) = peer.try_write(&chunk) {
        written += bytes;
    }
    written
}

/// The peer writes until nothing more fits, although the socket had its turns.
async fn fill_for_good(peer: &TcpStream) -> usize {
    let mut written = 0;
    loop {
        written += fill(peer);
        let writable = actix_rt::time::timeout(QUIET * 3, peer.writable()).await;
        if writable.is_err() {
            return written;
        }
    }
}

#[actix_rt::test]
async fn all_data_comes_in_order_and_then_the_end_after_which_the_stream_writes() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let data = pattern(LARGE);
    let sent = data.clone();
    let sending = actix_rt::spawn(async move {
        write(&mut peer, &sent).await;
        peer.shutdown().await.expect("its side ends");
        peer
    });
    assert!(get_all(&mut stream).await == data, "other bytes came");
    let mut peer = sending.await.expect("no panic");
    // The end stays, and the other side is open.
    assert_eq!(get_all(&mut stream).await, b"");
    put(&mut stream, b"an answer").await;
    within("the shutdown", stream.shutdown())
        .await
        .expect("it is open");
    assert_eq!(read_to_end(&mut peer).await, b"an answer");
    assert_eq!(get_all(&mut stream).await, b"");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_small_buffer_and_a_buffer_of_no_length_read_what_fits() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    assert_eq!(stream.read(&mut []).await.expect("nothing to read"), 0);
    write(&mut peer, b"abc").await;
    for byte in *b"abc" {
        assert_eq!(get(&mut stream, 1).await, [byte]);
    }
    assert!(stream.read(&mut [0]).now_or_never().is_none());
}

#[actix_rt::test]
async fn a_reset_is_an_error_after_all_data_and_stays_one() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    write(&mut peer, b"the last words").await;
    assert_eq!(get(&mut stream, 4).await, b"the ");
    reset(peer);
    assert_eq!(get(&mut stream, 10).await, b"last words");
    for _ in 0..2 {
        let error = read_error(&mut stream).await;
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(net_error(&error).is_some(), "{error:?}");
        let error = stream.write(b"late").await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    expect_service(&mut test).await;
}

#[actix_rt::test]
async fn while_nobody_reads_no_more_than_a_window_leaves_the_kernel_and_reading_goes_on() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let written = fill_for_good(&peer).await;
    assert!(written < KERNEL + 2 * WINDOW, "{written} bytes were taken");
    // What waits in the process, without the kernel: less than two windows, since a read that
    // begins below the limit takes up to one.
    stream.socket().do_set_paused(true);
    stream.socket().get_info().await.expect("it is open");
    let mut waiting = 0;
    let mut buffer = vec![0; WINDOW];
    while let Some(read) = stream.read(&mut buffer).now_or_never() {
        waiting += read.expect("it is open");
    }
    assert!((1..2 * WINDOW).contains(&waiting), "{waiting} bytes waited");
    stream.socket().set_paused(false).await.expect("it is open");
    let rest = get(&mut stream, written - waiting).await;
    assert!(rest.iter().all(|byte| *byte == 7));
    write(&mut peer, b"more").await;
    assert_eq!(get(&mut stream, 4).await, b"more");
}

#[actix_rt::test]
async fn tiny_chunks_are_bounded_too() {
    let mut test = TestApp::new().await;
    let (stream, mut peer) = stream(&mut test).await;
    let socket = stream.socket().clone();
    let mut written = 0;
    // Each is read by itself, because the socket has a turn after it.
    for _ in 0..4 * WINDOW / 256 {
        write(&mut peer, b"x").await;
        written += 1;
        socket.get_info().await.expect("it is open");
        actix_rt::task::yield_now().await;
    }
    let mut stream = stream;
    stream.socket().set_paused(true).now_or_never();
    socket.get_info().await.expect("it is open");
    let mut waiting = vec![0; written];
    let waiting = stream.read(&mut waiting).now_or_never();
    let waiting = waiting.expect("data").expect("it is open");
    assert!(waiting <= WINDOW / 256 + 16, "{waiting} chunks waited");
    socket.set_paused(false).await.expect("it is open");
    get(&mut stream, written - waiting).await;
}

#[actix_rt::test]
async fn a_paused_socket_receives_nothing_until_it_is_resumed() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let socket = stream.socket().clone();
    write(&mut peer, b"before").await;
    assert_eq!(get(&mut stream, 6).await, b"before");
    socket.set_paused(true).await.expect("it is open");
    write(&mut peer, b"during").await;
    let reading = actix_rt::time::timeout(QUIET, stream.read(&mut [0])).await;
    assert!(reading.is_err(), "it is paused: {reading:?}");
    put(&mut stream, b"it can write").await;
    assert_eq!(read(&mut peer, 12).await, b"it can write");
    socket.set_paused(false).await.expect("it is open");
    assert_eq!(get(&mut stream, 6).await, b"during");
}

#[actix_rt::test]
async fn the_answer_to_a_pause_waits_until_what_was_received_is_read() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    write(&mut peer, b"data").await;
    assert_eq!(get(&mut stream, 1).await, b"d");
    let mut paused = stream.socket().set_paused(true);
    stream.socket().get_info().await.expect("it is open");
    assert!((&mut paused).now_or_never().is_none(), "3 bytes are unread");
    assert_eq!(get(&mut stream, 3).await, b"ata");
    within("the answer", paused).await.expect("it is open");
}

#[actix_rt::test]
async fn a_stream_gives_its_socket_back_with_what_it_has_not_read() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    write(&mut peer, b"a line\nand more").await;
    assert_eq!(get(&mut stream, 7).await, b"a line\n");
    put(&mut stream, b"an answer").await;
    let client = stream.into_inner();
    let info = client.get_info().await.expect("it is open");
    assert!(info.paused && info.connected, "{info:?}");
    write(&mut peer, b", and later").await;
    client.set_paused(false).await.expect("it is open");
    let received = test.received(client.id(), 19).await;
    assert_eq!(received, b"and more, and later");
    assert_eq!(read(&mut peer, 9).await, b"an answer");
    // It can become a stream again.
    let mut stream = into_stream(client).await;
    write(&mut peer, b"again").await;
    assert_eq!(get(&mut stream, 5).await, b"again");
    test.expect_no_event().await;
}

/// Keeps an event, and dies with it.
struct Dying(Option<ReceiveInfo>);

impl Actor for Dying {
    type Context = Context<Self>;
}

support::stoppable!(Dying);

impl Handler<ReceiveInfo> for Dying {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        self.0 = Some(info);
    }
}

#[actix_rt::test]
async fn data_that_returns_from_a_dead_listener_comes_to_the_stream_first() {
    let mut test = TestApp::new().await;
    test.remove_listener().await;
    let on_accept = &test.app.tcp_server.on_accept;
    on_accept.do_add_listener(test.listener.clone().recipient());
    let dying = Dying(None).start();
    let on_receive = &test.app.tcp.on_receive;
    on_receive
        .add_listener(dying.clone().recipient())
        .await
        .expect("it runs");
    let (client, mut peer) = pair(&mut test).await;
    client.set_paused(false).await.expect("it is open");
    write(&mut peer, b"first ").await;
    // The answer waits for the event, which the listener keeps.
    let pausing = client.set_paused(true);
    write(&mut peer, b"second").await;
    let mut stream = into_stream(client).await;
    drop(pausing);
    dying.send(support::Stop).await.expect("it runs");
    until("the listener's end", || !dying.connected()).await;
    assert_eq!(get(&mut stream, 12).await, b"first second");
}

#[actix_rt::test]
async fn listeners_keep_what_they_had_and_get_nothing_later() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    client.set_paused(false).await.expect("it is open");
    write(&mut peer, b"theirs").await;
    let ListenerEvent::Receive(_, data) = test.next().await else {
        panic!("expected onReceive");
    };
    assert_eq!(data, b"theirs"[..]);
    let mut stream = into_stream(client).await;
    write(&mut peer, b"its own").await;
    drop(peer);
    assert_eq!(get_all(&mut stream).await, b"its own");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_socket_whose_peers_end_was_reported_becomes_a_stream_that_only_writes() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let half_open = SocketProperties {
        allow_half_open: Some(true),
        ..Default::default()
    };
    client.update(half_open).await.expect("update");
    client.set_paused(false).await.expect("it is open");
    peer.shutdown().await.expect("its side ends");
    test.ended(client.id()).await;
    let mut stream = into_stream(client).await;
    assert_eq!(get_all(&mut stream).await, b"");
    put(&mut stream, b"an answer").await;
    drop(stream);
    assert_eq!(read_to_end(&mut peer).await, b"an answer");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn timeouts_of_a_stream_run_and_end_it_with_their_error() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let timeouts = chrome_sockets::tcp::Timeouts {
        idle: Some(Duration::from_millis(300)),
        ..Default::default()
    };
    stream
        .socket()
        .set_timeouts(timeouts)
        .await
        .expect("it is open");
    // Without the fast path, which timeouts close.
    for _ in 0..3 {
        write(&mut peer, b"data").await;
        assert_eq!(get(&mut stream, 4).await, b"data");
        put(&mut stream, b"echo").await;
        assert_eq!(read(&mut peer, 4).await, b"echo");
    }
    let error = read_error(&mut stream).await;
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(net_error(&error), Some(NetError::TIMED_OUT));
    assert_eq!(read_to_end(&mut peer).await, b"");
    test.expect_no_event().await;
}
