//! Recovery of the client sockets' actor after a panic or the loss of its thread.

use std::future::Future;
use std::mem;
use std::sync::Arc;

use actix::prelude::*;

use crate::net_error::NetError;
#[cfg(feature = "testing")]
use crate::os::Checkpoint;
use crate::os::Network;
use crate::supervision::{
    ActorKind, Recoverable, RegistryLink, RestartCounter, SlotPanic, SupervisedActor, Terminate,
    catch_task_panic,
};
use crate::tcp::actor::{Entry, SocketTable};
use crate::tcp::command::Command;
use crate::tcp::command_queue::CommandQueue;
use crate::tcp::connection::state::{SocketState, Transfer};
use crate::tcp::connection::{Connection, Link};
use crate::tcp::socket::ClientSocket;
use crate::telemetry::ArbiterStats;
use crate::tls;

impl SocketTable {
    /// Starts the actor of this command queue, in `arbiter` or in the current one.
    pub(crate) fn start(
        network: Arc<dyn Network>,
        tls: tls::Client,
        command_queue: Arc<CommandQueue>,
        stats: Arc<ArbiterStats>,
        registry_link: RegistryLink,
        arbiter: Option<&ArbiterHandle>,
    ) -> SupervisedActor<Self> {
        let restart_counter = RestartCounter::new(ActorKind::ClientSockets, None, registry_link);
        SupervisedActor::start(restart_counter, arbiter, |restarter| {
            let mut table = SocketTable::new(network, tls, command_queue, stats);
            table.recovery.restarter = restarter;
            table
        })
    }

    /// The actor works on this slot from here on.
    #[inline]
    pub(super) fn begin_slot(&mut self, slot: u32) {
        self.recovery.slot = Some(slot);
        #[cfg(feature = "testing")]
        if self.network.checkpoint(Checkpoint::ClientSockets) {
            self.recovery.stop_requested = true;
        }
    }

    /// If the last turn has panicked: takes back the call in hand, and ends a connection that is in
    /// an unknown state.
    pub(super) fn recover_after_panic(&mut self) {
        let Some(panic) = self.recovery.take_panic() else {
            return;
        };
        let SlotPanic {
            slot,
            was_closing,
            is_suspect,
        } = panic;
        if let Some(call) = self.command_queue.queue.take_interrupted() {
            self.calls.push_front(call);
        }
        match self.entries.get_mut(slot as usize) {
            Some(Entry::Socket(state)) => {
                let socket = state.socket.clone();
                let was_raising = mem::take(&mut state.is_raising);
                // `close` has removed the id, so no call can end the socket any more.
                if was_closing {
                    self.entries.remove(slot as usize);
                    return;
                }
                // Bytes that were read and not raised are lost, so the stream has a gap.
                if was_raising || is_suspect {
                    log::error!("client socket {}: its connection is lost", socket.id());
                    self.lose_connection(&socket, is_suspect);
                }
                // The slot may have been taken from the queue and not polled.
                socket.clear_ready();
                socket.make_ready();
            }
            Some(Entry::Lingering(_)) if is_suspect => {
                self.entries.remove(slot as usize);
            }
            Some(Entry::Lingering(lingering)) => {
                lingering.socket.clear_ready();
                lingering.socket.make_ready();
            }
            None => {}
        }
    }

    /// Ends a connection that is in an unknown state. The app is informed when all earlier events
    /// are handled. If the connection is the suspected cause of panics, it is reset, because it
    /// must not be polled again.
    fn lose_connection(&mut self, socket: &ClientSocket, is_suspect: bool) {
        let Some(state) = self.get(socket) else {
            return;
        };
        match &mut state.link {
            Link::Connected(connection) if state.transfer == Transfer::Frozen => {
                // The other process may use this connection: only this process's descriptor is
                // closed.
                drop(connection.terminate(NetError::FAILED));
            }
            Link::Connected(connection) => match connection.terminate(NetError::FAILED) {
                // Not by `linger`, which would poll it.
                Some(closed) if is_suspect => closed.stream.reset(),
                closed => self.linger(closed, socket),
            },
            Link::Securing(_) => self.fail_secure(socket, NetError::FAILED),
            Link::Connecting(_) | Link::None => {}
        }
    }
}

impl Recoverable for SocketTable {
    fn thread_changed(&mut self) {
        // The timers of the old thread are gone.
        self.timers.drop_sleep();
        if !self.poller.reregister() {
            self.detach_all();
        }
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
    /// The socket is in another thread now.
    fn reregister(&mut self) {
        match &mut self.link {
            Link::Connected(connection) => connection.reregister(),
            Link::Securing(securing) => securing.reregister(&self.socket),
            // The task that connects reports its own end.
            Link::Connecting(_) | Link::None => {}
        }
        // `Connection::reregister` closes the fast path. Its writer belongs to the old event loop.
        self.update_fast_path();
        self.pausing.timer_ended();
        self.arm_pause_timer();
        self.restart_redelivery_timers();
        self.restart_send_queue_timer();
        self.socket.make_ready();
    }
}

impl Connection {
    pub(super) fn reregister(&mut self) {
        self.close_fast_path();
        if let Err(error) = self.stream.reregister() {
            log::error!("a connection is lost, it cannot move to another event loop: {error}");
            // It cannot linger, because no event loop has it.
            drop(self.terminate(NetError::FAILED));
        }
    }
}

impl actix::Supervised for SocketTable {}

impl Handler<Terminate> for SocketTable {
    type Result = ();

    /// Ends every connection. The sockets can be used again.
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
            // `Drop` cannot move the value out, so it leaves one without sockets behind.
            let mut placeholder = SocketTable::new(
                self.network.clone(),
                self.tls.clone(),
                Arc::default(),
                Arc::default(),
            );
            placeholder.recovery.has_ended = true;
            self.recovery.stop_requested = false;
            return restarter.salvage(mem::replace(self, placeholder));
        }
        self.command_queue.queue.close();
    }
}

/// Reports the result of a spawned task to its socket, also if the task panics or its thread ends.
pub(super) struct CompletionGuard {
    socket: ClientSocket,
    /// The report of a task that has no result.
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
        let actor = ActorKind::Connecting(self.socket.id());
        let registry_link = self.socket.app_shard().activity.registry_link();
        let result = catch_task_panic(work, actor, self.socket.app(), registry_link).await;
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
