//! A stream of `os`, as tokio has them, whose incoming bytes are counted, and which ends so that
//! its peer has what was said last.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

use crate::access::peers::Peers;
use crate::sessions::budget::Intake;
use chrome_sockets::os;

/// One connection of the gateway.
pub(crate) struct Io {
    /// It is there until this is dropped.
    stream: Option<Box<dyn os::Stream>>,
    pub(crate) intake: Arc<Intake>,
    peer: IpAddr,
    /// Those that end.
    ending: Peers,
}

/// How long a connection is kept for a peer that does not end its side.
const LINGER: Duration = Duration::from_secs(2);

/// How much of its input is discarded.
const MAX_DISCARDED: usize = 1024 * 1024;

impl Io {
    pub(crate) fn new(
        stream: Box<dyn os::Stream>,
        intake: Arc<Intake>,
        peer: IpAddr,
        ending: Peers,
    ) -> Self {
        Io {
            stream: Some(stream),
            intake,
            peer,
            ending,
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
    /// What was said last arrives: unread input would make closing a reset. If too many end
    /// already, it is one.
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take()
            && !stream.reached_eof()
            && let Ok(here) = Handle::try_current()
            && let Some(seat) = self.ending.reserve(Some(self.peer), None)
        {
            here.spawn(async move {
                let _ = tokio::time::timeout(LINGER, linger(stream)).await;
                drop(seat);
            });
        }
    }
}

/// Shuts the writing side, and discards input until the peer's end.
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
        if !self.intake.may_read() {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let read = self.stream()?.poll_read(cx, buffer.initialize_unfilled());
        let count = ready!(os::retry_if_spurious(read, cx))?;
        self.intake.came(count);
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
        os::retry_if_spurious(written, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Dropping it ends it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
