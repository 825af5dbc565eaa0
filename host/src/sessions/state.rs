//! What is known of a client that is in: its calls, in their order, and what it is to be told.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::prelude::*;
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use futures::task::waker;
use serde_json::Value;

use crate::limits::{
    CALL_COST, CALLS, INFOS, MIN_SEND, SHARE_OF_MESSAGES, SHARE_OF_SOCKETS, SOCKETS,
};
use crate::lines::LogLines;
use crate::protocol::call;
use crate::protocol::call::{CallError, Kind, Start};
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame::{Data, Encoding, Frame, FrameError, Messages};
use crate::protocol::message;
use crate::protocol::message::Message;
use crate::protocol::outbox::Outbox;
use crate::protocol::outcome::Outcome;
use crate::sessions::budget::{Charge, Memory, SendBudget};
use crate::sessions::event_sink::{CallWaker, EventSink};
use crate::sessions::stats;
use crate::sessions::stats::{Namespace, SocketStats};
use crate::sessions::turn::Turn;
use chrome_sockets::App;
use chrome_sockets::Error;
use chrome_sockets::NetError;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::{ClientSocketId, ServerSocketId};

mod listing;

use crate::sessions::state::listing::Listing;

/// What a session begins with.
pub(crate) struct Setup {
    pub(crate) app: App,
    pub(crate) form: Encoding,
    /// What its sends may take.
    pub(crate) quota: usize,
    pub(crate) socket_stats: Rc<RefCell<SocketStats>>,
    /// What its sockets take of the memory.
    pub(crate) sockets: Rc<RefCell<Charge>>,
    pub(crate) memory: Memory,
    pub(crate) sends: SendBudget,
    pub(crate) lines: LogLines,
}

/// What is held for the client until it has handled it.
#[expect(dead_code, reason = "they are held to be dropped")]
enum Held {
    Accept(AcceptInfo),
    AcceptError(AcceptErrorInfo),
    Receive(ReceiveInfo),
}

pub(crate) struct State {
    app: App,
    outbox: Outbox<Held>,
    calls: HashMap<u64, Pending>,
    last_call: u64,
    /// Unanswered calls that are no sends.
    others: usize,
    /// What unanswered sends take of the quota.
    sending: usize,
    quota: usize,
    sends: SendBudget,
    socket_stats: Rc<RefCell<SocketStats>>,
    sockets: Rc<RefCell<Charge>>,
    /// Sockets that are being made.
    creating: Creating,
    /// What the frame that is being carried out takes of the memory.
    frames: Charge,
    /// What messages take of it that the client has not taken.
    messages: Charge,
    lines: LogLines,
    listens: Listens,
    /// It does not take what it is told, and hears of no more data before it does.
    is_choked: bool,
    /// What is left of a frame.
    waiting: Option<Waiting>,
    /// `getInfo`s that are not answered.
    infos: usize,
    /// The list that was asked for and is not answered.
    listing: Option<Listing>,
}

/// The messages of a frame that wait for their turn, or for room for their answers.
struct Waiting {
    messages: Messages,
    data: Data,
    has_messages: bool,
    length: usize,
}

/// Unanswered `create`s, and what their sockets will cost.
#[derive(Default)]
struct Creating {
    servers: usize,
    clients: usize,
    cost: usize,
}

impl Creating {
    fn count(&mut self, namespace: Namespace) -> &mut usize {
        match namespace {
            Namespace::Server => &mut self.servers,
            Namespace::Client => &mut self.clients,
        }
    }
}

struct Pending {
    kind: Kind,
    outcome: LocalBoxFuture<'static, Outcome>,
    waker: Waker,
}

/// Which events the client listens for.
#[derive(Clone, Copy, Default)]
struct Listens {
    accept: bool,
    accept_error: bool,
    receive: bool,
    receive_error: bool,
}

impl State {
    pub(crate) fn new(setup: Setup) -> Self {
        State {
            app: setup.app,
            outbox: Outbox::new(setup.form),
            calls: HashMap::new(),
            last_call: 0,
            others: 0,
            sending: 0,
            quota: setup.quota,
            sends: setup.sends,
            socket_stats: setup.socket_stats,
            sockets: setup.sockets,
            creating: Creating::default(),
            frames: setup.memory.charge(),
            messages: setup.memory.charge(),
            lines: setup.lines,
            listens: Listens::default(),
            is_choked: false,
            waiting: None,
            infos: 0,
            listing: None,
        }
    }

    /// Whether there is a frame of which not all is carried out.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// What is to be sent now.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, CloseReason> {
        let frame = self.outbox.next_frame()?;
        if frame.is_some() {
            self.count_messages();
        }
        Ok(frame)
    }

    /// The client is gone: what is left, and what is held for it.
    pub(crate) fn leave(
        &mut self,
    ) -> (
        App,
        Rc<RefCell<SocketStats>>,
        Rc<RefCell<Charge>>,
        impl Sized + use<>,
    ) {
        self.calls.clear();
        self.waiting = None;
        self.frames.set(0);
        self.messages.set(0);
        let outbox = std::mem::replace(&mut self.outbox, Outbox::new(Encoding::Text));
        let (socket_stats, sockets) = (self.socket_stats.clone(), self.sockets.clone());
        (self.app.clone(), socket_stats, sockets, outbox.into_held())
    }

    pub(crate) fn take(&mut self, form: Encoding, bytes: Bytes) -> Result<(), CloseReason> {
        let length = bytes.len();
        let frame = Frame::read(form, bytes)?;
        if frame.hello.is_some() {
            return Err(CloseReason::new(Code::BadHello, "a hello was said already"));
        }
        if let Some(frames) = frame.ack {
            self.outbox.acknowledge(frames)?;
        }
        self.frames.set(length);
        self.waiting = Some(Waiting {
            has_messages: !frame.messages.is_empty(),
            messages: frame.messages,
            data: frame.data,
            length,
        });
        Ok(())
    }

    /// Whether the next message may be carried out. A list is made alone, and
    /// nothing while answers wait to be sent: they can be many times as long
    /// as what asks for them.
    fn is_free(&self) -> bool {
        let calls = self.others * CALL_COST;
        self.listing.is_none()
            && self.outbox.has_room()
            && self.infos < INFOS
            && (calls <= SHARE_OF_MESSAGES || !self.messages.is_full())
    }

    pub(crate) fn has_work(&self) -> bool {
        let may_list = self.may_list();
        may_list || (self.waiting.is_some() && self.is_free()) || self.may_breathe()
    }

    /// Goes on with the frame that was read last, as far as its turn goes.
    pub(crate) fn go_on(
        &mut self,
        ear: &Addr<EventSink>,
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        if self.may_breathe() {
            self.is_choked = false;
            if self.listens.receive {
                let recipient = ear.clone().recipient();
                drop(self.app.tcp.on_receive.add_listener(recipient));
            }
        }
        self.list(ear);
        while self.is_free()
            && turn.goes_on()
            && let Some(mut frame) = self.waiting.take()
        {
            let Some(message) = frame.messages.next()? else {
                frame.data.end()?;
                self.frames.set(0);
                self.outbox.handled(frame.has_messages, frame.length);
                break;
            };
            self.message(message, &mut frame.data, ear)?;
            self.waiting = Some(frame);
        }
        Ok(())
    }

    fn message(
        &mut self,
        message: Message<'_>,
        data: &mut Data,
        ear: &Addr<EventSink>,
    ) -> Result<(), CloseReason> {
        match message.kind() {
            Some(message::Kind::Call(id)) if id > self.last_call => {
                self.last_call = id;
                self.call(id, message, data, ear)
            }
            Some(message::Kind::Call(_) | message::Kind::BadId) => Err(message::bad_id()),
            Some(message::Kind::Listen) => self.listen(&message, ear),
            None => Err(FrameError::Message("it is neither a call nor `listen`").into()),
        }
    }

    fn call(
        &mut self,
        id: u64,
        call: Message<'_>,
        data: &mut Data,
        ear: &Addr<EventSink>,
    ) -> Result<(), CloseReason> {
        let mut call = match call::read(call, data) {
            Ok(call) => call,
            Err(CallError::Call(text)) => {
                self.tell(id, Outcome::failed(text));
                return Ok(());
            }
            Err(CallError::Frame(error)) => return Err(error.into()),
        };
        match call.kind {
            Kind::Send(_, length) => {
                let charge = length.max(MIN_SEND);
                let Start::Send(_, data) = &mut call.start else {
                    return Ok(());
                };
                let counted = match self.sending + charge > self.quota {
                    true => None,
                    false => self.sends.charge(std::mem::take(data), self.sending),
                };
                let Some(counted) = counted else {
                    self.tell(id, Outcome::failed(Error::WriteQuotaExceeded));
                    return Ok(());
                };
                *data = counted;
                self.sending += charge;
            }
            Kind::Create(namespace, name, _) => {
                let cost = stats::cost(namespace, name);
                let count =
                    self.socket_stats.borrow().count(namespace) + *self.creating.count(namespace);
                if count >= SOCKETS || !self.has_room_for(cost) {
                    self.tell(id, Outcome::failed("Too many sockets"));
                    return Ok(());
                }
                *self.creating.count(namespace) += 1;
                self.creating.cost += cost;
            }
            Kind::Update(_, _, Some(name), _) if !self.has_room_for(name) => {
                let full = Error::from(NetError::INSUFFICIENT_RESOURCES);
                self.tell(id, Outcome::failed(full));
                return Ok(());
            }
            Kind::Info => self.infos += 1,
            _ => {}
        }
        if !matches!(call.kind, Kind::Send(..)) {
            self.others += 1;
            if self.others > CALLS {
                let what = "more calls are unanswered than the welcome allows";
                return Err(CloseReason::new(Code::Overrun, what));
            }
        }
        if let Kind::List(namespace) = call.kind {
            self.listing = Some(Listing::new(id, namespace));
            self.list(ear);
            return Ok(());
        }
        let outcome = call.start.begin(&self.app);
        self.wait_for(id, call.kind, outcome, ear);
        Ok(())
    }

    /// Whether the app may have sockets and names that cost so much more.
    fn has_room_for(&self, cost: usize) -> bool {
        let more = self.creating.cost + cost;
        self.sockets.borrow().fits(more, SHARE_OF_SOCKETS)
    }

    fn wait_for(
        &mut self,
        id: u64,
        kind: Kind,
        outcome: LocalBoxFuture<'static, Outcome>,
        ear: &Addr<EventSink>,
    ) {
        let waker = waker(Arc::new(CallWaker {
            ear: ear.downgrade(),
            id,
        }));
        let pending = Pending {
            kind,
            outcome,
            waker,
        };
        self.calls.insert(id, pending);
        self.look_at(id);
    }

    /// Tells the outcome of a call, if it is there.
    fn look_at(&mut self, id: u64) {
        let Some(pending) = self.calls.get_mut(&id) else {
            return;
        };
        let mut cx = TaskContext::from_waker(&pending.waker);
        let Poll::Ready(outcome) = pending.outcome.as_mut().poll(&mut cx) else {
            return;
        };
        let Some(Pending { kind, .. }) = self.calls.remove(&id) else {
            return;
        };
        if kind == Kind::Part {
            return self.listed(id, outcome);
        }
        let succeeded = outcome.last_error.is_none();
        let mut socket_stats = self.socket_stats.borrow_mut();
        let is_send = matches!(kind, Kind::Send(..));
        match kind {
            Kind::Send(socket, length) => {
                self.sending -= length.max(MIN_SEND);
                if succeeded {
                    socket_stats.sent(socket, length);
                }
            }
            Kind::Create(namespace, name, size) => {
                *self.creating.count(namespace) -= 1;
                self.creating.cost -= stats::cost(namespace, name);
                let created = outcome.values.first().map(|info| &info["socketId"]);
                if let Some(socket) = created.and_then(Value::as_u64) {
                    socket_stats.create(namespace, socket, name, size);
                }
            }
            Kind::Update(namespace, socket, name, size) if succeeded => {
                socket_stats.update(namespace, socket, name, size);
            }
            Kind::Close(namespace, socket) => socket_stats.close(namespace, socket),
            Kind::Secure(socket) => {
                let stays = outcome.values.first().is_some_and(leaves_it);
                if !succeeded && !stays {
                    socket_stats.close(Namespace::Client, socket);
                }
            }
            Kind::Info => self.infos -= 1,
            Kind::Reach(what, address, port) => {
                let why = denial(&outcome);
                if let Some(why) = why.filter(|_| self.lines.may_write()) {
                    let app = self.app.id();
                    log::warn!("app {app}: {what} {address}:{port} denied: {why}");
                }
            }
            Kind::Update(..) | Kind::List(_) | Kind::Part | Kind::Other => {}
        }
        if !is_send {
            self.sockets.borrow_mut().set(socket_stats.cost());
            self.others -= 1;
        }
        drop(socket_stats);
        self.tell(id, outcome);
    }

    fn tell(&mut self, id: u64, outcome: Outcome) {
        self.outbox.push(&outcome.message(id));
        self.count_messages();
    }

    fn count_messages(&mut self) {
        self.messages.set(self.outbox.waiting());
    }

    /// A call was answered.
    pub(crate) fn answered(&mut self, id: u64) {
        self.look_at(id);
    }

    /// Whether a client that was choked has taken enough.
    fn may_breathe(&self) -> bool {
        self.is_choked && self.messages.bytes() <= SHARE_OF_MESSAGES / 2
    }

    /// `tcpServer.onAccept`.
    pub(crate) fn accepted(&mut self, info: AcceptInfo) {
        let (server, client) = (info.socket_id, info.client_socket_id);
        let mut socket_stats = self.socket_stats.borrow_mut();
        socket_stats.accepted(server.get(), client.get());
        drop(socket_stats);
        let message = format!(r#"["tcpServer.onAccept",{server},{client}]"#);
        self.outbox.push_held(&message, Held::Accept(info));
    }

    /// `tcpServer.onAcceptError`.
    pub(crate) fn accept_failed(&mut self, info: AcceptErrorInfo) {
        let (server, code) = (info.socket_id, info.result_code.code());
        let message = format!(r#"["tcpServer.onAcceptError",{server},{code}]"#);
        self.outbox.push_held(&message, Held::AcceptError(info));
    }

    /// `tcp.onReceive`.
    pub(crate) fn received(&mut self, mut info: ReceiveInfo, ear: &Addr<EventSink>) {
        let socket = info.socket_id.get();
        let data = std::mem::take(&mut info.data);
        let most = self.socket_stats.borrow_mut().received(socket, data.len());
        let held = Held::Receive(info);
        self.outbox.push_receive(socket, &data, most, held);
        self.count_messages();
        let is_behind = self.messages.bytes() > SHARE_OF_MESSAGES;
        if is_behind && self.messages.is_full() && !self.is_choked && self.listens.receive {
            // Its sockets are not read while nobody listens.
            self.is_choked = true;
            let recipient = ear.clone().recipient();
            drop(self.app.tcp.on_receive.remove_listener(recipient));
        }
    }

    /// `tcp.onReceiveError`.
    pub(crate) fn ended(&mut self, info: &ReceiveErrorInfo) {
        let (socket, code) = (info.socket_id, info.result_code.code());
        let message = format!(r#"["tcp.onReceiveError",{socket},{code}]"#);
        self.outbox.push(&message);
    }

    /// A server socket was closed from outside.
    pub(crate) fn server_taken(&mut self, id: ServerSocketId) {
        if self.listens.accept_error {
            let code = NetError::CONNECTION_CLOSED.code();
            let message = format!(r#"["tcpServer.onAcceptError",{id},{code}]"#);
            self.outbox.push(&message);
        }
    }

    /// A client socket was closed from outside.
    pub(crate) fn client_taken(&mut self, id: ClientSocketId) {
        if self.listens.receive_error {
            let code = NetError::CONNECTION_CLOSED.code();
            let message = format!(r#"["tcp.onReceiveError",{id},{code}]"#);
            self.outbox.push(&message);
        }
    }

    /// The client listens for these, and no others.
    fn listen(&mut self, message: &Message<'_>, ear: &Addr<EventSink>) -> Result<(), CloseReason> {
        let mut wanted = Listens::default();
        let mut is_known = true;
        let listed = message.names(|name| match name {
            "tcpServer.onAccept" => wanted.accept = true,
            "tcpServer.onAcceptError" => wanted.accept_error = true,
            "tcp.onReceive" => wanted.receive = true,
            "tcp.onReceiveError" => wanted.receive_error = true,
            _ => is_known = false,
        });
        if listed.is_none() || !is_known {
            return Err(FrameError::Message("there is no such event").into());
        }
        let mut listens = std::mem::replace(&mut self.listens, wanted);
        if self.is_choked {
            // It is added when there is room.
            listens.receive = wanted.receive;
        }
        let (server, tcp) = (&self.app.tcp_server, &self.app.tcp);
        // The ends first: they come after the data, so whoever hears of data
        // hears of its end.
        macro_rules! listen {
            ($field:ident, $event:expr) => {
                match (listens.$field, wanted.$field) {
                    (false, true) => drop($event.add_listener(ear.clone().recipient())),
                    (true, false) => drop($event.remove_listener(ear.clone().recipient())),
                    _ => {}
                }
            };
        }
        listen!(accept_error, server.on_accept_error);
        listen!(receive_error, tcp.on_receive_error);
        listen!(accept, server.on_accept);
        listen!(receive, tcp.on_receive);
        Ok(())
    }
}

/// Why a `listen` or `connect` was denied, if it was.
fn denial(outcome: &Outcome) -> Option<&'static str> {
    let text = outcome.last_error.as_deref()?;
    let denied = NetError::NETWORK_ACCESS_DENIED.code();
    if text == Error::PermissionDenied.to_string() {
        Some("its manifest does not permit it")
    } else if outcome.values.first() == Some(&denied.into()) {
        Some("it is the host's own port, or the system does not let it")
    } else {
        None
    }
}

/// Whether `secure` answers this for a socket that it leaves as it is.
fn leaves_it(code: &Value) -> bool {
    let codes = [
        NetError::INVALID_ARGUMENT,
        NetError::NO_SSL_VERSIONS_ENABLED,
        NetError::NOT_IMPLEMENTED,
    ];
    codes.iter().any(|known| *code == known.code())
}
