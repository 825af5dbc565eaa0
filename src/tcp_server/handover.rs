//! Both ends of a server socket's handover to another process.

use std::io;

use actix::prelude::*;
use actix_rt::time::timeout;

use crate::address::Address;
use crate::answer::Answer;
use crate::connections::PeerKey;
use crate::error::Error;
use crate::handover_state::{
    self, AnySocketId, HandoverOutcome, NotTransferred, ServerRecord, check_app_id,
};
use crate::ids::ClientSocketId;
use crate::net_error::NetError;
use crate::os::{SocketFile, Stream};
use crate::pending_pauses::PAUSE_GRACE;
use crate::proxy_protocol::ProxyPeer;
use crate::supervision::SupervisedActor;
use crate::tcp::{AcceptNotifier, ClientSocket};
use crate::tcp_server::SocketProperties;
use crate::tcp_server::accept::error_state::AfterError;
use crate::tcp_server::accept::setup_tasks::AcceptedStream;
use crate::tcp_server::actor::{
    BoundListener, HandleAlone, ServerDeps, ServerSocket, Stop, Transfer,
};
use crate::tcp_server::settings_record::{Settings, unless_default};
use crate::tcp_server::tls::handshakes::Handshakes;

/// Has a persistent socket accept no connection until the outcome of the
/// handover. Answered when listeners have handled earlier events, or after
/// [`PAUSE_GRACE`](crate::PAUSE_GRACE).
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Quiesce(pub(crate) HandoverOutcome);

/// Exports a persistent socket and freezes it: calls wait in its mailbox for the
/// outcome of the handover.
#[derive(Message)]
#[rtype(result = "Option<Exported>")]
pub(crate) struct Export(pub(crate) HandoverOutcome);

pub(crate) enum Exported {
    /// With the clients that no listener has heard of.
    Server(handover_state::TransferredServer, Vec<ClientSocket>),
    NotTransferred(NotTransferred),
}

/// A server socket of the previous process.
pub(crate) struct Inherited {
    pub(crate) record: ServerRecord,
    pub(crate) listener: Option<BoundListener>,
    pub(crate) undelivered: Vec<InheritedClient>,
    pub(crate) settings: Settings,
}

/// A client that the previous process accepted and no listener has heard of.
pub(crate) struct InheritedClient {
    pub(crate) id: ClientSocketId,
    pub(crate) connection: (Box<dyn Stream>, Address),
    pub(crate) proxy: Option<Box<ProxyPeer>>,
}

impl ServerSocket {
    /// Starts the actor of a server socket of the previous process.
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
        socket.set_proxy_protocol(settings.proxy_protocol)?;
        if let Some(error) = record.accept_error.and_then(NetError::from_code) {
            socket.errors.after = AfterError::Paused(error);
        }
        if let Some(error) = record.unreported_error.and_then(NetError::from_code) {
            socket.errors.push_paused(error, record.unreported_errno);
        }
        socket.listener = listener;
        if let Some(bound) = &mut socket.listener {
            // From the commit of the handover on: until then the file is the other process's.
            let file = record.file.map(|record| SocketFile::from(*record));
            bound.listener.set_socket_file(file);
        }
        if record.encrypts {
            // A handover does not carry certificates and keys.
            log::info!("server socket {}: waits for setTls", socket.id);
            socket.handshakes = Some(Box::new(Handshakes::awaiting_set_tls(
                socket.stats.clone(),
                socket.telemetry().clone(),
            )));
        }
        for InheritedClient {
            id,
            connection: (stream, peer),
            proxy,
        } in undelivered
        {
            let key = PeerKey::of(&peer, || stream.peer_credentials());
            let meta = socket.connection_meta(peer, Some(key));
            let accepted = AcceptedStream {
                stream,
                meta,
                proxy,
            };
            let pending_accept = socket.create_client_with_id(id, accepted, None);
            socket.undelivered.push_back(pending_accept);
            socket.count_accepted();
        }
        Ok(socket.start_actor())
    }

    fn export(&mut self) -> io::Result<Exported> {
        check_app_id(self.app())?;
        let bound = self.listener.as_ref();
        let listener = bound.map(|bound| bound.listener.duplicate()).transpose()?;
        let file = bound.and_then(|bound| bound.listener.socket_file());
        let unreported = self.errors.event_queue.last();
        let proxy_protocol = self.proxy.as_ref().and_then(|it| it.settings());
        let record = ServerRecord {
            app: self.app().as_str().to_owned(),
            id: self.id.get(),
            name: self.name.as_deref().map(str::to_owned),
            reuse_port: self.reuse_port,
            paused: self.paused_by_app,
            accept_error: self.errors.paused_by().map(NetError::code),
            unreported_error: unreported.map(|error| error.result_code.code()),
            unreported_errno: unreported.and_then(|error| error.errno),
            encrypts: self.uses_tls(),
            file: file.map(|file| Box::new(file.into())),
            suspended: self.app_shards.activity.is_suspended(),
            timeouts: unless_default(self.accepts_in_flight.timeouts()),
            policy: unless_default(self.errors.policy()).map(Box::new),
            limits: unless_default(self.admission.limits()).map(Box::new),
            // Added by the registry.
            app_limits: None,
            proxy_protocol: proxy_protocol.map(|it| Box::new(it.into())),
        };
        self.finish_returns();
        let undelivered = self.undelivered.iter().filter(|it| it.is_open());
        let clients = undelivered.map(|it| it.client.clone()).collect();
        let server = handover_state::TransferredServer { record, listener };
        Ok(Exported::Server(server, clients))
    }

    /// Waits for the outcome of the handover, if there is one.
    pub(super) fn await_outcome(&self, ctx: &mut Context<Self>) {
        let Some(Transfer { outcome, is_frozen }) = self.transfer.clone() else {
            return;
        };
        let outcome = outcome.transferred().into_actor(self);
        let end_transfer = outcome.map(move |is_transferred, this, ctx| {
            this.transfer = None;
            this.accepts_in_flight.wake();
            // A socket that was not exported stays in this process.
            if is_transferred && is_frozen {
                this.close_transferred(ctx);
            }
        });
        match is_frozen {
            // The actor handles no message until then.
            true => ctx.wait(end_transfer),
            false => {
                ctx.spawn(end_transfer);
            }
        }
    }

    /// Closes a socket that another process has now. The actor first answers the
    /// calls in its mailbox, then it stops.
    fn close_transferred(&mut self, ctx: &mut Context<Self>) {
        self.is_closed = true;
        if let Some(bound) = &mut self.listener {
            // The other process listens at it.
            bound.listener.set_socket_file(None);
        }
        self.listener = None;
        self.handshakes = None;
        self.proxy = None;
        // Clients that could not be transferred: no listener will hear of them here.
        self.undelivered.drain(..).for_each(|it| it.discard());
        self.pending_pauses.answer_all(Ok(()));
        ctx.address().do_send(Stop);
    }
}

impl HandleAlone<Quiesce> for ServerSocket {
    type Result = ResponseActFuture<Self, ()>;

    fn handle_alone(&mut self, Quiesce(outcome): Quiesce, ctx: &mut Context<Self>) -> Self::Result {
        if !self.persistent {
            return Box::pin(actix::fut::ready(()));
        }
        let is_frozen = false;
        self.transfer = Some(Transfer { outcome, is_frozen });
        self.await_outcome(ctx);
        // TLS connections cannot be transferred. They get the time to become clients
        // of this process. Neither can those with a part of a PROXY header: they get
        // the time to send the rest.
        let setups_done = timeout(PAUSE_GRACE, self.setups_done()).into_actor(self);
        Box::pin(setups_done.then(|_, this, ctx| {
            let (handled, reply) = Answer::pair();
            this.reply_when_handled(reply, ctx);
            // An error means that the grace is over. The handover goes on: the events
            // were raised in this process and stay here.
            handled.into_actor(this).map(|_, _, _| ())
        }))
    }
}

impl HandleAlone<Export> for ServerSocket {
    type Result = Option<Exported>;

    fn handle_alone(&mut self, Export(outcome): Export, ctx: &mut Context<Self>) -> Self::Result {
        if !self.persistent || self.is_closed {
            self.transfer = None;
            return None;
        }
        match self.export() {
            Ok(exported) => {
                // A frozen socket uses no place, so the others must not wait for it.
                self.admission.dequeue_all();
                let is_frozen = true;
                self.transfer = Some(Transfer { outcome, is_frozen });
                self.await_outcome(ctx);
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
