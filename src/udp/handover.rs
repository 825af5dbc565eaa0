//! Sockets in a handover to another process: quiesced, exported, imported.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;

use actix::prelude::*;
use futures::future::join_all;

use crate::answer::Answer;
use crate::handover_state::{
    AnySocketId, HandoverOutcome, NotTransferred, TransferredUdp, UdpRecord, check_app_id,
};
use crate::net_error::NetError;
use crate::os::{DatagramSocket, MulticastOptions};
use crate::udp::SocketProperties;
use crate::udp::actor::SocketTable;
use crate::udp::binding::state::{Binding, SocketState, Transfer};
use crate::udp::command::QueuedCall;
use crate::udp::socket::Socket;

/// Persistent sockets raise no events until the handover's outcome is known. Answered when
/// listeners have handled the events raised before, or after [`PAUSE_GRACE`](crate::PAUSE_GRACE).
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Quiesce(pub(crate) HandoverOutcome);

/// Exports persistent sockets. They are frozen from here on: their calls wait for the outcome.
#[derive(Message)]
#[rtype(result = "Exported")]
pub(crate) struct Export(pub(crate) HandoverOutcome);

/// The handover in progress, and the calls that wait for its outcome.
pub(super) struct PendingHandover {
    outcome: HandoverOutcome,
    calls: VecDeque<QueuedCall>,
}

#[derive(Default)]
pub(crate) struct Exported {
    pub(crate) sockets: Vec<TransferredUdp>,
    pub(crate) not_transferred: Vec<NotTransferred>,
}

/// A socket that another process has exported.
pub(crate) struct Inherited {
    pub(crate) record: UdpRecord,
    pub(crate) datagrams: Option<Box<dyn DatagramSocket>>,
}

impl SocketState {
    pub(super) fn inherited(socket: Socket, inherited: Inherited) -> Self {
        let Inherited { record, datagrams } = inherited;
        let mut state = SocketState::new(socket);
        // The record's name was checked when it was read.
        let _ = state.update(SocketProperties {
            persistent: Some(true),
            name: record.name,
            buffer_size: record.buffer_size,
        });
        state.paused = record.paused;
        state.options = MulticastOptions {
            time_to_live: record.time_to_live,
            loopback: record.loopback,
        };
        let is_remote = state.socket.app_shard().shard.is_remote;
        let binding = datagrams.map(|mut datagrams| {
            // It was adopted in the registry's thread.
            if is_remote {
                datagrams.reregister()?;
            }
            Binding::new(datagrams)
        });
        match binding.transpose() {
            Ok(binding) => {
                state.binding = binding;
                state.socket.begin_traffic();
            }
            Err(error) => {
                let id = state.socket.id();
                log::error!("udp socket {id}: it cannot move to another event loop: {error}");
                state.errors.push(NetError::FAILED);
                state.paused = true;
            }
        }
        if let Some(binding) = &mut state.binding {
            // The descriptor has joined them already.
            binding.groups = record.groups;
        }
        state
    }

    /// Freezes the socket, and returns it for another process. An error leaves it here.
    fn export(&mut self) -> io::Result<TransferredUdp> {
        // Returned events are not part of a record: the other process would lose them.
        if self.has_returned() || !self.errors.is_empty() {
            return Err(io::Error::other(
                "its listener died, and its events have to be raised again",
            ));
        }
        check_app_id(self.socket.app())?;
        if let Some(binding) = &mut self.binding {
            binding.fast_path = None;
        }
        let binding = self.binding.as_ref();
        let descriptor = binding.map(|binding| binding.datagrams.duplicate());
        let transferred = TransferredUdp {
            socket: descriptor.transpose()?,
            record: UdpRecord {
                app: self.socket.app().as_str().to_owned(),
                id: self.socket.id().get(),
                name: self.name.as_deref().map(str::to_owned),
                buffer_size: self.buffer_size,
                paused: self.paused,
                suspended: self.socket.app_shard().activity.is_suspended(),
                time_to_live: self.options.time_to_live,
                loopback: self.options.loopback,
                groups: self.joined_groups(),
            },
        };
        self.transfer = Transfer::Frozen;
        Ok(transferred)
    }

    /// The socket stays in this process: it raises events again.
    fn end_transfer(&mut self) {
        self.transfer = Transfer::None;
        self.update_fast_path();
        self.socket.make_ready();
    }

    /// Another process owns the socket now.
    fn finish_transfer(&mut self) {
        self.socket.mark_closed();
        // The socket raises nothing here any more.
        self.pausing.answer_all(Ok(()));
        if let Some(binding) = &mut self.binding {
            // Datagrams that the OS had no room for are lost, and reported.
            binding.fail_unsent(NetError::ABORTED);
        }
    }
}

/// Whether these groups can be those of one socket.
pub(crate) fn are_valid_groups(groups: &[IpAddr]) -> bool {
    let is_valid =
        |(at, group): (usize, &IpAddr)| group.is_multicast() && !groups[..at].contains(group);
    groups.len() <= MAX_GROUPS && groups.iter().enumerate().all(is_valid)
}

/// The most groups in a record: more than an OS lets a socket join by default.
const MAX_GROUPS: usize = 1024;

impl SocketTable {
    /// Returns the call, unless its socket is frozen: then the call waits for the handover's
    /// outcome.
    #[inline]
    pub(super) fn defer_if_frozen(&mut self, call: QueuedCall) -> Option<QueuedCall> {
        let Some(handover) = &mut self.handover else {
            return Some(call);
        };
        let socket = call.socket();
        let state = self.entries.get(socket.slot() as usize);
        let is_frozen = state
            .is_some_and(|state| state.socket == *socket && state.transfer == Transfer::Frozen);
        if is_frozen {
            handover.calls.push_back(call);
            return None;
        }
        Some(call)
    }

    fn begin_handover(&mut self, outcome: HandoverOutcome, ctx: &mut Context<Self>) {
        if self.handover.is_none() {
            let calls = VecDeque::new();
            self.handover = Some(PendingHandover { outcome, calls });
            self.await_outcome(ctx);
        }
    }

    /// Resumes or forgets frozen sockets when the outcome of the handover, if there is one, is
    /// known.
    pub(super) fn await_outcome(&self, ctx: &mut Context<Self>) {
        if let Some(PendingHandover { outcome, .. }) = &self.handover {
            let outcome = outcome.clone().transferred().into_actor(self);
            let finished = outcome.map(|transferred, table, _| table.finish_handover(transferred));
            ctx.spawn(finished);
        }
    }

    fn finish_handover(&mut self, is_transferred: bool) {
        let handover = self.handover.take();
        let mut calls = handover.map_or_else(VecDeque::new, |it| it.calls);
        if is_transferred {
            self.entries.retain(|_, state| {
                let is_gone = state.transfer == Transfer::Frozen;
                if is_gone {
                    state.finish_transfer();
                }
                !is_gone
            });
        }
        for (_, state) in &mut self.entries {
            if state.transfer != Transfer::None {
                state.end_transfer();
            }
        }
        // The calls that have waited are older than those in the turn.
        calls.append(&mut self.calls);
        self.calls = calls;
        self.run_calls();
    }
}

impl Handler<Quiesce> for SocketTable {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Quiesce(outcome): Quiesce, ctx: &mut Self::Context) -> Self::Result {
        // Earlier calls may make sockets persistent.
        self.flush_calls();
        self.begin_handover(outcome, ctx);
        let states = self.entries.iter_mut().map(|(_, state)| state);
        let answers: Vec<_> = states
            .filter(|state| state.persistent)
            .map(|state| {
                state.transfer = Transfer::Quiescing;
                let (handled, reply) = Answer::pair();
                match state.socket.unhandled().events() {
                    0 => reply.send(Ok(())),
                    _ => state.answer_when_handled(reply),
                }
                handled
            })
            .collect();
        Box::pin(async move {
            // Events that are unhandled after the grace do not stop the export: they were raised.
            join_all(answers).await;
        })
    }
}

impl Handler<Export> for SocketTable {
    type Result = MessageResult<Export>;

    fn handle(&mut self, Export(outcome): Export, ctx: &mut Self::Context) -> Self::Result {
        self.flush_calls();
        self.begin_handover(outcome, ctx);
        let mut exported = Exported::default();
        for (_, state) in &mut self.entries {
            // `Quiesce` may have found it persistent, and a later call changed that.
            if !state.persistent {
                if state.transfer != Transfer::None {
                    state.end_transfer();
                }
                continue;
            }
            match state.export() {
                Ok(socket) => exported.sockets.push(socket),
                Err(error) => {
                    state.end_transfer();
                    exported.not_transferred.push(NotTransferred {
                        socket: AnySocketId::Udp(state.socket.app().clone(), state.socket.id()),
                        reason: error.to_string(),
                    });
                }
            }
        }
        MessageResult(exported)
    }
}
