//! A registry's side of taking over what another process has left.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;

use actix::prelude::*;
use bytes::{Bytes, BytesMut};
use derive_more::{Display, From};

use crate::error::Error;
use crate::handover_state::{Client, ConnectionRecord, HandoverState, Server};
use crate::ids::{AppId, ClientSocketId, MAX_ID, ServerSocketId};
use crate::name::checked_name;
use crate::os::Stream;
use crate::registry::handover::types::{Prepared, Token};
use crate::registry::limits::AppLimits;
use crate::registry::state::{AppState, Registry};
use crate::tcp::{self, ClientSocket, Command, InheritedConnection};
use crate::tcp_server::{Accepted, Bound, Inherited, ServerSocket, Settings, SocketProperties};
use crate::tls;

/// Why an estate cannot be taken over; nothing has changed.
#[derive(Debug, Display, From, derive_more::Error)]
pub(crate) enum Refusal {
    #[display("another one is being taken over")]
    Busy,
    #[display("server socket {_0} is in use here")]
    ServerInUse(#[error(not(source))] ServerSocketId),
    #[display("client socket {_0} is in use here")]
    ClientInUse(#[error(not(source))] ClientSocketId),
    #[display(
        "server socket {_0} is encrypted, and this program is built without the feature `tls`"
    )]
    NoTls(#[error(not(source))] ServerSocketId),
    #[display("what is left contradicts itself: {_0}")]
    Contradiction(#[error(not(source))] &'static str),
    #[display("{_0}")]
    #[from]
    Os(io::Error),
}

/// Checks an estate and opens its sockets; nothing of it shows before
/// [`CommitImport`].
#[derive(Message)]
#[rtype(result = "Result<(), Refusal>")]
pub(crate) struct PrepareImport {
    pub(crate) token: Token,
    pub(crate) handover_state: HandoverState,
}

/// The end of a takeover.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
pub(crate) struct CommitImport {
    pub(crate) token: Token,
    /// Whether the sockets are this process's now; or else they are closed
    /// here.
    pub(crate) ours: bool,
}

/// Takes a listening socket from outside in as a server socket.
#[derive(Message)]
#[rtype(result = "io::Result<Result<ServerSocketId, Error>>")]
pub(crate) struct AdoptListener {
    pub(crate) app: AppId,
    pub(crate) properties: SocketProperties,
    pub(crate) listener: OwnedFd,
}

impl Registry {
    fn prepare(&self, token: Token, handover_state: HandoverState) -> Result<Prepared, Refusal> {
        check_numbers(&handover_state)?;
        let mut prepared = Prepared {
            token,
            last_server: handover_state.last_server,
            last_client: handover_state.last_client,
            servers: Vec::new(),
            clients: Vec::new(),
            app_limits: Vec::new(),
        };
        let mut offers: BTreeMap<u64, (String, Vec<Accepted>)> = BTreeMap::new();
        let mut seen = HashSet::new();
        for client in handover_state.clients {
            let id = ClientSocketId::new(client.record.id);
            if self.table.has(id) {
                return Err(Refusal::ClientInUse(id));
            }
            if !seen.insert(id) {
                return Err(Refusal::Contradiction("a client socket comes twice"));
            }
            prepared.last_client = prepared.last_client.max(id.get());
            let app = client.record.app.clone();
            let offered_by = client.record.offered_by;
            let inherited = self.prepare_client(client)?;
            match (offered_by, inherited.connection) {
                (None, connection) => prepared.clients.push((
                    app.into(),
                    tcp::Inherited {
                        connection,
                        ..inherited
                    },
                )),
                (Some(server), Some(connection)) => {
                    let of = offers
                        .entry(server)
                        .or_insert_with(|| (app.clone(), vec![]));
                    if of.0 != app {
                        return Err(Refusal::Contradiction("a client is another app's"));
                    }
                    of.1.push(Accepted {
                        id,
                        connection: (connection.stream, connection.record.peer),
                    });
                }
                (Some(_), None) => {
                    return Err(Refusal::Contradiction(
                        "an accepted client has no connection",
                    ));
                }
            }
        }
        let mut seen = HashSet::new();
        for Server { record, listener } in handover_state.servers {
            let id = ServerSocketId::new(record.id);
            if self.apps.has_server(id) {
                return Err(Refusal::ServerInUse(id));
            }
            if !seen.insert(id) {
                return Err(Refusal::Contradiction("a server socket comes twice"));
            }
            prepared.last_server = prepared.last_server.max(id.get());
            check_name(record.name.as_ref())?;
            if record.encrypts && !tls::Client::IS_BUILT {
                return Err(Refusal::NoTls(id));
            }
            let undelivered = match offers.remove(&id.get()) {
                Some((app, _)) if app != record.app => {
                    return Err(Refusal::Contradiction("a client is another app's"));
                }
                offered => offered.map_or_else(Vec::new, |(_, clients)| clients),
            };
            let senseless = || Refusal::Contradiction("a setting means nothing");
            let settings = Settings::read(&record).map_err(|_| senseless())?;
            let app = AppId::from(record.app.clone());
            if let Some(limits) = &record.app_limits {
                let accepted = AppLimits::from(**limits).accepted;
                accepted.check().map_err(|_| senseless())?;
                prepared.app_limits.push((app.clone(), **limits));
            }
            let bind = |fd| -> io::Result<Bound> {
                let mut bound = Bound::new(self.network.adopt_listener(fd)?)?;
                bound.prepare_for(&settings.policy)?;
                Ok(bound)
            };
            let inherited = Inherited {
                listener: listener.map(bind).transpose()?,
                undelivered,
                settings,
                record,
            };
            prepared.servers.push((app, inherited));
        }
        if !offers.is_empty() {
            return Err(Refusal::Contradiction(
                "a client's server socket is missing",
            ));
        }
        Ok(prepared)
    }

    fn prepare_client(&self, client: Client) -> Result<tcp::Inherited, Refusal> {
        let Client {
            record,
            stream,
            unsent,
        } = client;
        check_name(record.name.as_ref())?;
        let connection = match (stream, record.connection.clone()) {
            (None, None) => None,
            (Some(stream), Some(record)) => {
                let stream = self.network.adopt_stream(stream)?;
                Some(inherited_connection(stream, record, unsent))
            }
            // Its peer was gone, and nothing of it is unread.
            (None, Some(record)) if record.end.is_some() => {
                let connection = inherited_connection(tcp::nowhere(), record, unsent);
                Some(InheritedConnection {
                    is_let_go: true,
                    ..connection
                })
            }
            _ => return Err(Refusal::Contradiction("a connection has no descriptor")),
        };
        Ok(tcp::Inherited { record, connection })
    }

    /// Gives none of its numbers out meanwhile. The counters move when it is
    /// taken over, and not before: it may be refused.
    fn reserve(&self, prepared: &Prepared) {
        let servers = prepared.servers.iter();
        let servers = servers.map(|(_, server)| (server.record.id, &server.undelivered));
        let (ids, offered): (HashSet<_>, Vec<_>) = servers.unzip();
        self.server_ids.reserve(ids);
        let clients = prepared.clients.iter().map(|(_, client)| client.record.id);
        let offered = offered.into_iter().flatten().map(|client| client.id.get());
        self.table.ids().reserve(clients.chain(offered).collect());
    }

    /// What was prepared, if there is something, is not ours.
    pub(in crate::registry) fn forget_prepared(&mut self) {
        self.prepared = None;
        self.server_ids.release();
        self.table.ids().release();
    }

    fn enter(&mut self, prepared: Prepared) -> Result<(), Error> {
        self.forget_prepared();
        self.server_ids.go_on_after(prepared.last_server);
        self.table.ids().go_on_after(prepared.last_client);
        for (app, limits) in prepared.app_limits {
            let app = self.app(&app);
            // What was set here holds.
            if app.limits() == AppLimits::default() {
                app.set_limits(limits.into())?;
            }
        }
        for (app, mut inherited) in prepared.clients {
            let app_shard = self
                .heir(&app, inherited.record.suspended)
                .app_shards
                .least_loaded();
            inherited.arrive(&app_shard.counter);
            let client = ClientSocket::new(ClientSocketId::new(inherited.record.id), app_shard);
            let connection = inherited.record.connection.as_ref();
            let was_accepted = connection.is_some_and(|it| it.dialled.is_none());
            // The row comes first, so that every call for it finds it.
            client.do_send(Command::Inherit(Box::new(inherited)));
            match was_accepted {
                true => self.table.insert(client),
                false => self.table.insert_made(client),
            }
        }
        for (app, inherited) in prepared.servers {
            let id = ServerSocketId::new(inherited.record.id);
            self.heir(&app, inherited.record.suspended);
            let server = ServerSocket::inherit(inherited, self.deps(&app))?;
            self.app(&app).insert_server(id, server);
        }
        Ok(())
    }
}

impl Registry {
    /// The app. If nobody here listens for it, it is suspended as it was; so
    /// is one that has an event page, to be loaded when it is wanted.
    fn heir(&mut self, app: &AppId, suspended: bool) -> &AppState {
        let state = self.app(app);
        if (suspended || state.lifecycle.has_page()) && !state.has_listeners() {
            state.app_shards.activity.suspend();
        }
        state
    }
}

/// Whether every number in it may be a socket's here.
fn check_numbers(handover_state: &HandoverState) -> Result<(), Refusal> {
    let servers = handover_state.servers.iter().map(|server| server.record.id);
    let clients = handover_state.clients.iter().map(|client| client.record.id);
    let offers = handover_state
        .clients
        .iter()
        .filter_map(|it| it.record.offered_by);
    let lasts = [handover_state.last_server, handover_state.last_client];
    match (servers.chain(clients).chain(offers).chain(lasts)).all(|id| id <= MAX_ID) {
        true => Ok(()),
        false => Err(Refusal::Contradiction(
            "the number of a socket is above 2^53",
        )),
    }
}

fn check_name(name: Option<&String>) -> Result<(), Refusal> {
    match checked_name(name.cloned().unwrap_or_default()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::Contradiction("a name is too long")),
    }
}

fn inherited_connection(
    stream: Box<dyn Stream>,
    record: ConnectionRecord,
    unsent: Vec<Bytes>,
) -> InheritedConnection {
    let mut together = BytesMut::with_capacity(unsent.iter().map(Bytes::len).sum());
    unsent
        .iter()
        .for_each(|part| together.extend_from_slice(part));
    InheritedConnection {
        stream,
        record,
        unsent: together.freeze(),
        is_let_go: false,
        connection_guard: None,
    }
}

impl Handler<PrepareImport> for Registry {
    type Result = Result<(), Refusal>;

    fn handle(&mut self, call: PrepareImport, _: &mut Self::Context) -> Self::Result {
        if self.prepared.is_some() {
            return Err(Refusal::Busy);
        }
        let prepared = self.prepare(call.token, call.handover_state)?;
        self.reserve(&prepared);
        self.prepared = Some(prepared);
        Ok(())
    }
}

impl Handler<CommitImport> for Registry {
    type Result = Result<(), Error>;

    fn handle(
        &mut self,
        CommitImport { token, ours }: CommitImport,
        _: &mut Self::Context,
    ) -> Self::Result {
        match self.prepared.take_if(|prepared| prepared.token == token) {
            Some(prepared) if ours => self.enter(prepared),
            Some(_) => {
                self.forget_prepared();
                Ok(())
            }
            None if ours => Err(Error::Stopped),
            None => Ok(()),
        }
    }
}

impl Handler<AdoptListener> for Registry {
    type Result = MessageResult<AdoptListener>;

    fn handle(&mut self, call: AdoptListener, _: &mut Self::Context) -> Self::Result {
        let AdoptListener {
            app,
            properties,
            listener,
        } = call;
        let bound = self.network.adopt_listener(listener).and_then(Bound::new);
        MessageResult(bound.map(|bound| self.insert_server(app, properties, Some(bound))))
    }
}
