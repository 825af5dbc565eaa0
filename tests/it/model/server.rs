//! The model of a server socket: what the public documentation says of `tcpServer`, independent
//! of the implementation.

mod steps;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;

use chrome_sockets::tcp_server::{BlockReason, DEFAULT_BACKLOG, SocketInfo};
use chrome_sockets::{Error, InvalidArgument, NetError};

use super::app::{AppState, Ending, Kind};
use super::event_log::ObservedEvent;
use super::faults::{Class, accept_error};
use super::ops::Shape;
use super::possible_states::{Progress, Seen, raise};

/// One of a server socket's possible states.
#[derive(Clone, PartialEq, Debug)]
pub struct Server {
    progress: Progress,
    pub id: u64,
    pub open: bool,
    shape: Shape,
    pub listening: Option<Listening>,
    /// Connections that were accepted and reported in this batch, with their ids.
    pub accepted: Vec<(usize, u64)>,
    /// Connections that were closed in this batch before they were reported.
    pub dropped: Vec<usize>,
    app: AppState,
    persistent: bool,
    name: Option<&'static str>,
    paused: bool,
    /// Paused by this accept error.
    failed: Option<i32>,
    policy: Policy,
    backing_off: Option<BackingOff>,
    /// Timeouts have passed in this batch.
    long_time: bool,
    /// Number of errors in a row.
    attempt: u32,
    /// Accept errors that its suspended app has not received.
    unreported: VecDeque<(i32, u32)>,
    /// A `setPaused(true)` of this batch was cancelled, as only `close` does.
    cancelled: bool,
    /// Closes once the error was reported.
    closing: bool,
    /// Accepted for a suspended app.
    held: Option<Arrived>,
    counts: Counts,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Listening {
    pub at: SocketAddr,
    ipv6_only: bool,
    most: usize,
    waiting: VecDeque<Waiting>,
}

#[derive(Clone, PartialEq, Debug)]
enum Waiting {
    Client(Arrived),
    Error(i32),
}

/// A connection to the server socket.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Arrived {
    /// Its number in this test.
    pub conn: usize,
    pub peer: SocketAddr,
    /// The address that the peer has connected to.
    pub local: SocketAddr,
}

#[derive(Clone, PartialEq, Debug)]
struct BackingOff {
    code: i32,
    /// It may be over.
    over: bool,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Counts {
    accepted: u64,
    delivered: u64,
    /// At the beginning of the batch: events take their time.
    delivered_before: u64,
    failed: u64,
}

/// The policy on accept errors; those of one connection are ignored.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Policy {
    pub resources: Action,
    pub listener: Action,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Action {
    #[default]
    Pause,
    BackOff,
    Close,
}

/// A function of `tcpServer`, with what the test knows of its surroundings.
#[derive(Clone, Debug)]
pub enum Call {
    Update {
        persistent: Option<bool>,
        name: Option<&'static str>,
    },
    SetPaused(bool),
    /// `setPaused(true)`, which a later `setPaused(false)` of the batch may have answered.
    PausedUntilResumed,
    Listen {
        /// Or the error of an invalid argument.
        at: Result<SocketAddr, Error>,
        ipv6_only: bool,
        backlog: Option<u32>,
        permitted: bool,
        /// The error of the network's `listen`.
        fault: Option<i32>,
    },
    SetPolicy(Policy),
    /// An invalid argument, which has this error.
    Mistake(Error),
    Disconnect,
    Close,
    GetInfo,
    GetSockets,
}

/// An event outside the API.
#[derive(Clone, Debug)]
pub enum Event {
    /// The OS has chosen the port.
    Bound(SocketAddr),
    /// A connection to this address.
    Dialled(SocketAddr, Arrived),
    /// Without a listener, or with a full backlog.
    Refused(SocketAddr),
    AcceptError(SocketAddr, i32),
    /// Without a listener.
    NoAcceptError(SocketAddr),
    /// Enough time passes for every timeout.
    LongTime,
}

/// With several arbiters, each accepts up to this many connections ahead, which makes room in
/// the backlog.
const AHEAD: usize = 16;

/// A longer name, in bytes, is refused.
pub const MAX_NAME: usize = 4096;

/// Whether a connection to `to` reaches a listener: `::` and `0.0.0.0` take every address, and
/// `::` those of IPv4 too, unless it is `ipv6_only`.
pub fn covers(at: SocketAddr, ipv6_only: bool, to: SocketAddr) -> bool {
    let takes_family = at.is_ipv4() == to.is_ipv4() || (at.is_ipv6() && !ipv6_only);
    let takes_ip = at.ip() == to.ip() || (at.ip().is_unspecified() && takes_family);
    at.port() == to.port() && takes_ip
}

/// Whether two server sockets cannot listen on these addresses, each with its `ipv6_only`.
pub fn overlap(one: (SocketAddr, bool), other: (SocketAddr, bool)) -> bool {
    covers(one.0, one.1, other.0) || covers(other.0, other.1, one.0)
}

pub fn net(code: i32) -> Error {
    NetError::from_code(code)
        .expect("a code of the table")
        .into()
}

impl Server {
    pub fn new(id: u64, app: AppState, shape: Shape) -> Self {
        Server {
            id,
            open: true,
            shape,
            listening: None,
            accepted: Vec::new(),
            dropped: Vec::new(),
            progress: Progress::default(),
            app,
            persistent: false,
            name: None,
            paused: false,
            failed: None,
            policy: Policy::default(),
            backing_off: None,
            long_time: false,
            attempt: 0,
            unreported: VecDeque::new(),
            cancelled: false,
            closing: false,
            held: None,
            counts: Counts::default(),
        }
    }

    /// `create` and `update`.
    pub fn set(
        &mut self,
        persistent: Option<bool>,
        name: Option<&'static str>,
    ) -> Result<(), Error> {
        if name.is_some_and(|name| name.len() > MAX_NAME) {
            return Err(InvalidArgument::NameTooLong.into());
        }
        self.persistent = persistent.unwrap_or(self.persistent);
        if let Some(name) = name {
            self.name = (!name.is_empty()).then_some(name);
        }
        Ok(())
    }

    pub fn is_at(&self, at: SocketAddr) -> bool {
        self.at() == Some(at)
    }

    /// Whether a connection to this address reaches the socket.
    pub fn is_reached_at(&self, to: SocketAddr) -> bool {
        let listening = self.listening.as_ref();
        listening.is_some_and(|listening| covers(listening.at, listening.ipv6_only, to))
    }

    /// Whether the socket prevents another one from listening there.
    pub fn is_in_the_way(&self, at: SocketAddr, ipv6_only: bool) -> bool {
        let listening = self.listening.as_ref();
        listening
            .is_some_and(|listening| overlap((listening.at, listening.ipv6_only), (at, ipv6_only)))
    }

    pub fn at(&self) -> Option<SocketAddr> {
        self.listening.as_ref().map(|listening| listening.at)
    }

    fn disconnect(&mut self) {
        for waiting in self.listening.take().into_iter().flat_map(|l| l.waiting) {
            if let Waiting::Client(client) = waiting {
                self.dropped.push(client.conn);
            }
        }
    }

    fn close(&mut self) {
        self.disconnect();
        self.dropped
            .extend(self.held.take().map(|client| client.conn));
        self.open = false;
    }

    fn may_accept(&self) -> bool {
        !self.paused && self.failed.is_none()
    }

    /// `listen` and `listen_on`: what they may answer.
    fn listen(
        &mut self,
        at: Result<SocketAddr, Error>,
        ipv6_only: bool,
        backlog: Option<u32>,
        fault: Option<i32>,
    ) -> Vec<Result<(), Error>> {
        let is_connected = Err(net(-23));
        match (at, &self.listening) {
            (Err(wrong), None) => vec![Err(wrong)],
            // The order of the checks is not specified.
            (Err(wrong), Some(_)) => vec![Err(wrong), is_connected],
            (Ok(_), Some(_)) => vec![is_connected],
            (Ok(at), None) => {
                if let Some(fault) = fault {
                    return vec![Err(net(fault))];
                }
                let most = backlog.unwrap_or(DEFAULT_BACKLOG.unsigned_abs());
                self.listening = Some(Listening {
                    at,
                    ipv6_only,
                    most: most as usize,
                    waiting: VecDeque::new(),
                });
                vec![Ok(())]
            }
        }
    }

    /// Whether `getInfo` may answer this.
    fn allows_info(&self, info: &SocketInfo) -> bool {
        let listening = self.listening.as_ref();
        let clients = listening.map(|l| u32::try_from(l.clients()).expect("it fits the type"));
        info.socket_id.get() == self.id
            && info.persistent == self.persistent
            && info.name.as_deref() == self.name
            && info.paused != self.may_accept()
            && info.reuse_port == self.shape.shared_port
            && info.local_addr() == listening.map(|listening| listening.at)
            && info.backlog == clients
            && info.counts.accepted == self.counts.accepted
            && info.counts.delivered >= self.counts.delivered_before
            && info.counts.delivered <= self.counts.delivered
            && info.counts.failed == self.counts.failed
            && info.counts.refused == 0
            && self.is_blocked_by(&info.blocked_by)
    }

    fn is_blocked_by(&self, reported: &[BlockReason]) -> bool {
        let code = |code: i32| NetError::from_code(code).expect("a code of the table");
        let backing_off = self.backing_off.as_ref();
        let maybe = backing_off.filter(|backing_off| backing_off.over);
        let maybe = maybe.map(|backing_off| BlockReason::BackingOff(code(backing_off.code)));
        let backing_off = backing_off.filter(|backing_off| !backing_off.over);
        let mut left: Vec<_> = reported.to_vec();
        let mut takes = |reason| {
            let place = left.iter().position(|other| *other == reason);
            place.map(|place| left.remove(place)).is_some()
        };
        let mut all = true;
        for (holds, reason) in [
            (self.paused, BlockReason::App),
            (
                self.app.listeners(Kind::Accept) == 0,
                BlockReason::NoListener,
            ),
            (self.app.suspended, BlockReason::Suspended),
        ] {
            all &= !holds || takes(reason);
        }
        let failed = self
            .failed
            .map(|failed| BlockReason::AcceptError(code(failed)));
        let backing_off =
            backing_off.map(|backing_off| BlockReason::BackingOff(code(backing_off.code)));
        for reason in [failed, backing_off].into_iter().flatten() {
            all &= takes(reason);
        }
        if let Some(maybe) = maybe {
            takes(maybe);
        }
        if self.app.ending != Ending::Nothing {
            // Listeners are removed first, and sockets are suspended one after the other.
            takes(BlockReason::NoListener);
        }
        all && left.is_empty()
    }

    /// Accepts one connection for a suspended app, which is loaded for it.
    fn accept_while_suspended(&self) -> Vec<Self> {
        let may = self.app.suspended && self.persistent && self.held.is_none();
        if !may || !self.is_accepting() || !self.has_waiting() {
            return Vec::new();
        }
        let accepted = self.acceptable().map(|turn| {
            let mut state = self.clone();
            state.held = state.accept(turn);
            state
        });
        accepted.collect()
    }

    /// Which waiting connections may be accepted next: the first, or any with several arbiters.
    fn acceptable(&self) -> Range<usize> {
        let length = self.listening.as_ref().map_or(0, |l| l.waiting.len());
        match self.shape {
            Shape {
                arbiters: 2..,
                shared_port: true,
            } => 0..length,
            _ => 0..length.min(1),
        }
    }

    /// Accepts a waiting connection; `None` for an error.
    fn accept(&mut self, turn: usize) -> Option<Arrived> {
        let listening = self.listening.as_mut()?;
        match listening.waiting.remove(turn)? {
            Waiting::Client(client) => {
                self.attempt = 0;
                self.backing_off = None;
                self.counts.accepted += 1;
                Some(client)
            }
            Waiting::Error(errno) => {
                self.failed(errno);
                None
            }
        }
    }

    /// Whether one more connection may wait, and whether the backlog may be full.
    fn room(&self, listening: &Listening) -> (bool, bool) {
        let (clients, most) = (listening.clients(), listening.most);
        let (listeners, ahead) = match self.shape {
            Shape {
                arbiters: several @ 2..,
                shared_port: true,
            } => (several, AHEAD),
            _ => (1, 0),
        };
        let has_room = clients < listeners * (most + ahead);
        (has_room, clients >= listeners * most)
    }

    fn failed(&mut self, errno: i32) {
        let Some((class, code)) = accept_error(errno) else {
            return;
        };
        self.counts.failed += 1;
        self.attempt += 1;
        self.backing_off = None;
        let action = match class {
            Class::Connection => return,
            Class::Resources => self.policy.resources,
            Class::Listener => self.policy.listener,
        };
        match action {
            Action::Pause => self.failed = Some(code),
            Action::BackOff => {
                let over = self.long_time;
                self.backing_off = Some(BackingOff { code, over });
            }
            Action::Close => {
                self.failed = Some(code);
                self.closing = true;
            }
        }
        self.unreported.push_back((code, self.attempt));
    }

    fn report_client(mut self, client: Arrived, seen: &Seen) -> Option<Self> {
        let listeners = self.app.listeners(Kind::Accept);
        let Some(ObservedEvent::Accept(id, ..)) = seen.next(&self.progress, listeners) else {
            return None;
        };
        self.accepted.push((client.conn, *id));
        self.counts.delivered += 1;
        raise(self, listeners, seen, |received| match received {
            ObservedEvent::Accept(same, peer, local) => {
                same == id && *peer == client.peer && *local == Some(client.local)
            }
            _ => false,
        })
    }

    /// Whether an accept error waits.
    pub fn has_error(&self) -> bool {
        let mut waiting = self.listening.iter().flat_map(|l| &l.waiting);
        waiting.any(|waiting| matches!(waiting, Waiting::Error(_)))
    }

    /// Whether the socket accepts the next connection.
    fn is_accepting(&self) -> bool {
        self.may_accept()
            && self
                .backing_off
                .as_ref()
                .is_none_or(|backing_off| backing_off.over)
    }

    fn has_waiting(&self) -> bool {
        let listening = self.listening.as_ref();
        listening.is_some_and(|listening| !listening.waiting.is_empty())
    }

    /// Whether the socket has something left to do.
    fn is_busy(&self) -> bool {
        if !self.open {
            return false;
        }
        let suspended = self.app.suspended;
        let may_load_app = suspended && self.persistent && self.held.is_none();
        let has_listener = !suspended && self.app.listeners(Kind::Accept) != 0;
        self.app.ending != Default::default()
            || (!suspended
                && !self.unreported.is_empty()
                && !self.app.keeps_event(Kind::AcceptError))
            || (has_listener && self.may_accept() && self.held.is_some())
            || ((may_load_app || has_listener) && self.is_accepting() && self.has_waiting())
    }
}

impl Listening {
    fn clients(&self) -> usize {
        let clients = self.waiting.iter();
        clients
            .filter(|waiting| matches!(waiting, Waiting::Client(..)))
            .count()
    }

    fn all(&self) -> impl Iterator<Item = usize> {
        self.waiting.iter().filter_map(|waiting| match waiting {
            Waiting::Client(client) => Some(client.conn),
            Waiting::Error(_) => None,
        })
    }
}
