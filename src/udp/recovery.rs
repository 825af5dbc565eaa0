//! Recovery of the actor after a panic or the loss of its thread.

use std::mem;
use std::sync::Arc;

use actix::prelude::*;

use crate::net_error::NetError;
#[cfg(feature = "testing")]
use crate::os::Checkpoint;
use crate::os::Network;
use crate::supervision::{
    ActorKind, Recoverable, RegistryLink, RestartCounter, SlotPanic, SupervisedActor, Terminate,
};
use crate::udp::actor::SocketTable;
use crate::udp::binding::state::SocketState;
use crate::udp::command::CommandQueue;

impl SocketTable {
    /// Starts the actor of this command queue, in `arbiter` or in the current one.
    pub(crate) fn start(
        network: Arc<dyn Network>,
        command_queue: Arc<CommandQueue>,
        registry_link: RegistryLink,
        arbiter: Option<&ArbiterHandle>,
    ) -> SupervisedActor<Self> {
        let restart_counter = RestartCounter::new(ActorKind::UdpSockets, None, registry_link);
        SupervisedActor::start(restart_counter, arbiter, |restarter| {
            let mut table = SocketTable::new(network, command_queue);
            table.recovery.restarter = restarter;
            table
        })
    }

    /// The actor works on this slot from here on.
    #[inline]
    pub(super) fn begin_slot(&mut self, slot: u32) {
        self.recovery.slot = Some(slot);
        #[cfg(feature = "testing")]
        if self.network.checkpoint(Checkpoint::UdpSockets) {
            self.recovery.stop_requested = true;
        }
    }

    /// If the last turn has panicked: goes on with the socket, or gives its port back. The call in
    /// hand has answered its caller. A datagram in hand is lost, as others on the way are.
    pub(super) fn recover_after_panic(&mut self) {
        let Some(panic) = self.recovery.take_panic() else {
            return;
        };
        let SlotPanic {
            slot,
            was_closing,
            is_suspect,
        } = panic;
        let Some(state) = self.entries.get_mut(slot as usize) else {
            return;
        };
        // `close` has removed the id, so no call can end the socket any more.
        if was_closing {
            self.entries.remove(slot as usize);
            return;
        }
        if is_suspect {
            log::error!("udp socket {}: its port is released", state.socket.id());
            state.lose_binding();
        }
        // The slot may have been taken from the queue and not polled.
        state.socket.clear_ready();
        state.socket.make_ready();
    }
}

impl SocketState {
    /// The port is released, and `onReceiveError` reports it at the next poll.
    fn lose_binding(&mut self) {
        if let Some(mut binding) = self.binding.take() {
            binding.fail_unsent(NetError::FAILED);
            self.paused = true;
            self.errors.push(NetError::FAILED);
            self.socket.make_ready();
        }
    }

    /// The socket is in another thread now.
    pub(super) fn reregister(&mut self) {
        if let Some(binding) = &mut self.binding {
            // Its sender belongs to the old event loop.
            binding.fast_path = None;
            if let Err(error) = binding.datagrams.reregister() {
                let id = self.socket.id();
                log::error!("udp socket {id}: it cannot move to another event loop: {error}");
                self.lose_binding();
            }
        }
        self.update_fast_path();
        self.pausing.timer_ended();
        self.arm_pause_timer();
        self.restart_redelivery_timers();
        self.socket.make_ready();
    }
}

impl Recoverable for SocketTable {
    fn thread_changed(&mut self) {
        for (_, state) in &mut self.entries {
            state.reregister();
        }
    }

    fn abandon(&mut self) {
        self.recovery.has_ended = true;
        for (_, state) in &mut self.entries {
            state.unbind(NetError::FAILED);
        }
    }
}

impl actix::Supervised for SocketTable {}

impl Handler<Terminate> for SocketTable {
    type Result = ();

    /// Releases every port. The sockets can be used again.
    fn handle(&mut self, _: Terminate, _: &mut Self::Context) {
        for (_, state) in &mut self.entries {
            state.lose_binding();
        }
    }
}

impl Drop for SocketTable {
    fn drop(&mut self) {
        if !self.recovery.has_ended
            && let Some(restarter) = self.recovery.restarter.upgrade()
        {
            // `Drop` cannot move the value out, so it leaves one without sockets behind.
            let mut placeholder = SocketTable::new(self.network.clone(), Arc::default());
            placeholder.recovery.has_ended = true;
            self.recovery.stop_requested = false;
            return restarter.salvage(mem::replace(self, placeholder));
        }
        self.command_queue.close();
    }
}
