//! The registry's part of a handover from another process: its sockets are imported.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;

use actix::prelude::*;
use bytes::Bytes;
use derive_more::{Display, From};

use crate::error::Error;
use crate::handover_state::{
    ConnectionRecord, HandoverState, TransferredClient, TransferredServer, TransferredUdp,
};
use crate::ids::{AppId, ClientSocketId, MAX_ID, ServerSocketId, UdpSocketId};
use crate::name::checked_name;
use crate::os::Stream;
use crate::proxy_protocol::{ProxyHeader, ProxyPeer};
use crate::registry::handover::types::{HandoverToken, PreparedImport};
use crate::registry::limits::AppLimits;
use crate::registry::state::{AppState, Registry};
use crate::tcp::{self, ClientSocket, Command, InheritedConnection};
use crate::tcp_server::{
    BoundListener, Inherited, InheritedClient, ServerSocket, Settings, SocketProperties,
};
use crate::tls;
use crate::udp;

/// Why sockets cannot be imported. The registry is unchanged.
#[derive(Debug, Display, From, derive_more::Error)]
pub(crate) enum ImportError {
    #[display("another handover is being imported")]
    Busy,
    #[display("server socket {_0} is in use here")]
    ServerInUse(#[error(not(source))] ServerSocketId),
    #[display("client socket {_0} is in use here")]
    ClientInUse(#[error(not(source))] ClientSocketId),
    #[display("udp socket {_0} is in use here")]
    UdpInUse(#[error(not(source))] UdpSocketId),
    #[display(
        "server socket {_0} is encrypted, and this program is built without the feature `tls`"
    )]
    NoTls(#[error(not(source))] ServerSocketId),
    #[display("the handed-over sockets are inconsistent: {_0}")]
    Inconsistent(#[error(not(source))] &'static str),
    #[display("{_0}")]
    #[from]
    Os(io::Error),
}

/// Checks the sockets of another process, and opens them. They are invisible
/// until [`CommitImport`].
#[derive(Message)]
#[rtype(result = "Result<(), ImportError>")]
pub(crate) struct PrepareImport {
    pub(crate) token: HandoverToken,
    pub(crate) handover_state: HandoverState,
}

/// Ends an import.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
pub(crate) struct CommitImport {
    pub(crate) token: HandoverToken,
    /// Whether the sockets belong to this process now. If not, they are closed
    /// here.
    pub(crate) ours: bool,
}

/// Makes a server socket of a listening descriptor.
#[derive(Message)]
#[rtype(result = "io::Result<Result<ServerSocketId, Error>>")]
pub(crate) struct AdoptListener {
    pub(crate) app: AppId,
    pub(crate) properties: SocketProperties,
    pub(crate) listener: OwnedFd,
}

/// Accepted clients that no listener has heard of, with the id of their app, by
/// the id of their server socket.
type UndeliveredClients = BTreeMap<u64, (String, Vec<InheritedClient>)>;

impl Registry {
    fn prepare_import(
        &self,
        token: HandoverToken,
        handover_state: HandoverState,
    ) -> Result<PreparedImport, ImportError> {
        check_ids(&handover_state)?;
        let mut import = PreparedImport {
            token,
            last_server: handover_state.last_server,
            last_client: handover_state.last_client,
            last_udp: handover_state.last_udp,
            ..PreparedImport::default()
        };
        // Clients are first: a server socket is imported with its undelivered
        // clients.
        let undelivered = self.prepare_clients(handover_state.clients, &mut import)?;
        self.prepare_servers(handover_state.servers, undelivered, &mut import)?;
        self.prepare_udp_sockets(handover_state.udp_sockets, &mut import)?;
        Ok(import)
    }

    fn prepare_udp_sockets(
        &self,
        sockets: Vec<TransferredUdp>,
        import: &mut PreparedImport,
    ) -> Result<(), ImportError> {
        let mut seen = HashSet::new();
        for TransferredUdp { record, socket } in sockets {
            let id = UdpSocketId::new(record.id);
            if self.udp_ids.has(id) {
                return Err(ImportError::UdpInUse(id));
            }
            if !seen.insert(id) {
                return Err(ImportError::Inconsistent("a udp socket occurs twice"));
            }
            check_name(record.name.as_ref())?;
            if !udp::are_valid_groups(&record.groups) {
                return Err(ImportError::Inconsistent("its groups are no groups"));
            }
            import.last_udp = import.last_udp.max(id.get());
            let datagrams = socket.map(|socket| self.network.adopt_datagram(socket));
            let app = record.app.as_str().into();
            let datagrams = datagrams.transpose()?;
            let inherited = udp::Inherited { record, datagrams };
            import.udp_sockets.push((app, inherited));
        }
        Ok(())
    }

    fn prepare_clients(
        &self,
        clients: Vec<TransferredClient>,
        import: &mut PreparedImport,
    ) -> Result<UndeliveredClients, ImportError> {
        let mut undelivered = UndeliveredClients::new();
        let mut seen = HashSet::new();
        for client in clients {
            let id = ClientSocketId::new(client.record.id);
            if self.id_table.has(id) {
                return Err(ImportError::ClientInUse(id));
            }
            if !seen.insert(id) {
                return Err(ImportError::Inconsistent("a client socket occurs twice"));
            }
            import.last_client = import.last_client.max(id.get());
            let app = client.record.app.clone();
            let offered_by = client.record.offered_by;
            let client = self.prepare_client(client)?;
            let Some(server) = offered_by else {
                import.clients.push((app.into(), client));
                continue;
            };
            let no_connection = ImportError::Inconsistent("an accepted client has no connection");
            let connection = client.connection.ok_or(no_connection)?;
            let (owner, accepted) = undelivered
                .entry(server)
                .or_insert_with(|| (app.clone(), Vec::new()));
            if *owner != app {
                return Err(ImportError::Inconsistent("a client is another app's"));
            }
            let proxy = connection.record.proxy.map(|record| {
                let header = ProxyHeader::parse(&record.header);
                let header = header
                    .map_err(|_| ImportError::Inconsistent("the header of a proxy is invalid"))?;
                Ok::<_, ImportError>(Box::new(ProxyPeer::new(record.address.into(), header)))
            });
            accepted.push(InheritedClient {
                id,
                connection: (connection.stream, connection.record.peer.into()),
                proxy: proxy.transpose()?,
            });
        }
        Ok(undelivered)
    }

    fn prepare_client(&self, client: TransferredClient) -> Result<tcp::Inherited, ImportError> {
        let (record, unsent) = (client.record, client.unsent);
        check_name(record.name.as_ref())?;
        let no_descriptor = ImportError::Inconsistent("a connection has no descriptor");
        let connection = match (client.stream, record.connection.clone()) {
            (None, None) => None,
            (Some(stream), Some(record)) => {
                let stream = self.network.adopt_stream(stream)?;
                Some(inherited_connection(stream, record, unsent))
            }
            // The peer was gone and no input was unread, so the descriptor was
            // closed before the handover. The end is not reported yet.
            (None, Some(record)) if record.end.is_some() => Some(InheritedConnection {
                is_released: true,
                ..inherited_connection(tcp::closed_stream(), record, unsent)
            }),
            _ => return Err(no_descriptor),
        };
        Ok(tcp::Inherited { record, connection })
    }

    fn prepare_servers(
        &self,
        servers: Vec<TransferredServer>,
        mut undelivered: UndeliveredClients,
        import: &mut PreparedImport,
    ) -> Result<(), ImportError> {
        let mut seen = HashSet::new();
        for TransferredServer { record, listener } in servers {
            let id = ServerSocketId::new(record.id);
            if self.apps.values().any(|it| it.servers.contains_key(&id)) {
                return Err(ImportError::ServerInUse(id));
            }
            if !seen.insert(id) {
                return Err(ImportError::Inconsistent("a server socket occurs twice"));
            }
            import.last_server = import.last_server.max(id.get());
            check_name(record.name.as_ref())?;
            if record.encrypts && !tls::Client::IS_BUILT {
                return Err(ImportError::NoTls(id));
            }
            let undelivered = match undelivered.remove(&id.get()) {
                Some((app, _)) if app != record.app => {
                    return Err(ImportError::Inconsistent("a client is another app's"));
                }
                clients => clients.map_or_else(Vec::new, |(_, clients)| clients),
            };
            let invalid = || ImportError::Inconsistent("a setting is invalid");
            let settings = Settings::read(&record).map_err(|_| invalid())?;
            let app = AppId::from(record.app.clone());
            if let Some(limits) = &record.app_limits {
                let accepted = AppLimits::from(**limits).accepted;
                accepted.check().map_err(|_| invalid())?;
                import.app_limits.push((app.clone(), **limits));
            }
            let bind = |fd| -> io::Result<BoundListener> {
                let mut bound = BoundListener::new(self.network.adopt_listener(fd)?)?;
                bound.apply_policy(&settings.policy)?;
                Ok(bound)
            };
            let inherited = Inherited {
                listener: listener.map(bind).transpose()?,
                undelivered,
                settings,
                record,
            };
            import.servers.push((app, inherited));
        }
        let missing = ImportError::Inconsistent("a client's server socket is missing");
        undelivered.is_empty().then_some(()).ok_or(missing)
    }

    /// Keeps the ids of an import from being allocated. The counters move only
    /// when it is committed, since it may be discarded.
    fn reserve_ids(&self, import: &PreparedImport) {
        let servers = import.servers.iter();
        let servers = servers.map(|(_, server)| (server.record.id, &server.undelivered));
        let (ids, undelivered): (HashSet<_>, Vec<_>) = servers.unzip();
        self.server_ids.reserve(ids);
        let clients = import.clients.iter().map(|(_, client)| client.record.id);
        let undelivered = undelivered.into_iter().flatten();
        let undelivered = undelivered.map(|client| client.id.get());
        let ids = clients.chain(undelivered).collect();
        self.id_table.ids().reserve(ids);
        let udp_sockets = import.udp_sockets.iter();
        let ids = udp_sockets.map(|(_, socket)| socket.record.id).collect();
        self.udp_ids.ids().reserve(ids);
    }

    /// Drops a prepared import, if there is one, and releases its ids.
    pub(in crate::registry) fn discard_import(&mut self) {
        self.incoming = None;
        self.server_ids.release();
        self.id_table.ids().release();
        self.udp_ids.ids().release();
    }

    fn commit_import(&mut self, import: PreparedImport) -> Result<(), Error> {
        self.discard_import();
        self.server_ids.skip_to(import.last_server);
        self.id_table.ids().skip_to(import.last_client);
        self.udp_ids.ids().skip_to(import.last_udp);
        for (app, limits) in import.app_limits {
            let app = self.app(&app);
            // Limits that were set in this process take precedence.
            if app.limits() == AppLimits::default() {
                app.set_limits(limits.into())?;
            }
        }
        for (app, mut inherited) in import.clients {
            let state = self.inheriting_app(&app, inherited.record.suspended);
            let app_shard = state.app_shards.least_loaded();
            inherited.count_connection(&app_shard.counter);
            let client = ClientSocket::new(ClientSocketId::new(inherited.record.id), app_shard);
            let connection = inherited.record.connection.as_ref();
            let was_accepted = connection.is_some_and(|it| it.dialled.is_none());
            // Queued before the id is known, so that every call finds the socket's
            // state.
            client.do_send(Command::Inherit(Box::new(inherited)));
            match was_accepted {
                true => self.id_table.insert(client),
                false => self.id_table.insert_created(client),
            }
        }
        for (app, inherited) in import.udp_sockets {
            let state = self.inheriting_app(&app, inherited.record.suspended);
            let id = UdpSocketId::new(inherited.record.id);
            let socket = udp::Socket::new(id, state.udp.least_loaded());
            // Queued before the id is known, so that every call finds the socket's
            // state.
            socket.do_send(udp::Command::Inherit(Box::new(inherited)));
            self.udp_ids.insert(socket);
        }
        for (app, inherited) in import.servers {
            let id = ServerSocketId::new(inherited.record.id);
            self.inheriting_app(&app, inherited.record.suspended);
            let server = ServerSocket::inherit(inherited, self.server_deps(&app))?;
            self.app(&app).servers.insert(id, server);
        }
        Ok(())
    }

    /// The app of an imported socket. Without a listener in this process it is
    /// suspended if it was suspended in the other process, or if it has an event
    /// page, which then loads it when a socket has something to report.
    fn inheriting_app(&mut self, app: &AppId, was_suspended: bool) -> &AppState {
        let state = self.app(app);
        let has_page = state.lifecycle.event_page.is_some();
        if (was_suspended || has_page) && !state.has_listeners() {
            state.app_shards.activity.suspend();
        }
        state
    }
}

/// Checks that every id is one that a socket of this process may have.
fn check_ids(handover_state: &HandoverState) -> Result<(), ImportError> {
    let servers = handover_state.servers.iter().map(|server| server.record.id);
    let clients = handover_state.clients.iter();
    let clients = clients.flat_map(|it| [Some(it.record.id), it.record.offered_by]);
    let udp_sockets = handover_state.udp_sockets.iter();
    let udp_sockets = udp_sockets.map(|socket| socket.record.id);
    let lasts = [
        handover_state.last_server,
        handover_state.last_client,
        handover_state.last_udp,
    ];
    let ids = servers.chain(clients.flatten()).chain(udp_sockets);
    let mut ids = ids.chain(lasts);
    let too_high = ImportError::Inconsistent("the number of a socket is above 2^53");
    ids.all(|id| id <= MAX_ID).then_some(()).ok_or(too_high)
}

fn check_name(name: Option<&String>) -> Result<(), ImportError> {
    let name = name.cloned().unwrap_or_default();
    let checked = checked_name(name).map(drop);
    checked.map_err(|_| ImportError::Inconsistent("a name is too long"))
}

fn inherited_connection(
    stream: Box<dyn Stream>,
    record: ConnectionRecord,
    unsent: Vec<Bytes>,
) -> InheritedConnection {
    InheritedConnection {
        stream,
        record,
        unsent: unsent.concat().into(),
        is_released: false,
        connection_guard: None,
    }
}

impl Handler<PrepareImport> for Registry {
    type Result = Result<(), ImportError>;

    fn handle(&mut self, call: PrepareImport, _: &mut Self::Context) -> Self::Result {
        if self.incoming.is_some() {
            return Err(ImportError::Busy);
        }
        let import = self.prepare_import(call.token, call.handover_state)?;
        self.reserve_ids(&import);
        self.incoming = Some(import);
        Ok(())
    }
}

impl Handler<CommitImport> for Registry {
    type Result = Result<(), Error>;

    fn handle(&mut self, call: CommitImport, _: &mut Self::Context) -> Self::Result {
        let CommitImport { token, ours } = call;
        match self.incoming.take_if(|import| import.token == token) {
            Some(import) if ours => self.commit_import(import),
            Some(_) => {
                self.discard_import();
                Ok(())
            }
            // The registry was restarted meanwhile, which discards an import.
            None if ours => Err(Error::Stopped),
            None => Ok(()),
        }
    }
}

impl Handler<AdoptListener> for Registry {
    type Result = MessageResult<AdoptListener>;

    fn handle(&mut self, call: AdoptListener, _: &mut Self::Context) -> Self::Result {
        let listener = self.network.adopt_listener(call.listener);
        let bound = listener.and_then(BoundListener::new);
        MessageResult(bound.map(|bound| self.insert_server(call.app, call.properties, Some(bound))))
    }
}
