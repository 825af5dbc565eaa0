//! A stream of `os`, as tokio has them, whose incoming bytes are counted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::budget::Intake;
use crate::os;

/// One connection of the gateway.
pub(super) struct Io {
    stream: Box<dyn os::Stream>,
    pub(super) intake: Arc<Intake>,
}

impl Io {
    pub(super) fn new(stream: Box<dyn os::Stream>, intake: Arc<Intake>) -> Self {
        Io { stream, intake }
    }
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
        let read = self.stream.poll_read(cx, buffer.initialize_unfilled());
        let count = ready!(os::again(read, cx))?;
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
        let written = self.stream.poll_write(cx, &[IoSlice::new(data)]);
        os::again(written, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Dropping it ends it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
