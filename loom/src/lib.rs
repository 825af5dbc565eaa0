//! Model-checks the protocols between threads: runs every interleaving.
//!
//! The modules `sync`, `tcp`, `tcp_server` and `connections` are files of the crate, compiled with
//! loom's primitives in place of those of `std`. A lost wake-up is a failure: loom finds that all
//! threads are blocked. Run by `cargo test --release -p chrome-sockets-loom`.
#![cfg(test)]
#![expect(
    dead_code,
    reason = "the crate's files have more functions than the models need"
)]

/// How often a thread may be preempted in one run. Most bugs need one or two preemptions, and each
/// more multiplies the number of runs.
const MAX_PREEMPTIONS: usize = 2;

/// Runs `model` with every interleaving of its threads, and with every value that an atomic may
/// have.
fn every_interleaving(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(MAX_PREEMPTIONS));
    builder.check(model);
}

mod sync {
    //! Replaces `src/sync/mod.rs`.

    #[path = "../../../src/sync/events_in_flight.rs"]
    mod events_in_flight;
    mod models;
    #[path = "../../../src/sync/ready_flag.rs"]
    mod ready_flag;
    #[path = "../../../src/sync/shared_writer.rs"]
    mod shared_writer;
    #[path = "../../../src/sync/wait_flag.rs"]
    mod wait_flag;
    #[path = "../../../src/sync/work_queue.rs"]
    mod work_queue;

    pub(crate) use events_in_flight::InFlight;
    pub(crate) use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
    pub(crate) use ready_flag::ReadyFlag;
    pub(crate) use shared_writer::SharedWriter;
    pub(crate) use wait_flag::WaitFlag;
    pub(crate) use work_queue::WorkQueue;

    /// The crate's does nothing.
    pub(crate) fn fence_of_models() {
        fence(std::sync::atomic::Ordering::SeqCst);
    }

    /// Like the mutex of `parking_lot`, which is never poisoned.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no thread has panicked")
        }
    }

    /// Like the waker of `futures`, which registers by reference.
    pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

    impl Default for AtomicWaker {
        fn default() -> Self {
            Self::new()
        }
    }

    impl AtomicWaker {
        pub(crate) fn new() -> Self {
            AtomicWaker(loom::future::AtomicWaker::new())
        }

        pub(crate) fn register(&self, waker: &std::task::Waker) {
            self.0.register_by_ref(waker);
        }

        pub(crate) fn wake(&self) {
            self.0.wake();
        }
    }
}

mod tcp {
    /// As small as the protocol allows: two events fill a window.
    pub(crate) const WINDOW: usize = 2;
    pub(crate) const RESUME_BELOW: usize = 1;

    #[path = "../../../src/tcp/connection/ending.rs"]
    pub(crate) mod ending;
    mod models;
    #[path = "../../../src/tcp/shards/receive_windows.rs"]
    pub(crate) mod receive_windows;
}

mod tcp_server {
    #[path = "../../../src/tcp_server/accept/accepted_ahead.rs"]
    pub(crate) mod ahead_queue;
    mod models;
}

mod connections {
    mod models;
    #[path = "../../../src/connections/wait_queue.rs"]
    pub(crate) mod wait_queue;
}
