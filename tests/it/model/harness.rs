//! The real side and the model of everything in it.

mod quiescence;

use std::collections::BTreeMap;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::supervision::RestartLimit;
use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::testing::{BlockGuard, FaultyNetwork, Peer, RuleId, ScriptedNetwork};
use chrome_sockets::{App, Error, Registry, Shutdown};

use super::app::{ALL_LISTENERS, AppChange, AppState, ListenerMap};
use super::client::{self, Client};
use super::connection::Connection;
use super::event_log::{Answer, CallId, LoggingListener, SharedLog};
use super::ops::{Case, Op, Shape};
use super::possible_states::{Possible, Socket, Step};
use super::server::{self, Server};
use super::threads::Threads;

/// Longer than all back-offs and timeouts together.
const LONG: Duration = Duration::from_secs(1000);

/// How often a mismatch is checked again before it is a failure, where several threads may not
/// have been at rest.
const CHECKS: u32 = 20;

/// The real side and the model.
pub struct Harness {
    pub shape: Shape,
    threads: Threads,
    pub network: ScriptedNetwork,
    pub faults: FaultyNetwork,
    registry: Addr<Registry>,
    pub log: SharedLog,
    pub apps: [RealApp; 2],
    pub servers: Vec<SocketModel<Server>>,
    pub clients: Vec<SocketModel<Client>>,
    pub conns: Vec<PeerConnection>,
    /// Connections that were closed before they were reported.
    dropped: Vec<usize>,
    /// Client socket, number of the connect, and its hold.
    pub holds: Vec<(usize, usize, BlockGuard)>,
    calls: CallId,
    /// Expected answers of calls that no socket model checks.
    expected: BTreeMap<CallId, Answer>,
    creations: Vec<Creation>,
    pub changes: Vec<(usize, AppChange)>,
    /// Injected panics that may be pending or happened in this batch: of server sockets, of
    /// client sockets.
    pub panics: [Vec<RuleId>; 2],
    /// Number of operations since everything was at rest.
    pub batch: usize,
    /// Listeners take some time for each event.
    pub slow: bool,
}

/// One app.
pub struct RealApp {
    pub app: App,
    pub listeners: [Addr<LoggingListener>; ALL_LISTENERS],
    pub state: AppState,
    /// Which listeners its event page adds to every event.
    pub page: Option<ListenerMap>,
    /// It was set in this batch.
    pub page_is_new: bool,
    /// A listener has died: with an event page, the app would be loaded again at some time. That
    /// has its own tests (`redelivery::event_pages`).
    pub has_dead_listener: bool,
    /// An index into the test's permissions.
    pub permissions: u8,
}

/// A socket and its possible states.
#[derive(Clone)]
pub struct SocketModel<S: Socket> {
    pub id: u64,
    pub app: usize,
    pub possible: Possible<S>,
    pub steps: Vec<Step<S>>,
    pub handle: Option<ClientSocket>,
    /// Whether this batch calls it by handle.
    pub by_handle: Option<bool>,
}

/// A connection, whose peer the test plays.
pub struct PeerConnection {
    pub peer: Option<Peer>,
    /// Its possible states, until it belongs to a client socket.
    pub possible: Vec<Connection>,
    pub client: Option<usize>,
    /// Bytes that the peer has sent.
    pub sent: usize,
    /// The peer has ended its side, or reset the connection.
    pub shut: bool,
    /// Not used before the next rest.
    pub is_new: bool,
}

/// A `create` that has not been answered.
struct Creation {
    call: CallId,
    app: usize,
    socket: Created,
}

enum Created {
    Server(Server),
    Client(Client),
    /// The call is refused.
    Nothing(Answer),
}

impl<S: Socket> SocketModel<S> {
    fn new(id: u64, app: usize, states: Vec<S>, handle: Option<ClientSocket>) -> Self {
        SocketModel {
            id,
            app,
            possible: Possible::new(states),
            steps: Vec::new(),
            handle,
            by_handle: None,
        }
    }
}

/// Runs one case on a network of its own.
///
/// # Errors
///
/// The real side did something that the model does not allow.
pub async fn run(case: &Case) -> Result<(), String> {
    tokio::time::pause();
    let mut harness = Harness::new(case.shape, case.slow).await;
    for (number, op) in case.ops.iter().enumerate() {
        let done = harness.operate(op, case.batch).await;
        done.map_err(|what| format!("at operation {number}, {op:?}:\n{what}"))?;
    }
    harness.rest().await?;
    harness.end().await
}

impl Harness {
    async fn new(shape: Shape, slow: bool) -> Self {
        let network = ScriptedNetwork::new();
        let faults = FaultyNetwork::new(network.clone(), 0);
        let registry = Registry::with_network(faults.clone());
        let registry = registry.restart_limit(RestartLimit::UNLIMITED);
        let registry = registry.arbiters(shape.arbiters).start();
        let threads = match shape.arbiters {
            2.. => Threads::of(&App::new("threads", &registry)).await,
            _ => Threads::default(),
        };
        let log = SharedLog::default();
        let side = |name| RealApp {
            app: App::new(name, &registry),
            listeners: std::array::from_fn(|number| LoggingListener::start(number, slow, &log)),
            state: AppState::default(),
            page: None,
            page_is_new: false,
            has_dead_listener: false,
            permissions: 0,
        };
        let apps = [side("one"), side("other")];
        let mut harness = Harness {
            shape,
            threads,
            network,
            faults,
            registry,
            log,
            apps,
            servers: Vec::new(),
            clients: Vec::new(),
            conns: Vec::new(),
            dropped: Vec::new(),
            holds: Vec::new(),
            calls: 0,
            expected: BTreeMap::new(),
            creations: Vec::new(),
            changes: Vec::new(),
            panics: Default::default(),
            batch: 0,
            slow,
        };
        for app in 0..2 {
            harness.listen_to_all(app);
        }
        harness
    }

    async fn operate(&mut self, op: &Op, batch: usize) -> Result<(), String> {
        self.batch += 1;
        match op {
            Op::Server(choice, op) => self.server_op(*choice, op).await?,
            Op::Client(choice, op) => self.client_op(*choice, op).await?,
            Op::Dial(pick) => self.dial(*pick)?,
            Op::AcceptError(pick, errno) => self.accept_error(*pick, *errno),
            Op::Peer(pick, act) => self.peer_op(*pick, act),
            Op::Release(pick) => self.release_hold(*pick),
            Op::App(app, op) => self.app_op(app.0, op).await?,
            Op::Turns(turns) => {
                for _ in 0..*turns {
                    tokio::task::yield_now().await;
                }
            }
            Op::LongTime => self.long_time().await?,
        }
        let pages = self
            .apps
            .iter()
            .any(|side| side.state.suspended && side.page.is_some());
        if self.batch >= batch || pages {
            self.rest().await?;
        }
        Ok(())
    }

    /// A call whose answer is logged.
    pub fn call<T: Unpin + 'static>(
        &mut self,
        call: impl FnOnce(CallId) -> chrome_sockets::Answer<T>,
        wrap: fn(Result<T, Error>) -> Answer,
    ) -> CallId {
        self.calls += 1;
        let id = self.calls;
        let answer = call(id);
        let log = self.log.clone();
        actix_rt::spawn(async move {
            let answer = wrap(answer.await);
            log.borrow_mut().answer(id, answer);
        });
        id
    }

    /// The expected answer of a call that no socket model checks.
    pub fn expect(&mut self, call: CallId, answer: Answer) {
        self.expected.insert(call, answer);
    }

    pub fn creates_server(&mut self, call: CallId, app: usize, socket: Result<Server, Error>) {
        let refused = |error| Created::Nothing(Answer::ServerId(Err(error)));
        let socket = socket.map_or_else(refused, Created::Server);
        self.creations.push(Creation { call, app, socket });
    }

    pub fn creates_client(&mut self, call: CallId, app: usize, socket: Result<Client, Error>) {
        let refused = |error| Created::Nothing(Answer::ClientId(Err(error)));
        let socket = socket.map_or_else(refused, Created::Client);
        self.creations.push(Creation { call, app, socket });
    }

    /// A change of an app, which affects all its sockets.
    pub fn change(&mut self, app: usize, change: AppChange) {
        self.changes.push((app, change));
        for server in self.servers.iter_mut().filter(|model| model.app == app) {
            server.steps.push(Step::Change(change));
        }
        for client in self.clients.iter_mut().filter(|model| model.app == app) {
            client.steps.push(Step::Change(change));
        }
    }

    async fn long_time(&mut self) -> Result<(), String> {
        self.rest().await?;
        match self.threads.is_empty() {
            true => tokio::time::sleep(LONG).await,
            false => self.threads.pass(LONG, &self.log).await,
        }
        for server in &mut self.servers {
            server.steps.push(Step::Event(server::Event::LongTime));
        }
        for client in &mut self.clients {
            client.steps.push(Step::Event(client::Event::LongTime));
        }
        self.rest().await
    }

    /// Sockets that are created while an app is being suspended may be closed by it or not, so
    /// creation waits.
    pub async fn rest_after_suspending(&mut self) -> Result<(), String> {
        let mut changes = self.changes.iter();
        if changes.any(|(_, change)| matches!(change, AppChange::Suspend)) {
            self.rest().await?;
        }
        Ok(())
    }

    async fn create(&mut self, answers: &BTreeMap<CallId, (usize, Answer)>) -> Result<(), String> {
        for creation in std::mem::take(&mut self.creations) {
            let Creation { call, app, socket } = creation;
            let answer = answers.get(&call).map(|(_, answer)| answer);
            let state = self.apps[app].state;
            match (socket, answer) {
                (Created::Server(mut server), Some(Answer::ServerId(Ok(id)))) => {
                    server.id = *id;
                    *server.app() = state;
                    if self.servers.iter().any(|model| model.id >= *id) {
                        return Err(format!("server socket {id} was created out of order"));
                    }
                    if self.shape.shared_port {
                        let api = &self.apps[app].app.tcp_server;
                        let set = api.set_reuse_port((*id).into(), true).await;
                        set.map_err(|error| format!("set_reuse_port: {error}"))?;
                    }
                    self.servers
                        .push(SocketModel::new(*id, app, vec![server], None));
                }
                (Created::Client(mut client), Some(Answer::ClientId(Ok(id)))) => {
                    client.id = *id;
                    *client.app() = state;
                    if self.clients.iter().any(|model| model.id == *id) {
                        return Err(format!("client socket {id} was created twice"));
                    }
                    let handle = self.apps[app].app.tcp.socket((*id).into()).await;
                    let handle = handle.map_err(|error| format!("its handle: {error}"))?;
                    self.clients
                        .push(SocketModel::new(*id, app, vec![client], Some(handle)));
                }
                (Created::Nothing(expected), answer) if answer == Some(&expected) => {}
                (_, answer) => return Err(format!("call {call}, create: {answer:?}")),
            }
        }
        Ok(())
    }

    /// Ends the registry, and with it everything.
    async fn end(mut self) -> Result<(), String> {
        self.threads.unfreeze();
        let stopped = self.registry.send(Shutdown).await;
        if !matches!(stopped, Ok(Ok(()))) {
            return Err(format!("Shutdown: {stopped:?}"));
        }
        tokio::time::sleep(LONG).await;
        // A socket that was never connected has no connection to close.
        let connecting = |client: usize| self.clients[client].possible.any(Client::is_connecting);
        let made = |conn: &&PeerConnection| !conn.client.is_some_and(connecting);
        let peers = self.conns.iter().filter(made);
        let peers = peers.filter_map(|conn| conn.peer.as_ref());
        let peers: Vec<_> = peers.collect();
        let mut check = 0;
        let (open, listening) = loop {
            let open = peers.iter().filter(|peer| !peer.is_released()).count();
            let listening = self.network.listening();
            if check == CHECKS || self.threads.is_empty() || (open == 0 && listening.is_empty()) {
                break (open, listening);
            }
            check += 1;
            // The other threads end by themselves.
            std::thread::sleep(Duration::from_millis(10) * check);
        };
        match open == 0 && listening.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{open} connections and {listening:?} outlive the registry"
            )),
        }
    }
}
