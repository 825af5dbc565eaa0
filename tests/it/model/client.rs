//! The model of a client socket: what the public documentation says of `tcp`.

mod own_listeners;
mod send_queue;
mod steps;

use std::net::SocketAddr;
use std::time::Duration;

use chrome_sockets::tcp::{DEFAULT_BUFFER_SIZE, SendMarks, SocketInfo};
use chrome_sockets::{Error, InvalidArgument};

pub use own_listeners::Own;
use send_queue::SendQueue;

use super::app::{AppState, Kind};
use super::connection::{Act, Connection, Readable, incoming_byte};
use super::event_log::{Answer, CallId, ObservedEvent};
use super::possible_states::{Progress, Seen, raise};
use super::server::{MAX_NAME, net};

/// One of a client socket's possible states.
#[derive(Clone, PartialEq, Debug)]
pub struct Client {
    progress: Progress,
    pub id: u64,
    pub open: bool,
    link: Link,
    /// Connections whose last sends are still being written.
    leaving: Vec<Connection>,
    /// Connections that the app has ended, and that may linger.
    closed: Vec<Connection>,
    paused: bool,
    persistent: bool,
    name: Option<&'static str>,
    buffer_size: Option<i32>,
    allow_half_open: bool,
    user_timeout: Duration,
    /// Its own listeners.
    own: Option<Own>,
    send_queue: SendQueue,
    /// Its listeners got data until this place of the log, when others were set.
    others_until: usize,
    /// An end that waits for a listener, because the last one has died.
    unreported: Option<i32>,
    /// A `setPaused(true)` of this batch was cancelled, as only `close` does.
    cancelled: bool,
    app: AppState,
}

#[derive(Clone, PartialEq, Debug)]
enum Link {
    None,
    Connecting(CallId, Box<Target>),
    Connected(Box<Connection>),
}

/// The target of a `connect`.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    pub permitted: bool,
    /// The error of invalid arguments.
    pub wrong: Option<Error>,
    /// The outcome.
    pub end: Result<Connection, Error>,
    /// Pending until `Event::Release` with this number.
    pub held: Option<usize>,
    /// Whether it has a timeout.
    pub has_timeout: bool,
    /// The timeout has elapsed.
    pub is_timed_out: bool,
}

/// The timeout of a connect: longer than all operations take, except for `Event::LongTime`.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(100);

/// A longer user timeout is refused.
pub const MAX_USER_TIMEOUT: Duration = Duration::from_millis((1 << 31) - 1);

/// A function of `tcp`, with what the test knows of its surroundings.
#[derive(Clone, Debug)]
pub enum Call {
    Update(Properties),
    SetPaused(bool),
    /// `setPaused(true)`, which a later `setPaused(false)` of the batch may have answered.
    PausedUntilResumed,
    SetKeepAlive {
        enable: bool,
        delay: Option<i32>,
    },
    SetNoDelay(bool),
    Connect(Box<Target>),
    ShutdownWrite,
    Disconnect,
    Reset,
    SetListeners(Option<Own>),
    /// An invalid argument, which has this error.
    Mistake(Error),
    /// This many bytes.
    Send(usize),
    Close,
    GetInfo,
    GetSockets,
}

/// The arguments of `create` and `update`.
#[derive(Clone, Debug)]
pub struct Properties {
    pub persistent: Option<bool>,
    pub name: Option<&'static str>,
    pub buffer_size: Option<i32>,
    pub allow_half_open: Option<bool>,
    pub user_timeout: Option<Duration>,
    pub send_limit: Option<usize>,
    pub send_marks: Option<SendMarks>,
}

/// How the app ends a connection.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Ends {
    Orderly,
    /// By `reset`.
    Reset,
}

/// An event outside the API.
#[derive(Clone, Debug)]
pub enum Event {
    /// An action of the peer of a connection.
    Peer(usize, Act),
    /// A pending connect may complete.
    Release(usize),
    /// Enough time passes for every timeout.
    LongTime,
}

impl Target {
    /// Whether the connect is answered next.
    fn is_decided(&self) -> bool {
        self.held.is_none() || self.is_timed_out
    }
}

impl Client {
    pub fn new(id: u64, app: AppState) -> Self {
        Client {
            progress: Progress::default(),
            id,
            open: true,
            link: Link::None,
            leaving: Vec::new(),
            closed: Vec::new(),
            paused: false,
            persistent: false,
            name: None,
            buffer_size: None,
            allow_half_open: false,
            user_timeout: Duration::ZERO,
            own: None,
            send_queue: SendQueue::default(),
            others_until: 0,
            unreported: None,
            cancelled: false,
            app,
        }
    }

    pub fn accepted(id: u64, app: AppState, connection: Connection) -> Self {
        Client {
            link: Link::Connected(Box::new(connection)),
            paused: true,
            ..Client::new(id, app)
        }
    }

    /// `create` and `update`.
    pub fn set(&mut self, properties: &Properties) -> Result<(), Error> {
        let Properties {
            persistent,
            name,
            buffer_size,
            allow_half_open,
            user_timeout,
            send_limit,
            send_marks,
        } = *properties;
        if name.is_some_and(|name| name.len() > MAX_NAME) {
            return Err(InvalidArgument::NameTooLong.into());
        }
        if send_marks.is_some_and(|marks| marks.low > marks.high) {
            return Err(InvalidArgument::LowMarkAboveHigh.into());
        }
        if send_limit == Some(0) {
            return Err(InvalidArgument::SendLimitZero.into());
        }
        if user_timeout.is_some_and(|timeout| timeout > MAX_USER_TIMEOUT) {
            return Err(InvalidArgument::UserTimeoutTooLong.into());
        }
        if user_timeout.is_some() && self.connection().is_some() {
            // The scripted network has no such option.
            return Err(net(-11));
        }
        self.send_queue.set(send_limit, send_marks);
        self.user_timeout = user_timeout.unwrap_or(self.user_timeout);
        self.persistent = persistent.unwrap_or(self.persistent);
        self.allow_half_open = allow_half_open.unwrap_or(self.allow_half_open);
        if let Some(name) = name {
            self.name = (!name.is_empty()).then_some(name);
        }
        if let Some(size) = buffer_size {
            self.buffer_size = Some(size).filter(|size| *size >= 1);
        }
        Ok(())
    }

    /// Connections that are open, or may become open.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        let link = match &self.link {
            Link::None => None,
            Link::Connecting(_, target) => target.end.as_ref().ok(),
            Link::Connected(connection) => Some(&**connection),
        };
        link.into_iter().chain(&self.leaving).chain(&self.closed)
    }

    pub fn is_connecting(&self) -> bool {
        matches!(self.link, Link::Connecting(..))
    }

    fn connections_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        let link = match &mut self.link {
            Link::None => None,
            Link::Connecting(_, target) => target.end.as_mut().ok(),
            Link::Connected(connection) => Some(&mut **connection),
        };
        let left = self.leaving.iter_mut().chain(&mut self.closed);
        link.into_iter().chain(left)
    }

    fn connection(&self) -> Option<&Connection> {
        match &self.link {
            Link::Connected(connection) => Some(connection),
            _ => None,
        }
    }

    /// The app ends a connection.
    fn end_connection(&mut self, connection: Connection) {
        match connection.is_sending() {
            true => self.leaving.push(connection),
            false => self.closed.push(connection),
        }
    }

    /// `disconnect` or `reset` without its event: whether it raises one, or `None` if an answer
    /// that it causes was not seen.
    fn disconnect(&mut self, how: Ends, seen: &Seen) -> Option<bool> {
        match std::mem::replace(&mut self.link, Link::None) {
            Link::None => Some(false),
            Link::Connecting(call, _) => {
                let aborted = Answer::Done(Err(net(-3)));
                seen.answered(call, &aborted).then_some(false)
            }
            Link::Connected(mut connection) => {
                // The end of a half-closed connection was reported.
                let raises = !self.paused && !connection.half_closed;
                if how == Ends::Reset && !connection.reset(seen) {
                    return None;
                }
                self.end_connection(*connection);
                self.paused = true;
                Some(raises)
            }
        }
    }

    /// `disconnect`, `reset` and `close`, except for their answer.
    fn end(mut self, how: Ends, seen: &Seen) -> Vec<Self> {
        let Some(raises) = self.disconnect(how, seen) else {
            return Vec::new();
        };
        let suspended = self.app.suspended;
        let silent = (!raises || suspended).then(|| self.clone());
        let reported = raises.then(|| self.report_end(-100, seen));
        reported.flatten().into_iter().chain(silent).collect()
    }

    /// A socket that ends with its app is closed some time after the app was suspended or
    /// unloaded.
    fn end_with_app(&self, seen: &Seen) -> Option<Self> {
        if self.app.ending == Default::default() {
            return None;
        }
        let mut state = self.clone();
        if self.open && self.app.ends(self.persistent) {
            state.disconnect(Ends::Orderly, seen)?;
            state.open = false;
        }
        state.own = None;
        state.app.ended();
        Some(state)
    }

    fn report_end(mut self, code: i32, seen: &Seen) -> Option<Self> {
        if self.open && self.keeps_event(Kind::ReceiveError) {
            self.unreported = Some(code);
            return Some(self);
        }
        self.unreported = None;
        let listeners = self.listeners(Kind::ReceiveError);
        raise(self, listeners, seen, |received| is_end(received, code))
    }

    /// Whether a waiting end has a listener.
    fn can_report_waiting_end(&self) -> bool {
        let listeners = self.listeners(Kind::ReceiveError);
        self.open && self.is_of_this_connection() && !self.app.suspended && listeners != 0
    }

    /// Whether an end that waits for a listener is that of the last connection.
    fn is_of_this_connection(&self) -> bool {
        match &self.link {
            Link::None => true,
            Link::Connecting(..) => false,
            Link::Connected(connection) => connection.half_closed,
        }
    }

    /// Reports an end that waited for a listener, or drops it because of what follows.
    fn report_waiting_end(&self, seen: &Seen) -> Option<Self> {
        let code = self.unreported?;
        let mut state = self.clone();
        state.unreported = None;
        if self.can_report_waiting_end() {
            return state.report_end(code, seen);
        }
        (!self.is_of_this_connection()).then_some(state)
    }

    /// The errors that `connect` may answer at once.
    fn connect(&self, target: &Target) -> Vec<Error> {
        let busy = match &self.link {
            Link::None => None,
            Link::Connecting(..) => Some(net(-104)),
            Link::Connected(_) => Some(net(-23)),
        };
        // The order of the checks is not specified.
        busy.into_iter().chain(target.wrong).collect()
    }

    /// Whether `getInfo` may answer this.
    fn allows_info(&self, info: &SocketInfo) -> bool {
        let connection = self.connection();
        let local: Option<SocketAddr> = connection.and_then(|c| c.local);
        info.socket_id.get() == self.id
            && info.persistent == self.persistent
            && info.name.as_deref() == self.name
            && info.buffer_size == self.buffer_size
            && info.allow_half_open == self.allow_half_open
            && info.paused == self.paused
            && info.connected == connection.is_some()
            && info.peer_addr() == connection.map(|c| c.peer)
            && info.local_address == local.map(|local| local.ip())
            && info.local_port == local.map(|local| local.port())
            && info.local_addr() == connection.and_then(Connection::local_addr)
            && info.half_closed == connection.is_some_and(|c| c.half_closed)
            && self.send_queue.allows_info(info)
            // Sends that are called later may show already.
            && info.queued_bytes >= self.queued_bytes()
            && info.user_timeout.unwrap_or_default() == self.user_timeout
            && info.timeouts == Default::default()
    }

    fn may_hear(&self) -> bool {
        self.open && !self.paused && !self.app.suspended
    }

    fn reads(&self) -> bool {
        self.may_hear() && self.listeners(Kind::Receive) != 0
    }

    /// Whether the socket peeks for an end: no listener of data exists, or the app is suspended
    /// and may be loaded for it.
    fn peeks(&self) -> bool {
        let nobody = match self.app.suspended {
            true => self.persistent,
            false => self.listeners(Kind::Receive) == 0,
        };
        self.open && !self.paused && nobody
    }

    /// The most bytes of one `onReceive`.
    fn chunk(&self) -> usize {
        let set = self.buffer_size.and_then(|size| usize::try_from(size).ok());
        set.unwrap_or(DEFAULT_BUFFER_SIZE).min(65_536)
    }

    /// Listeners receive some of this many bytes.
    fn receive(&self, bytes: usize, seen: &Seen) -> Option<Self> {
        let listeners = self.listeners(Kind::Receive);
        if seen.next_place(&self.progress, listeners)? < self.others_until {
            return None;
        }
        let Some(ObservedEvent::Receive(data)) = seen.next(&self.progress, listeners) else {
            return None;
        };
        let connection = self.connection()?;
        let (number, delivered) = (connection.number, connection.delivered);
        let mut places = data.iter().enumerate();
        let fits = (1..=bytes.min(self.chunk())).contains(&data.len())
            && places.all(|(place, byte)| *byte == incoming_byte(number, delivered + place));
        if !fits {
            return None;
        }
        let mut state = self.clone();
        if let Link::Connected(connection) = &mut state.link {
            connection.read(data.len());
        }
        raise(
            state,
            listeners,
            seen,
            |received| matches!(received, ObservedEvent::Receive(same) if same == data),
        )
    }

    /// The possible outcomes of a read.
    fn read(&self, seen: &Seen) -> Option<Self> {
        let connection = self.connection()?;
        let mut state = self.clone();
        let Link::Connected(changed) = &mut state.link else {
            return None;
        };
        if connection.half_closed || self.ends_unheard() {
            return None;
        }
        if let Some(code) = connection.end {
            if !self.may_hear() {
                return None;
            }
            if self.allow_half_open && connection.may_stay_half_closed() {
                changed.half_closed = true;
                changed.end = None;
                state.paused = true;
                return state.report_end(code, seen);
            }
            state.disconnect(Ends::Orderly, seen);
            return state.report_end(code, seen);
        }
        if !self.reads() && !self.peeks() {
            return None;
        }
        match connection.readable() {
            Readable::Nothing => None,
            Readable::Data(_) if !self.reads() => None,
            Readable::Data(bytes) => self.receive(bytes, seen),
            Readable::Again => {
                changed.read(0);
                Some(state)
            }
            Readable::End(code) => {
                changed.fin = connection.is_fin();
                changed.read(0);
                changed.end = Some(code);
                Some(state)
            }
        }
    }

    /// A half-closed connection is over: its other side has ended too, or the OS reports that it
    /// is gone.
    fn take_if_over(&self, seen: &Seen) -> Option<Self> {
        let connection = self.connection()?;
        if !connection.half_closed {
            return None;
        }
        let mut state = self.clone();
        let Link::Connected(mut connection) = std::mem::replace(&mut state.link, Link::None) else {
            return None;
        };
        if !connection.is_write_ended() {
            let error = connection.half_closed_error()?;
            if !connection.fail(net(error), Some(error), seen) {
                return None;
            }
        }
        state.paused = true;
        state.closed.push(*connection);
        Some(state)
    }

    /// The OS reports that the connection is gone, whatever the socket does.
    fn observe_gone(&self, seen: &Seen) -> Option<Self> {
        let end = self.connection()?.gone_error()?;
        if self.ends_unheard() {
            return None;
        }
        let mut state = self.clone();
        match &mut state.link {
            Link::Connected(connection) => connection.release(end, seen).then_some(state),
            _ => None,
        }
    }

    /// A pending connect completes.
    fn complete_connect(&self, seen: &Seen) -> Option<Self> {
        let Link::Connecting(call, target) = &self.link else {
            return None;
        };
        if !target.is_decided() {
            return None;
        }
        let mut state = self.clone();
        let timed_out = Err(net(-118));
        let end = match target.is_timed_out {
            true => &timed_out,
            false => &target.end,
        };
        let answer = match end {
            Ok(connection) => {
                state.link = Link::Connected(Box::new(connection.clone()));
                state.send_queue.begin();
                Ok(())
            }
            Err(error) => {
                state.link = Link::None;
                Err(*error)
            }
        };
        seen.answered(*call, &Answer::Done(answer)).then_some(state)
    }

    fn write(&self, seen: &Seen) -> Option<Self> {
        let mut state = self.clone();
        match &mut state.link {
            Link::Connected(connection) if connection.may_write() => {
                connection.write(seen).then_some(state)
            }
            _ => None,
        }
    }

    fn write_last(&self, seen: &Seen) -> Option<Self> {
        let mut state = self.clone();
        let place = state.leaving.iter().position(Connection::may_leave)?;
        if !state.leaving[place].write(seen) {
            return None;
        }
        if !state.leaving[place].is_sending() {
            let done = state.leaving.remove(place);
            state.closed.push(done);
        }
        Some(state)
    }

    /// Whether the socket has something left to do.
    fn is_busy(&self) -> bool {
        let link = match &self.link {
            Link::None => false,
            Link::Connecting(_, target) => target.is_decided(),
            Link::Connected(c) => {
                let is_read = c.end.is_none() && !c.half_closed;
                c.may_write()
                    || (self.reads() && c.may_read() && is_read)
                    || (self.peeks() && !self.app.suspended && c.may_end())
                    || (c.half_closed && (c.is_write_ended() || c.half_closed_error().is_some()))
                    || (self.may_hear() && c.end.is_some())
                    || c.gone_error().is_some()
                    || self.has_to_end_unheard()
            }
        };
        link || self.crosses_mark()
            || self.leaving.iter().any(Connection::may_leave)
            || self.app.ending != Default::default()
    }
}

fn is_data(received: &ObservedEvent) -> bool {
    matches!(received, ObservedEvent::Receive(_))
}

fn is_end(received: &ObservedEvent, code: i32) -> bool {
    matches!(received, ObservedEvent::ReceiveError(reported) if *reported == code)
}
