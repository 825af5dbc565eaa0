//! Keeps futures pending until it is dropped.

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Shared, WeakShared};

#[derive(Debug)]
pub(super) struct Latch {
    /// Dropping it completes `released`.
    _release: oneshot::Sender<()>,
    released: Shared<oneshot::Receiver<()>>,
}

impl Latch {
    pub(super) fn new() -> Self {
        let (release, released) = oneshot::channel();
        Latch {
            _release: release,
            released: released.shared(),
        }
    }

    /// Completes when the latch is dropped.
    pub(super) fn released(&self) -> impl Future<Output = ()> + use<> {
        self.released.clone().map(drop)
    }

    /// How many futures of [`released`](Self::released) exist.
    pub(super) fn waiting(&self) -> usize {
        // One count is the latch's own.
        let holders = self.released.strong_count();
        holders.map_or(0, |holders| holders - 1)
    }

    /// A reference that does not count as waiting.
    pub(super) fn downgrade(&self) -> WeakLatch {
        WeakLatch(self.released.downgrade())
    }
}

#[derive(Debug)]
pub(super) struct WeakLatch(Option<WeakShared<oneshot::Receiver<()>>>);

impl WeakLatch {
    /// Completes when the latch is dropped, also if it was dropped before.
    pub(super) fn released(&self) -> impl Future<Output = ()> + use<> {
        let released = self.0.as_ref().and_then(WeakShared::upgrade);
        async move {
            if let Some(released) = released {
                // The dropped sender is the signal.
                let _: Result<(), oneshot::Canceled> = released.await;
            }
        }
    }
}
