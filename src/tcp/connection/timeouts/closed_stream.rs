//! A stream that is closed already.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::address::Address;
use crate::os::Stream;

/// Stands in for a stream that was closed. Its end is known already.
pub(crate) fn closed_stream() -> Box<dyn Stream> {
    Box::new(ClosedStream)
}

struct ClosedStream;

impl Stream for ClosedStream {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_peek(&mut self, _: &mut Context<'_>) -> Poll<io::Result<bool>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_error_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn reached_eof(&self) -> bool {
        true
    }

    fn local_addr(&self) -> io::Result<Address> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn set_keepalive(&self, _: Option<Duration>) -> io::Result<()> {
        Err(io::ErrorKind::NotConnected.into())
    }
}
