//! An arbiter that client sockets live in, and their actor.

use std::future::Future;
use std::sync::Arc;

use actix::prelude::*;

use crate::os::Network;
use crate::supervision::{RegistryLink, SupervisedActor};
use crate::tcp::{self, CommandQueue, Shard, SocketTable};
use crate::tls;
use crate::udp;

/// The actor of the client sockets of one arbiter, and the arbiter's thread.
pub(in crate::registry) struct ShardSlot {
    pub(in crate::registry) shard: Arc<Shard>,
    pub(in crate::registry) table: SupervisedActor<SocketTable>,
    pub(in crate::registry) udp_shard: Arc<udp::Shard>,
    pub(in crate::registry) udp_table: SupervisedActor<udp::SocketTable>,
    /// `None` for the registry's own arbiter.
    thread: Option<ArbiterThread>,
}

impl ShardSlot {
    /// Starts the actor. Each shard but the first has a thread of its own.
    pub(in crate::registry) fn start(
        index: usize,
        network: &Arc<dyn Network>,
        tls: &tls::Client,
        registry_link: &RegistryLink,
    ) -> Self {
        let thread = (index > 0).then(ArbiterThread::start).flatten();
        let arbiter = thread.as_ref().map(|thread| &thread.0);
        let stats = registry_link.telemetry.new_arbiter(index);
        let command_queue = Arc::new(CommandQueue::default());
        let table = SocketTable::start(
            network.clone(),
            tls.clone(),
            command_queue.clone(),
            stats.clone(),
            registry_link.clone(),
            arbiter,
        );
        let udp_queue = Arc::new(udp::CommandQueue::default());
        let udp_table = udp::SocketTable::start(
            network.clone(),
            udp_queue.clone(),
            registry_link.clone(),
            arbiter,
        );
        let udp_addr = udp_table.stable_addr.clone();
        let udp_shard = udp::Shard::new(index > 0, udp_addr, udp_queue, stats.clone());
        let arbiter = arbiter.cloned().unwrap_or_else(Arbiter::current);
        let stable_addr = table.stable_addr.clone();
        let shard = Shard::new(index, index > 0, stable_addr, command_queue, stats, arbiter);
        let shard = Arc::new(shard);
        let gauges = Arc::downgrade(&shard);
        registry_link.telemetry.add_source(move |readings| {
            let shard = gauges.upgrade();
            shard.map(|shard| shard.read_gauges(readings)).is_some()
        });
        ShardSlot {
            shard,
            table,
            udp_shard: Arc::new(udp_shard),
            udp_table,
            thread,
        }
    }

    /// Restarts the actors that were dropped: in the same arbiter, or in a new one
    /// if that has ended. Returns the shard if it has a new arbiter.
    pub(in crate::registry) fn restart_if_dropped(&mut self) -> Option<Arc<Shard>> {
        let (shard, thread) = (&self.shard, &mut self.thread);
        let mut has_moved = false;
        let mut find_arbiter = || {
            if !shard.arbiter().alive() {
                has_moved = true;
                *thread = shard.is_remote.then(ArbiterThread::start).flatten();
                let arbiter = thread.as_ref().map(|thread| thread.0.clone());
                shard.set_arbiter(arbiter.unwrap_or_else(Arbiter::current));
            }
            thread.as_ref().map(|thread| thread.0.clone())
        };
        self.table.restart_if_dropped(&mut find_arbiter);
        self.udp_table.restart_if_dropped(&mut find_arbiter);
        has_moved.then(|| shard.clone())
    }

    /// Closes every socket, and then ends the actors and their thread.
    pub(in crate::registry) fn stop(self) -> impl Future<Output = ()> {
        let stopped = self.table.stable_addr.ask(tcp::Stop);
        let udp_stopped = self.udp_table.stable_addr.ask(udp::Stop);
        async move {
            udp_stopped.await;
            stopped.await;
            drop(self);
        }
    }

    /// As [`stop`](Self::stop), without waiting.
    pub(in crate::registry) fn stop_detached(self) {
        let arbiter = self.shard.arbiter();
        let address = self.table.address();
        self.udp_table.address().do_send(udp::Stop);
        match self.thread {
            None => address.do_send(tcp::Stop),
            Some(thread) => {
                // The thread has to live until the actor has ended.
                arbiter.spawn(async move {
                    // Fails if the actor has ended, which has closed its sockets.
                    let _ = address.send(tcp::Stop).await;
                    drop(thread);
                });
            }
        }
    }
}

/// A thread with an arbiter. It ends when this is dropped.
struct ArbiterThread(ArbiterHandle);

impl ArbiterThread {
    fn start() -> Option<Self> {
        match Arbiter::try_new() {
            Ok(arbiter) => Some(ArbiterThread(arbiter.handle())),
            Err(error) => {
                log::error!("no thread for client sockets: {error}");
                None
            }
        }
    }
}

impl Drop for ArbiterThread {
    fn drop(&mut self) {
        self.0.stop();
    }
}
