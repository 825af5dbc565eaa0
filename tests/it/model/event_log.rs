//! Events and answers of the real side, in their order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{
    self, ClientSocket, ReceiveBatch, ReceiveErrorInfo, ReceiveInfo, SendQueueInfo, SendQueueLevel,
};
use chrome_sockets::tcp_server::{self, AcceptErrorInfo, AcceptInfo};
use chrome_sockets::{App, ClientSocketId, Error, ServerSocketId};

use super::app::{ALL_LISTENERS, Kind};

/// An event of one socket at one listener.
#[derive(Clone, Debug)]
pub enum ObservedEvent {
    /// The client socket, its peer, and the local address that the peer has connected to.
    Accept(u64, SocketAddr, Option<SocketAddr>),
    /// With the number of errors in a row.
    AcceptError(i32, u32),
    Receive(Bytes),
    ReceiveError(i32),
    /// Whether the queue is above the high-water mark, and how many bytes waited.
    SendQueue(bool, usize),
}

/// The answer of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Done(Result<(), Error>),
    Sent(Result<usize, Error>),
    Server(Result<tcp_server::SocketInfo, Error>),
    Client(Result<tcp::SocketInfo, Error>),
    Flag(Result<bool, Error>),
    Servers(Vec<tcp_server::SocketInfo>),
    Clients(Vec<tcp::SocketInfo>),
    ServerId(Result<u64, Error>),
    ClientId(Result<u64, Error>),
}

/// A call of this test, numbered from 1.
pub type CallId = usize;

/// A server socket or a client socket, by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Id {
    Server(u64),
    Client(u64),
}

/// Everything since it was last emptied, each with its position in the whole.
#[derive(Default)]
pub struct Log {
    next: usize,
    pub answers: BTreeMap<CallId, (usize, Answer)>,
    pub received: BTreeMap<Id, [Vec<(usize, ObservedEvent)>; ALL_LISTENERS]>,
    pub handles: BTreeMap<u64, ClientSocket>,
    /// Where slow listeners had handled an event, by its place.
    pub handled: BTreeMap<usize, usize>,
}

pub type SharedLog = Rc<RefCell<Log>>;

impl Log {
    fn next(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// Appends what another log has.
    pub fn take(&mut self, from: &mut Log) {
        self.answers.append(&mut from.answers);
        for (id, received) in std::mem::take(&mut from.received) {
            let own = self.received.entry(id).or_default();
            for (own, received) in own.iter_mut().zip(received) {
                own.extend(received);
            }
        }
        self.handles.append(&mut from.handles);
        self.handled.append(&mut from.handled);
    }

    /// Number of entries ever.
    pub fn length(&self) -> usize {
        self.next
    }

    pub fn answer(&mut self, call: CallId, answer: Answer) {
        let place = self.next();
        self.answers.insert(call, (place, answer));
    }

    fn log_event(&mut self, listener: usize, socket: Id, received: ObservedEvent) -> usize {
        let place = self.next();
        self.received.entry(socket).or_default()[listener].push((place, received));
        place
    }
}

/// How many turns of other tasks a slow listener keeps an event.
const SLOW: usize = 4;

/// A listener that logs its events.
pub struct LoggingListener {
    number: usize,
    slow: bool,
    log: SharedLog,
}

impl LoggingListener {
    pub fn start(number: usize, slow: bool, log: &SharedLog) -> Addr<Self> {
        let log = log.clone();
        Actor::start(LoggingListener { number, slow, log })
    }

    /// An event is handled when it is dropped.
    fn finish_later(&self, place: usize, event: impl Sized + 'static) {
        if self.slow {
            let log = self.log.clone();
            actix_rt::spawn(async move {
                for _ in 0..SLOW {
                    tokio::task::yield_now().await;
                }
                drop(event);
                let mut log = log.borrow_mut();
                let handled = log.next();
                log.handled.insert(place, handled);
            });
        }
    }

    fn log_event(&self, socket: Id, received: ObservedEvent) -> usize {
        let mut log = self.log.borrow_mut();
        log.log_event(self.number, socket, received)
    }
}

impl Actor for LoggingListener {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for LoggingListener {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let id = info.client_socket_id.get();
        let handle = info.client().clone();
        self.log.borrow_mut().handles.insert(id, handle);
        let ip = |address: chrome_sockets::Address| address.socket_addr();
        let peer = ip(info.peer()).expect("an IP address");
        let received = ObservedEvent::Accept(id, peer, info.local().and_then(ip));
        let place = self.log_event(server(info.socket_id), received);
        self.finish_later(place, info);
    }
}

impl Handler<AcceptErrorInfo> for LoggingListener {
    type Result = ();

    fn handle(&mut self, info: AcceptErrorInfo, _: &mut Self::Context) {
        let received = ObservedEvent::AcceptError(info.result_code.code(), info.attempt);
        self.log_event(server(info.socket_id), received);
    }
}

impl Handler<ReceiveInfo> for LoggingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let received = ObservedEvent::Receive(info.data.clone());
        let place = self.log_event(client(info.socket_id), received);
        self.finish_later(place, info);
    }
}

impl Handler<ReceiveBatch> for LoggingListener {
    type Result = ();

    fn handle(&mut self, batch: ReceiveBatch, ctx: &mut Self::Context) {
        for info in batch {
            self.handle(info, ctx);
        }
    }
}

impl Handler<ReceiveErrorInfo> for LoggingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        let received = ObservedEvent::ReceiveError(info.result_code.code());
        self.log_event(client(info.socket_id), received);
    }
}

impl Handler<SendQueueInfo> for LoggingListener {
    type Result = ();

    fn handle(&mut self, info: SendQueueInfo, _: &mut Self::Context) {
        let is_high = info.level == SendQueueLevel::High;
        let received = ObservedEvent::SendQueue(is_high, info.queued_bytes);
        let place = self.log_event(client(info.socket_id), received);
        self.finish_later(place, info);
    }
}

fn server(id: ServerSocketId) -> Id {
    Id::Server(id.get())
}

fn client(id: ClientSocketId) -> Id {
    Id::Client(id.get())
}

support::stoppable!(LoggingListener);

/// Whether the listener with this number gets data in batches, which is no difference to an app.
fn gets_batches(number: usize) -> bool {
    number % 2 == 1
}

/// `addListener` or `removeListener` of one event.
pub fn listen(
    app: &App,
    kind: Kind,
    number: usize,
    listener: &Addr<LoggingListener>,
    add: bool,
) -> chrome_sockets::Answer<()> {
    let (server, tcp, listener) = (&app.tcp_server, &app.tcp, listener.clone());
    match (kind, add) {
        (Kind::Accept, true) => server.on_accept.add_listener(listener.recipient()),
        (Kind::Accept, false) => server.on_accept.remove_listener(listener.recipient()),
        (Kind::AcceptError, true) => server.on_accept_error.add_listener(listener.recipient()),
        (Kind::AcceptError, false) => server.on_accept_error.remove_listener(listener.recipient()),
        (Kind::Receive, true) if gets_batches(number) => {
            tcp.on_receive_batch.add_listener(listener.recipient())
        }
        (Kind::Receive, false) if gets_batches(number) => {
            tcp.on_receive_batch.remove_listener(listener.recipient())
        }
        (Kind::Receive, true) => tcp.on_receive.add_listener(listener.recipient()),
        (Kind::Receive, false) => tcp.on_receive.remove_listener(listener.recipient()),
        (Kind::ReceiveError, true) => tcp.on_receive_error.add_listener(listener.recipient()),
        (Kind::ReceiveError, false) => tcp.on_receive_error.remove_listener(listener.recipient()),
        (Kind::SendQueue, true) => tcp.on_send_queue.add_listener(listener.recipient()),
        (Kind::SendQueue, false) => tcp.on_send_queue.remove_listener(listener.recipient()),
    }
}

/// `hasListener` of this listener, or `hasListeners`.
pub fn listens(
    app: &App,
    kind: Kind,
    listener: Option<(usize, &Addr<LoggingListener>)>,
) -> chrome_sockets::Answer<bool> {
    let (server, tcp) = (&app.tcp_server, &app.tcp);
    macro_rules! has {
        ($event:expr) => {
            match listener {
                Some((_, listener)) => $event.has_listener(listener.clone().recipient()),
                None => $event.has_listeners(),
            }
        };
    }
    match kind {
        Kind::Accept => has!(server.on_accept),
        Kind::AcceptError => has!(server.on_accept_error),
        Kind::Receive if listener.is_some_and(|(number, _)| gets_batches(number)) => {
            has!(tcp.on_receive_batch)
        }
        Kind::Receive => has!(tcp.on_receive),
        Kind::ReceiveError => has!(tcp.on_receive_error),
        Kind::SendQueue => has!(tcp.on_send_queue),
    }
}
