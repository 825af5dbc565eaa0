//! A connection and its peer.

use crate::testing::scripted::tests::*;

#[test]
fn a_pending_read_is_woken_by_what_is_sent() {
    let (mut stream, peer) = connection();
    let bell = Bell::new();
    assert!(bell.with(|cx| read(&mut *stream, cx)).is_pending());
    peer.send("one ");
    peer.send("two");
    assert_eq!(bell.rings(), 1);
    assert_eq!(
        now(|cx| read(&mut *stream, cx)).expect("it is read"),
        b"one two"
    );
    assert!(bell.with(|cx| read(&mut *stream, cx)).is_pending());
}

#[test]
fn the_end_comes_after_the_data_and_stays() {
    let (mut stream, peer) = connection();
    peer.send("last");
    peer.end();
    peer.send("ignored");
    assert_eq!(
        now(|cx| read(&mut *stream, cx)).expect("it is read"),
        b"last"
    );
    assert_eq!(now(|cx| read(&mut *stream, cx)).expect("it is read"), b"");
    assert_eq!(now(|cx| read(&mut *stream, cx)).expect("it is read"), b"");
    assert_eq!(
        now(|cx| write(&mut *stream, cx, b"heard")).expect("it is written"),
        5
    );
    assert_eq!(peer.received(), b"heard");
}

#[test]
fn a_reset_fails_writes_at_once_and_reads_after_the_data() {
    let (mut stream, peer) = connection();
    peer.send("before");
    peer.reset();
    assert_eq!(
        errno(now(|cx| write(&mut *stream, cx, b"?"))),
        libc::ECONNRESET
    );
    assert_eq!(
        now(|cx| read(&mut *stream, cx)).expect("it is read"),
        b"before"
    );
    assert_eq!(errno(now(|cx| read(&mut *stream, cx))), libc::ECONNRESET);
    drop(peer);
    assert_eq!(errno(now(|cx| read(&mut *stream, cx))), libc::ECONNRESET);
}

#[test]
fn a_peek_takes_an_error_as_linux_does_and_nothing_else() {
    let (mut stream, peer) = connection();
    let bell = Bell::new();
    assert!(bell.with(|cx| stream.poll_peek(cx)).is_pending());
    peer.send("x");
    assert_eq!(bell.rings(), 1);
    for _ in 0..2 {
        assert!(bell.with(|cx| stream.poll_peek(cx)).is_ready());
    }
    assert_eq!(now(|cx| read(&mut *stream, cx)).expect("it is read"), b"x");
    assert!(bell.with(|cx| stream.poll_peek(cx)).is_pending());
    peer.read_error(libc::EIO);
    assert_eq!(errno(now(|cx| stream.poll_peek(cx))), libc::EIO);
    assert!(bell.with(|cx| stream.poll_peek(cx)).is_pending());
    peer.end();
    assert!(bell.with(|cx| stream.poll_peek(cx)).is_ready());
    assert_eq!(now(|cx| read(&mut *stream, cx)).expect("it is read"), b"");
}

#[test]
fn a_reset_wakes_who_reads_and_who_writes() {
    let (mut stream, peer) = connection();
    let (reads, writes) = (Bell::new(), Bell::new());
    peer.limit_writes(0);
    assert!(reads.with(|cx| read(&mut *stream, cx)).is_pending());
    assert!(writes.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    peer.send("for the reader");
    assert_eq!((reads.rings(), writes.rings()), (1, 0));
    now(|cx| read(&mut *stream, cx)).expect("it is read");

    assert!(reads.with(|cx| read(&mut *stream, cx)).is_pending());
    peer.reset();
    assert_eq!((reads.rings(), writes.rings()), (2, 1));
}

#[test]
fn a_dropped_peer_ends_reads_and_breaks_writes() {
    let (mut stream, peer) = connection();
    let (reads, writes) = (Bell::new(), Bell::new());
    peer.limit_writes(0);
    assert!(reads.with(|cx| read(&mut *stream, cx)).is_pending());
    assert!(writes.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    drop(peer);
    assert_eq!((reads.rings(), writes.rings()), (1, 1));
    assert_eq!(now(|cx| read(&mut *stream, cx)).expect("it is read"), b"");
    assert_eq!(errno(now(|cx| write(&mut *stream, cx, b"?"))), libc::EPIPE);
}

#[test]
fn a_read_error_comes_once_between_the_data() {
    let (mut stream, peer) = connection();
    peer.send("before");
    peer.read_error(libc::ETIMEDOUT);
    peer.send("after");
    assert_eq!(
        now(|cx| read(&mut *stream, cx)).expect("it is read"),
        b"before"
    );
    assert_eq!(errno(now(|cx| read(&mut *stream, cx))), libc::ETIMEDOUT);
    assert_eq!(
        now(|cx| read(&mut *stream, cx)).expect("it is read"),
        b"after"
    );
}

#[test]
fn a_write_error_comes_once_even_to_a_pending_write() {
    let (mut stream, peer) = connection();
    let bell = Bell::new();
    peer.limit_writes(0);
    assert!(bell.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    peer.write_error(libc::ENOBUFS);
    assert_eq!(bell.rings(), 1);
    assert_eq!(
        errno(now(|cx| write(&mut *stream, cx, b"?"))),
        libc::ENOBUFS
    );
    assert!(bell.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    peer.unlimit_writes();
    assert_eq!(bell.rings(), 2);
    assert_eq!(
        now(|cx| write(&mut *stream, cx, b"!")).expect("it is written"),
        1
    );
    assert_eq!(peer.received(), b"!");
}

#[test]
fn writes_over_the_limit_wait_until_more_is_taken() {
    let (mut stream, peer) = connection();
    peer.limit_writes(3);
    assert_eq!(
        now(|cx| write(&mut *stream, cx, b"ab")).expect("it is written"),
        2
    );
    assert_eq!(
        now(|cx| write(&mut *stream, cx, b"cd")).expect("it is written"),
        1
    );
    let bell = Bell::new();
    assert!(bell.with(|cx| write(&mut *stream, cx, b"d")).is_pending());
    assert_eq!(
        now(|cx| write(&mut *stream, cx, b"")).expect("it is written"),
        0
    );
    assert_eq!(peer.received(), b"abc");

    peer.limit_writes(1);
    assert_eq!(bell.rings(), 1);
    assert_eq!(
        now(|cx| write(&mut *stream, cx, b"de")).expect("it is written"),
        1
    );
    assert_eq!(peer.received(), b"abcd");
}

#[test]
fn short_reads_and_writes_take_a_part_of_each_call() {
    let (mut stream, peer) = connection();
    peer.short_reads(2);
    peer.send("abc");
    assert_eq!(now(|cx| read(&mut *stream, cx)).expect("it is read"), b"ab");
    assert_eq!(now(|cx| read(&mut *stream, cx)).expect("it is read"), b"c");

    peer.short_writes(3);
    let slices = [IoSlice::new(b"de"), IoSlice::new(b"fg")];
    assert_eq!(
        now(|cx| stream.poll_write(cx, &slices)).expect("it is written"),
        3
    );
    assert_eq!(peer.received(), b"def");
}

#[test]
fn a_peer_knows_which_options_were_set() {
    let (stream, peer) = connection();
    assert_eq!((peer.nodelay(), peer.keepalive()), (None, None));
    let minute = Some(Duration::from_secs(60));
    peer.option_error(libc::EINVAL);
    assert_eq!(errno(stream.set_keepalive(minute)), libc::EINVAL);
    assert_eq!(peer.keepalive(), None);
    stream.set_nodelay(true).expect("it is set");
    stream.set_keepalive(minute).expect("it is set");
    assert_eq!(
        (peer.nodelay(), peer.keepalive()),
        (Some(true), Some(minute))
    );
}

#[test]
fn a_network_and_its_peers_go_to_other_threads() {
    fn check<T: Send + Sync>() {}
    check::<ScriptedNetwork>();
    check::<Peer>();
    check::<Hold>();
}
