//! What a stream shares with its socket: received data that is not read, and how much waits to be
//! sent.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use parking_lot::{Mutex, MutexGuard};
use tokio::io::ReadBuf;

use crate::error::Error;
use crate::tcp::connection::buffer_pool::Filled;
use crate::tcp::stream::end::StreamEnd;

/// The most bytes that were written to one stream and wait to be sent: 64 KiB. Beyond it, writes
/// wait.
pub const STREAM_WRITE_LIMIT: usize = 64 * 1024;

/// The capacity for chunks that an empty queue keeps.
const MAX_KEPT_CAPACITY: usize = 8;

/// The largest buffer for received data that an idle stream keeps.
const MAX_KEPT_BUFFER: usize = 1024;

/// The bytes of a chunk that are not read yet.
pub(in crate::tcp) enum Data {
    /// Copied, and how many of them were read.
    Copied(Vec<u8>, usize),
    Lent(Bytes),
}

impl Data {
    fn unread(&self) -> &[u8] {
        match self {
            Data::Copied(bytes, read) => &bytes[*read..],
            Data::Lent(bytes) => bytes,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Data::Copied(_, read) => *read += count,
            Data::Lent(bytes) => bytes.advance(count),
        }
    }

    pub(in crate::tcp) fn into_bytes(self) -> Bytes {
        match self {
            Data::Copied(bytes, read) => Bytes::from(bytes).slice(read..),
            Data::Lent(bytes) => bytes,
        }
    }
}

/// Received data. It counts in the socket's window until all of it was read.
pub(in crate::tcp) struct Chunk {
    pub(in crate::tcp) data: Data,
    /// What it takes of the window.
    pub(in crate::tcp) amount: u64,
    /// The number of the event that it would have been.
    pub(in crate::tcp) sequence: u64,
}

/// Whether a stream takes writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WriteGate {
    Open,
    /// Another process may get the socket, so writes wait for the outcome.
    Frozen,
    /// `poll_shutdown` was called.
    Shut,
    Failed(StreamEnd),
}

/// Who reads what is received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tcp) enum Reader {
    Stream,
    /// Listeners: the socket has no stream any more.
    Returned,
    /// Nobody: the stream was dropped.
    Dropped,
}

/// The stream's owner and the socket's actor use it under its lock, each for moments. Neither holds
/// the lock while it wakes a task or drops what may call the socket.
#[derive(Default)]
pub(in crate::tcp) struct StreamShared(Mutex<StreamState>);

struct StreamState {
    /// Not read yet.
    chunks: VecDeque<Chunk>,
    /// The buffer of a chunk that was read, for the next one: most streams have one at a time.
    spare: Vec<u8>,
    /// What comes behind the chunks.
    end: Option<StreamEnd>,
    /// Waits for data or the end.
    reader: Option<Waker>,
    gate: WriteGate,
    /// Written to the stream, and not taken by the OS yet.
    queued: usize,
    /// Waits until less is queued, or the gate changes.
    writer: Option<Waker>,
    owner: Reader,
}

impl Default for StreamState {
    fn default() -> Self {
        StreamState {
            chunks: VecDeque::new(),
            spare: Vec::new(),
            end: None,
            reader: None,
            gate: WriteGate::Open,
            queued: 0,
            writer: None,
            owner: Reader::Stream,
        }
    }
}

/// For the owner of the stream.
impl StreamShared {
    /// Fills `buf` from what was received, and adds to `read` what leaves the window. Without data,
    /// `Ready` means the end.
    #[inline]
    pub(in crate::tcp) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        read: &mut u64,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        let before = buf.filled().len();
        while let Some(chunk) = state.chunks.front_mut() {
            let unread = chunk.data.unread();
            let part = unread.len().min(buf.remaining());
            buf.put_slice(&unread[..part]);
            if part < unread.len() {
                chunk.data.advance(part);
                break;
            }
            *read += chunk.amount;
            let emptied = state.chunks.pop_front().map(|chunk| chunk.data);
            if let Some(Data::Copied(mut bytes, _)) = emptied
                && bytes.capacity() <= MAX_KEPT_BUFFER
            {
                bytes.clear();
                state.spare = bytes;
            }
        }
        if buf.filled().len() > before {
            if state.chunks.is_empty() && state.chunks.capacity() > MAX_KEPT_CAPACITY {
                // An idle stream keeps no memory from busy times.
                state.chunks = VecDeque::new();
            }
            return Poll::Ready(Ok(()));
        }
        match state.end {
            None => {
                register(&mut state.reader, cx);
                Poll::Pending
            }
            Some(StreamEnd::PeerShut) => Poll::Ready(Ok(())),
            Some(end) => Poll::Ready(Err(end.error())),
        }
    }

    /// How much may be written now. `Ready` if it is not nothing.
    pub(in crate::tcp) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<Room<'_>>> {
        let mut state = self.0.lock();
        match state.gate {
            WriteGate::Open if state.queued < STREAM_WRITE_LIMIT => Poll::Ready(Ok(Room(state))),
            WriteGate::Open | WriteGate::Frozen => {
                register(&mut state.writer, cx);
                Poll::Pending
            }
            WriteGate::Shut => Poll::Ready(Err(shut())),
            WriteGate::Failed(end) => Poll::Ready(Err(end.error())),
        }
    }

    /// Ready when the OS has taken everything that was written.
    pub(in crate::tcp) fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        match state.gate {
            WriteGate::Failed(end) => Poll::Ready(Err(end.error())),
            _ if state.queued == 0 => Poll::Ready(Ok(())),
            _ => {
                register(&mut state.writer, cx);
                Poll::Pending
            }
        }
    }

    /// Waits while a handover decides, and then has every later write fail. `shut` runs before any
    /// handover can begin.
    pub(in crate::tcp) fn poll_shut<T>(
        &self,
        cx: &mut Context<'_>,
        shut: impl FnOnce() -> T,
    ) -> Poll<io::Result<T>> {
        let mut state = self.0.lock();
        match state.gate {
            WriteGate::Failed(end) => Poll::Ready(Err(end.error())),
            WriteGate::Frozen => {
                register(&mut state.writer, cx);
                Poll::Pending
            }
            WriteGate::Open | WriteGate::Shut => {
                state.gate = WriteGate::Shut;
                Poll::Ready(Ok(shut()))
            }
        }
    }

    /// A write has met this error, which the OS may report only once.
    pub(in crate::tcp) fn fail_writes(&self, end: StreamEnd) {
        let writer = self.0.lock().close_gate(end);
        wake(writer);
    }

    /// The stream is not read any more: returns what was not read. The second value tells whether
    /// the socket has belonged to the stream.
    pub(in crate::tcp) fn release(&self, to: Reader) -> (VecDeque<Chunk>, bool) {
        let mut state = self.0.lock();
        let was_owner = state.owner == Reader::Stream;
        if was_owner {
            state.owner = to;
        }
        let wakers = (state.reader.take(), state.writer.take());
        let chunks = std::mem::take(&mut state.chunks);
        drop(state);
        drop(wakers);
        (chunks, was_owner)
    }
}

/// Room for a write. No handover begins while it is held.
pub(in crate::tcp) struct Room<'a>(MutexGuard<'a, StreamState>);

impl Room<'_> {
    /// Whether no earlier write waits.
    pub(in crate::tcp) fn is_first(&self) -> bool {
        self.0.queued == 0
    }

    pub(in crate::tcp) fn bytes(&self) -> usize {
        STREAM_WRITE_LIMIT - self.0.queued
    }

    /// Waits until an earlier write was sent.
    pub(in crate::tcp) fn wait(mut self, cx: &mut Context<'_>) {
        register(&mut self.0.writer, cx);
    }

    /// Counts a write that is queued next.
    pub(in crate::tcp) fn take(&mut self, shared: &Arc<StreamShared>, bytes: usize) -> StreamSend {
        self.0.queued += bytes;
        StreamSend::new(shared, bytes)
    }
}

/// A write of a stream in the command queue or the socket's write queue. Its drop reports the
/// result.
pub(in crate::tcp) struct StreamSend {
    shared: Arc<StreamShared>,
    bytes: usize,
    result: Result<(), Error>,
}

impl StreamSend {
    fn new(shared: &Arc<StreamShared>, bytes: usize) -> Self {
        StreamSend {
            shared: shared.clone(),
            bytes,
            result: Err(Error::Stopped),
        }
    }

    /// The report of a write that has failed, which does not count.
    pub(in crate::tcp) fn of_failure(shared: &Arc<StreamShared>) -> Self {
        StreamSend::new(shared, 0)
    }

    pub(in crate::tcp) fn finish(mut self, result: Result<(), Error>) {
        self.result = result;
    }
}

impl Drop for StreamSend {
    fn drop(&mut self) {
        let mut state = self.shared.0.lock();
        state.queued -= self.bytes;
        let writer = match self.result {
            Ok(()) => state.writer.take(),
            Err(error) => state.close_gate(StreamEnd::of_send(error)),
        };
        drop(state);
        wake(writer);
    }
}

/// For the socket.
impl StreamShared {
    /// Adds received data, or returns it if the stream is not read any more.
    #[inline]
    pub(in crate::tcp) fn push(
        &self,
        data: Filled<'_>,
        amount: u64,
        sequence: u64,
    ) -> Result<(), (Reader, Chunk)> {
        let mut state = self.0.lock();
        let data = match data {
            Filled::Lent(bytes) => Data::Lent(bytes),
            Filled::Borrowed(bytes) => {
                let mut copy = std::mem::take(&mut state.spare);
                copy.extend_from_slice(bytes);
                Data::Copied(copy, 0)
            }
        };
        let chunk = Chunk {
            data,
            amount,
            sequence,
        };
        if state.owner != Reader::Stream {
            return Err((state.owner, chunk));
        }
        state.chunks.push_back(chunk);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Ok(())
    }

    /// Nothing more is received. The first end counts.
    pub(in crate::tcp) fn end_reads(&self, end: StreamEnd) {
        let mut state = self.0.lock();
        state.end.get_or_insert(end);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// The stream has lost its connection. What was received before can still be read.
    pub(in crate::tcp) fn end(&self, end: StreamEnd) {
        self.end_reads(end);
        self.fail_writes(end);
    }

    /// Writes wait until the outcome of a handover is known, or go on.
    pub(in crate::tcp) fn set_frozen(&self, frozen: bool) {
        let mut state = self.0.lock();
        let (from, to) = match frozen {
            true => (WriteGate::Open, WriteGate::Frozen),
            false => (WriteGate::Frozen, WriteGate::Open),
        };
        if state.gate == from {
            state.gate = to;
            let writer = state.writer.take();
            drop(state);
            wake(writer);
        }
    }

    /// Whether everything received was read.
    pub(in crate::tcp) fn is_read(&self) -> bool {
        self.0.lock().chunks.is_empty()
    }
}

impl StreamState {
    /// Writes fail from now on, if they did not before. Returns whom to wake.
    fn close_gate(&mut self, end: StreamEnd) -> Option<Waker> {
        // After a shutdown, only what is still queued can fail.
        if matches!(self.gate, WriteGate::Open | WriteGate::Frozen) {
            self.gate = WriteGate::Failed(end);
        }
        self.writer.take()
    }
}

fn register(waiting: &mut Option<Waker>, cx: &Context<'_>) {
    match waiting {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waiting = Some(cx.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn shut() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the writing side of this stream was shut",
    )
}
