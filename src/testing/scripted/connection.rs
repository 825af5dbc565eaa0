//! A connection: two ends, each with what its reads and writes will answer.

use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::testing::scripted::{Stream, Writer, lock, os_error, wake};
use parking_lot::Mutex;

/// One end of a connection: a [`Stream`], or what a peer works with. Dropping
/// it closes the connection.
#[derive(Debug)]
pub(super) struct End {
    connection: Arc<Mutex<[Side; 2]>>,
    /// Its index in the connection.
    side: usize,
}

/// What one end is going to see, and what it did.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) address: SocketAddr,
    incoming: VecDeque<Incoming>,
    pub(super) write_errors: VecDeque<i32>,
    pub(super) option_errors: VecDeque<i32>,
    /// The most bytes of one read.
    pub(super) read_size: usize,
    /// The most bytes of one write.
    pub(super) write_size: usize,
    /// How many bytes it may write, if there is a limit.
    pub(super) write_limit: Option<usize>,
    /// The far end sends no more.
    pub(super) ended: bool,
    /// A read has told so.
    has_read_end: bool,
    /// The far end does not know this connection any longer.
    pub(super) reset: bool,
    /// This end has shut its writing side.
    pub(super) shut: bool,
    /// This end was dropped.
    pub(super) closed: bool,
    /// Of the bytes that it has written, how many the far end has not
    /// acknowledged.
    pub(super) unacknowledged: usize,
    /// Dropping this end resets the connection.
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
pub(super) fn pair(first: SocketAddr, second: SocketAddr) -> (End, End) {
    let connection = Arc::new(Mutex::new([Side::new(first), Side::new(second)]));
    let first = End {
        connection: connection.clone(),
        side: 0,
    };
    let second = End {
        connection,
        side: 1,
    };
    (first, second)
}

impl End {
    /// Works on this side and the far one. What is to be woken goes out by the
    /// result, since it may not be woken in here.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Side, &mut Side) -> R) -> R {
        with(&self.connection, self.side, work)
    }

    /// The far end finds that this one does not know the connection.
    pub(super) fn reset(&self) {
        wake(self.with(|_, far| {
            far.reset = true;
            far.take_wakers()
        }));
    }

    fn set_option(&self, set: impl FnOnce(&mut Side)) -> io::Result<()> {
        self.with(|near, _| match near.option_errors.pop_front() {
            Some(errno) => Err(os_error(errno)),
            None => {
                set(near);
                Ok(())
            }
        })
    }
}

fn with<R>(
    connection: &Mutex<[Side; 2]>,
    side: usize,
    work: impl FnOnce(&mut Side, &mut Side) -> R,
) -> R {
    let [first, second] = &mut *lock(connection);
    match side {
        0 => work(first, second),
        _ => work(second, first),
    }
}

/// What writes for an end, and does not keep it open.
struct EndWriter {
    connection: Arc<Mutex<[Side; 2]>>,
    side: usize,
}

impl Writer for EndWriter {
    fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        let slices = [IoSlice::new(data)];
        let mut nobody = Context::from_waker(Waker::noop());
        let (written, reader) = with(&self.connection, self.side, |near, far| {
            near.write(&mut nobody, &slices, far)
        });
        wake(reader);
        match written {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        wake(self.with(|near, far| {
            near.closed = true;
            // As the kernel does it: unread input makes a close a reset.
            near.resets |= near.incoming.iter().any(Incoming::is_data);
            far.ended = true;
            far.reset |= near.resets;
            far.take_wakers()
        }));
    }
}

impl Stream for End {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.with(|near, _| near.poll_read(cx, buffer))
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.with(|near, _| match near.incoming.front() {
            Some(Incoming::Data(_)) => Poll::Ready(Ok(true)),
            // An error is told once, and else it is as if it were read.
            _ => near.poll_read(cx, &mut []).map_ok(|_| false),
        })
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
        let (written, reader) = self.with(|near, far| near.write(cx, data, far));
        wake(reader);
        written
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

    fn has_ended(&self) -> bool {
        self.with(|near, _| near.has_read_end)
    }

    fn unacknowledged(&self) -> Option<usize> {
        Some(self.with(|near, _| near.unacknowledged))
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        Some(Arc::new(EndWriter {
            connection: self.connection.clone(),
            side: self.side,
        }))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.with(|near, _| near.address))
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.set_option(|near| near.nodelay = Some(nodelay))
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        self.set_option(|near| near.keepalive = Some(after))
    }

    fn reset_when_dropped(&mut self) {
        self.with(|near, _| near.resets = true);
    }
}

impl Incoming {
    fn is_data(&self) -> bool {
        matches!(self, Incoming::Data(_))
    }
}

impl Side {
    fn new(address: SocketAddr) -> Self {
        Side {
            address,
            incoming: VecDeque::new(),
            write_errors: VecDeque::new(),
            option_errors: VecDeque::new(),
            read_size: usize::MAX,
            write_size: usize::MAX,
            write_limit: None,
            ended: false,
            has_read_end: false,
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
        // TCP keeps no boundaries: what was sent in two parts may be read in
        // one.
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

    /// All the data that was not read.
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
                self.has_read_end |= !buffer.is_empty();
                Poll::Ready(Ok(0))
            }
            None => {
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// What comes of it, and who is to be woken by it.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
        far: &mut Side,
    ) -> (Poll<io::Result<usize>>, Option<Waker>) {
        let written = self.poll_write(cx, data, far);
        let reader = match written {
            Poll::Ready(Ok(_)) => far.reader.take(),
            _ => None,
        };
        (written, reader)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
        far: &mut Side,
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
