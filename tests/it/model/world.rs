//! The real side and the model of all that it has, side by side.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::supervision::RestartLimit;
use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::testing::{FaultyNetwork, Hold, Peer, ScriptedNetwork};
use chrome_sockets::{App, Error, Registry, Shutdown};

use super::app::{AppChange, AppState, EARS, Ears, Ending};
use super::client::{self, Client};
use super::connection::Connection;
use super::ears::{Answer, CallId, Ear, Id, SharedLog};
use super::ops::{Case, Op};
use super::possible::{PeerSeen, Possible, Seen, Socket, Step};
use super::server::{self, Server};

/// How long all takes that takes no time: what the paused clock goes on by,
/// when nobody has anything left to do.
const AT_REST: Duration = Duration::from_millis(1);

/// Longer than all rests and time limits together.
const LONG: Duration = Duration::from_secs(1000);

/// Both sides.
pub struct World {
    pub network: ScriptedNetwork,
    pub faults: FaultyNetwork,
    registry: Addr<Registry>,
    pub log: SharedLog,
    pub apps: [Side; 2],
    pub servers: Vec<Known<Server>>,
    pub clients: Vec<Known<Client>>,
    pub conns: Vec<Conn>,
    /// The client socket, the number of the attempt.
    pub holds: Vec<(usize, usize, Hold)>,
    calls: CallId,
    /// What calls have to answer that no socket's model looks at.
    expected: BTreeMap<CallId, Answer>,
    creations: Vec<Creation>,
    pub changes: Vec<(usize, AppChange)>,
    /// How many operations were made since all was at rest.
    pub batch: usize,
    /// Listeners take some time for each event.
    pub slow: bool,
}

/// One app.
pub struct Side {
    pub app: App,
    pub ears: [Addr<Ear>; EARS],
    pub state: AppState,
    /// Who listens to everything when its event page has started.
    pub page: Option<Ears>,
    /// It was set in this batch.
    pub page_is_new: bool,
    /// A listener has died: with a page, the app would be loaded again for what
    /// it misses, some time. That has tests of its own (`returned::pages`).
    pub bereft: bool,
    /// One of the test's.
    pub permissions: u8,
}

/// A socket, and how it may be.
pub struct Known<S: Socket> {
    pub id: u64,
    pub app: usize,
    pub possible: Possible<S>,
    pub steps: Vec<Step<S>>,
    pub handle: Option<ClientSocket>,
    /// How it is called in this batch.
    pub by_handle: Option<bool>,
}

/// A connection, whose peer the test plays.
pub struct Conn {
    pub peer: Option<Peer>,
    /// As it is, until it is a client socket's.
    pub connection: Connection,
    pub client: Option<usize>,
    /// Bytes that the peer has sent.
    pub sent: usize,
    /// The peer has ended its side, or reset the connection.
    pub shut: bool,
    /// Nothing is done to it before the next rest.
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
    /// It is refused.
    Nothing(Answer),
}

impl<S: Socket> Known<S> {
    fn new(id: u64, app: usize, socket: S, handle: Option<ClientSocket>) -> Self {
        Known {
            id,
            app,
            possible: Possible::new(socket),
            steps: Vec::new(),
            handle,
            by_handle: None,
        }
    }
}

/// Runs one case on a network of its own.
///
/// # Errors
/// Where the real side is none of what the model allows.
pub async fn run(case: &Case) -> Result<(), String> {
    tokio::time::pause();
    let mut world = World::new(case.slow).await;
    for (number, op) in case.ops.iter().enumerate() {
        let done = world.operate(op, case.batch).await;
        done.map_err(|what| format!("at operation {number}, {op:?}:\n{what}"))?;
    }
    world.rest().await?;
    world.end().await
}

impl World {
    async fn new(slow: bool) -> Self {
        let network = ScriptedNetwork::new();
        let faults = FaultyNetwork::new(network.clone(), 0);
        let registry = Registry::with_network(faults.clone());
        let registry = registry.restart_limit(RestartLimit::UNLIMITED).start();
        let log = SharedLog::default();
        let side = |name| Side {
            app: App::new(name, &registry),
            ears: std::array::from_fn(|number| Ear::start(number, slow, &log)),
            state: AppState::default(),
            page: None,
            page_is_new: false,
            bereft: false,
            permissions: 0,
        };
        let apps = [side("one"), side("other")];
        let mut world = World {
            network,
            faults,
            registry,
            log,
            apps,
            servers: Vec::new(),
            clients: Vec::new(),
            conns: Vec::new(),
            holds: Vec::new(),
            calls: 0,
            expected: BTreeMap::new(),
            creations: Vec::new(),
            changes: Vec::new(),
            batch: 0,
            slow,
        };
        for app in 0..2 {
            world.listen_to_all(app);
        }
        world
    }

    async fn operate(&mut self, op: &Op, batch: usize) -> Result<(), String> {
        self.batch += 1;
        match op {
            Op::Server(who, op) => self.server_op(*who, op).await?,
            Op::Client(who, op) => self.client_op(*who, op).await?,
            Op::Dial(pick) => self.dial(*pick)?,
            Op::AcceptError(pick, errno) => self.accept_error(*pick, *errno),
            Op::Peer(pick, act) => self.peer_op(*pick, act),
            Op::LetGo(pick) => self.let_go(*pick),
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

    /// A call, whose answer is written down when it comes.
    pub fn ask<T: Unpin + 'static>(
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

    /// A call that no socket's model looks at.
    pub fn expect(&mut self, call: CallId, answer: Answer) {
        self.expected.insert(call, answer);
    }

    pub fn creates_server(&mut self, call: CallId, app: usize, socket: Option<Server>) {
        let refused = Created::Nothing(Answer::ServerId(Err(server::net(-4))));
        let socket = socket.map_or(refused, Created::Server);
        self.creations.push(Creation { call, app, socket });
    }

    pub fn creates_client(&mut self, call: CallId, app: usize, socket: Option<Client>) {
        let refused = Created::Nothing(Answer::ClientId(Err(server::net(-4))));
        let socket = socket.map_or(refused, Created::Client);
        self.creations.push(Creation { call, app, socket });
    }

    /// Something changes around all of an app's sockets.
    pub fn change(&mut self, app: usize, change: AppChange) {
        self.changes.push((app, change));
        for server in self.servers.iter_mut().filter(|known| known.app == app) {
            server.steps.push(Step::Change(change));
        }
        for client in self.clients.iter_mut().filter(|known| known.app == app) {
            client.steps.push(Step::Change(change));
        }
    }

    async fn long_time(&mut self) -> Result<(), String> {
        self.rest().await?;
        tokio::time::sleep(LONG).await;
        for server in &mut self.servers {
            server.steps.push(Step::Event(server::Event::LongTime));
        }
        for client in &mut self.clients {
            client.steps.push(Step::Event(client::Event::LongTime));
        }
        self.rest().await
    }

    /// What is new while an app is being suspended may be part of that or not:
    /// it comes later.
    pub async fn rest_from_suspending(&mut self) -> Result<(), String> {
        let mut changes = self.changes.iter();
        if changes.any(|(_, change)| matches!(change, AppChange::Suspend)) {
            self.rest().await?;
        }
        Ok(())
    }

    /// Waits until nobody has anything left to do, and compares.
    pub async fn rest(&mut self) -> Result<(), String> {
        tokio::time::sleep(AT_REST).await;
        self.batch = 0;
        let mut loaded = [true; 2];
        for (side, loaded) in self.apps.iter().zip(&mut loaded) {
            if side.page_is_new {
                *loaded = side.app.is_suspended().await == Ok(false);
            }
        }
        let (answers, heard, handles) = {
            let mut log = self.log.borrow_mut();
            let log = &mut *log;
            (
                std::mem::take(&mut log.answers),
                std::mem::take(&mut log.heard),
                std::mem::take(&mut log.handles),
            )
        };
        let peers = self.look_at_peers();
        let listening = self.network.listening();
        let nothing = std::array::from_fn(|_| Vec::new());
        let seen = |id: Id| Seen {
            answers: &answers,
            heard: heard.get(&id).unwrap_or(&nothing),
            peers: &peers,
            listening: &listening,
        };
        self.load_wanted(loaded, &seen)?;

        let mut accepted = Vec::new();
        for known in &mut self.servers {
            let id = Id::Server(known.id);
            settle(known, id, &seen(id))?;
            known.possible.prefer(|state| state.at().is_some());
            let state = known.possible.one();
            for (conn, id) in &state.accepted {
                accepted.push((known.app, *conn, *id));
            }
            for conn in &state.dropped {
                self.conns[*conn].peer = None;
            }
        }
        for (app, change) in std::mem::take(&mut self.changes) {
            self.apps[app].state.change(change);
            if self.apps[app].state.ending != Ending::Nothing {
                self.apps[app].state.ended();
            }
        }
        for (app, conn, id) in accepted {
            if self.clients.iter().any(|known| known.id == id) {
                return Err(format!("client socket {id} came twice"));
            }
            let place = self.clients.len();
            self.conns[conn].client = Some(place);
            let connection = self.conns[conn].connection.clone();
            let client = Client::accepted(id, self.apps[app].state, connection);
            let handle = handles.get(&id).cloned();
            self.clients.push(Known::new(id, app, client, handle));
        }
        for known in &mut self.clients {
            let id = Id::Client(known.id);
            settle(known, id, &seen(id))?;
        }
        let known = |id: &Id| match id {
            Id::Server(id) => self.servers.iter().any(|known| known.id == *id),
            Id::Client(id) => self.clients.iter().any(|known| known.id == *id),
        };
        if let Some(id) = heard.keys().find(|id| !known(id)) {
            return Err(format!(
                "{id:?} is not known, but heard of: {:?}",
                heard[id]
            ));
        }
        for (call, expected) in std::mem::take(&mut self.expected) {
            let answer = answers.get(&call).map(|(_, answer)| answer);
            if answer != Some(&expected) {
                return Err(format!("call {call}: {answer:?} instead of {expected:?}"));
            }
        }
        self.create(&answers).await?;
        self.compare_listeners()?;
        self.forget_peers();
        Ok(())
    }

    /// The event page of a suspended app has been started if anything waited.
    fn load_wanted<'a>(
        &mut self,
        loaded: [bool; 2],
        seen: &impl Fn(Id) -> Seen<'a>,
    ) -> Result<(), String> {
        for (app, loaded) in loaded.into_iter().enumerate() {
            let side = &mut self.apps[app];
            let is_new = std::mem::take(&mut side.page_is_new);
            let Some(page) = side.page else {
                continue;
            };
            if !side.state.suspended && self.changes.is_empty() {
                continue;
            }
            let mut wanted = false;
            for known in self.servers.iter().filter(|known| known.app == app) {
                let seen = seen(Id::Server(known.id));
                wanted |= known.possible.wants_app(&known.steps, &seen)?;
            }
            for known in self.clients.iter().filter(|known| known.app == app) {
                let seen = seen(Id::Client(known.id));
                wanted |= known.possible.wants_app(&known.steps, &seen)?;
            }
            // A new page may be started for what has waited and is gone.
            if wanted || (is_new && loaded) {
                self.change(app, AppChange::Resume(page));
            }
        }
        Ok(())
    }

    fn look_at_peers(&self) -> BTreeMap<usize, PeerSeen> {
        let conns = self.conns.iter().enumerate();
        let seen = conns.filter_map(|(number, conn)| {
            let peer = conn.peer.as_ref()?;
            let seen = PeerSeen {
                closed: peer.is_closed(),
                may_be_let_go: conn.connection.may_be_let_go().is_some(),
                received: peer.received(),
                no_delay: peer.nodelay(),
                keep_alive: peer.keepalive(),
            };
            Some((number, seen))
        });
        seen.collect()
    }

    /// Peers whose connection is over, or never was, have nothing more to see.
    fn forget_peers(&mut self) {
        for (number, conn) in self.conns.iter_mut().enumerate() {
            conn.is_new = false;
            if let Some(client) = conn.client {
                let possible = &self.clients[client].possible;
                if !possible.any(|state| state.connections().any(|c| c.number == number)) {
                    conn.peer = None;
                }
            }
        }
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
                    if self.servers.iter().any(|known| known.id >= *id) {
                        return Err(format!("server socket {id} was created out of order"));
                    }
                    self.servers.push(Known::new(*id, app, server, None));
                }
                (Created::Client(mut client), Some(Answer::ClientId(Ok(id)))) => {
                    client.id = *id;
                    *client.app() = state;
                    if self.clients.iter().any(|known| known.id == *id) {
                        return Err(format!("client socket {id} was created twice"));
                    }
                    let handle = self.apps[app].app.tcp.socket((*id).into()).await;
                    let handle = handle.map_err(|error| format!("its handle: {error}"))?;
                    self.clients
                        .push(Known::new(*id, app, client, Some(handle)));
                }
                (Created::Nothing(expected), answer) if answer == Some(&expected) => {}
                (_, answer) => return Err(format!("call {call}, create: {answer:?}")),
            }
        }
        Ok(())
    }

    /// The addresses that are listened on, as the network and the model know.
    fn compare_listeners(&self) -> Result<(), String> {
        let listening = self
            .servers
            .iter()
            .filter_map(|known| known.possible.one().at());
        let mut expected: Vec<SocketAddr> = listening.collect();
        expected.sort_unstable();
        let found = self.network.listening();
        match found == expected {
            true => Ok(()),
            false => Err(format!("listening on {found:?} instead of {expected:?}")),
        }
    }

    /// Everything ends with the registry.
    async fn end(self) -> Result<(), String> {
        let stopped = self.registry.send(Shutdown).await;
        if !matches!(stopped, Ok(Ok(()))) {
            return Err(format!("Shutdown: {stopped:?}"));
        }
        tokio::time::sleep(LONG).await;
        // What was not connected is not closed either.
        let connecting = |client: usize| self.clients[client].possible.any(Client::is_connecting);
        let made = |conn: &&Conn| !conn.client.is_some_and(connecting);
        let peers = self.conns.iter().filter(made);
        let peers = peers.filter_map(|conn| conn.peer.as_ref());
        let open = peers.filter(|peer| !peer.is_closed()).count();
        let listening = self.network.listening();
        match open == 0 && listening.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{open} connections and {listening:?} outlive the registry"
            )),
        }
    }
}

fn settle<S: Socket>(known: &mut Known<S>, id: Id, seen: &Seen) -> Result<(), String> {
    let steps = std::mem::take(&mut known.steps);
    known.by_handle = None;
    let settled = known.possible.settle(&steps, seen);
    known.possible = settled.map_err(|what| format!("{id:?}\n{what}"))?;
    Ok(())
}
