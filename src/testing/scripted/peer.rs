//! The far end of a connection, played by the test.

use std::net::SocketAddr;
use std::time::Duration;

use crate::testing::scripted::connection::{End, Side};
use crate::testing::scripted::wake;

/// The far end of one of the app's connections: the test says what the app's
/// stream sees, and finds what the app did with it.
///
/// Dropping it closes the connection in order: the stream reads what was sent
/// and then the end, and a write to it fails with `EPIPE`.
#[derive(Debug)]
pub struct Peer {
    end: End,
}

impl Peer {
    pub(super) fn new(end: End) -> Self {
        Peer { end }
    }

    /// The address of this end: where the app finds its peer.
    pub fn addr(&self) -> SocketAddr {
        self.end.with(|near, _| near.address)
    }

    /// The address of the app's end.
    pub fn stream_addr(&self) -> SocketAddr {
        self.look(|stream| stream.address)
    }

    /// Sends. What was sent before may be read together with it. Nothing is
    /// sent after [`end`](Self::end) or [`reset`](Self::reset).
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.change_reads(|stream| {
            if !stream.ended && !stream.reset {
                stream.push_data(bytes.as_ref());
            }
        });
    }

    /// Ends its side: a read of the stream answers 0 when there is no more
    /// data. What the app writes still arrives.
    pub fn end(&self) {
        self.change_reads(|stream| stream.ended = true);
    }

    /// Breaks the connection: from now on writes fail with `ECONNRESET`, and
    /// so do reads when there is no more data.
    pub fn reset(&self) {
        self.end.reset();
    }

    /// One read, after the data that was sent before, answers this errno. The
    /// connection goes on unless it is ended or reset as well.
    pub fn read_error(&self, errno: i32) {
        self.change_reads(|stream| stream.push_error(errno));
    }

    /// One write to come answers this errno, a pending one too. The connection
    /// goes on unless it is reset as well.
    pub fn write_error(&self, errno: i32) {
        self.change_writes(|stream| stream.write_errors.push_back(errno));
    }

    /// One option that the app sets answers this errno, and is not set.
    pub fn option_error(&self, errno: i32) {
        self.look(|stream| stream.option_errors.push_back(errno));
    }

    /// Takes this many bytes from now on; then the app's writes stay pending,
    /// as those to a peer that does not read, until this is called again.
    pub fn limit_writes(&self, bytes: usize) {
        self.change_writes(|stream| stream.write_limit = Some(bytes));
    }

    /// Takes whatever the app writes, as in the beginning.
    pub fn unlimit_writes(&self) {
        self.change_writes(|stream| stream.write_limit = None);
    }

    /// A write of the app takes this many bytes at most, and at least one. In
    /// the beginning it takes all.
    pub fn short_writes(&self, bytes: usize) {
        self.look(|stream| stream.write_size = bytes.max(1));
    }

    /// A read of the app gives this many bytes at most, and at least one. In
    /// the beginning it gives all that fits.
    pub fn short_reads(&self, bytes: usize) {
        self.look(|stream| stream.read_size = bytes.max(1));
    }

    /// All that the app has written so far.
    pub fn received(&self) -> Vec<u8> {
        self.end.with(|near, _| near.unread())
    }

    /// Whether the app has ended its side: this end has all that was written, and
    /// finds the end behind it. So it is with a stream that was closed or whose
    /// writing side was shut, and where the app has stopped listening before it
    /// accepted this client.
    pub fn is_closed(&self) -> bool {
        self.look(|stream| stream.closed || stream.shut)
    }

    /// Whether the app has no stream to this end any more. A stream that it has
    /// closed may stay until this end is closed too, while its input is
    /// discarded.
    pub fn is_released(&self) -> bool {
        self.look(|stream| stream.closed)
    }

    /// Whether the app has reset the connection: it gave it up, or has dropped
    /// its stream with input unread.
    pub fn is_reset(&self) -> bool {
        self.look(|stream| stream.closed && stream.resets)
    }

    /// From now on this end has not acknowledged so many of the bytes that the
    /// app's stream has written ([`os::Stream::unacknowledged`](crate::os::Stream::unacknowledged)).
    /// In the beginning it has acknowledged all.
    pub fn leave_unacknowledged(&self, bytes: usize) {
        self.look(|stream| stream.unacknowledged = bytes);
    }

    /// What the app set `TCP_NODELAY` to, if it did.
    pub fn nodelay(&self) -> Option<bool> {
        self.look(|stream| stream.nodelay)
    }

    /// What the app set keepalive to, if it did: off, or after how long.
    pub fn keepalive(&self) -> Option<Option<Duration>> {
        self.look(|stream| stream.keepalive)
    }

    fn look<R>(&self, work: impl FnOnce(&mut Side) -> R) -> R {
        self.end.with(|_, stream| work(stream))
    }

    /// Wakes the readers alone: a wake that nobody needs would hide a waker
    /// that the code under test has lost.
    fn change_reads(&self, change: impl FnOnce(&mut Side)) {
        wake(self.look(|stream| {
            change(stream);
            stream.reader.take()
        }));
    }

    fn change_writes(&self, change: impl FnOnce(&mut Side)) {
        wake(self.look(|stream| {
            change(stream);
            stream.writer.take()
        }));
    }
}
