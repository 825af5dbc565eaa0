//! Waits until everything is at rest, and compares what was seen with the models.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::super::app::{AppChange, AppState, Ending};
use super::super::client::Client;
use super::super::connection::Connection;
use super::super::event_log::{Id, Log};
use super::super::possible_states::{PeerSeen, Seen, Socket, Step};
use super::super::server::Server;
use super::{CHECKS, Harness, SocketModel};

/// Time for everything that takes no time: the paused clock advances by it when all tasks are
/// idle.
const AT_REST: Duration = Duration::from_millis(1);

/// What was found besides the sockets.
struct Surroundings {
    peers: BTreeMap<usize, PeerSeen>,
    listening: Vec<SocketAddr>,
    queued: BTreeMap<u64, usize>,
}

/// What a comparison changes, as it was before.
struct Snapshot {
    servers: Vec<SocketModel<Server>>,
    clients: Vec<SocketModel<Client>>,
    changes: Vec<(usize, AppChange)>,
    apps: Vec<(AppState, bool)>,
    owners: Vec<Option<usize>>,
}

impl Harness {
    /// Waits until all tasks are idle.
    pub async fn come_to_rest(&self) {
        match self.threads.is_empty() {
            true => tokio::time::sleep(AT_REST).await,
            false => self.threads.rest(&self.log).await,
        }
    }

    /// Waits until all tasks are idle, and compares.
    pub async fn rest(&mut self) -> Result<(), String> {
        self.batch = 0;
        let mut log = Log::default();
        let mut check = 0;
        let surroundings = loop {
            self.come_to_rest().await;
            let loaded = self.loaded().await;
            log.take(&mut self.log.borrow_mut());
            let surroundings = Surroundings {
                peers: self.inspect_peers(),
                listening: self.network.listening(),
                queued: self.queued_bytes(),
            };
            let before = (!self.threads.is_empty()).then(|| self.snapshot());
            match (self.compare(&log, loaded, &surroundings), before) {
                (Ok(()), _) => break surroundings,
                (Err(_), Some(before)) if check < CHECKS => self.restore(before),
                (Err(what), _) => return Err(what),
            }
            check += 1;
            // A thread may not have had its turn.
            std::thread::sleep(Duration::from_millis(1) * check);
        };
        self.expected.clear();
        self.drop_panics();
        for conn in std::mem::take(&mut self.dropped) {
            self.conns[conn].peer = None;
        }
        self.create(&log.answers).await?;
        self.compare_listeners(&surroundings.listening)?;
        self.settle_unreported(&surroundings.peers);
        self.drop_peers();
        Ok(())
    }

    /// Which apps with an event page are loaded.
    async fn loaded(&self) -> [bool; 2] {
        let mut loaded = [true; 2];
        for (side, loaded) in self.apps.iter().zip(&mut loaded) {
            if side.page.is_some() {
                *loaded = side.app.is_suspended().await == Ok(false);
            }
        }
        loaded
    }

    fn queued_bytes(&self) -> BTreeMap<u64, usize> {
        let clients = self.clients.iter();
        let queued = clients.filter_map(|model| {
            let handle = model.handle.as_ref()?;
            Some((model.id, handle.queued_bytes()))
        });
        queued.collect()
    }

    /// Everything that [`compare`](Self::compare) changes.
    fn snapshot(&self) -> Snapshot {
        let apps = self.apps.iter().map(|side| (side.state, side.page_is_new));
        Snapshot {
            servers: self.servers.clone(),
            clients: self.clients.clone(),
            changes: self.changes.clone(),
            apps: apps.collect(),
            owners: self.conns.iter().map(|conn| conn.client).collect(),
        }
    }

    fn restore(&mut self, kept: Snapshot) {
        self.dropped.clear();
        self.servers = kept.servers;
        self.clients = kept.clients;
        self.changes = kept.changes;
        for (side, (state, page_is_new)) in self.apps.iter_mut().zip(kept.apps) {
            side.state = state;
            side.page_is_new = page_is_new;
        }
        for (conn, owner) in self.conns.iter_mut().zip(kept.owners) {
            conn.client = owner;
        }
    }

    /// Compares what was seen with the models, and advances them.
    fn compare(
        &mut self,
        log: &Log,
        loaded: [bool; 2],
        surroundings: &Surroundings,
    ) -> Result<(), String> {
        let Log {
            answers,
            received: events,
            handles,
            ..
        } = log;
        let nothing = std::array::from_fn(|_| Vec::new());
        let seen = |id: Id| Seen {
            answers,
            events: events.get(&id).unwrap_or(&nothing),
            peers: &surroundings.peers,
            listening: &surroundings.listening,
            queued: &surroundings.queued,
        };
        self.load_if_needed(loaded, &seen)?;

        let mut accepted = Vec::new();
        for model in &mut self.servers {
            let id = Id::Server(model.id);
            let loads = self.apps[model.app].page.is_some();
            settle(model, id, loads, &seen(id))?;
            model.possible.prefer(|state| state.at().is_some());
            let state = model.possible.representative();
            for (conn, id) in &state.accepted {
                accepted.push((model.app, *conn, *id));
            }
            self.dropped.extend(&state.dropped);
        }
        let before = self.apps.each_ref().map(|side| side.state);
        let changes = std::mem::take(&mut self.changes);
        for &(app, change) in &changes {
            self.apps[app].state.change(change);
            if self.apps[app].state.ending != Ending::Nothing {
                self.apps[app].state.ended();
            }
        }
        for (side, loaded) in self.apps.iter().zip(loaded) {
            let expected = !side.state.suspended;
            if side.page.is_some() && loaded != expected {
                return Err(format!("loaded: {loaded} instead of {expected}"));
            }
        }
        for (app, conn, id) in accepted {
            if self.clients.iter().any(|model| model.id == id) {
                return Err(format!("client socket {id} came twice"));
            }
            let place = self.clients.len();
            self.conns[conn].client = Some(place);
            // Nothing is accepted for a suspended app, so it was accepted before.
            let last = changes.iter().rfind(|(of, _)| *of == app);
            let suspends = last.filter(|(_, change)| *change == AppChange::Suspend);
            let state = match suspends {
                Some(_) => before[app],
                None => self.apps[app].state,
            };
            let possible = self.conns[conn].possible.iter().cloned();
            let clients = possible.map(|connection| Client::accepted(id, state, connection));
            let handle = handles.get(&id).cloned();
            let mut model = SocketModel::new(id, app, clients.collect(), handle);
            model
                .steps
                .extend(suspends.map(|(_, change)| Step::Change(*change)));
            self.clients.push(model);
        }
        for model in &mut self.clients {
            let id = Id::Client(model.id);
            let loads = self.apps[model.app].page.is_some();
            settle(model, id, loads, &seen(id))?;
        }
        let is_known = |id: &Id| match id {
            Id::Server(id) => self.servers.iter().any(|model| model.id == *id),
            Id::Client(id) => self.clients.iter().any(|model| model.id == *id),
        };
        if let Some(id) = events.keys().find(|id| !is_known(id)) {
            return Err(format!(
                "{id:?} is unknown, but has events: {:?}",
                events[id]
            ));
        }
        for (call, expected) in &self.expected {
            let answer = answers.get(call).map(|(_, answer)| answer);
            if answer != Some(expected) {
                return Err(format!("call {call}: {answer:?} instead of {expected:?}"));
            }
        }
        let mut creations = self.creations.iter().map(|creation| creation.call);
        match creations.find(|call| !answers.contains_key(call)) {
            Some(call) => Err(format!("call {call}, create, has no answer")),
            None => Ok(()),
        }
    }

    /// Checks that the event page of a suspended app was started if and only if something
    /// waited.
    fn load_if_needed<'a>(
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
            for model in self.servers.iter().filter(|model| model.app == app) {
                let seen = seen(Id::Server(model.id));
                wanted |= model.possible.needs_app(&model.steps, &seen)?;
            }
            for model in self.clients.iter().filter(|model| model.app == app) {
                let seen = seen(Id::Client(model.id));
                wanted |= model.possible.needs_app(&model.steps, &seen)?;
            }
            // Where the model leaves open whether something waited, the start of the page
            // decides. A new page may also be started for something that waited and is gone.
            if loaded && (wanted || is_new) {
                self.change(app, AppChange::Resume(page));
            }
        }
        Ok(())
    }

    /// Each panic was followed by a turn without one.
    fn drop_panics(&mut self) {
        for rules in &mut self.panics {
            rules.retain(|rule| {
                let has_come = self.faults.triggered(*rule) > 0;
                if has_come {
                    self.faults.remove(*rule);
                }
                !has_come
            });
        }
    }

    fn inspect_peers(&self) -> BTreeMap<usize, PeerSeen> {
        let conns = self.conns.iter().enumerate();
        let seen = conns.filter_map(|(number, conn)| {
            let peer = conn.peer.as_ref()?;
            let seen = PeerSeen {
                closed: peer.is_closed(),
                released: peer.is_released(),
                reset: peer.is_reset(),
                reset_while_unaccepted: conn
                    .possible
                    .iter()
                    .all(|c| c.released || c.gone_error().is_some()),
                received: peer.received(),
                no_delay: peer.nodelay(),
                keep_alive: peer.keepalive(),
            };
            Some((number, seen))
        });
        seen.collect()
    }

    /// An unreported connection: its peer shows whether it was released.
    fn settle_unreported(&mut self, peers: &BTreeMap<usize, PeerSeen>) {
        for (number, conn) in self.conns.iter_mut().enumerate() {
            if conn.client.is_some() {
                continue;
            }
            Connection::add_released_states(&mut conn.possible);
            if let Some(peer) = peers.get(&number) {
                conn.possible.retain(|c| c.released == peer.closed);
            }
        }
    }

    /// Peers whose connection ended or never existed see nothing more.
    fn drop_peers(&mut self) {
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

    /// Compares the listening addresses of the network and the model.
    fn compare_listeners(&self, found: &[SocketAddr]) -> Result<(), String> {
        let listening = self
            .servers
            .iter()
            .filter_map(|model| model.possible.representative().at());
        let mut expected: Vec<SocketAddr> = listening.collect();
        expected.sort_unstable();
        match found == expected {
            true => Ok(()),
            false => Err(format!("listening on {found:?} instead of {expected:?}")),
        }
    }
}

/// `loads`: its app is loaded for what waits.
fn settle<S: Socket>(
    model: &mut SocketModel<S>,
    id: Id,
    loads: bool,
    seen: &Seen,
) -> Result<(), String> {
    let steps = std::mem::take(&mut model.steps);
    model.by_handle = None;
    let settled = model.possible.settle(&steps, loads, seen);
    model.possible = settled.map_err(|what| format!("{id:?}\n{what}"))?;
    Ok(())
}
