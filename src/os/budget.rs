//! Work outside tokio's cooperative budget.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::task::unconstrained;

/// Runs `work` outside tokio's budget of 128 operations a task: its operations do not depend on
/// what the task has done before. `work` needs a bound of its own.
#[inline]
pub(crate) fn without_budget<T>(work: impl FnOnce() -> T) -> Option<T> {
    let mut work = Some(work);
    let once = unconstrained(std::future::poll_fn(|_| {
        Poll::Ready(work.take().map(|work| work()))
    }));
    match pin!(once).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => None,
    }
}
