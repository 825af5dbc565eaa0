//! Operations, carried out on the real side and on the model.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use chrome_sockets::tcp_server::{self, AcceptAction, AcceptPolicy, ListenOptions};
use chrome_sockets::{Endpoint, Error, InvalidArgument, ServerSocketId};

use super::client;
use super::connection::{Act, Connection, incoming_byte};
use super::event_log::Answer;
use super::harness::{Harness, PeerConnection, SocketModel};
use super::mistakes;
use super::ops::{ChoiceKind, ListenBy, Properties, ServerMistake, ServerOp, SocketChoice};
use super::possible_states::{Possible, Socket, Step};
use super::server::{self, Action, Arrived, MAX_NAME, Policy, Server, covers, overlap};

/// At most this many sockets are created, so that operations meet on the same ones.
const MAX_SERVERS: usize = 4;

static NAMES: LazyLock<[String; 5]> = LazyLock::new(|| {
    [
        "web".into(),
        String::new(),
        "käse ☃".into(),
        "x".repeat(MAX_NAME),
        "x".repeat(MAX_NAME + 1),
    ]
});

pub fn name(properties: &Properties) -> Option<&'static str> {
    let names: &'static [String; 5] = &NAMES;
    let name = usize::from(properties.name?);
    Some(&names[name % names.len()])
}

pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ALL_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ALL_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// The addresses for `listen`: few, so that they collide. The network chooses the last one's
/// port.
pub const ADDRESSES: [(IpAddr, u16); 11] = [
    (V4, 7001),
    (V4, 7001),
    (V4, 7002),
    (V4, 7003),
    (V6, 7001),
    (V6, 7002),
    (ALL_V4, 7001),
    (ALL_V6, 7001),
    (ALL_V6, 7001),
    (ALL_V6, 7002),
    (V4, 0),
];

fn may_listen(permissions: u8, (ip, port): (IpAddr, u16)) -> bool {
    match permissions {
        0 => true,
        1 => ip == V4,
        _ => port == 7001,
    }
}

/// Picks one of the sockets.
pub fn choose<S: Socket>(
    model: &[SocketModel<S>],
    choice: SocketChoice,
    is_open: impl Fn(&Possible<S>) -> bool,
) -> Option<usize> {
    let all = model.iter().enumerate();
    let own = all.filter(|(_, model)| {
        model.app == choice.app.0
            && (matches!(choice.how, ChoiceKind::Any) || is_open(&model.possible))
    });
    let own: Vec<usize> = own.map(|(place, _)| place).collect();
    let pick = usize::from(choice.pick).checked_rem(own.len())?;
    Some(own[pick])
}

pub fn done(result: Result<(), Error>) -> Answer {
    Answer::Done(result)
}

impl Harness {
    pub async fn server_op(&mut self, choice: SocketChoice, op: &ServerOp) -> Result<(), String> {
        let app = choice.app.0;
        let api = self.apps[app].app.tcp_server.clone();
        match op {
            ServerOp::Create(properties) => {
                let open = self
                    .servers
                    .iter()
                    .filter(|model| model.possible.any(|s| s.open));
                if open.count() < MAX_SERVERS {
                    self.rest_after_suspending().await?;
                    let mut server = Server::new(0, self.apps[app].state, self.shape);
                    let set = server.set(properties.persistent, name(properties));
                    let real = server_properties(properties);
                    let wrap = |result: Result<tcp_server::CreateInfo, Error>| {
                        Answer::ServerId(result.map(|info| info.socket_id.get()))
                    };
                    let call = self.call(|_| api.create(real), wrap);
                    self.creates_server(call, app, set.map(|()| server));
                }
                return Ok(());
            }
            ServerOp::GetSockets => {
                let wrap = |result: Result<Vec<_>, _>| Answer::Servers(result.unwrap_or_default());
                let call = self.call(|_| api.get_sockets(), wrap);
                for model in self.servers.iter_mut().filter(|model| model.app == app) {
                    let step = Step::Call(call, server::Call::GetSockets);
                    model.steps.push(step);
                }
                return Ok(());
            }
            _ => {}
        }
        if let Some(unknown) = self.unknown_id(choice, |harness| {
            harness.servers.iter().map(|k| (k.app, k.id)).collect()
        }) {
            let call = self.call(|_| api.get_info(unknown.into()), Answer::Server);
            self.expect(call, Answer::Server(Err(Error::SocketNotFound)));
            return Ok(());
        }
        let Some(place) = choose(&self.servers, choice, |s| s.any(|s| s.open)) else {
            return Ok(());
        };
        if let ServerOp::Listen {
            port,
            backlog,
            by,
            wrong,
            fault,
        } = op
        {
            return self
                .server_listens(place, *port, *backlog, *by, *wrong, *fault)
                .await;
        }
        let id = ServerSocketId::new(self.servers[place].id);
        let (call, model) = match op {
            ServerOp::Update(properties) => {
                let real = server_properties(properties);
                let call = self.call(|_| api.update(id, real), done);
                let (persistent, name) = (properties.persistent, name(properties));
                (call, server::Call::Update { persistent, name })
            }
            ServerOp::SetPaused(paused) => (
                self.call(|_| api.set_paused(id, *paused), done),
                server::Call::SetPaused(*paused),
            ),
            ServerOp::SetPolicy(policy) => (
                self.call(|_| api.set_accept_policy(id, real_policy(*policy)), done),
                server::Call::SetPolicy(*policy),
            ),
            ServerOp::Mistake(setting, which) => {
                let (call, error) = match setting {
                    ServerMistake::Policy => {
                        let (policy, error) = mistakes::policy(*which);
                        (
                            self.call(|_| api.set_accept_policy(id, policy), done),
                            error,
                        )
                    }
                    ServerMistake::Limits => {
                        let (limits, error) = mistakes::limits(*which);
                        (self.call(|_| api.set_limits(id, limits), done), error)
                    }
                    ServerMistake::Timeouts => {
                        let (timeouts, error) = mistakes::timeouts(*which);
                        (self.call(|_| api.set_timeouts(id, timeouts), done), error)
                    }
                };
                (call, server::Call::Mistake(error))
            }
            ServerOp::Disconnect => (
                self.call(|_| api.disconnect(id), done),
                server::Call::Disconnect,
            ),
            ServerOp::Close => (self.call(|_| api.close(id), done), server::Call::Close),
            _ => (
                self.call(|_| api.get_info(id), Answer::Server),
                server::Call::GetInfo,
            ),
        };
        let steps = &mut self.servers[place].steps;
        if matches!(model, server::Call::SetPaused(false)) {
            for step in &mut *steps {
                if let Step::Call(_, before @ server::Call::SetPaused(true)) = step {
                    *before = server::Call::PausedUntilResumed;
                }
            }
        }
        steps.push(Step::Call(call, model));
        Ok(())
    }

    /// An id that the app does not have.
    pub fn unknown_id(
        &self,
        choice: SocketChoice,
        ids: impl Fn(&Harness) -> Vec<(usize, u64)>,
    ) -> Option<u64> {
        match choice.how {
            ChoiceKind::Open | ChoiceKind::Any => None,
            ChoiceKind::Unknown => Some(u64::MAX - u64::from(choice.pick)),
            ChoiceKind::Foreign => {
                let ids = ids(self);
                let mut foreign = ids.iter().filter(|(app, _)| *app != choice.app.0);
                foreign.next_back().map(|(_, id)| *id)
            }
        }
    }

    async fn server_listens(
        &mut self,
        place: usize,
        port: u8,
        backlog: Option<u8>,
        by: ListenBy,
        wrong: Option<u8>,
        fault: Option<(i32, i32)>,
    ) -> Result<(), String> {
        let (ip, port) = ADDRESSES[usize::from(port)];
        let at = SocketAddr::new(ip, port);
        let app = self.servers[place].app;
        let permissions = self.apps[app].permissions;
        let wrong = wrong.filter(|_| permissions == 0);
        let permitted = may_listen(permissions, (ip, port));
        let ipv6_only = matches!(
            by,
            ListenBy::On {
                ipv6_only: true,
                ..
            }
        );
        let is_wrong = wrong.is_some() || (ipv6_only && ip.is_ipv4());
        let others = |model: &SocketModel<Server>| {
            let calls =
                |step| listens_where(step, |other, only| overlap((other, only), (at, ipv6_only)));
            model.possible.any(|s| s.is_in_the_way(at, ipv6_only)) || model.steps.iter().any(calls)
        };
        let contended = |servers: &[SocketModel<Server>]| {
            let mut all = servers.iter().enumerate();
            all.any(|(other, model)| other != place && others(model))
        };
        // The order of concurrent listens is not specified: one at a time.
        let mut alone = port == 0 || fault.is_some();
        if alone || contended(&self.servers) {
            self.rest().await?;
        }
        let taken = contended(&self.servers);
        if taken && self.shape.shared_port {
            // Both would listen, and which gets a connection is not specified.
            return Ok(());
        }
        alone |= taken;
        let free = self.servers[place]
            .possible
            .all(|s| s.open && s.listening.is_none());
        // A fault that does not apply now would apply later.
        let fault = fault.filter(|_| free && permitted && !is_wrong);
        if let Some((errno, _)) = fault {
            self.network.listen_error(errno);
        }
        let fault = fault.map(|(_, code)| code).or(taken.then_some(-147));
        let id = ServerSocketId::new(self.servers[place].id);
        let api = self.apps[app].app.tcp_server.clone();
        let waiting = backlog.map(i32::from);
        let (call, answer) = match by {
            ListenBy::Listen => {
                let right = (ip.to_string(), i32::from(port), waiting);
                let ((text, number, waiting), answer) = match wrong.map(mistakes::listen) {
                    None => (right, Ok(at)),
                    Some(((text, number, backlog), error)) => {
                        ((text.to_owned(), number, backlog), Err(error))
                    }
                };
                let call = self.call(|_| api.listen(id, text, number, waiting), done);
                (call, answer)
            }
            ListenBy::On { text, .. } => {
                let right = || match text {
                    true => Endpoint::Host(ip.to_string(), port),
                    false => at.into(),
                };
                let ((endpoint, backlog, ipv6_only), answer) = match wrong.map(mistakes::listen_on)
                {
                    None if is_wrong => {
                        let error = InvalidArgument::Ipv6OnlyForIpv4;
                        ((right(), waiting, ipv6_only), Err(error.into()))
                    }
                    None => ((right(), waiting, ipv6_only), Ok(at)),
                    Some((arguments, error)) => (arguments, Err(error)),
                };
                let options = ListenOptions {
                    backlog,
                    ipv6_only,
                    ..ListenOptions::default()
                };
                let call = self.call(|_| api.listen_on(id, endpoint, options), done);
                (call, answer)
            }
        };
        let model = server::Call::Listen {
            at: answer,
            ipv6_only,
            backlog: backlog.map(u32::from),
            permitted,
            fault,
        };
        self.servers[place].steps.push(Step::Call(call, model));
        if port == 0 {
            // Only the network knows which port it is.
            self.come_to_rest().await;
            let mut found = self.network.listening().into_iter();
            let is_known = |at: &SocketAddr| {
                self.servers
                    .iter()
                    .any(|k| k.possible.representative().is_at(*at))
            };
            if let Some(bound) = found.find(|at| !is_known(at)) {
                let event = server::Event::Bound(bound);
                self.servers[place].steps.push(Step::Event(event));
            }
        }
        if alone {
            self.rest().await?;
        }
        Ok(())
    }

    pub fn dial(&mut self, pick: u8) -> Result<(), String> {
        let Some(mut at) = self.pick_address(pick) else {
            return Ok(());
        };
        if at.ip().is_unspecified() {
            let ips = [V4, V6, at.ip()];
            at.set_ip(ips[usize::from(pick) / 16 % ips.len()]);
        }
        let dialled = self.network.client(at);
        let candidate = self.listener_at(at);
        let event = match dialled {
            Ok(peer) => {
                let number = self.conns.len();
                let arrived = Arrived {
                    conn: number,
                    peer: peer.addr(),
                    local: peer.stream_addr(),
                };
                let connection = Connection::accepted(number, arrived.peer, arrived.local);
                self.conns.push(PeerConnection {
                    peer: Some(peer),
                    possible: vec![connection],
                    client: None,
                    sent: 0,
                    shut: false,
                    is_new: false,
                });
                server::Event::Dialled(at, arrived)
            }
            Err(_) => server::Event::Refused(at),
        };
        match candidate {
            Some(place) => self.servers[place].steps.push(Step::Event(event)),
            None if matches!(event, server::Event::Refused(_)) => {}
            None => return Err(format!("nobody should listen on {at}")),
        }
        Ok(())
    }

    pub fn accept_error(&mut self, pick: u8, errno: i32) {
        let Some(at) = self.pick_address(pick) else {
            return;
        };
        if self.shape.shared_port && self.has_error(at) {
            // With several arbiters, errors of any number of listeners are reported once for
            // all.
            return;
        }
        let event = match self.network.accept_error(at, errno) {
            Ok(()) => server::Event::AcceptError(at, errno),
            Err(_) => server::Event::NoAcceptError(at),
        };
        if let Some(place) = self.listener_at(at) {
            self.servers[place].steps.push(Step::Event(event));
        }
    }

    /// Whether an accept error may wait at this address.
    fn has_error(&self, at: SocketAddr) -> bool {
        let Some(place) = self.listener_at(at) else {
            return false;
        };
        let model = &self.servers[place];
        let error = |step: &Step<_>| matches!(step, Step::Event(server::Event::AcceptError(..)));
        model.possible.any(Server::has_error) || model.steps.iter().any(error)
    }

    /// An address of a server socket, or one that may become such.
    fn pick_address(&self, pick: u8) -> Option<SocketAddr> {
        let mut all = self.network.listening();
        all.extend(pick.is_multiple_of(16).then_some(SocketAddr::new(V4, 7001)));
        let pick = usize::from(pick).checked_rem(all.len())?;
        Some(all[pick])
    }

    /// The server socket that a connection to this address may reach in this batch.
    fn listener_at(&self, to: SocketAddr) -> Option<usize> {
        let mut all = self.servers.iter();
        all.position(|model| {
            let calls = |step| listens_where(step, |at, ipv6_only| covers(at, ipv6_only, to));
            model.possible.any(|s| s.is_reached_at(to)) || model.steps.iter().any(calls)
        })
    }

    pub fn peer_op(&mut self, pick: u8, act: &Act) {
        let all = self.conns.iter().enumerate();
        let live = all.filter(|(_, conn)| conn.peer.is_some() && !conn.is_new);
        let live: Vec<usize> = live.map(|(number, _)| number).collect();
        let Some(pick) = usize::from(pick).checked_rem(live.len()) else {
            return;
        };
        let number = live[pick];
        let conn = &mut self.conns[number];
        let Some(peer) = &conn.peer else {
            return;
        };
        match act {
            Act::Send(_) if conn.shut => return,
            Act::Send(bytes) => {
                let places = conn.sent..conn.sent + bytes;
                let data: Vec<u8> = places.map(|place| incoming_byte(number, place)).collect();
                conn.sent += bytes;
                peer.send(data);
            }
            Act::End => {
                conn.shut = true;
                peer.shutdown();
            }
            Act::Reset => {
                conn.shut = true;
                peer.reset();
            }
            Act::Leave => conn.peer = None,
            Act::ReadError(errno) => peer.read_error(*errno),
            Act::WriteError(errno) => peer.write_error(*errno),
            Act::OptionError => peer.option_error(super::faults::OPTION),
            Act::Limit(Some(bytes)) => peer.limit_writes(*bytes),
            Act::Limit(None) => peer.unlimit_writes(),
        }
        match conn.client {
            None => {
                // The server may have acted on the connection before this.
                Connection::add_released_states(&mut conn.possible);
                conn.possible.iter_mut().for_each(|c| c.apply_event(act));
            }
            Some(client) => {
                let event = client::Event::Peer(number, act.clone());
                self.clients[client].steps.push(Step::Event(event));
            }
        }
    }

    pub fn release_hold(&mut self, pick: u8) {
        let Some(pick) = usize::from(pick).checked_rem(self.holds.len()) else {
            return;
        };
        let (client, attempt, hold) = self.holds.remove(pick);
        hold.release();
        let event = client::Event::Release(attempt);
        self.clients[client].steps.push(Step::Event(event));
    }
}

/// Whether it is a call that listens on such an address, with its `ipv6_only`.
fn listens_where(step: &Step<Server>, is: impl Fn(SocketAddr, bool) -> bool) -> bool {
    match step {
        Step::Call(
            _,
            server::Call::Listen {
                at: Ok(at),
                ipv6_only,
                ..
            },
        ) => is(*at, *ipv6_only),
        _ => false,
    }
}

fn server_properties(properties: &Properties) -> tcp_server::SocketProperties {
    tcp_server::SocketProperties {
        persistent: properties.persistent,
        name: name(properties).map(str::to_owned),
    }
}

fn real_policy(policy: Policy) -> AcceptPolicy {
    let action = |action| match action {
        Action::Pause => AcceptAction::Pause,
        Action::BackOff => AcceptAction::BackOff {
            first: Duration::from_secs(10),
            last: Duration::from_secs(10),
        },
        Action::Close => AcceptAction::Close,
    };
    AcceptPolicy {
        resources: action(policy.resources),
        listener: action(policy.listener),
        ..AcceptPolicy::default()
    }
}
