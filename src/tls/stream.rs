//! An encrypted connection is a connection like any other.

use std::io::{self, IoSlice, Read};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::unconstrained;
use tokio_rustls::TlsStream;

use super::codes::translated;
use crate::os::{Stream, retry_if_spurious, try_close_gracefully};

/// How often one read of the encrypted stream reads the one below. What it
/// reads need not have data in it, so a peer might keep it reading forever.
const READS_A_POLL: usize = 16;

/// The encrypted stream over a plain one.
pub(super) struct Secured {
    tls: TlsStream<Wire>,
    /// What has been encrypted for the call that is to say so, once all of it
    /// has left.
    taken: usize,
    /// What has failed, to be told after the data before it.
    failed: Option<io::Error>,
    /// Whether nothing more is written: its end was told, or it is to be reset.
    poll_capacity: bool,
}

impl Secured {
    pub(super) fn new(tls: TlsStream<Wire>) -> Self {
        Secured {
            tls,
            taken: 0,
            failed: None,
            poll_capacity: false,
        }
    }

    /// What was decrypted before something failed.
    fn read_rest(&mut self, buffer: &mut ReadBuf<'_>) {
        let into = buffer.initialize_unfilled();
        let read = match &mut self.tls {
            TlsStream::Client(client) => client.get_mut().1.reader().read(into),
            TlsStream::Server(server) => server.get_mut().1.reader().read(into),
        };
        buffer.advance(read.unwrap_or(0));
    }

    /// Sends what TLS itself has to say to what was read: that there is no
    /// renegotiation, new keys. It would wait for the next data else. If it
    /// cannot be sent, reading tells.
    fn answer_peer(&mut self, cx: &mut Context<'_>) {
        if self.tls.get_ref().1.wants_write() {
            let _ = Pin::new(&mut self.tls).poll_flush(cx);
        }
    }

    /// Whether something was decrypted before.
    fn has_rest(&mut self) -> bool {
        let rest = match &mut self.tls {
            TlsStream::Client(client) => client.get_mut().1.reader().into_first_chunk(),
            TlsStream::Server(server) => server.get_mut().1.reader().into_first_chunk(),
        };
        rest.is_ok_and(|rest| !rest.is_empty())
    }

    fn wire(&self) -> &dyn Stream {
        &*self.tls.get_ref().0.stream
    }

    fn wire_mut(&mut self) -> &mut Wire {
        self.tls.get_mut().0
    }
}

impl Stream for Secured {
    /// Reads record after record until the buffer is full or nothing is there.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.tls.get_mut().0.reads = 0;
        let mut buffer = ReadBuf::new(buffer);
        while buffer.remaining() > 0 && self.failed.is_none() {
            let before = buffer.filled().len();
            let read = Pin::new(&mut self.tls).poll_read(cx, &mut buffer);
            self.answer_peer(cx);
            match read {
                Poll::Ready(Ok(())) if buffer.filled().len() > before => {}
                // An end after data is met again.
                Poll::Ready(Ok(())) => break,
                Poll::Pending if before == 0 => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(Err(error)) => self.failed = Some(translated(error)),
            }
        }
        if self.failed.is_some() && buffer.remaining() > 0 {
            self.read_rest(&mut buffer);
        }
        match (buffer.filled().len(), &self.failed) {
            (0, Some(_)) => Poll::Ready(self.failed.take().map_or(Ok(0), Err)),
            (filled, _) => Poll::Ready(Ok(filled)),
        }
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.failed.is_none() {
            self.tls.get_mut().0.reads = 0;
            // What the stream below has need not have data in it.
            let peeked = Pin::new(&mut self.tls).poll_fill_buf(cx);
            let peeked = peeked.map_ok(|data| !data.is_empty());
            self.answer_peer(cx);
            match ready!(peeked) {
                Ok(has_data) => return Poll::Ready(Ok(has_data)),
                Err(error) => self.failed = Some(translated(error)),
            }
        }
        // What came before the failure comes before it.
        if self.has_rest() {
            return Poll::Ready(Ok(true));
        }
        Poll::Ready(self.failed.take().map_or(Ok(false), Err))
    }

    fn poll_error_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.tls.get_mut().0.stream.poll_error_ready(cx)
    }

    /// Says that data is written when all of it, encrypted, has been taken by
    /// the stream below; until then it expects the same data again.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut tls = Pin::new(&mut self.tls);
        if self.taken == 0 {
            let taken = ready!(tls.as_mut().poll_write_vectored(cx, data));
            self.taken = taken.map_err(translated)?;
        }
        ready!(tls.poll_flush(cx)).map_err(translated)?;
        Poll::Ready(Ok(std::mem::take(&mut self.taken)))
    }

    /// Tells the peer that the end is meant, and shuts the stream below.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = ready!(Pin::new(&mut self.tls).poll_shutdown(cx));
        self.poll_capacity = true;
        Poll::Ready(shut.map_err(translated))
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.wire_mut().stream.poll_discard(cx, buffer)
    }

    /// Of the stream below: the peer may go on there after `close_notify`.
    fn reached_eof(&self) -> bool {
        self.wire().reached_eof()
    }

    fn unacknowledged(&self) -> Option<usize> {
        self.wire().unacknowledged()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.wire().local_addr()
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.wire().set_nodelay(nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        self.wire().set_keepalive(after)
    }

    fn reregister(&mut self) -> io::Result<()> {
        self.tls.get_mut().0.stream.reregister()
    }

    fn set_reset_on_drop(&mut self) {
        // `close_notify` would say that the end is meant.
        self.poll_capacity = true;
        let wire = self.wire_mut();
        wire.is_over = true;
        wire.stream.set_reset_on_drop();
    }
}

impl Drop for Secured {
    /// Tells the peer that the end is meant (`close_notify`), if the OS takes
    /// it at once: without it, an end looks like an attack to the peer.
    fn drop(&mut self) {
        if self.poll_capacity || std::thread::panicking() {
            // A second panic would end the process.
            return;
        }
        let tls = &mut self.tls;
        let end = unconstrained(std::future::poll_fn(|cx| {
            Pin::new(&mut *tls).poll_shutdown(cx)
        }));
        let _ = pin!(end).poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// The stream below, as tokio's traits want it.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    reads: usize,
    /// Whether its end needs nothing more.
    is_over: bool,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Wire {
            stream,
            reads: 0,
            is_over: false,
        }
    }
}

impl Drop for Wire {
    /// A handshake may have been given up. What it said last, an alert perhaps,
    /// must not be lost by a reset, which is how the OS answers a close with
    /// unread input.
    fn drop(&mut self) {
        if !self.is_over && !std::thread::panicking() {
            try_close_gracefully(&mut *self.stream);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.reads == READS_A_POLL {
            this.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.reads += 1;
        let read = this.stream.poll_read(cx, buffer.initialize_unfilled());
        let count = ready!(retry_if_spurious(read, cx))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut self.get_mut().stream;
        retry_if_spurious(stream.poll_write(cx, &[IoSlice::new(data)]), cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        retry_if_spurious(self.get_mut().stream.poll_write(cx, data), cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.poll_shutdown(cx)
    }
}
