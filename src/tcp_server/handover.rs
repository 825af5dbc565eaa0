//! A server socket on its way to another process.

use crate::tcp_server::actor::Transfer;
use std::io;
use std::net::SocketAddr;

use actix::prelude::*;
use actix_rt::time::timeout;

use crate::answer::Answer;
use crate::error::Error;
use crate::handover_state;
use crate::handover_state::{
    AnySocketId, HandoverOutcome, NotTransferred, ServerRecord, check_app_id,
};
use crate::ids::ClientSocketId;
use crate::net_error::NetError;
use crate::os::Stream;
use crate::pending_pauses::PAUSE_GRACE;
use crate::supervision::SupervisedActor;
use crate::tcp::{AcceptNotifier, ClientSocket, ConnectionMeta};
use crate::tcp_server::SocketProperties;
use crate::tcp_server::accept::errors::AfterError;
use crate::tcp_server::accept::failure::Unreported;
use crate::tcp_server::actor::{Bound, ServerDeps, ServerSocket, Stop};
use crate::tcp_server::settings_record::{Settings, unless_default};
use crate::tcp_server::tls::handshakes::Handshakes;

/// A persistent socket raises nothing any more until the verdict; answered
/// when listeners have handled what was raised before, or after
/// [`PAUSE_GRACE`](crate::PAUSE_GRACE).
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Quiesce(pub(crate) HandoverOutcome);

/// What a persistent socket leaves. From here on it stands still: calls wait
/// in its mailbox for the verdict.
#[derive(Message)]
#[rtype(result = "Option<Exported>")]
pub(crate) struct Export(pub(crate) HandoverOutcome);

pub(crate) enum Exported {
    /// With the clients that nobody has heard of.
    Server(handover_state::TransferredServer, Vec<ClientSocket>),
    NotTransferred(NotTransferred),
}

/// What another process has left.
pub(crate) struct Inherited {
    pub(crate) record: ServerRecord,
    pub(crate) listener: Option<Bound>,
    /// The clients that nobody has heard of.
    pub(crate) undelivered: Vec<Accepted>,
    pub(crate) settings: Settings,
}

/// A connection that was accepted for this socket.
pub(crate) struct Accepted {
    pub(crate) id: ClientSocketId,
    pub(crate) connection: (Box<dyn Stream>, SocketAddr),
}

impl ServerSocket {
    /// Starts what another process has left.
    pub(crate) fn inherit(
        inherited: Inherited,
        deps: ServerDeps,
    ) -> Result<SupervisedActor<Self>, Error> {
        let Inherited {
            record,
            listener,
            undelivered,
            settings,
        } = inherited;
        let mut socket = Self::new(record.id.into(), deps);
        socket.update(SocketProperties {
            persistent: Some(true),
            name: record.name,
        })?;
        socket.paused_by_app = record.paused;
        socket.reuse_port = record.reuse_port;
        socket.accepts_in_flight.set_timeouts(settings.timeouts)?;
        socket.set_accept_policy(settings.policy)?;
        socket.admission.set(settings.limits)?;
        if let Some(error) = record.accept_error.and_then(NetError::from_code) {
            socket.errors.set_after(AfterError::Paused(error));
        }
        if let Some(result_code) = record.unreported_error.and_then(NetError::from_code) {
            let errno = record.unreported_errno;
            socket.errors.inherit(Unreported { result_code, errno });
        }
        socket.listener = listener;
        if record.encrypts {
            log::info!("server socket {}: waits for setTls", socket.id);
            socket.handshakes = Some(Box::new(Handshakes::undecided()));
        }
        for Accepted { id, connection } in undelivered {
            let (stream, peer) = connection;
            let ends = ConnectionMeta::accepted(peer, socket.admission.admit(peer.ip()));
            let pending_accept = socket.offer(id, (stream, ends));
            socket.undelivered.push_back(pending_accept);
            socket.counts.accepted += 1;
        }
        Ok(socket.run())
    }

    fn take(&mut self) -> io::Result<Exported> {
        check_app_id(self.app())?;
        let bound = self.listener.as_ref();
        let listener = bound.map(|bound| bound.listener.duplicate()).transpose()?;
        let unreported = self.errors.unreported();
        let record = ServerRecord {
            app: self.app().as_str().to_owned(),
            id: self.id.get(),
            name: self.name.as_deref().map(str::to_owned),
            reuse_port: self.reuse_port,
            paused: self.paused_by_app,
            accept_error: self.errors.paused_by().map(NetError::code),
            unreported_error: unreported.as_ref().map(|error| error.result_code.code()),
            unreported_errno: unreported.and_then(|error| error.errno),
            encrypts: self.encrypts(),
            suspended: self.app_shards.activity.is_suspended(),
            timeouts: unless_default(self.accepts_in_flight.timeouts()),
            policy: unless_default(self.errors.policy()).map(Box::new),
            limits: unless_default(self.admission.limits()).map(Box::new),
            // The registry knows them.
            app_limits: None,
        };
        self.recover();
        let unheard = self
            .undelivered
            .iter()
            .filter(|pending_accept| pending_accept.is_open());
        let unheard = unheard
            .map(|pending_accept| pending_accept.client.clone())
            .collect();
        Ok(Exported::Server(
            handover_state::TransferredServer { record, listener },
            unheard,
        ))
    }

    /// Goes on when the handover is over, if there is one.
    pub(super) fn wait_for_verdict(&self, ctx: &mut Context<Self>) {
        let Some(Transfer { outcome, is_frozen }) = self.transfer.clone() else {
            return;
        };
        let over = outcome.is_transferred().into_actor(self);
        let over = over.map(move |gone, this, ctx| {
            this.transfer = None;
            this.accepts_in_flight.nudge();
            if gone && is_frozen {
                this.forget(ctx);
            }
        });
        match is_frozen {
            true => ctx.wait(over),
            false => {
                ctx.spawn(over);
            }
        }
    }

    /// Another process has it now: the queued calls are told so, then this
    /// ends.
    fn forget(&mut self, ctx: &mut Context<Self>) {
        self.ended = true;
        self.listener = None;
        self.handshakes = None;
        // Those that could not go along: nobody will hear of them here.
        self.undelivered
            .drain(..)
            .for_each(|pending_accept| pending_accept.discard());
        self.pausing.answer_all(Ok(()));
        ctx.address().do_send(Stop);
    }
}

impl Handler<Quiesce> for ServerSocket {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Quiesce(outcome): Quiesce, ctx: &mut Self::Context) -> Self::Result {
        if !self.persistent {
            return Box::pin(actix::fut::ready(()));
        }
        let is_frozen = false;
        self.transfer = Some(Transfer { outcome, is_frozen });
        self.wait_for_verdict(ctx);
        // What was encrypted cannot go along: it is heard of here, if it is so
        // far in time.
        let (settled, reply) = Answer::pair();
        match &mut self.handshakes {
            Some(handshakes) => handshakes.when_settled(reply),
            None => reply.send(Ok(())),
        }
        let settled = timeout(PAUSE_GRACE, settled).into_actor(self);
        Box::pin(settled.then(|_, this, ctx| {
            let (quiet, reply) = Answer::pair();
            this.when_handled(reply, ctx);
            // After the grace it goes all the same: the events were raised.
            quiet.into_actor(this).map(|_, _, _| ())
        }))
    }
}

impl Handler<Export> for ServerSocket {
    type Result = Option<Exported>;

    fn handle(&mut self, Export(outcome): Export, ctx: &mut Self::Context) -> Self::Result {
        if !self.persistent || self.ended {
            self.transfer = None;
            return None;
        }
        match self.take() {
            Ok(exported) => {
                // Nobody is to wait for its turn.
                self.admission.leave_lines();
                self.transfer = Some(Transfer {
                    outcome,
                    is_frozen: true,
                });
                self.wait_for_verdict(ctx);
                Some(exported)
            }
            Err(error) => {
                self.transfer = None;
                Some(Exported::NotTransferred(NotTransferred {
                    socket: AnySocketId::Server(self.app().clone(), self.id),
                    reason: error.to_string(),
                }))
            }
        }
    }
}
