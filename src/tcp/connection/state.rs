//! The state of one client socket: what the app set, and its connection.

mod half_close;
mod send_queue;

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::answer::Reply;
use crate::error::Error;
use crate::events::{EventCopy, FanOut, dispatch};
use crate::invalid_argument::InvalidArgument;
use crate::name::checked_name;
use crate::net_error::{self, NetError};
use crate::os::{self, Stream};
use crate::pending_pauses::PendingPauses;
use crate::tcp::command::{Command, send_later};
use crate::tcp::connection::ending::{CallsAhead, Ending};
use crate::tcp::connection::redelivery::{Panics, Redelivery, Undelivered};
use crate::tcp::connection::state::send_queue::SendQueue;
use crate::tcp::connection::timeouts::TimeoutState;
use crate::tcp::connection::write::PendingSend;
use crate::tcp::connection::{Connection, ConnectionMeta, Link, ReadSide};
use crate::tcp::events::ReceiveErrorInfo;
use crate::tcp::socket::ClientSocket;
use crate::tcp::socket_listeners::OwnListeners;
use crate::tcp::stream::end::StreamEnd;
use crate::tcp::{AcceptNotifier, DEFAULT_BUFFER_SIZE, SendMarks, SocketInfo, SocketProperties};
use crate::telemetry::Span;

pub(in crate::tcp) struct SocketState {
    pub(in crate::tcp) socket: ClientSocket,
    pub(in crate::tcp) paused: bool,
    /// Whether the actor is raising bytes that it has read. A panic then loses them.
    pub(in crate::tcp) is_raising: bool,
    pub(in crate::tcp) claim: Claim,
    pub(in crate::tcp) transfer: Transfer,
    pub(in crate::tcp) link: Link,
    /// Only of a socket with timeouts.
    pub(in crate::tcp) timeout_state: Option<Box<TimeoutState>>,
    /// The `setPaused(true)` calls that wait until events in flight are handled, and their
    /// deadline.
    pub(in crate::tcp) pausing: PendingPauses,
    pub(in crate::tcp) persistent: bool,
    pub(in crate::tcp) name: Option<Box<str>>,
    pub(in crate::tcp) buffer_size: Option<NonZeroU32>,
    /// `TCP_USER_TIMEOUT` in milliseconds; 0 is the OS's own limit.
    pub(in crate::tcp) user_timeout: u32,
    /// Whether the socket can send after the peer's end was reported.
    pub(in crate::tcp) allow_half_open: bool,
    /// The number of the last raised event.
    pub(in crate::tcp) last_raised: u64,
    /// How many listeners of the app had died at the last read.
    pub(in crate::tcp) deaths: u64,
    /// Events that have returned from dead listeners, or may still return.
    pub(in crate::tcp) redelivery: Option<Box<Redelivery>>,
    /// How often `connect` was called. An `onReceiveError` event that returns from an earlier
    /// connection is dropped: the app knew of that end when it connected again.
    pub(in crate::tcp) connect_count: u32,
    /// The progress of reporting the connection's end.
    pub(in crate::tcp) ending: Ending,
    /// Only of a socket whose events have made listeners panic.
    pub(in crate::tcp) panics: Option<Box<Panics>>,
    /// Only of a socket with a limit or marks for its send queue.
    pub(in crate::tcp) send_queue: Option<Box<SendQueue>>,
    /// Only of a socket whose events do not go to the app's listeners.
    pub(in crate::tcp) own: Option<Box<OwnListeners>>,
}

/// What the app has done with a socket that was accepted for it.
pub(in crate::tcp) enum Claim {
    /// Nothing: `onAccept` waits for a listener, or its handler has not called the socket yet.
    Offered(Arc<dyn AcceptNotifier>),
    /// The app has called the socket, but never `setPaused(false)`.
    Paused,
    /// The app has resumed the socket, or created it.
    Resumed,
}

/// The progress of a handover to another process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tcp) enum Transfer {
    None,
    /// No events are raised. Calls are carried out.
    Quiescing,
    /// The connection is not touched, and calls wait: the other process may already use both.
    Frozen,
}

impl SocketState {
    pub(in crate::tcp) fn new(socket: ClientSocket) -> Self {
        SocketState {
            socket,
            paused: false,
            is_raising: false,
            claim: Claim::Resumed,
            transfer: Transfer::None,
            link: Link::None,
            timeout_state: None,
            pausing: PendingPauses::default(),
            persistent: false,
            name: None,
            buffer_size: None,
            user_timeout: 0,
            allow_half_open: false,
            last_raised: 0,
            deaths: 0,
            redelivery: None,
            connect_count: 0,
            ending: Ending::default(),
            panics: None,
            send_queue: None,
            own: None,
        }
    }

    /// The state of an accepted connection, which is paused until the app resumes it.
    pub(in crate::tcp) fn accepted(
        socket: ClientSocket,
        stream: Box<dyn Stream>,
        mut meta: Box<ConnectionMeta>,
        notifier: Arc<dyn AcceptNotifier>,
    ) -> Self {
        if let Some(connection_guard) = &mut meta.connection_guard {
            connection_guard.activate();
        }
        let mut connection = Connection::new(stream, meta);
        connection.maybe_written = false;
        socket.begin_traffic();
        let mut state = SocketState {
            paused: true,
            claim: Claim::Offered(notifier),
            link: Link::Connected(connection),
            ..SocketState::new(socket)
        };
        state.register_with_arbiter();
        state
    }

    /// Whether a suspension closes the socket. A client whose `onAccept` is not handled waits for
    /// the app's next start.
    pub(in crate::tcp) fn closes_on_suspend(&self) -> bool {
        !self.persistent && !matches!(&self.claim, Claim::Offered(notifier) if notifier.is_open())
    }

    /// The app has called the socket, so `onAccept` has reached it.
    #[inline]
    pub(in crate::tcp) fn acknowledge(&mut self) {
        if matches!(self.claim, Claim::Offered(_))
            && let Claim::Offered(notifier) = std::mem::replace(&mut self.claim, Claim::Paused)
        {
            notifier.acknowledged();
        }
    }

    /// The app has resumed or disconnected the socket: the timeout for unclaimed clients ends.
    pub(in crate::tcp) fn mark_claimed(&mut self) {
        if matches!(self.claim, Claim::Paused) {
            self.claim = Claim::Resumed;
        }
    }

    pub(in crate::tcp) fn update(&mut self, properties: SocketProperties) -> Result<(), Error> {
        let name = properties.name.map(checked_name).transpose()?;
        let send_marks = properties.send_marks.map(SendMarks::checked).transpose()?;
        if properties.send_limit == Some(0) {
            return Err(InvalidArgument::SendLimitZero.into());
        }
        if let Some(user_timeout) = properties.user_timeout {
            self.set_user_timeout(user_timeout)?;
        }
        if let Some(name) = name {
            self.name = name;
        }
        if let Some(persistent) = properties.persistent {
            self.persistent = persistent;
        }
        if let Some(size) = properties.buffer_size {
            self.set_buffer_size(size);
        }
        if let Some(allow) = properties.allow_half_open {
            self.allow_half_open = allow;
        }
        if let Some(limit) = properties.send_limit {
            self.set_send_limit(limit);
        }
        if let Some(marks) = send_marks {
            self.set_send_marks(marks);
        }
        Ok(())
    }

    pub(in crate::tcp) fn info(&self) -> SocketInfo {
        let meta = self.meta();
        let outbound = meta.and_then(|meta| meta.outbound.as_ref());
        let local = outbound.and_then(|outbound| outbound.local.as_ref());
        let accepted = self.connection().filter(|_| outbound.is_none());
        let accepted_at = accepted.and_then(|connection| connection.stream.local_addr().ok());
        let peer = meta.map(|meta| &meta.peer);
        let unix = peer.is_some_and(|peer| peer.unix().is_some());
        let unix = self.connection().filter(|_| unix);
        SocketInfo {
            socket_id: self.socket.id(),
            persistent: self.persistent,
            name: self.name.as_deref().map(str::to_owned),
            buffer_size: self.buffer_size(),
            paused: self.paused,
            connected: meta.is_some(),
            local_address: local.and_then(Address::ip),
            local_port: local.and_then(Address::port),
            peer_address: peer.and_then(Address::ip),
            peer_port: peer.and_then(Address::port),
            local: local.cloned().or(accepted_at),
            peer: peer.cloned(),
            peer_credentials: unix.and_then(|it| it.stream.peer_credentials()),
            #[cfg(feature = "tls")]
            tls: self.connection().and_then(|it| it.stream.tls_info()),
            allow_half_open: self.allow_half_open,
            half_closed: self.connection().is_some_and(Connection::is_half_closed),
            queued_bytes: self.socket.queued_bytes(),
            send_limit: self.send_limit(),
            send_marks: self.send_marks(),
            timeouts: self.timeouts(),
            user_timeout: self.user_timeout(),
            dropped_events: self.dropped_events(),
            #[cfg(feature = "metrics")]
            traffic: self.socket.traffic(),
        }
    }

    /// The most bytes of one event.
    pub(in crate::tcp) fn chunk(&self) -> usize {
        self.buffer_size()
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(DEFAULT_BUFFER_SIZE)
    }

    pub(in crate::tcp) fn set_buffer_size(&mut self, size: i32) {
        self.buffer_size = u32::try_from(size).ok().and_then(NonZeroU32::new);
    }

    /// `bufferSize`, if it was set.
    pub(in crate::tcp) fn buffer_size(&self) -> Option<i32> {
        self.buffer_size.and_then(|size| size.get().try_into().ok())
    }

    pub(in crate::tcp) fn connection(&self) -> Option<&Connection> {
        match &self.link {
            Link::Connected(connection) => Some(connection),
            _ => None,
        }
    }

    pub(in crate::tcp) fn stream_mut(&mut self) -> Option<&mut dyn Stream> {
        match &mut self.link {
            Link::Connected(connection) => Some(&mut *connection.stream),
            _ => None,
        }
    }

    /// The span of the connection.
    #[inline]
    pub(in crate::tcp) fn span(&self) -> Span {
        match &self.link {
            Link::Connected(connection) => connection.meta.span.clone(),
            _ => Span::default(),
        }
    }

    pub(in crate::tcp) fn meta(&self) -> Option<&ConnectionMeta> {
        match &self.link {
            Link::Connected(connection) => Some(&connection.meta),
            Link::Securing(securing) => securing.meta(),
            _ => None,
        }
    }

    pub(in crate::tcp) fn send(&mut self, pending: PendingSend) {
        match &mut self.link {
            Link::Connected(connection) => {
                let nothing_waits = connection.queue.is_empty();
                let bytes = pending.unsent();
                connection.send(pending, &self.socket);
                // The first data that waits starts the send timeout.
                if let Some(timeout_state) = &mut self.timeout_state {
                    timeout_state.record_send(bytes, nothing_waits);
                    if nothing_waits {
                        self.arm();
                    }
                }
            }
            Link::Securing(securing) => securing.send(pending),
            _ => pending.fail(NetError::SOCKET_NOT_CONNECTED.into()),
        }
        if self.send_queue.is_some() {
            // Its next poll compares the queue with the marks.
            self.socket.make_ready();
        }
    }

    /// Writes waiting data, unless another process may be writing it.
    pub(in crate::tcp) fn flush(&mut self) {
        match &mut self.link {
            Link::Connected(connection)
                if !connection.queue.is_empty() && self.transfer != Transfer::Frozen =>
            {
                connection.flush(&self.socket, self.timeout_state.as_deref_mut());
            }
            Link::Securing(securing) => securing.flush_then_handshake(&self.socket),
            _ => {}
        }
    }

    /// Ends the connection and returns it. If the socket was not paused, `onReceiveError` is
    /// raised. An attempt to connect, or to secure, is cancelled and answers `why`.
    pub(in crate::tcp) fn disconnect(&mut self, why: NetError) -> Option<Connection> {
        self.mark_claimed();
        // Returned events of this connection must not be raised on the next one.
        self.next_epoch();
        let mut link = std::mem::replace(&mut self.link, Link::None);
        if let Link::Connected(connection) = &mut link {
            connection.close_fast_path();
            if self.transfer == Transfer::Frozen {
                // The app is unloaded, and another process may use this connection: only this
                // process's descriptor is closed.
                connection.queue.fail(NetError::ABORTED.into());
                return None;
            }
        }
        let is_reported = matches!(&link, Link::Connected(it) if it.is_half_closed());
        if self.stream().is_some() {
            self.paused = true;
            self.end_stream(match &link {
                Link::Securing(_) => StreamEnd::Failed(why),
                _ => StreamEnd::Closed,
            });
        } else if is_reported {
            self.paused = true;
        } else if matches!(link, Link::Connected(_) | Link::Securing(_)) && !self.paused {
            self.end_receiving(NetError::CONNECTION_CLOSED);
        }
        match link {
            Link::None => None,
            Link::Connecting(connecting) => {
                connecting.task.abort();
                connecting.reply.send(Err(why.into()));
                None
            }
            Link::Securing(securing) => securing.fail(why),
            Link::Connected(connection) => Some(connection),
        }
    }

    /// Reports the end of the connection, if it has ended and the socket is not paused, and when
    /// listeners have handled all earlier events and the calls that they made were carried out.
    /// Returns the connection that has ended; a half-closed one stays.
    pub(in crate::tcp) fn report_end_if_due(&mut self, ahead: CallsAhead) -> Option<Connection> {
        let connection = self.connection()?;
        let end = connection.end()?;
        // What is left of a connection that is gone must not keep the task of its stream.
        let is_gone = matches!(connection.read_side, ReadSide::Released(_));
        let is_paused = self.paused && !(is_gone && self.stream().is_some());
        if self.redelivery.is_some()
            || is_paused
            || self.transfer != Transfer::None
            || self.socket.unhandled().events() > 0
        {
            return None;
        }
        let app_shard = self.socket.app_shard();
        if app_shard.activity.is_suspended() {
            // A persistent socket has its app loaded to report the end.
            self.want_listeners(&app_shard.on_receive_error);
            return None;
        }
        if app_shard.is_called_by_id() {
            // The handlers' calls by id pass through the registry's mailbox. Its answer arrives in
            // the command queue behind them.
            if !self.ending.are_calls_forwarded(self.last_raised) {
                if self.ending.request_forwarding(self.last_raised) {
                    let (socket, last) = (self.socket.clone(), self.last_raised);
                    let registry_link = app_shard.activity.registry_link();
                    registry_link
                        .after_pending_calls(move || socket.do_send(Command::CallsForwarded(last)));
                }
                return None;
            }
        } else if !self.ending.calls_are_done(ahead) {
            // Polled again behind the calls that are in the queue.
            self.socket.make_ready();
            return None;
        }
        if self.report_half_close() {
            return None;
        }
        if let Link::Connected(connection) = &mut self.link {
            // When the handler of the event runs, the socket is not connected.
            connection.close_fast_path();
        }
        self.end_receiving(end);
        if let Some(handler) = self.handler() {
            handler.complete_guard();
        }
        match std::mem::replace(&mut self.link, Link::None) {
            Link::Connected(connection) => Some(connection),
            other => {
                self.link = other;
                None
            }
        }
    }

    /// Pauses the socket and raises `onReceiveError`.
    pub(in crate::tcp) fn end_receiving(&mut self, result_code: NetError) {
        self.paused = true;
        self.raise_receive_error(result_code);
    }

    /// Raises `onReceiveError` without a change of the state.
    pub(in crate::tcp) fn raise_receive_error(&mut self, result_code: NetError) {
        if self.report_to_stream(result_code) {
            return;
        }
        let connect_count = self.connect_count;
        let socket = &self.socket;
        let recipients = match self.own_on_receive_error() {
            None => socket.app_shard().on_receive_error.recipients(),
            Some(own) => own.recipients(),
        };
        let copies = FanOut::for_listeners(recipients.listeners.len());
        let sent = dispatch(&recipients.listeners, |probe| ReceiveErrorInfo {
            socket_id: socket.id(),
            result_code,
            client: socket.clone(),
            connect_count,
            delivery: EventCopy::new(probe, copies.as_ref()),
        });
        let lost = match copies {
            None => recipients.is_undelivered(sent).then_some(0),
            Some(copies) => copies.finish_copy(),
        };
        if let Some(panics) = lost {
            self.requeue(Undelivered::End(result_code, connect_count, panics));
        } else if sent == 0 {
            log::debug!("client socket {}: {result_code}, no listener", socket.id());
        }
    }

    /// Whether something waits until listeners have handled the events in flight, or the connection
    /// is over.
    pub(in crate::tcp) fn waits_for_listeners(&self) -> bool {
        !self.pausing.is_empty() || self.connection().is_some_and(Connection::has_ended)
    }

    /// Answers when the events in flight are handled, but not later than after
    /// [`PAUSE_GRACE`](crate::PAUSE_GRACE).
    pub(in crate::tcp) fn answer_when_handled(&mut self, reply: Reply<()>) {
        self.pausing.add(reply);
        self.arm_pause_timer();
        self.socket.make_ready();
    }

    pub(in crate::tcp) fn pause_grace_elapsed(&mut self) {
        self.pausing.answer_overdue();
        self.pausing.timer_ended();
        self.arm_pause_timer();
    }

    /// Starts the timer for waiting pauses, if they need one.
    pub(in crate::tcp) fn arm_pause_timer(&mut self) {
        if let Some(delay) = self.pausing.needs_timer() {
            send_later(delay, self.socket.clone(), Command::PauseGraceElapsed);
        }
    }

    pub(in crate::tcp) fn set_keep_alive(&self, enable: bool, delay: i32) -> Result<(), Error> {
        let seconds = u64::try_from(delay).map_err(|_| NetError::FAILED)?;
        self.set_option(|stream| stream.set_keepalive(enable.then(|| Duration::from_secs(seconds))))
    }

    pub(in crate::tcp) fn set_no_delay(&self, no_delay: bool) -> Result<(), Error> {
        self.set_option(|stream| stream.set_nodelay(no_delay))
    }

    fn set_user_timeout(&mut self, timeout: Duration) -> Result<(), Error> {
        let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
        let milliseconds =
            i32::try_from(milliseconds).map_err(|_| InvalidArgument::UserTimeoutTooLong)?;
        let milliseconds = milliseconds.unsigned_abs();
        if !os::HAS_USER_TIMEOUT {
            return Err(NetError::NOT_IMPLEMENTED.into());
        }
        if let Some(connection) = self.connection() {
            let set = connection.stream.set_user_timeout(milliseconds);
            set.map_err(|error| net_error::option(&error))?;
        }
        self.user_timeout = milliseconds;
        Ok(())
    }

    pub(in crate::tcp) fn user_timeout(&self) -> Option<Duration> {
        let milliseconds = self.user_timeout;
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds.into()))
    }

    /// Sets the user timeout of a new connection. A connection works without an option that cannot
    /// be set.
    pub(in crate::tcp) fn apply_user_timeout(&self) {
        if self.user_timeout > 0
            && let Some(connection) = self.connection()
            && let Err(error) = connection.stream.set_user_timeout(self.user_timeout)
        {
            let id = self.socket.id();
            log::debug!("client socket {id}: cannot set the user timeout: {error}");
        }
    }

    fn set_option(&self, set: impl FnOnce(&dyn Stream) -> io::Result<()>) -> Result<(), Error> {
        let connection = self.connection().ok_or(NetError::FAILED)?;
        set(&*connection.stream).map_err(|error| net_error::option(&error).into())
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn a_socket_takes_no_more_memory_than_its_budget() {
        // For each of perhaps a million connections: what few sockets need is boxed.
        assert!(size_of::<SocketState>() <= 248);
        assert!(size_of::<Connection>() <= 88);
        // Without the feature `tracing`, the span takes nothing.
        assert!(size_of::<ConnectionMeta>() <= 72 + size_of::<Span>());
    }
}
