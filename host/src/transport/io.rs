//! Adapts an `os::Stream` to tokio: limits unprocessed input, and closes without losing output.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chrome_sockets::os;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

use crate::access::peers::Peers;
use crate::sessions::budget::ReceiveBudget;
use crate::traffic::Traffic;

/// One connection of the gateway.
pub(crate) struct Io {
    /// `None` only while it is dropped.
    stream: Option<Box<dyn os::Stream>>,
    pub(crate) receive_budget: Arc<ReceiveBudget>,
    peer: IpAddr,
    /// Limits the lingering connections.
    lingering: Peers,
    traffic: Arc<Traffic>,
}

/// The longest wait for the peer to close its side.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// The most input that a lingering connection discards.
const MAX_DISCARDED: usize = 1024 * 1024;

impl Io {
    pub(crate) fn new(
        stream: Box<dyn os::Stream>,
        receive_budget: Arc<ReceiveBudget>,
        peer: IpAddr,
        lingering: Peers,
        traffic: Arc<Traffic>,
    ) -> Self {
        Io {
            stream: Some(stream),
            receive_budget,
            peer,
            lingering,
            traffic,
        }
    }

    fn stream(&mut self) -> io::Result<&mut dyn os::Stream> {
        match &mut self.stream {
            Some(stream) => Ok(&mut **stream),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for Io {
    /// Lingers, because closing with unread input resets the connection and the peer loses the
    /// last frame. If too many connections linger already, it is reset.
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take()
            && !stream.reached_eof()
            && let Ok(runtime) = Handle::try_current()
            && let Some(slot) = self.lingering.reserve(Some(self.peer), None)
        {
            runtime.spawn(async move {
                let _ = tokio::time::timeout(LINGER_TIMEOUT, linger(stream)).await;
                drop(slot);
            });
        }
    }
}

/// Shuts down the writing side, and discards input until the peer closes.
async fn linger(mut stream: Box<dyn os::Stream>) -> io::Result<()> {
    poll_fn(|cx| stream.poll_shutdown(cx)).await?;
    let mut buffer = [0; 4096];
    let mut discarded = 0;
    while discarded < MAX_DISCARDED {
        let read = poll_fn(|cx| os::retry_if_spurious(stream.poll_discard(cx, &mut buffer), cx));
        match read.await? {
            0 => break,
            count => discarded += count,
        }
    }
    Ok(())
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.receive_budget.may_read() {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let read = self.stream()?.poll_read(cx, buffer.initialize_unfilled());
        let count = ready!(os::retry_if_spurious(read, cx))?;
        self.receive_budget.add(count);
        self.traffic.bytes_received.add(count);
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write(cx, &[IoSlice::new(data)]);
        let count = ready!(os::retry_if_spurious(written, cx))?;
        self.traffic.bytes_sent.add(count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// `drop` shuts it down.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
