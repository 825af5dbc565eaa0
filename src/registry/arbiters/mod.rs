//! The arbiters that client sockets live in.

pub(super) mod local_listeners;

use std::future::Future;
use std::sync::Arc;

use actix::prelude::*;

use super::Registry;
use crate::supervision::Child;
use crate::tcp::{self, CommandQueue, Shard, SocketTable};

/// The most arbiters of one registry.
const MAX_ARBITERS: usize = 1024;

impl Registry {
    /// Beyond Chrome: how many arbiters client sockets live in, at most 1024.
    ///
    /// The first is the one that the registry and its server sockets live in,
    /// so 1, as by default and for 0, makes no thread. Each other one has a
    /// thread of its own, which starts with the registry and ends with it, and a
    /// socket stays in the one that has the fewest when it is made or accepted.
    /// Calls, events, their order and every bound are the same;
    /// [`ReceiveInfo`](tcp::ReceiveInfo)s wait for the app's listeners wherever
    /// those are. An actor that takes long in the registry's arbiter holds up
    /// what lives there.
    /// The 4 MiB of an app that its listeners may hold are divided among the
    /// arbiters, so one that has its part holds up none of the others; the part
    /// is 256 KiB at least.
    ///
    /// If the OS refuses a thread, which is logged, those sockets live in the
    /// registry's arbiter. An arbiter that ends is replaced, and its sockets go on
    /// in the new one ([`supervision`](crate::supervision)).
    pub fn arbiters(mut self, arbiters: usize) -> Self {
        self.arbiters = arbiters.clamp(1, MAX_ARBITERS);
        self
    }

    /// The actors of client sockets, made now if that has not been.
    pub(super) fn seats(&mut self) -> &[ShardSlot] {
        if self.seats.is_empty() {
            let (count, here) = (self.arbiters, Arbiter::current());
            let make = |index| {
                let thread = (index > 0).then(Thread::start).flatten();
                let arbiter = thread.as_ref().map(|thread| &thread.0);
                let inbox = Arc::new(CommandQueue::default());
                let rows = SocketTable::start(
                    self.network.clone(),
                    self.tls.clone(),
                    inbox.clone(),
                    self.registry_link.clone(),
                    arbiter,
                );
                let arbiter = arbiter.unwrap_or(&here).clone();
                let shard = Shard::new(index, index > 0, rows.place.clone(), inbox, arbiter);
                ShardSlot {
                    shard: Arc::new(shard),
                    rows,
                    thread,
                }
            };
            self.seats = (0..count).map(make).collect();
        }
        &self.seats
    }
}

/// A rows actor, and where it lives.
pub(super) struct ShardSlot {
    pub(super) shard: Arc<Shard>,
    pub(super) rows: Child<SocketTable>,
    /// `None`: in the registry's own arbiter.
    thread: Option<Thread>,
}

impl ShardSlot {
    /// Has it go on if it has fallen: where it was, if that is still there, or
    /// else somewhere new, which is returned.
    pub(super) fn go_on(&mut self) -> Option<Arc<Shard>> {
        let ShardSlot {
            shard,
            rows,
            thread,
        } = self;
        let mut is_new = false;
        rows.go_on_in(|| {
            if !shard.arbiter().alive() {
                is_new = true;
                *thread = shard.is_remote.then(Thread::start).flatten();
                let arbiter = thread.as_ref().map(|thread| thread.0.clone());
                shard.is_now_in(arbiter.unwrap_or_else(Arbiter::current));
            }
            thread.as_ref().map(|thread| thread.0.clone())
        });
        is_new.then(|| shard.clone())
    }

    /// Closes every socket, ends the actor and then its thread.
    pub(super) fn end(self) -> impl Future<Output = ()> {
        let ended = self.rows.place.ask(tcp::Stop);
        async move {
            ended.await;
            drop(self);
        }
    }

    /// As [`end`](Self::end), and waits for nothing.
    pub(super) fn end_later(self) {
        let arbiter = self.shard.arbiter();
        let address = self.rows.address();
        match self.thread {
            None => address.do_send(tcp::Stop),
            Some(thread) => {
                arbiter.spawn(async move {
                    // One that is gone has closed them.
                    let _ = address.send(tcp::Stop).await;
                    drop(thread);
                });
            }
        }
    }
}

/// A thread with an arbiter, which ends when this is dropped.
struct Thread(ArbiterHandle);

impl Thread {
    fn start() -> Option<Self> {
        match Arbiter::try_new() {
            Ok(arbiter) => Some(Thread(arbiter.handle())),
            Err(error) => {
                log::error!("no thread for client sockets: {error}");
                None
            }
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.0.stop();
    }
}
