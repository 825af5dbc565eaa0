//! An arbiter that client sockets live in, and their actor.

use std::future::Future;
use std::sync::Arc;

use actix::prelude::*;

use crate::os::Network;
use crate::supervision::{Child, RegistryLink};
use crate::tcp::{self, CommandQueue, Shard, SocketTable};
use crate::tls;

/// A rows actor, and where it lives.
pub(in crate::registry) struct ShardSlot {
    pub(in crate::registry) shard: Arc<Shard>,
    pub(in crate::registry) rows: Child<SocketTable>,
    /// `None`: in the registry's own arbiter.
    thread: Option<Thread>,
}

impl ShardSlot {
    /// Starts the actor; all but the first have a thread of their own.
    pub(in crate::registry) fn start(
        index: usize,
        network: &Arc<dyn Network>,
        tls: &tls::Client,
        registry_link: &RegistryLink,
    ) -> Self {
        let thread = (index > 0).then(Thread::start).flatten();
        let arbiter = thread.as_ref().map(|thread| &thread.0);
        let inbox = Arc::new(CommandQueue::default());
        let rows = SocketTable::start(
            network.clone(),
            tls.clone(),
            inbox.clone(),
            registry_link.clone(),
            arbiter,
        );
        let arbiter = arbiter.cloned().unwrap_or_else(Arbiter::current);
        let shard = Shard::new(index, index > 0, rows.place.clone(), inbox, arbiter);
        ShardSlot {
            shard: Arc::new(shard),
            rows,
            thread,
        }
    }

    /// Has it go on if it has fallen: where it was, if that is still there, or
    /// else somewhere new, which is returned.
    pub(in crate::registry) fn go_on(&mut self) -> Option<Arc<Shard>> {
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
    pub(in crate::registry) fn end(self) -> impl Future<Output = ()> {
        let ended = self.rows.place.ask(tcp::Stop);
        async move {
            ended.await;
            drop(self);
        }
    }

    /// As [`end`](Self::end), and waits for nothing.
    pub(in crate::registry) fn end_later(self) {
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
