//! The sockets of one app, and what each has transferred. No I/O.

use std::collections::{BTreeMap, HashMap};

use chrome_sockets::tcp::DEFAULT_BUFFER_SIZE;
use chrome_sockets::tcp_server::BlockReason;
use tokio::time::Instant;

use crate::limits::{CLIENT_COST, LIST_PART, MAX_INFO, MAX_JOINED, SERVER_COST, TLS_COST};
use crate::sessions::stats::udp::UdpSockets;

mod counters;
mod udp;

pub(crate) use counters::{Counters, Order, PageRange};

/// `tcpServer`, `tcp` or `udp`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Namespace {
    Server,
    Client,
    Udp,
}

/// The sockets of one app.
#[derive(Debug, Default)]
pub(crate) struct SocketStats {
    servers: BTreeMap<u64, Server>,
    clients: HashMap<u64, Client>,
    udp: UdpSockets,
    /// The counters of closed sockets.
    closed: Counters,
    /// The memory of the sockets that the app created, and of all names.
    cost: usize,
}

#[derive(Debug, Default)]
struct Server {
    /// The bytes of its name.
    name: usize,
    /// The memory of its TLS.
    tls: usize,
    accepted: u64,
    /// The counters of its closed connections.
    closed: Counters,
    /// What kept it from accepting when the host last asked.
    blocked_by: Vec<BlockReason>,
}

#[derive(Debug)]
struct Client {
    /// The most bytes of one `onReceive`.
    buffer_size: usize,
    /// The bytes of its name.
    name: usize,
    /// The server socket that accepted it.
    server: Option<u64>,
    counters: Counters,
    /// When it was created or accepted, or when the host first saw it.
    since: Instant,
}

/// A reason why server sockets of one app do not accept, and how many it concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    pub(crate) reason: BlockReason,
    pub(crate) servers: usize,
}

impl Server {
    fn cost(&self) -> usize {
        cost(Namespace::Server, self.name) + self.tls
    }
}

impl Client {
    /// Accepted sockets are bounded by descriptors, so only their names count.
    fn cost(&self) -> usize {
        match self.server {
            Some(_) => self.name,
            None => cost(Namespace::Client, self.name),
        }
    }
}

/// The memory of a new socket.
pub(crate) fn cost(namespace: Namespace, name: usize) -> usize {
    name + match namespace {
        Namespace::Server => SERVER_COST,
        Namespace::Client | Namespace::Udp => CLIENT_COST,
    }
}

/// The memory of a server socket's TLS with this many bytes of certificates and key, if it has any.
pub(crate) fn tls_cost(bytes: Option<usize>) -> usize {
    bytes.map_or(0, |bytes| bytes + TLS_COST)
}

/// The order of apps and server sockets in a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rank {
    /// By name or id.
    Name,
    /// Worst problems first.
    Problems,
}

impl Client {
    fn new(size: Option<i32>, name: usize, server: Option<u64>) -> Self {
        Client {
            buffer_size: buffer_size(size),
            name,
            server,
            counters: Counters::default(),
            since: Instant::now(),
        }
    }
}

/// How urgent a reason is.
pub(crate) fn severity(reason: BlockReason) -> u8 {
    match reason {
        BlockReason::AcceptError(_) | BlockReason::BackingOff(_) => 3,
        BlockReason::App
        | BlockReason::Limit(_)
        | BlockReason::NoListener
        | BlockReason::Unhandled
        | BlockReason::TlsNotSet => 2,
        // These end without the admin.
        BlockReason::Suspended | BlockReason::Draining | BlockReason::Handover => 1,
        // A later version of the crate may add reasons.
        _ => 2,
    }
}

fn worst(reasons: &[BlockReason]) -> u8 {
    let severities = reasons.iter().map(|reason| severity(*reason));
    severities.max().unwrap_or(0)
}

impl SocketStats {
    /// Replaces the set of sockets, and keeps the counters of known ones. Each socket comes with
    /// the bytes of its name, client sockets of `tcp` also with their `bufferSize`.
    pub(crate) fn sync(
        &mut self,
        servers: impl IntoIterator<Item = (u64, usize)>,
        clients: impl IntoIterator<Item = (u64, usize, Option<i32>)>,
        udp: impl IntoIterator<Item = (u64, usize)>,
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
            let mut client = old
                .remove(&id)
                .unwrap_or_else(|| Client::new(size, name, None));
            client.buffer_size = buffer_size(size);
            client.name = name;
            self.clients.insert(id, client);
        }
        for client in old.into_values() {
            self.count_closed(&client);
        }
        self.closed.add(self.udp.sync(udp));
        let servers = self.servers.values().map(Server::cost);
        let clients = self.clients.values().map(Client::cost);
        self.cost = servers.chain(clients).sum::<usize>() + self.udp.cost();
    }

    /// The memory that the app's sockets count for.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    pub(crate) fn count(&self, namespace: Namespace) -> usize {
        match namespace {
            Namespace::Server => self.servers.len(),
            Namespace::Client => self.clients.len(),
            Namespace::Udp => self.udp.len(),
        }
    }

    /// All sockets of a namespace by id.
    pub(crate) fn ids(&self, namespace: Namespace) -> Vec<u64> {
        match namespace {
            Namespace::Server => self.servers.keys().copied().collect(),
            Namespace::Client => {
                let mut ids: Vec<_> = self.clients.keys().copied().collect();
                ids.sort_unstable();
                ids
            }
            Namespace::Udp => self.udp.ids(),
        }
    }

    /// How many of these sockets fit into one part of a list; at least one.
    pub(crate) fn part_length(&self, namespace: Namespace, ids: &[u64]) -> usize {
        let mut size = 0;
        let fitting = ids.iter().take_while(|id| {
            let name = match namespace {
                Namespace::Server => self.servers.get(id).map(|server| server.name),
                Namespace::Client => self.clients.get(id).map(|client| client.name),
                Namespace::Udp => self.udp.name(**id),
            };
            // JSON escapes a byte of a name by up to six.
            size += MAX_INFO + 6 * name.unwrap_or_default();
            size <= LIST_PART
        });
        fitting.count().max(1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.clients.is_empty() && self.udp.is_empty()
    }

    pub(crate) fn create(&mut self, kind: Namespace, id: u64, name: usize, size: Option<i32>) {
        self.cost += cost(kind, name);
        match kind {
            Namespace::Server => {
                let server = Server {
                    name,
                    ..Server::default()
                };
                self.servers.insert(id, server);
            }
            Namespace::Client => {
                self.clients.insert(id, Client::new(size, name, None));
            }
            Namespace::Udp => self.udp.create(id, name),
        }
    }

    pub(crate) fn update(
        &mut self,
        kind: Namespace,
        id: u64,
        name: Option<usize>,
        size: Option<i32>,
    ) {
        let old = match kind {
            Namespace::Server => self.servers.get_mut(&id).map(|server| &mut server.name),
            Namespace::Client => self.clients.get_mut(&id).map(|client| {
                if size.is_some() {
                    client.buffer_size = buffer_size(size);
                }
                &mut client.name
            }),
            Namespace::Udp => self.udp.name_mut(id),
        };
        if let Some((old, name)) = old.zip(name) {
            self.cost = self.cost - *old + name;
            *old = name;
        }
    }

    /// The memory of the TLS that a server socket has.
    pub(crate) fn tls_cost(&self, id: u64) -> usize {
        self.servers.get(&id).map_or(0, |server| server.tls)
    }

    /// Records that `setTls` has set this many bytes, or has taken the TLS away.
    pub(crate) fn set_tls(&mut self, id: u64, bytes: Option<usize>) {
        if let Some(server) = self.servers.get_mut(&id) {
            self.cost -= server.tls;
            server.tls = tls_cost(bytes);
            self.cost += server.tls;
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
                    self.count_closed(&client);
                }
            }
            Namespace::Udp => {
                if let Some((cost, counters)) = self.udp.close(id) {
                    self.cost -= cost;
                    self.closed.add(counters);
                }
            }
        }
    }

    fn count_closed(&mut self, client: &Client) {
        self.closed.add(client.counters);
        let server = client.server.and_then(|id| self.servers.get_mut(&id));
        if let Some(server) = server {
            server.closed.add(client.counters);
        }
    }

    pub(crate) fn count_accepted(&mut self, server: u64, client: u64) {
        let accepted = Client::new(None, 0, Some(server));
        if let Some(old) = self.clients.insert(client, accepted) {
            self.cost -= old.cost();
        }
        match self.servers.get_mut(&server) {
            Some(server) => server.accepted += 1,
            None => self.closed.accepted += 1,
        }
    }

    /// Counts received bytes. Returns the most bytes of one `onReceive` of the socket.
    pub(crate) fn count_received(&mut self, client: u64, bytes: usize) -> usize {
        let bytes = bytes as u64;
        let Some(client) = self.clients.get_mut(&client) else {
            self.closed.received += bytes;
            return 0;
        };
        client.counters.received += bytes;
        client.buffer_size
    }

    pub(crate) fn count_sent(&mut self, client: u64, bytes: usize) {
        let client = self.clients.get_mut(&client);
        let counters = client.map_or(&mut self.closed, |client| &mut client.counters);
        counters.sent += bytes as u64;
    }

    /// The counters of a socket of `udp`, or of the closed ones.
    fn udp_counters(&mut self, socket: u64) -> &mut Counters {
        self.udp.counters_mut(socket).unwrap_or(&mut self.closed)
    }

    pub(crate) fn count_datagram_received(&mut self, socket: u64, bytes: usize) {
        let counters = self.udp_counters(socket);
        counters.received += bytes as u64;
        counters.datagrams_received += 1;
    }

    pub(crate) fn count_datagram_sent(&mut self, socket: u64, bytes: usize) {
        let counters = self.udp_counters(socket);
        counters.sent += bytes as u64;
        counters.datagrams_sent += 1;
    }

    /// The counters of a socket of `udp`, and its age in milliseconds.
    pub(crate) fn udp_socket(&self, socket: u64) -> (Counters, u64) {
        self.udp.get(socket)
    }

    /// The number of sockets of `udp`, and a range of them.
    pub(crate) fn udp_ids(&self, order: Order, range: PageRange) -> (usize, Vec<u64>) {
        self.udp.select(order, range)
    }

    /// The sum over all open and closed sockets.
    pub(crate) fn totals(&self) -> Counters {
        let clients = self.clients.values().map(|client| client.counters);
        let udp = self.udp.counters();
        let accepted = self.servers.values().map(|server| server.accepted).sum();
        let servers = Counters {
            accepted,
            ..Counters::default()
        };
        Counters::sum(clients.chain(udp).chain([self.closed, servers]))
    }

    pub(crate) fn client_counters(&self, client: u64) -> Counters {
        let client = self.clients.get(&client);
        client.map_or_else(Counters::default, |client| client.counters)
    }

    /// The age of a client socket in milliseconds.
    pub(crate) fn age(&self, client: u64) -> u64 {
        let age = self.clients.get(&client).map(|it| it.since.elapsed());
        age.map_or(0, |age| age.as_millis().try_into().unwrap_or(u64::MAX))
    }

    /// A range of the server sockets by id.
    pub(crate) fn server_ids(&self, range: PageRange) -> Vec<u64> {
        let ids = self.servers.keys().skip(range.from).take(range.max);
        ids.copied().collect()
    }

    /// The open connections of a server socket, and the counters of all its connections.
    pub(crate) fn server(&self, id: u64) -> (usize, Counters) {
        let Some(server) = self.servers.get(&id) else {
            return (0, Counters::default());
        };
        let clients = self.clients.values();
        let clients = clients.filter(|client| client.server == Some(id));
        let open: Vec<_> = clients.map(|client| client.counters).collect();
        let mut counters = Counters::sum(open.iter().copied().chain([server.closed]));
        counters.accepted = server.accepted;
        (open.len(), counters)
    }

    /// Records what keeps a server socket from accepting now.
    pub(crate) fn set_blocked_by(&mut self, server: u64, reasons: &[BlockReason]) {
        if let Some(server) = self.servers.get_mut(&server) {
            server.blocked_by = reasons.to_vec();
        }
    }

    /// What keeps the server sockets from accepting, the worst first.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        let reasons = self.servers.values().flat_map(|server| &server.blocked_by);
        for reason in reasons {
            // The same reason with another error code counts as the same problem.
            let is_same = |known: &&mut Problem| {
                std::mem::discriminant(&known.reason) == std::mem::discriminant(reason)
            };
            match problems.iter_mut().find(is_same) {
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

    /// The number of server sockets, and a range of them: each with its open connections, and the
    /// counters of all its connections.
    pub(crate) fn servers(
        &self,
        rank: Rank,
        range: PageRange,
    ) -> (usize, Vec<(u64, usize, Counters)>) {
        let mut ids: Vec<_> = self.servers.iter().collect();
        if rank == Rank::Problems {
            // The sort is stable, so equal problems stay ordered by id.
            ids.sort_by_key(|(_, server)| std::cmp::Reverse(worst(&server.blocked_by)));
        }
        let (total, ids) = range.select(ids);
        let mut listed: Vec<_> = ids
            .into_iter()
            .map(|(id, server)| {
                let mut counters = server.closed;
                counters.accepted = server.accepted;
                (*id, 0, counters)
            })
            .collect();
        // One pass over the clients, of which there may be far more than servers.
        let indices = listed.iter().enumerate();
        let indices: HashMap<u64, usize> = indices.map(|(index, (id, ..))| (*id, index)).collect();
        for client in self.clients.values() {
            if let Some(index) = client.server.and_then(|id| indices.get(&id)) {
                listed[*index].1 += 1;
                listed[*index].2.add(client.counters);
            }
        }
        (total, listed)
    }

    /// The number of client sockets that a server socket accepted, and a range of them. `None`:
    /// those whose server socket is closed, or which the app created.
    pub(crate) fn clients(
        &self,
        server: Option<u64>,
        order: Order,
        range: PageRange,
    ) -> (usize, Vec<u64>) {
        let open_server =
            |client: &Client| client.server.filter(|id| self.servers.contains_key(id));
        let mut ids: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, client)| open_server(client) == server)
            .map(|(id, client)| match order {
                Order::Id => (0, *id),
                Order::Bytes => (u64::MAX - client.counters.bytes(), *id),
            })
            .collect();
        ids.sort_unstable();
        let (total, ids) = range.select(ids);
        (total, ids.into_iter().map(|(_, id)| id).collect())
    }
}

/// The most bytes of one `onReceive` for this `bufferSize`.
fn buffer_size(size: Option<i32>) -> usize {
    let size = size.and_then(|size| size.try_into().ok());
    let size = size.filter(|size| *size > 0);
    size.map_or(DEFAULT_BUFFER_SIZE, |size: usize| size.min(MAX_JOINED))
}

#[cfg(test)]
mod tests;
