//! Primitives shared between threads: every protocol between threads is made of them.
//!
//! The files of these protocols take their atomics, locks and wakers only from here: `loom/`
//! compiles the same files with primitives that a model checker drives.

mod events_in_flight;
mod ready_flag;
mod shared_writer;
mod wait_flag;
mod work_queue;

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};

pub(crate) use events_in_flight::InFlight;
pub(crate) use futures::task::AtomicWaker;
pub(crate) use parking_lot::{Mutex, MutexGuard};
pub(crate) use ready_flag::ReadyFlag;
pub(crate) use shared_writer::{SharedWriter, SharedWriterGuard};
pub(crate) use wait_flag::WaitFlag;
pub(crate) use work_queue::WorkQueue;

/// The model checker takes `SeqCst` operations for weaker ones, except for fences. Where the order of
/// such operations is what counts, it is given a fence.
#[inline(always)]
pub(crate) fn fence_of_models() {}

#[cfg(test)]
pub(crate) mod tests;
