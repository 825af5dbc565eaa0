//! One client socket: what the app set, and its connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::task::JoinHandle;

use crate::answer::Reply;
use crate::app_activity::PendingCall;
use crate::connections::{ConnectionCounter, ConnectionGuard};
use crate::error::Error;
use crate::events::{EventCopy, FanOut, dispatch};
use crate::name::checked_name;
use crate::net_error::{self, NetError};
use crate::os::{Stream, retry_if_spurious};
use crate::pending_pauses::PendingPauses;
use crate::tcp::actor::{Command, later};
use crate::tcp::connection::connect::Connected;
use crate::tcp::connection::ending::{CallsAhead, Ending, Passed};
use crate::tcp::connection::fast_path::FastPath;
use crate::tcp::connection::redelivery::{Panics, Redelivery, Undelivered};
use crate::tcp::connection::secure::Securing;
use crate::tcp::connection::timeouts::TimeoutState;
use crate::tcp::connection::write::{PendingSend, WriteQueue};
use crate::tcp::events::ReceiveErrorInfo;
use crate::tcp::socket::ClientSocket;
use crate::tcp::{AcceptNotifier, DEFAULT_BUFFER_SIZE, SocketInfo, SocketProperties};

pub(in crate::tcp) struct SocketState {
    pub(in crate::tcp) socket: ClientSocket,
    pub(in crate::tcp) paused: bool,
    /// Whether bytes of it are between the stream and the listeners.
    pub(in crate::tcp) in_hand: bool,
    /// Whether it was accepted and has never been resumed.
    pub(in crate::tcp) never_resumed: bool,
    pub(in crate::tcp) hold: Transfer,
    pub(in crate::tcp) link: Link,
    /// Who accepted it, until the app does something with it.
    pub(in crate::tcp) offer: Option<Arc<dyn AcceptNotifier>>,
    /// Only of a socket with time-outs.
    pub(in crate::tcp) timing: Option<Box<TimeoutState>>,
    /// The `setPaused(true)` calls that wait for listeners to catch up, and
    /// until when.
    pub(in crate::tcp) pausing: PendingPauses,
    pub(in crate::tcp) persistent: bool,
    pub(in crate::tcp) name: Option<Box<str>>,
    pub(in crate::tcp) buffer_size: Option<i32>,
    /// The number of the event that was raised last.
    pub(in crate::tcp) raised: u64,
    /// How many listeners of the app had died when that was last looked at.
    pub(in crate::tcp) deaths: u64,
    pub(in crate::tcp) recovery: Option<Box<Redelivery>>,
    /// How often `connect` was called. An end that is told late is of the
    /// connection before the call, which says that the app knows of it.
    pub(in crate::tcp) connects: u32,
    pub(in crate::tcp) ending: Ending,
    /// Only of a socket at whose events listeners have panicked.
    pub(in crate::tcp) panics: Option<Box<Panics>>,
}

/// How far a handover to another process has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::tcp) enum Transfer {
    None,
    /// No new events are raised; calls are carried out.
    Quiescing,
    /// The socket stands still, and its calls wait.
    Frozen,
}

pub(in crate::tcp) enum Link {
    None,
    Connecting(Box<Connecting>),
    Connected(Connection),
    Securing(Box<Securing>),
    /// Left alone until a handover is over.
    Held(Connection),
}

pub(in crate::tcp) struct Connecting {
    pub(in crate::tcp) attempt: u64,
    pub(in crate::tcp) task: JoinHandle<()>,
    pub(in crate::tcp) reply: Reply<()>,
    pub(in crate::tcp) _pending: PendingCall,
}

pub(in crate::tcp) struct Connection {
    /// While sends may go past the queue; it is shut before the stream is
    /// closed.
    pub(in crate::tcp) shortcut: Option<FastPath>,
    pub(in crate::tcp) stream: Box<dyn Stream>,
    pub(in crate::tcp) queue: WriteQueue,
    /// Only `getInfo` asks for them, so they stand apart from what every
    /// event touches.
    pub(in crate::tcp) ends: Box<ConnectionMeta>,
    /// Why nothing more can be written, though something may still be read.
    pub(in crate::tcp) write_error: Option<NetError>,
    /// Whether reading tells nothing of that error.
    is_lasting: bool,
    /// Whether a send has failed of which its app hears only by the end.
    pub(in crate::tcp) has_unreported_failure: bool,
    /// Whether anything may have been written.
    pub(in crate::tcp) is_used: bool,
    /// Why nothing more can be read; told when the app may hear it.
    pub(in crate::tcp) end: Option<NetError>,
    /// Whether only its end is left of it: there is no descriptor any more. That
    /// it counts nowhere does not say so: what is unread keeps the descriptor.
    pub(in crate::tcp) is_let_go: bool,
}

/// What is to be read next.
pub(in crate::tcp) enum Peeked {
    Nothing,
    Data,
    End(NetError),
}

pub(crate) struct ConnectionMeta {
    pub(in crate::tcp) peer: SocketAddr,
    /// Only of what `connect` made: an accepted socket keeps no room for it.
    pub(in crate::tcp) dialled: Option<Box<Outbound>>,
    /// It counts as open until this is dropped.
    pub(in crate::tcp) connection_guard: Option<ConnectionGuard>,
    /// In which arbiter it was accepted, if it is to stay there.
    pub(in crate::tcp) pinned_shard: Option<u16>,
}

impl ConnectionMeta {
    pub(crate) fn stays_in(&mut self, arbiter: Option<usize>) {
        self.pinned_shard = arbiter.and_then(|arbiter| u16::try_from(arbiter).ok());
    }

    pub(in crate::tcp) fn at_home(&self) -> Option<usize> {
        self.pinned_shard.map(usize::from)
    }

    pub(crate) fn accepted(peer: SocketAddr, connection_guard: ConnectionGuard) -> Box<Self> {
        Box::new(ConnectionMeta {
            peer,
            dialled: None,
            connection_guard: Some(connection_guard),
            pinned_shard: None,
        })
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }
}

pub(in crate::tcp) struct Outbound {
    pub(in crate::tcp) local: Option<SocketAddr>,
    /// What `connect` was given; the certificate has to have this name.
    pub(in crate::tcp) host: Box<str>,
    pub(in crate::tcp) is_secured: bool,
}

impl SocketState {
    pub(in crate::tcp) fn new(socket: ClientSocket) -> Self {
        SocketState {
            socket,
            paused: false,
            in_hand: false,
            never_resumed: false,
            hold: Transfer::None,
            link: Link::None,
            offer: None,
            timing: None,
            pausing: PendingPauses::default(),
            persistent: false,
            name: None,
            buffer_size: None,
            raised: 0,
            deaths: 0,
            recovery: None,
            connects: 0,
            ending: Ending::default(),
            panics: None,
        }
    }

    /// An accepted connection: paused until the app wants it.
    pub(in crate::tcp) fn accepted(
        socket: ClientSocket,
        stream: Box<dyn Stream>,
        mut ends: Box<ConnectionMeta>,
        offer: Arc<dyn AcceptNotifier>,
    ) -> Self {
        if let Some(connection_guard) = &mut ends.connection_guard {
            connection_guard.activate();
        }
        let mut connection = Connection::new(stream, ends);
        connection.is_used = false;
        SocketState {
            paused: true,
            never_resumed: true,
            link: Link::Connected(connection),
            offer: Some(offer),
            ..SocketState::new(socket)
        }
        .arrived()
    }

    /// Whether its app has it, and may lose it: nobody else waits to hear of it.
    pub(in crate::tcp) fn ends_by_suspension(&self) -> bool {
        !self.persistent && !self.offer.as_ref().is_some_and(|offer| offer.is_open())
    }

    /// The event that offered this socket has reached somebody.
    pub(in crate::tcp) fn acknowledge(&mut self) {
        if let Some(offer) = self.offer.take() {
            offer.claimed();
        }
    }

    pub(in crate::tcp) fn update(&mut self, properties: SocketProperties) -> Result<(), Error> {
        let name = properties.name.map(checked_name).transpose()?;
        if let Some(name) = name {
            self.name = name;
        }
        if let Some(persistent) = properties.persistent {
            self.persistent = persistent;
        }
        if let Some(size) = properties.buffer_size {
            self.buffer_size = (size >= 1).then_some(size);
        }
        Ok(())
    }

    pub(in crate::tcp) fn info(&self) -> SocketInfo {
        let ends = self.ends();
        let local = ends
            .and_then(|ends| ends.dialled.as_ref())
            .and_then(|dialled| dialled.local);
        let peer = ends.map(|ends| ends.peer);
        SocketInfo {
            socket_id: self.socket.id(),
            persistent: self.persistent,
            name: self.name.as_deref().map(str::to_owned),
            buffer_size: self.buffer_size,
            paused: self.paused,
            connected: ends.is_some(),
            local_address: local.map(|local| local.ip()),
            local_port: local.map(|local| local.port()),
            peer_address: peer.map(|peer| peer.ip()),
            peer_port: peer.map(|peer| peer.port()),
            timeouts: self.timeouts(),
            dropped_events: self.dropped_events(),
        }
    }

    /// The most bytes of one event.
    pub(in crate::tcp) fn chunk(&self) -> usize {
        self.buffer_size
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(DEFAULT_BUFFER_SIZE)
    }

    pub(in crate::tcp) fn connection(&self) -> Option<&Connection> {
        match &self.link {
            Link::Connected(connection) | Link::Held(connection) => Some(connection),
            _ => None,
        }
    }

    pub(in crate::tcp) fn ends(&self) -> Option<&ConnectionMeta> {
        match &self.link {
            Link::Connected(connection) | Link::Held(connection) => Some(&connection.ends),
            Link::Securing(securing) => securing.ends(),
            _ => None,
        }
    }

    pub(in crate::tcp) fn send(&mut self, outgoing: PendingSend) {
        match &mut self.link {
            Link::Connected(connection) => {
                let nothing_waits = connection.queue.is_empty();
                connection.send(outgoing, &self.socket);
                if nothing_waits && let Some(timing) = &mut self.timing {
                    timing.sent();
                    self.waits_to_send();
                }
            }
            Link::Securing(securing) => securing.send(outgoing),
            _ => outgoing.fail(NetError::SOCKET_NOT_CONNECTED.into()),
        }
    }

    /// Ends what is going on: an attempt to connect is given up, and a
    /// connection is returned, its end told if the app was receiving.
    pub(in crate::tcp) fn disconnect(&mut self) -> Option<Connection> {
        self.end(NetError::ABORTED)
    }

    /// As [`disconnect`](Self::disconnect); what is given up answers `why`.
    pub(in crate::tcp) fn end(&mut self, why: NetError) -> Option<Connection> {
        self.never_resumed = false;
        self.next_epoch();
        let mut link = std::mem::replace(&mut self.link, Link::None);
        if let Link::Connected(connection) = &mut link {
            connection.shortcut = None;
        }
        if matches!(link, Link::Connected(_) | Link::Securing(_)) && !self.paused {
            self.tell_end(NetError::CONNECTION_CLOSED);
        }
        match link {
            Link::None => None,
            Link::Connecting(connecting) => {
                connecting.task.abort();
                connecting.reply.send(Err(why.into()));
                None
            }
            Link::Securing(securing) => securing.fail(why),
            Link::Held(mut connection) => {
                // The app is unloaded, and the connection may be on its way to
                // another process: this one's descriptor is closed, and no more.
                connection.queue.fail(NetError::ABORTED.into());
                None
            }
            Link::Connected(connection) => Some(connection),
        }
    }

    /// Tells that nothing more comes if that is so, the app is receiving, and
    /// listeners have handled all that came before, and what they called then
    /// was carried out.
    pub(in crate::tcp) fn finish(&mut self, ahead: CallsAhead) -> Option<Connection> {
        let end = self.connection()?.end?;
        if self.recovery.is_some()
            || self.paused
            || self.hold != Transfer::None
            || self.socket.unhandled_events() > 0
        {
            return None;
        }
        let app_shard = self.socket.app_shard();
        if app_shard.activity.is_suspended() {
            self.want_listeners(&app_shard.on_receive_error);
            return None;
        }
        if app_shard.is_called_by_id() {
            match self.ending.passed(self.raised) {
                // The answer comes behind the calls, through the inbox.
                Passed::Yes => {}
                Passed::Asked => return None,
                Passed::Unasked => {
                    self.ending.ask(self.raised);
                    let (socket, last) = (self.socket.clone(), self.raised);
                    let passed = move || socket.do_send(Command::CallsPassed(last));
                    app_shard
                        .activity
                        .registry_link()
                        .after_pending_calls(passed);
                    return None;
                }
            }
        } else if !self.ending.is_due(ahead) {
            self.socket.make_ready();
            return None;
        }
        if let Link::Connected(connection) = &mut self.link {
            // Who hears it finds the socket not connected.
            connection.shortcut = None;
        }
        self.tell_end(end);
        match std::mem::replace(&mut self.link, Link::None) {
            Link::Connected(connection) => Some(connection),
            other => {
                self.link = other;
                None
            }
        }
    }

    pub(in crate::tcp) fn tell_end(&mut self, result_code: NetError) {
        self.paused = true;
        self.raise_end(result_code);
    }

    /// Raises `onReceiveError`, and changes nothing.
    pub(in crate::tcp) fn raise_end(&mut self, result_code: NetError) {
        let connects = self.connects;
        let socket = &self.socket;
        let recipients = socket.app_shard().on_receive_error.recipients();
        let copies = FanOut::for_listeners(recipients.listeners.len());
        let told = dispatch(&recipients.listeners, |ear| ReceiveErrorInfo {
            socket_id: socket.id(),
            result_code,
            client: socket.clone(),
            connects,
            delivery: EventCopy::new(ear, copies.as_ref()),
        });
        let lost = match copies {
            None => recipients.is_undelivered(told).then_some(0),
            Some(copies) => copies.finish_copy(),
        };
        if let Some(panics) = lost {
            self.requeue(Undelivered::End(result_code, connects, panics));
        } else if told == 0 {
            log::debug!(
                "client socket {}: {result_code}, nobody listens",
                socket.id()
            );
        }
    }

    /// Whether something waits for listeners to handle what they have.
    pub(in crate::tcp) fn waits_for_listeners(&self) -> bool {
        !self.pausing.is_empty() || self.connection().is_some_and(|c| c.end.is_some())
    }

    /// Answers when listeners have handled what they have: it was raised
    /// before, and the answer means that it has been handled. Not later than
    /// after [`PAUSE_GRACE`](crate::PAUSE_GRACE).
    pub(in crate::tcp) fn when_handled(&mut self, reply: Reply<()>) {
        self.pausing.add(reply);
        self.time_pauses();
        self.socket.make_ready();
    }

    /// Starts the timer of pauses that wait, if they need one.
    pub(in crate::tcp) fn time_pauses(&mut self) {
        if let Some(delay) = self.pausing.needs_timer() {
            later(delay, self.socket.clone(), Command::PauseGraceIsOver);
        }
    }

    pub(in crate::tcp) fn set_keep_alive(&self, enable: bool, delay: i32) -> Result<(), Error> {
        let seconds = u64::try_from(delay).map_err(|_| NetError::FAILED)?;
        self.option(|stream| stream.set_keepalive(enable.then(|| Duration::from_secs(seconds))))
    }

    pub(in crate::tcp) fn set_no_delay(&self, no_delay: bool) -> Result<(), Error> {
        self.option(|stream| stream.set_nodelay(no_delay))
    }

    fn option(&self, set: impl FnOnce(&dyn Stream) -> io::Result<()>) -> Result<(), Error> {
        let connection = self.connection().ok_or(NetError::FAILED)?;
        set(&*connection.stream).map_err(|error| net_error::option(&error).into())
    }
}

impl Connection {
    pub(in crate::tcp) fn new(stream: Box<dyn Stream>, ends: Box<ConnectionMeta>) -> Self {
        Connection::encrypted(stream, ends, WriteQueue::default())
    }

    /// The same connection on another stream, and what is to be sent on it.
    pub(in crate::tcp) fn encrypted(
        stream: Box<dyn Stream>,
        ends: Box<ConnectionMeta>,
        queue: WriteQueue,
    ) -> Self {
        Connection {
            shortcut: None,
            stream,
            queue,
            ends,
            write_error: None,
            is_lasting: false,
            has_unreported_failure: false,
            is_used: true,
            end: None,
            is_let_go: false,
        }
    }

    fn send(&mut self, outgoing: PendingSend, socket: &ClientSocket) {
        if let Some(error) = self.write_error {
            if self.is_lasting && outgoing.is_unasked() {
                self.has_unreported_failure = true;
                socket.make_ready();
            }
            return outgoing.fail(error.into());
        }
        self.is_used = true;
        let waker = socket.waker();
        let mut cx = Context::from_waker(&waker);
        if let Err(error) = self.queue.write(outgoing, &mut *self.stream, &mut cx) {
            self.write_failed(&error);
            if self.has_unreported_failure || self.has_lost_peer() {
                socket.make_ready();
            }
        }
    }

    /// Writes what the OS takes of what waits.
    pub(in crate::tcp) fn flush(
        &mut self,
        socket: &ClientSocket,
        timing: Option<&mut TimeoutState>,
    ) {
        let waker = socket.waker();
        let before = timing.is_some().then(|| self.queue.mark());
        let mut cx = Context::from_waker(&waker);
        if let Poll::Ready(Err(error)) = self.queue.poll_flush(&mut *self.stream, &mut cx) {
            self.write_failed(&error);
        }
        if let Some(timing) = timing
            && before != Some(self.queue.mark())
        {
            timing.sent();
        }
    }

    /// What is to be read next; if that is nothing, the row is made ready by
    /// what comes.
    pub(in crate::tcp) fn peek(&mut self, socket: &ClientSocket) -> Peeked {
        let waker = socket.waker();
        let mut cx = Context::from_waker(&waker);
        match retry_if_spurious(self.stream.poll_peek(&mut cx), &mut cx) {
            Poll::Pending => Peeked::Nothing,
            Poll::Ready(Ok(true)) => Peeked::Data,
            Poll::Ready(Ok(false)) => Peeked::End(NetError::CONNECTION_CLOSED),
            Poll::Ready(Err(error)) => Peeked::End(net_error::read(&error)),
        }
    }

    /// Whether a write has told that nobody is at the other end.
    pub(in crate::tcp) fn has_lost_peer(&self) -> bool {
        self.write_error.is_some() && !self.is_lasting
    }

    /// Fails everything that waits, and what comes; what is still to be read
    /// can be read.
    fn write_failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut};
        let ends = [BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut];
        self.is_lasting = !ends.contains(&error.kind());
        self.has_unreported_failure = self.is_lasting && self.queue.has_unasked();
        let error = net_error::write(error);
        self.write_error = Some(error);
        self.shortcut = None;
        self.queue.fail(error.into());
    }
}

impl Connection {
    pub(in crate::tcp) fn dialled(made: Connected, counter: &Arc<ConnectionCounter>) -> Self {
        let dialled = Outbound {
            local: made.local,
            host: made.host,
            is_secured: false,
        };
        let ends = ConnectionMeta {
            peer: made.peer,
            dialled: Some(Box::new(dialled)),
            connection_guard: Some(ConnectionGuard::opened(counter.clone(), false)),
            pinned_shard: None,
        };
        let mut connection = Connection::new(made.stream, Box::new(ends));
        connection.is_used = false;
        connection
    }
}
