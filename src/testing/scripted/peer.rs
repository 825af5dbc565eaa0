//! The far end of a connection, played by the test.

use std::net::SocketAddr;
use std::time::Duration;

use crate::address::{Address, PeerCredentials};
use crate::testing::scripted::connection::{Endpoint, EndpointState, wake};

/// The far end of one of the app's connections: scripts what the app's stream
/// sees, and shows what the app did.
///
/// Dropping it closes the connection: the stream reads what was sent and then
/// 0 bytes, and its writes fail with `EPIPE`.
#[derive(Debug)]
pub struct Peer {
    endpoint: Endpoint,
}

impl Peer {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Peer { endpoint }
    }

    /// The address of this end, the peer address of the app's stream.
    pub fn address(&self) -> Address {
        self.endpoint.with(|near, _| near.address.clone())
    }

    /// [`address`](Self::address) as an IP address with its port.
    ///
    /// # Panics
    /// It is a Unix socket's.
    pub fn addr(&self) -> SocketAddr {
        ip(&self.address())
    }

    /// The local address of the app's stream.
    ///
    /// # Panics
    /// It is a Unix socket's.
    pub fn stream_addr(&self) -> SocketAddr {
        self.with_stream(|stream| ip(&stream.address))
    }

    /// Who this end is at a Unix socket. By default the OS does not tell the app.
    pub fn set_credentials(&self, pid: Option<u32>, uid: u32, gid: u32) {
        let credentials = PeerCredentials::new(pid, uid, gid);
        self.with_stream(|stream| stream.peer_credentials = Some(credentials));
    }

    /// Sends data. The app may read it together with earlier data. Ignored after
    /// [`shutdown`](Self::shutdown) or [`reset`](Self::reset).
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.change_reads(|stream| {
            if !stream.ended && !stream.reset {
                stream.push_data(bytes.as_ref());
            }
        });
    }

    /// Shuts down its writing side: a read of the stream returns 0 bytes after the
    /// data. What the app writes still arrives.
    pub fn shutdown(&self) {
        self.change_reads(|stream| stream.ended = true);
    }

    /// Resets the connection: from now on writes fail with `ECONNRESET`, and so
    /// do reads after the data.
    pub fn reset(&self) {
        self.endpoint.reset_peer();
    }

    /// One read, after the data that was sent before, fails with this errno. Later
    /// reads are not affected.
    pub fn read_error(&self, errno: i32) {
        self.change_reads(|stream| stream.push_error(errno));
    }

    /// The next write fails with this errno, also one that is pending. Later writes
    /// are not affected.
    pub fn write_error(&self, errno: i32) {
        self.change_writes(|stream| stream.write_errors.push_back(errno));
    }

    /// The next option that the app sets fails with this errno, and is not set.
    pub fn option_error(&self, errno: i32) {
        self.with_stream(|stream| stream.option_errors.push_back(errno));
    }

    /// Accepts this many bytes from now on. Then the app's writes stay pending, as
    /// to a peer that does not read, until this is called again.
    pub fn limit_writes(&self, bytes: usize) {
        self.change_writes(|stream| stream.write_limit = Some(bytes));
    }

    /// Accepts any number of bytes, which is the default.
    pub fn unlimit_writes(&self) {
        self.change_writes(|stream| stream.write_limit = None);
    }

    /// A write of the app takes at most this many bytes; 0 counts as 1. By default
    /// it takes all.
    pub fn short_writes(&self, bytes: usize) {
        self.with_stream(|stream| stream.write_size = bytes.max(1));
    }

    /// A read of the app returns at most this many bytes; 0 counts as 1. By
    /// default it fills its buffer.
    pub fn short_reads(&self, bytes: usize) {
        self.with_stream(|stream| stream.read_size = bytes.max(1));
    }

    /// All bytes that the app has written so far.
    pub fn received(&self) -> Vec<u8> {
        self.endpoint.with(|near, _| near.unread())
    }

    /// Whether this end finds the end of the app's data: the app has closed its
    /// stream or shut down its writing side, or has stopped listening before it
    /// accepted this client.
    pub fn is_closed(&self) -> bool {
        self.with_stream(|stream| stream.closed || stream.shut)
    }

    /// Whether the app's stream is dropped. The stream of a closed socket may live
    /// until this end is closed too, while its input is discarded.
    pub fn is_released(&self) -> bool {
        self.with_stream(|stream| stream.closed)
    }

    /// Whether the app has reset the connection, or has dropped its stream with
    /// unread input, which is a reset too.
    pub fn is_reset(&self) -> bool {
        self.with_stream(|stream| stream.closed && stream.resets)
    }

    /// How many of the bytes that the app's stream has written are not acknowledged
    /// ([`os::Stream::unacknowledged`](crate::os::Stream::unacknowledged)); 0 by default.
    pub fn set_unacknowledged(&self, bytes: usize) {
        self.with_stream(|stream| stream.unacknowledged = bytes);
    }

    /// The `TCP_NODELAY` that the app set; `None` if it set none.
    pub fn nodelay(&self) -> Option<bool> {
        self.with_stream(|stream| stream.nodelay)
    }

    /// The keepalive time that the app set (`Some(None)` is off); `None` if it set
    /// none.
    pub fn keepalive(&self) -> Option<Option<Duration>> {
        self.with_stream(|stream| stream.keepalive)
    }

    fn with_stream<R>(&self, work: impl FnOnce(&mut EndpointState) -> R) -> R {
        self.endpoint.with(|_, stream| work(stream))
    }

    /// Wakes only the reader: a needless wake would hide a lost waker in the code under test.
    fn change_reads(&self, change: impl FnOnce(&mut EndpointState)) {
        wake(self.with_stream(|stream| {
            change(stream);
            stream.reader.take()
        }));
    }

    fn change_writes(&self, change: impl FnOnce(&mut EndpointState)) {
        wake(self.with_stream(|stream| {
            change(stream);
            stream.writer.take()
        }));
    }
}

fn ip(address: &Address) -> SocketAddr {
    address.socket_addr().expect("an IP address")
}
