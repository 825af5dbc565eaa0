//! A connection: two ends, each with the results of its next reads and writes.

use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::address::{Address, PeerCredentials};
use crate::os::{Stream, Writer};

/// One end of a connection: the [`Stream`] of the app, or the end that a
/// [`Peer`](super::Peer) plays. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Endpoint(EndpointHandle);

/// Reaches an end of a connection, and does not keep it open.
#[derive(Clone, Debug)]
struct EndpointHandle {
    connection: Arc<Mutex<[EndpointState; 2]>>,
    /// The index of this end in `connection`.
    index: usize,
}

/// What one end is going to see, and what it did so far.
#[derive(Debug)]
pub(super) struct EndpointState {
    pub(super) address: Address,
    pub(super) peer_credentials: Option<PeerCredentials>,
    incoming: VecDeque<Incoming>,
    pub(super) write_errors: VecDeque<i32>,
    pub(super) option_errors: VecDeque<i32>,
    /// The most bytes of one read.
    pub(super) read_size: usize,
    /// The most bytes of one write.
    pub(super) write_size: usize,
    /// How many more bytes it may write; `None` is any number.
    pub(super) write_limit: Option<usize>,
    /// The far end has shut its writing side.
    pub(super) ended: bool,
    /// A read has returned this end, as 0 bytes.
    read_eof: bool,
    /// The far end has reset the connection.
    pub(super) reset: bool,
    /// This end has shut its writing side.
    pub(super) shut: bool,
    /// This end was dropped.
    pub(super) closed: bool,
    /// How many written bytes the far end has not acknowledged.
    pub(super) unacknowledged: usize,
    /// Dropping this end resets the connection, or has reset it.
    pub(super) resets: bool,
    pub(super) nodelay: Option<bool>,
    pub(super) keepalive: Option<Option<Duration>>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

#[derive(Debug)]
enum Incoming {
    Data(VecDeque<u8>),
    Error(i32),
}

/// The two ends of a new connection, by their addresses.
pub(super) fn pair(first: Address, second: Address) -> (Endpoint, Endpoint) {
    let ends = [first, second].map(EndpointState::new);
    let connection = Arc::new(Mutex::new(ends));
    let [first, second] = [0, 1].map(|index| {
        let connection = connection.clone();
        Endpoint(EndpointHandle { connection, index })
    });
    (first, second)
}

impl EndpointHandle {
    fn with<R>(&self, work: impl FnOnce(&mut EndpointState, &mut EndpointState) -> R) -> R {
        let [first, second] = &mut *self.connection.lock();
        match self.index {
            0 => work(first, second),
            _ => work(second, first),
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, data: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let (written, reader) = self.with(|near, far| {
            let written = near.poll_write(cx, data, far);
            let reader = match written {
                Poll::Ready(Ok(_)) => far.reader.take(),
                _ => None,
            };
            (written, reader)
        });
        wake(reader);
        written
    }
}

impl Endpoint {
    /// Works on this end and the far one. `work` returns the wakers that it takes: a waker may
    /// use the connection, which is locked meanwhile.
    pub(super) fn with<R>(
        &self,
        work: impl FnOnce(&mut EndpointState, &mut EndpointState) -> R,
    ) -> R {
        self.0.with(work)
    }

    /// The far end finds the connection reset.
    pub(super) fn reset_peer(&self) {
        wake(self.with(|_, far| {
            far.reset = true;
            far.take_wakers()
        }));
    }

    fn set_option(&self, set: impl FnOnce(&mut EndpointState)) -> io::Result<()> {
        self.with(|near, _| match near.option_errors.pop_front() {
            Some(errno) => Err(os_error(errno)),
            None => {
                set(near);
                Ok(())
            }
        })
    }
}

impl Writer for EndpointHandle {
    fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        match self.poll_write(&mut cx, &[IoSlice::new(data)]) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        wake(self.with(|near, far| {
            near.closed = true;
            // As in the kernel, closing with unread input is a reset.
            near.resets |= near.incoming.iter().any(Incoming::is_data);
            far.ended = true;
            far.reset |= near.resets;
            far.take_wakers()
        }));
    }
}

impl Stream for Endpoint {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.with(|near, _| near.poll_read(cx, buffer))
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.with(|near, _| match near.incoming.front() {
            Some(Incoming::Data(_)) => Poll::Ready(Ok(true)),
            // As on Linux, a peek takes an error.
            _ => near.poll_read(cx, &mut []).map_ok(|_| false),
        })
    }

    fn poll_error_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|near, _| {
            if near.reset {
                return Poll::Ready(());
            }
            near.reader = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, data)
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (shut, wakers) = self.with(|near, far| {
            if near.reset {
                return (Err(os_error(libc::ENOTCONN)), None);
            }
            near.shut = true;
            far.ended = true;
            (Ok(()), Some(far.take_wakers()))
        });
        wake(wakers.into_iter().flatten());
        Poll::Ready(shut)
    }

    fn reached_eof(&self) -> bool {
        self.with(|near, _| near.read_eof)
    }

    fn unacknowledged(&self) -> Option<usize> {
        Some(self.with(|near, _| near.unacknowledged))
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        Some(Arc::new(self.0.clone()))
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(self.with(|near, _| near.address.clone()))
    }

    fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.with(|near, _| near.peer_credentials)
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.set_option(|near| near.nodelay = Some(nodelay))
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        self.set_option(|near| near.keepalive = Some(after))
    }

    fn set_reset_on_drop(&mut self) {
        self.with(|near, _| near.resets = true);
    }
}

impl Incoming {
    fn is_data(&self) -> bool {
        matches!(self, Incoming::Data(_))
    }
}

impl EndpointState {
    fn new(address: Address) -> Self {
        EndpointState {
            address,
            peer_credentials: None,
            incoming: VecDeque::new(),
            write_errors: VecDeque::new(),
            option_errors: VecDeque::new(),
            read_size: usize::MAX,
            write_size: usize::MAX,
            write_limit: None,
            ended: false,
            read_eof: false,
            reset: false,
            shut: false,
            closed: false,
            unacknowledged: 0,
            resets: false,
            nodelay: None,
            keepalive: None,
            reader: None,
            writer: None,
        }
    }

    pub(super) fn push_data(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // TCP keeps no boundaries: two sends may be read as one.
        match self.incoming.back_mut() {
            Some(Incoming::Data(data)) => data.extend(bytes),
            _ => self
                .incoming
                .push_back(Incoming::Data(bytes.iter().copied().collect())),
        }
    }

    pub(super) fn push_error(&mut self, errno: i32) {
        self.incoming.push_back(Incoming::Error(errno));
    }

    /// All data that was not read.
    pub(super) fn unread(&self) -> Vec<u8> {
        let data = self.incoming.iter().filter_map(|incoming| match incoming {
            Incoming::Data(data) => Some(data),
            Incoming::Error(_) => None,
        });
        data.flatten().copied().collect()
    }

    pub(super) fn take_wakers(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let wakers = [self.reader.take(), self.writer.take()];
        wakers.into_iter().flatten()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.incoming.front_mut() {
            Some(Incoming::Data(data)) => {
                let size = buffer.len().min(data.len()).min(self.read_size);
                for (to, from) in buffer.iter_mut().zip(data.drain(..size)) {
                    *to = from;
                }
                if data.is_empty() {
                    self.incoming.pop_front();
                }
                Poll::Ready(Ok(size))
            }
            Some(Incoming::Error(errno)) => {
                let error = os_error(*errno);
                self.incoming.pop_front();
                Poll::Ready(Err(error))
            }
            None if self.reset => Poll::Ready(Err(os_error(libc::ECONNRESET))),
            None if self.ended => {
                self.read_eof |= !buffer.is_empty();
                Poll::Ready(Ok(0))
            }
            None => {
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
        far: &mut EndpointState,
    ) -> Poll<io::Result<usize>> {
        if let Some(errno) = self.write_errors.pop_front() {
            return Poll::Ready(Err(os_error(errno)));
        }
        if self.reset {
            return Poll::Ready(Err(os_error(libc::ECONNRESET)));
        }
        if far.closed {
            return Poll::Ready(Err(os_error(libc::EPIPE)));
        }
        let offered = data.iter().map(|slice| slice.len()).sum::<usize>();
        if offered > 0 && self.write_limit == Some(0) {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let limit = self.write_limit.unwrap_or(usize::MAX);
        let size = offered.min(self.write_size).min(limit);
        let mut left = size;
        for slice in data {
            let part = &slice[..left.min(slice.len())];
            far.push_data(part);
            left -= part.len();
        }
        self.write_limit = self.write_limit.map(|limit| limit - size);
        Poll::Ready(Ok(size))
    }
}

pub(super) fn os_error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// Wakes tasks. Not under a lock: a waker may drop a task that takes the same lock.
pub(super) fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
