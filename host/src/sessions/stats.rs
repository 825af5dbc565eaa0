//! What a host knows of one app's sockets by itself: which there are, and what
//! has passed through its hands for each. Pure.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use tokio::time::Instant;

use crate::limits::{CLIENT_COST, MIN_INFO, PART, SERVER_COST, WINDOW};
use chrome_sockets::tcp::DEFAULT_BUFFER_SIZE;
use chrome_sockets::tcp_server::BlockReason;

/// What has passed between apps and their peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counters {
    /// Bytes that the apps' clients were given.
    pub(crate) received: u64,
    /// Bytes of sends that were answered.
    pub(crate) sent: u64,
    /// Connections that they were told of.
    pub(crate) accepted: u64,
}

/// Which of the two kinds of sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Namespace {
    Server,
    Client,
}

/// The sockets of one app.
#[derive(Debug, Default)]
pub(crate) struct SocketStats {
    servers: BTreeMap<u64, Server>,
    clients: HashMap<u64, Client>,
    /// Of the sockets that are closed.
    closed: Counters,
    /// What the sockets that it has made cost, with their names.
    cost: usize,
}

#[derive(Debug, Default)]
struct Server {
    /// The bytes of its name.
    name: usize,
    accepted: u64,
    /// Of its clients that are closed.
    closed: Counters,
    /// Why it did not accept when it was last asked.
    blocked_by: Vec<BlockReason>,
}

#[derive(Debug)]
struct Client {
    /// The most bytes of one `onReceive`.
    buffer_size: usize,
    /// The bytes of its name.
    name: usize,
    /// Which server socket has accepted it.
    server: Option<u64>,
    sums: Counters,
    /// When it was created, accepted or found.
    since: Instant,
}

/// What keeps server sockets of one app from accepting, and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    pub(crate) reason: BlockReason,
    pub(crate) servers: usize,
}

impl Server {
    fn cost(&self) -> usize {
        SERVER_COST + self.name
    }
}

impl Client {
    /// What was accepted is bounded by descriptors: its name alone counts.
    fn cost(&self) -> usize {
        match self.server {
            Some(_) => self.name,
            None => CLIENT_COST + self.name,
        }
    }
}

/// What a new socket will cost.
pub(crate) fn cost(namespace: Namespace, name: usize) -> usize {
    name + match namespace {
        Namespace::Server => SERVER_COST,
        Namespace::Client => CLIENT_COST,
    }
}

/// In which order client sockets are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// As they came.
    Id,
    /// Those with the most bytes first.
    Bytes,
}

/// In which order apps and server sockets are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rank {
    /// By their names.
    Name,
    /// Those with the worst problems first.
    Problems,
}

/// A part of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PageRange {
    pub(crate) from: usize,
    pub(crate) most: usize,
}

impl Counters {
    fn add(&mut self, other: Counters) {
        self.received += other.received;
        self.sent += other.sent;
        self.accepted += other.accepted;
    }

    fn bytes(self) -> u64 {
        self.received + self.sent
    }

    pub(crate) fn of(all: impl Iterator<Item = Counters>) -> Self {
        let mut sum = Counters::default();
        all.for_each(|one| sum.add(one));
        sum
    }

    pub(crate) fn shown(self) -> Value {
        json!({ "received": self.received, "sent": self.sent, "accepted": self.accepted })
    }
}

impl PageRange {
    /// This part of a list, and how long the whole is.
    pub(crate) fn of<T>(self, all: impl Iterator<Item = T>) -> (usize, Vec<T>) {
        let mut count = 0;
        let mut part = Vec::new();
        for (at, one) in all.enumerate() {
            if at >= self.from && part.len() < self.most {
                part.push(one);
            }
            count = at + 1;
        }
        (count, part)
    }
}

impl Client {
    fn new(size: Option<i32>, server: Option<u64>) -> Self {
        Client {
            buffer_size: buffer_size(size),
            name: 0,
            server,
            sums: Counters::default(),
            since: Instant::now(),
        }
    }
}

/// How much somebody should look at a server socket that this keeps from accepting.
pub(crate) fn severity(reason: BlockReason) -> u8 {
    match reason {
        BlockReason::AcceptError(_) | BlockReason::BackingOff(_) => 3,
        BlockReason::App
        | BlockReason::Limit(_)
        | BlockReason::NoListener
        | BlockReason::Unhandled
        | BlockReason::TlsNotSet => 2,
        // These end by themselves.
        BlockReason::Suspended | BlockReason::Draining | BlockReason::Handover => 1,
        // One that this host does not know yet.
        _ => 2,
    }
}

fn worst(reasons: &[BlockReason]) -> u8 {
    let severities = reasons.iter().map(|reason| severity(*reason));
    severities.max().unwrap_or(0)
}

impl SocketStats {
    /// These are the sockets that there are: each with the bytes of its name, clients with
    /// their `bufferSize`.
    pub(crate) fn found(
        &mut self,
        servers: impl IntoIterator<Item = (u64, usize)>,
        clients: impl IntoIterator<Item = (u64, usize, Option<i32>)>,
    ) {
        let mut old = std::mem::take(&mut self.servers);
        for (id, name) in servers {
            let mut server = old.remove(&id).unwrap_or_default();
            server.name = name;
            self.servers.insert(id, server);
        }
        for server in old.into_values() {
            self.closed.accepted += server.accepted;
        }
        let mut old = std::mem::take(&mut self.clients);
        for (id, name, size) in clients {
            let mut client = old.remove(&id).unwrap_or_else(|| Client::new(size, None));
            client.buffer_size = buffer_size(size);
            client.name = name;
            self.clients.insert(id, client);
        }
        for client in old.into_values() {
            self.forget(&client);
        }
        let servers = self.servers.values().map(Server::cost);
        let clients = self.clients.values().map(Client::cost);
        self.cost = servers.chain(clients).sum();
    }

    /// What the app's sockets cost.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    pub(crate) fn count(&self, namespace: Namespace) -> usize {
        match namespace {
            Namespace::Server => self.server_count(),
            Namespace::Client => self.client_count(),
        }
    }

    /// Every socket of a kind, in the order of their ids.
    pub(crate) fn ids(&self, namespace: Namespace) -> Vec<u64> {
        match namespace {
            Namespace::Server => self.servers.keys().copied().collect(),
            Namespace::Client => {
                let mut ids: Vec<_> = self.clients.keys().copied().collect();
                ids.sort_unstable();
                ids
            }
        }
    }

    /// How many of these fit into one part of a list: one at least.
    pub(crate) fn part(&self, namespace: Namespace, ids: &[u64]) -> usize {
        let mut size = 0;
        let fitting = ids.iter().take_while(|id| {
            let name = match namespace {
                Namespace::Server => self.servers.get(id).map(|server| server.name),
                Namespace::Client => self.clients.get(id).map(|client| client.name),
            };
            // A byte of a name takes six in JSON, at most.
            size += MIN_INFO + 6 * name.unwrap_or_default();
            size <= PART
        });
        fitting.count().max(1)
    }

    pub(crate) fn server_count(&self) -> usize {
        self.servers.len()
    }

    pub(crate) fn client_count(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.clients.is_empty()
    }

    pub(crate) fn create(&mut self, kind: Namespace, id: u64, name: usize, size: Option<i32>) {
        self.cost += cost(kind, name);
        match kind {
            Namespace::Server => {
                let made = Server {
                    name,
                    ..Server::default()
                };
                self.servers.insert(id, made);
            }
            Namespace::Client => {
                let mut made = Client::new(size, None);
                made.name = name;
                self.clients.insert(id, made);
            }
        }
    }

    /// A socket was updated.
    pub(crate) fn update(
        &mut self,
        kind: Namespace,
        id: u64,
        name: Option<usize>,
        size: Option<i32>,
    ) {
        let kept = match kind {
            Namespace::Server => self.servers.get_mut(&id).map(|server| &mut server.name),
            Namespace::Client => self.clients.get_mut(&id).map(|client| {
                if size.is_some() {
                    client.buffer_size = buffer_size(size);
                }
                &mut client.name
            }),
        };
        if let Some((kept, name)) = kept.zip(name) {
            self.cost = self.cost - *kept + name;
            *kept = name;
        }
    }

    pub(crate) fn close(&mut self, kind: Namespace, id: u64) {
        match kind {
            Namespace::Server => {
                if let Some(server) = self.servers.remove(&id) {
                    self.cost -= server.cost();
                    self.closed.accepted += server.accepted;
                }
            }
            Namespace::Client => {
                if let Some(client) = self.clients.remove(&id) {
                    self.cost -= client.cost();
                    self.forget(&client);
                }
            }
        }
    }

    fn forget(&mut self, client: &Client) {
        self.closed.add(client.sums);
        let server = client.server.and_then(|id| self.servers.get_mut(&id));
        if let Some(server) = server {
            server.closed.add(client.sums);
        }
    }

    pub(crate) fn accepted(&mut self, server: u64, client: u64) {
        let accepted = Client::new(None, Some(server));
        if let Some(old) = self.clients.insert(client, accepted) {
            self.cost -= old.cost();
        }
        match self.servers.get_mut(&server) {
            Some(server) => server.accepted += 1,
            None => self.closed.accepted += 1,
        }
    }

    /// So many bytes have come; the most of one `onReceive` of it.
    pub(crate) fn received(&mut self, client: u64, bytes: usize) -> usize {
        let bytes = bytes as u64;
        let Some(client) = self.clients.get_mut(&client) else {
            self.closed.received += bytes;
            return 0;
        };
        client.sums.received += bytes;
        client.buffer_size
    }

    pub(crate) fn sent(&mut self, client: u64, bytes: usize) {
        let client = self.clients.get_mut(&client);
        let sums = client.map_or(&mut self.closed, |client| &mut client.sums);
        sums.sent += bytes as u64;
    }

    /// Of all that the app has, and has had.
    pub(crate) fn sums(&self) -> Counters {
        let clients = self.clients.values().map(|client| client.sums);
        let accepted = self.servers.values().map(|server| server.accepted).sum();
        let servers = Counters {
            accepted,
            ..Counters::default()
        };
        Counters::of(clients.chain([self.closed, servers]))
    }

    /// Of one client socket.
    pub(crate) fn client_sums(&self, client: u64) -> Counters {
        let client = self.clients.get(&client);
        client.map_or_else(Counters::default, |client| client.sums)
    }

    /// How long one client socket has been there, in milliseconds.
    pub(crate) fn age(&self, client: u64) -> u64 {
        let age = self.clients.get(&client).map(|it| it.since.elapsed());
        age.map_or(0, |age| age.as_millis().try_into().unwrap_or(u64::MAX))
    }

    /// The ids of some of its server sockets, in their order.
    pub(crate) fn server_ids(&self, slice: PageRange) -> Vec<u64> {
        let ids = self.servers.keys().skip(slice.from).take(slice.most);
        ids.copied().collect()
    }

    /// How many clients of a server socket are there, and what has passed through all of them.
    pub(crate) fn server(&self, server: u64) -> (usize, Counters) {
        let Some(known) = self.servers.get(&server) else {
            return (0, Counters::default());
        };
        let clients = self.clients.values();
        let clients = clients.filter(|client| client.server == Some(server));
        let sums = clients.map(|client| client.sums);
        let (mut count, mut all) = (0, known.closed);
        sums.for_each(|one| {
            count += 1;
            all.add(one);
        });
        all.accepted = known.accepted;
        (count, all)
    }

    /// This keeps a server socket from accepting now.
    pub(crate) fn blocked(&mut self, server: u64, reasons: &[BlockReason]) {
        if let Some(server) = self.servers.get_mut(&server) {
            server.blocked_by = reasons.to_vec();
        }
    }

    /// What keeps its server sockets from accepting, the worst first.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        let reasons = self.servers.values().flat_map(|server| &server.blocked_by);
        for reason in reasons {
            let is_it = |known: &&mut Problem| {
                std::mem::discriminant(&known.reason) == std::mem::discriminant(reason)
            };
            match problems.iter_mut().find(is_it) {
                Some(known) => known.servers += 1,
                None => problems.push(Problem {
                    reason: *reason,
                    servers: 1,
                }),
            }
        }
        problems.sort_by_key(|problem| std::cmp::Reverse(severity(problem.reason)));
        problems
    }

    /// Server sockets; each with how many of its clients
    /// are there, and what has passed through all that it has had.
    pub(crate) fn servers(
        &self,
        rank: Rank,
        slice: PageRange,
    ) -> (usize, Vec<(u64, usize, Counters)>) {
        let mut ids: Vec<_> = self.servers.iter().collect();
        if rank == Rank::Problems {
            // Those that are as bad stay in the order of their ids.
            ids.sort_by_key(|(_, server)| std::cmp::Reverse(worst(&server.blocked_by)));
        }
        let (count, ids) = slice.of(ids.into_iter());
        let mut listed: Vec<_> = ids
            .into_iter()
            .map(|(id, server)| {
                let mut sums = server.closed;
                sums.accepted = server.accepted;
                (*id, 0, sums)
            })
            .collect();
        let places = listed.iter().enumerate().map(|(at, (id, ..))| (*id, at));
        let places: HashMap<u64, usize> = places.collect();
        for client in self.clients.values() {
            if let Some(at) = client.server.and_then(|id| places.get(&id)) {
                listed[*at].1 += 1;
                listed[*at].2.add(client.sums);
            }
        }
        (count, listed)
    }

    /// The client sockets that this server socket has accepted; or those of none
    /// that is there.
    pub(crate) fn clients(
        &self,
        server: Option<u64>,
        order: Order,
        slice: PageRange,
    ) -> (usize, Vec<u64>) {
        let parent = |client: &Client| client.server.filter(|id| self.servers.contains_key(id));
        let mut ids: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, client)| parent(client) == server)
            .map(|(id, client)| match order {
                Order::Id => (0, *id),
                Order::Bytes => (u64::MAX - client.sums.bytes(), *id),
            })
            .collect();
        ids.sort_unstable();
        slice.of(ids.into_iter().map(|(_, id)| id))
    }
}

/// What is read at once of a socket, as `bufferSize` says.
fn buffer_size(size: Option<i32>) -> usize {
    let size = size.and_then(|size| size.try_into().ok());
    let size = size.filter(|size| *size > 0);
    size.map_or(DEFAULT_BUFFER_SIZE, |size: usize| size.min(WINDOW))
}

#[cfg(test)]
mod tests;
