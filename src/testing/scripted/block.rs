//! Calls that stay pending until the test releases them.

use std::collections::HashMap;

use futures::future::{Either, ready};

use crate::address::Address;
use crate::testing::latch::{Latch, WeakLatch};

/// Keeps `resolve` or `connect` calls pending: see
/// [`ScriptedNetwork::block_resolve`](super::ScriptedNetwork::block_resolve) and
/// [`block_connect`](super::ScriptedNetwork::block_connect). Dropping it releases
/// the calls.
#[derive(Debug)]
#[must_use = "dropping the guard releases the calls"]
pub struct BlockGuard(Latch);

impl BlockGuard {
    /// How many calls are blocked. A call whose future was dropped does not count.
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }

    /// Releases the calls, as dropping the guard does.
    pub fn release(self) {}
}

/// The calls that a [`BlockGuard`] blocks.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Blockable {
    Resolve(String),
    Connect(Address),
}

#[derive(Debug, Default)]
pub(super) struct Blocks(HashMap<Blockable, WeakLatch>);

impl Blocks {
    pub(super) fn block(&mut self, call: Blockable) -> BlockGuard {
        let latch = Latch::new();
        self.0.insert(call, latch.downgrade());
        BlockGuard(latch)
    }

    /// Waits until the guard that blocks this call now, if there is one, is dropped.
    pub(super) fn released(&self, call: Blockable) -> impl Future<Output = ()> + use<> {
        match self.0.get(&call) {
            Some(latch) => Either::Left(latch.released()),
            None => Either::Right(ready(())),
        }
    }
}
