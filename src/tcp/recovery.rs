//! The client sockets' actor when it has fallen, and goes on.

use std::future::Future;
use std::mem;
use std::sync::{Arc, Weak};

use actix::prelude::*;

use crate::net_error::NetError;
#[cfg(feature = "testing")]
use crate::os::Checkpoint;
use crate::os::Network;
use crate::supervision::{
    self, Child, Recoverable, RegistryLink, RestartCounter, Restarter, Terminate,
};
use crate::tcp::actor::{Entry, SocketTable};
use crate::tcp::command::Command;
use crate::tcp::command_queue::CommandQueue;
use crate::tcp::connection::state::{SocketState, Transfer};
use crate::tcp::connection::{Connection, Link};
use crate::tcp::socket::ClientSocket;
use crate::tls;

/// A socket that the actor panics at this often, one time after the other, is
/// what makes it panic: its connection ends, so that the others go on.
const MAX_PANICS_PER_SOCKET: u32 = 3;

/// Where the actor was, in case it falls.
#[derive(Default)]
pub(super) struct RecoveryState {
    /// The slot of the row that it works on.
    pub(super) slot: Option<u32>,
    /// The row that it fell at last, and how often it did so in a row.
    suspect: Option<(u32, u32)>,
    /// Whether it is closing that row's socket, whose id is gone already.
    pub(super) is_closing: bool,
    /// Whether it is to stop: a fault.
    pub(super) stop_requested: bool,
    /// Whether its end is meant.
    pub(super) has_ended: bool,
    restarter: Weak<Restarter<SocketTable>>,
}

impl SocketTable {
    /// Starts the actor behind this inbox, in this arbiter or the current one.
    pub(crate) fn start(
        network: Arc<dyn Network>,
        tls: tls::Client,
        command_queue: Arc<CommandQueue>,
        registry_link: RegistryLink,
        arbiter: Option<&ArbiterHandle>,
    ) -> Child<Self> {
        let restart_counter =
            RestartCounter::new(supervision::ActorKind::ClientSockets, None, registry_link);
        Child::start(restart_counter, arbiter, |restarter| {
            let mut table = SocketTable::new(network, tls, command_queue);
            table.recovery.restarter = restarter;
            table
        })
    }

    /// Works on this row from here on.
    #[inline]
    pub(super) fn begin_slot(&mut self, slot: u32) {
        self.recovery.slot = Some(slot);
        #[cfg(feature = "testing")]
        if self.network.checkpoint(Checkpoint::ClientSockets) {
            self.recovery.stop_requested = true;
        }
    }

    /// Nothing was wrong with this row.
    #[inline]
    pub(super) fn clear_suspect(&mut self, slot: u32) {
        if self
            .recovery
            .suspect
            .is_some_and(|(suspect, _)| suspect == slot)
        {
            self.recovery.suspect = None;
        }
    }

    /// If the last turn has panicked: takes up what it had in hand, and ends
    /// what cannot be gone on with.
    pub(super) fn recover_after_panic(&mut self) {
        let Some(slot) = self.recovery.slot.take() else {
            return;
        };
        if let Some(call) = self.command_queue.queue.take_in_hand() {
            self.calls.push_front(call);
        }
        let panics = match self.recovery.suspect {
            Some((suspect, panics)) if suspect == slot => panics + 1,
            _ => 1,
        };
        self.recovery.suspect = Some((slot, panics));
        let is_closing = mem::take(&mut self.recovery.is_closing);
        let is_enough = panics >= MAX_PANICS_PER_SOCKET;
        match self.entries.get_mut(slot as usize) {
            Some(Entry::Socket(state)) => {
                let socket = state.socket.clone();
                let was_raising = mem::take(&mut state.is_raising);
                if is_closing {
                    self.entries.remove(slot as usize);
                    return;
                }
                if was_raising || is_enough {
                    log::error!("client socket {}: its connection is lost", socket.id());
                    self.lose_connection(&socket, is_enough);
                }
                // It may have been taken from the queue, and not looked at.
                socket.clear_ready();
                socket.make_ready();
            }
            Some(Entry::Lingering(_)) if is_enough => {
                self.entries.remove(slot as usize);
            }
            Some(Entry::Lingering(lingering)) => {
                lingering.socket.clear_ready();
                lingering.socket.make_ready();
            }
            None => {}
        }
    }

    /// Ends a connection that cannot be gone on with; its app is told when all
    /// that came before is handled. One that may be what makes the actor panic is
    /// reset, as it must not be looked at again.
    fn lose_connection(&mut self, socket: &ClientSocket, is_suspect: bool) {
        let Some(state) = self.get(socket) else {
            return;
        };
        match &mut state.link {
            Link::Connected(connection) if state.transfer == Transfer::Frozen => {
                // Another process may use this connection: only this process's descriptor is
                // closed.
                drop(connection.terminate(NetError::FAILED));
            }
            Link::Connected(connection) => match connection.terminate(NetError::FAILED) {
                Some(ended) if is_suspect => ended.stream.reset(),
                ended => self.linger(ended, socket),
            },
            Link::Securing(_) => self.fail_secure(socket, NetError::FAILED),
            Link::Connecting(_) | Link::None => {}
        }
    }
}

impl Recoverable for SocketTable {
    fn thread_changed(&mut self) {
        self.timers.drop_sleep();
        for (_, entry) in &mut self.entries {
            match entry {
                Entry::Socket(state) => state.reregister(),
                Entry::Lingering(lingering) => {
                    lingering.reregister();
                    lingering.socket.make_ready();
                }
            }
        }
    }

    fn abandon(&mut self) {
        self.recovery.has_ended = true;
        for state in self.states_mut() {
            state.disconnect(NetError::FAILED);
        }
    }
}

impl SocketState {
    /// Its thread is another one.
    fn reregister(&mut self) {
        match &mut self.link {
            Link::Connected(connection) => connection.reregister(),
            Link::Securing(securing) => securing.reregister(&self.socket),
            // The task that connected says itself that it is over.
            Link::Connecting(_) | Link::None => {}
        }
        self.update_fast_path();
        self.pausing.timer_ended();
        self.arm_pause_timer();
        self.restart_redelivery_timers();
        self.socket.make_ready();
    }
}

impl Connection {
    pub(super) fn reregister(&mut self) {
        self.close_fast_path();
        if let Err(error) = self.stream.reregister() {
            log::error!("a connection is lost: {error}");
            // No event loop has it: it cannot linger.
            drop(self.terminate(NetError::FAILED));
        }
    }
}

impl actix::Supervised for SocketTable {}

impl Handler<Terminate> for SocketTable {
    type Result = ();

    /// Every connection ends; the sockets can be used again.
    fn handle(&mut self, _: Terminate, _: &mut Self::Context) {
        self.abort_all_lingering(NetError::FAILED);
        let sockets = self.states().map(|state| state.socket.clone());
        for socket in sockets.collect::<Vec<_>>() {
            self.lose_connection(&socket, true);
            socket.make_ready();
        }
    }
}

impl Drop for SocketTable {
    fn drop(&mut self) {
        if !self.recovery.has_ended
            && let Some(restarter) = self.recovery.restarter.upgrade()
        {
            let mut placeholder =
                SocketTable::new(self.network.clone(), self.tls.clone(), Arc::default());
            placeholder.recovery.has_ended = true;
            self.recovery.stop_requested = false;
            return restarter.salvage(mem::replace(self, placeholder));
        }
        self.command_queue.queue.close();
    }
}

/// Reports the result of a spawned task to its socket: also if the task panics, or its thread ends.
pub(super) struct CompletionGuard {
    socket: ClientSocket,
    /// Reported if the task has no result.
    failure: Option<Command>,
}

impl CompletionGuard {
    pub(super) fn new(socket: &ClientSocket, failure: Command) -> Self {
        CompletionGuard {
            socket: socket.clone(),
            failure: Some(failure),
        }
    }

    pub(super) async fn run(mut self, work: impl Future<Output = Command>) {
        let actor = supervision::ActorKind::Connecting(self.socket.id());
        let registry_link = self.socket.app_shard().activity.registry_link();
        let result =
            supervision::catch_task_panic(work, actor, self.socket.app(), registry_link).await;
        if let Some(failure) = self.failure.take() {
            self.socket.do_send(result.unwrap_or(failure));
        }
    }
}

impl Drop for CompletionGuard {
    fn drop(&mut self) {
        if let Some(failure) = self.failure.take() {
            self.socket.do_send(failure);
        }
    }
}
