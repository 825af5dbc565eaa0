//! Descriptors of kinds that tokio has no type for, watched by its event loop.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the current thread's event loop announce when the descriptor is readable.
#[expect(
    deprecated,
    reason = "the other form is `unsafe`; here the value owns its descriptor until it is dropped"
)]
pub(super) fn watched<T: AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(owner, Interest::READABLE)
}
