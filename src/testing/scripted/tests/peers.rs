//! A connection and its peer.

use crate::testing::scripted::tests::*;

#[test]
fn a_pending_read_is_woken_by_data() {
    let (mut stream, peer) = connection();
    let wakes = WakeCounter::new();
    assert!(wakes.with(|cx| read(&mut *stream, cx)).is_pending());
    peer.send("one ");
    peer.send("two");
    assert_eq!(wakes.count(), 1);
    assert_eq!(read_now(&mut *stream), b"one two");
    assert!(wakes.with(|cx| read(&mut *stream, cx)).is_pending());
}

#[test]
fn the_end_comes_after_the_data_and_stays() {
    let (mut stream, peer) = connection();
    peer.send("last");
    peer.shutdown();
    peer.send("ignored");
    assert_eq!(read_now(&mut *stream), b"last");
    assert_eq!(read_now(&mut *stream), b"");
    assert_eq!(read_now(&mut *stream), b"");
    assert_eq!(write_now(&mut *stream, b"heard"), 5);
    assert_eq!(peer.received(), b"heard");
}

#[test]
fn a_reset_fails_writes_at_once_and_reads_after_the_data() {
    let (mut stream, peer) = connection();
    peer.send("before");
    peer.reset();
    assert_eq!(write_errno(&mut *stream, b"?"), libc::ECONNRESET);
    assert_eq!(read_now(&mut *stream), b"before");
    assert_eq!(read_errno(&mut *stream), libc::ECONNRESET);
    drop(peer);
    assert_eq!(read_errno(&mut *stream), libc::ECONNRESET);
}

#[test]
fn a_peek_takes_an_error_as_on_linux_but_no_data() {
    let (mut stream, peer) = connection();
    let wakes = WakeCounter::new();
    assert!(wakes.with(|cx| stream.poll_peek(cx)).is_pending());
    peer.send("x");
    assert_eq!(wakes.count(), 1);
    for _ in 0..2 {
        assert!(wakes.with(|cx| stream.poll_peek(cx)).is_ready());
    }
    assert_eq!(read_now(&mut *stream), b"x");
    assert!(wakes.with(|cx| stream.poll_peek(cx)).is_pending());
    peer.read_error(libc::EIO);
    assert_eq!(errno(ready(|cx| stream.poll_peek(cx))), libc::EIO);
    assert!(wakes.with(|cx| stream.poll_peek(cx)).is_pending());
    peer.shutdown();
    assert!(wakes.with(|cx| stream.poll_peek(cx)).is_ready());
    assert_eq!(read_now(&mut *stream), b"");
}

#[test]
fn a_reset_wakes_the_reader_and_the_writer() {
    let (mut stream, peer) = connection();
    let (reads, writes) = (WakeCounter::new(), WakeCounter::new());
    peer.limit_writes(0);
    assert!(reads.with(|cx| read(&mut *stream, cx)).is_pending());
    assert!(writes.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    peer.send("for the reader");
    assert_eq!((reads.count(), writes.count()), (1, 0));
    read_now(&mut *stream);

    assert!(reads.with(|cx| read(&mut *stream, cx)).is_pending());
    peer.reset();
    assert_eq!((reads.count(), writes.count()), (2, 1));
}

#[test]
fn a_dropped_peer_ends_reads_and_breaks_writes() {
    let (mut stream, peer) = connection();
    let (reads, writes) = (WakeCounter::new(), WakeCounter::new());
    peer.limit_writes(0);
    assert!(reads.with(|cx| read(&mut *stream, cx)).is_pending());
    assert!(writes.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    drop(peer);
    assert_eq!((reads.count(), writes.count()), (1, 1));
    assert_eq!(read_now(&mut *stream), b"");
    assert_eq!(write_errno(&mut *stream, b"?"), libc::EPIPE);
}

#[test]
fn a_read_error_comes_once_between_the_data() {
    let (mut stream, peer) = connection();
    peer.send("before");
    peer.read_error(libc::ETIMEDOUT);
    peer.send("after");
    assert_eq!(read_now(&mut *stream), b"before");
    assert_eq!(read_errno(&mut *stream), libc::ETIMEDOUT);
    assert_eq!(read_now(&mut *stream), b"after");
}

#[test]
fn a_write_error_comes_once_even_to_a_pending_write() {
    let (mut stream, peer) = connection();
    let wakes = WakeCounter::new();
    peer.limit_writes(0);
    assert!(wakes.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    peer.write_error(libc::ENOBUFS);
    assert_eq!(wakes.count(), 1);
    assert_eq!(write_errno(&mut *stream, b"?"), libc::ENOBUFS);
    assert!(wakes.with(|cx| write(&mut *stream, cx, b"?")).is_pending());
    peer.unlimit_writes();
    assert_eq!(wakes.count(), 2);
    assert_eq!(write_now(&mut *stream, b"!"), 1);
    assert_eq!(peer.received(), b"!");
}

#[test]
fn writes_over_the_limit_wait_until_the_limit_is_raised() {
    let (mut stream, peer) = connection();
    peer.limit_writes(3);
    assert_eq!(write_now(&mut *stream, b"ab"), 2);
    assert_eq!(write_now(&mut *stream, b"cd"), 1);
    let wakes = WakeCounter::new();
    assert!(wakes.with(|cx| write(&mut *stream, cx, b"d")).is_pending());
    assert_eq!(write_now(&mut *stream, b""), 0);
    assert_eq!(peer.received(), b"abc");

    peer.limit_writes(1);
    assert_eq!(wakes.count(), 1);
    assert_eq!(write_now(&mut *stream, b"de"), 1);
    assert_eq!(peer.received(), b"abcd");
}

#[test]
fn short_reads_and_writes_take_a_part_of_each_call() {
    let (mut stream, peer) = connection();
    peer.short_reads(2);
    peer.send("abc");
    assert_eq!(read_now(&mut *stream), b"ab");
    assert_eq!(read_now(&mut *stream), b"c");

    peer.short_writes(3);
    let slices = [IoSlice::new(b"de"), IoSlice::new(b"fg")];
    assert_eq!(
        ready(|cx| stream.poll_write(cx, &slices)).expect("it is written"),
        3
    );
    assert_eq!(peer.received(), b"def");
}

#[test]
fn a_peer_sees_the_options_that_the_app_set() {
    let (stream, peer) = connection();
    assert_eq!((peer.nodelay(), peer.keepalive()), (None, None));
    let minute = Some(Duration::from_secs(60));
    peer.option_error(libc::EINVAL);
    assert_eq!(errno(stream.set_keepalive(minute)), libc::EINVAL);
    assert_eq!(peer.keepalive(), None);
    stream.set_nodelay(true).expect("the option is set");
    stream.set_keepalive(minute).expect("the option is set");
    assert_eq!(
        (peer.nodelay(), peer.keepalive()),
        (Some(true), Some(minute))
    );
}

#[test]
fn a_network_and_its_peers_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<ScriptedNetwork>();
    check::<Peer>();
    check::<BlockGuard>();
}
