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
    self, Recoverable, RegistryLink, RestartCounter, Restarter, SupervisedActor, Terminate,
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
const PATIENCE_WITH_ONE: u32 = 3;

/// Where the actor was, in case it falls.
#[derive(Default)]
pub(super) struct RecoveryState {
    /// The slot of the row that it works on.
    pub(super) at: Option<u32>,
    /// The row that it fell at last, and how often it did so in a row.
    suspect: Option<(u32, u32)>,
    /// Whether it is closing that row's socket, whose id is gone already.
    pub(super) closing: bool,
    /// Whether it is to stop: a fault.
    pub(super) stops: bool,
    /// Whether its end is meant.
    pub(super) ended: bool,
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
    ) -> SupervisedActor<Self> {
        let restart_counter =
            RestartCounter::new(supervision::ActorKind::ClientSockets, None, registry_link);
        SupervisedActor::start(restart_counter, arbiter, |restarter| {
            let mut rows = SocketTable::new(network, tls, command_queue);
            rows.fall.restarter = restarter;
            rows
        })
    }

    /// Works on this row from here on.
    #[inline]
    pub(super) fn begin(&mut self, slot: u32) {
        self.fall.at = Some(slot);
        #[cfg(feature = "testing")]
        if self.network.checkpoint(Checkpoint::ClientSockets) {
            self.fall.stops = true;
        }
    }

    /// Nothing was wrong with this row.
    #[inline]
    pub(super) fn is_sound(&mut self, slot: u32) {
        if self
            .fall
            .suspect
            .is_some_and(|(suspect, _)| suspect == slot)
        {
            self.fall.suspect = None;
        }
    }

    /// If the last turn has panicked: takes up what it had in hand, and ends
    /// what cannot be gone on with.
    pub(super) fn recover_after_panic(&mut self) {
        let Some(slot) = self.fall.at.take() else {
            return;
        };
        if let Some(call) = self.command_queue.queue.take_interrupted() {
            self.calls.push_front(call);
        }
        let times = match self.fall.suspect {
            Some((suspect, times)) if suspect == slot => times + 1,
            _ => 1,
        };
        self.fall.suspect = Some((slot, times));
        let closing = mem::take(&mut self.fall.closing);
        let is_enough = times >= PATIENCE_WITH_ONE;
        match self.entries.get_mut(slot as usize) {
            Some(Entry::Socket(row)) => {
                let socket = row.socket.clone();
                let in_hand = mem::take(&mut row.in_hand);
                if closing {
                    self.entries.remove(slot as usize);
                    return;
                }
                if in_hand || is_enough {
                    log::error!("client socket {}: its connection is lost", socket.id());
                    self.lose(&socket, is_enough);
                }
                // It may have been taken from the queue, and not looked at.
                socket.looked_at();
                socket.make_ready();
            }
            Some(Entry::Lingering(_)) if is_enough => {
                self.entries.remove(slot as usize);
            }
            Some(Entry::Lingering(lingering)) => {
                lingering.socket.looked_at();
                lingering.socket.make_ready();
            }
            None => {}
        }
    }

    /// Ends a connection that cannot be gone on with; its app is told when all
    /// that came before is handled. One that may be what makes the actor panic is
    /// reset, as it must not be looked at again.
    fn lose(&mut self, socket: &ClientSocket, is_suspect: bool) {
        let Some(row) = self.row(socket) else { return };
        match &mut row.link {
            Link::Connected(connection) if row.transfer == Transfer::Frozen => {
                // Another process may use this connection: only this process's descriptor is
                // closed.
                drop(connection.give_up(NetError::FAILED));
            }
            Link::Connected(connection) => match connection.give_up(NetError::FAILED) {
                Some(ended) if is_suspect => ended.stream.reset(),
                ended => self.linger(ended, socket),
            },
            Link::Securing(_) => self.give_up(socket, NetError::FAILED),
            Link::Connecting(_) | Link::None => {}
        }
    }
}

impl Recoverable for SocketTable {
    fn thread_changed(&mut self) {
        self.timers.forget_clock();
        for (_, entry) in &mut self.entries {
            match entry {
                Entry::Socket(row) => row.reregister(),
                Entry::Lingering(lingering) => {
                    lingering.reregister();
                    lingering.socket.make_ready();
                }
            }
        }
    }

    fn abandon(&mut self) {
        self.fall.ended = true;
        for row in self.rows() {
            row.end(NetError::FAILED);
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
        self.settle();
        self.pausing.timer_ended();
        self.time_pauses();
        self.recover_anew();
        self.socket.make_ready();
    }
}

impl Connection {
    pub(super) fn reregister(&mut self) {
        self.close_fast_path();
        if let Err(error) = self.stream.reregister() {
            log::error!("a connection is lost: {error}");
            // No event loop has it: it cannot linger.
            drop(self.give_up(NetError::FAILED));
        }
    }
}

impl actix::Supervised for SocketTable {}

impl Handler<Terminate> for SocketTable {
    type Result = ();

    /// Every connection ends; the sockets can be used again.
    fn handle(&mut self, _: Terminate, _: &mut Self::Context) {
        self.give_up_lingering(NetError::FAILED);
        let sockets = self.entries.iter().filter_map(|(_, entry)| match entry {
            Entry::Socket(row) => Some(row.socket.clone()),
            Entry::Lingering(_) => None,
        });
        for socket in sockets.collect::<Vec<_>>() {
            self.lose(&socket, true);
            socket.make_ready();
        }
    }
}

impl Drop for SocketTable {
    fn drop(&mut self) {
        if !self.fall.ended
            && let Some(restarter) = self.fall.restarter.upgrade()
        {
            let mut husk = SocketTable::new(self.network.clone(), self.tls.clone(), Arc::default());
            husk.fall.ended = true;
            self.fall.stops = false;
            return restarter.salvage(mem::replace(self, husk));
        }
        self.command_queue.queue.close();
    }
}

/// A task's word for its row, which it gives however it ends: also when it
/// panics, or its thread ends.
pub(super) struct CompletionGuard<T, F: FnOnce(Result<T, NetError>) -> Command> {
    socket: ClientSocket,
    tell: Option<F>,
    made: std::marker::PhantomData<fn(T)>,
}

impl<T, F: FnOnce(Result<T, NetError>) -> Command> CompletionGuard<T, F> {
    pub(super) fn new(socket: &ClientSocket, tell: F) -> Self {
        CompletionGuard {
            socket: socket.clone(),
            tell: Some(tell),
            made: std::marker::PhantomData,
        }
    }

    /// Does the work, and tells what came of it.
    pub(super) async fn with(mut self, work: impl Future<Output = Result<T, NetError>>) {
        let actor = supervision::ActorKind::Connecting(self.socket.id());
        let registry_link = self.socket.app_shard().activity.registry_link();
        let made =
            supervision::catch_task_panic(work, actor, self.socket.app(), registry_link).await;
        self.tell(made.unwrap_or(Err(NetError::FAILED)));
    }

    fn tell(&mut self, made: Result<T, NetError>) {
        if let Some(tell) = self.tell.take() {
            self.socket.do_send(tell(made));
        }
    }
}

impl<T, F: FnOnce(Result<T, NetError>) -> Command> Drop for CompletionGuard<T, F> {
    fn drop(&mut self) {
        self.tell(Err(NetError::FAILED));
    }
}
