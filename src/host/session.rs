//! One client that has come in: its calls go down to its app, what the app's
//! sockets tell goes up to it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::WeakAddr;
use actix::prelude::*;
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use futures::task::waker;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};

use super::books::Books;
use super::call::{self, Kind, Wrong};
use super::ear::{Bell, Ear, Leave};
use super::end::{Code, End};
use super::frame::{Data, Form, Frame, FrameError};
use super::limits::{CALLS, MIN_SEND, SOCKETS};
use super::outbox::Outbox;
use super::outcome::Outcome;
use crate::app::App;
use crate::error::Error;
use crate::ids::{ClientSocketId, ServerSocketId};
use crate::net_error::NetError;
use crate::tcp::{ReceiveErrorInfo, ReceiveInfo};
use crate::tcp_server::{AcceptErrorInfo, AcceptInfo};

/// A client's session, in the hands of its transport.
pub(super) struct Session {
    state: Rc<RefCell<State>>,
    news: Rc<Notify>,
    ear: Addr<Ear>,
    gone: oneshot::Receiver<()>,
}

impl Session {
    /// Begins with nobody listening. `quota` is what its sends may take.
    ///
    /// # Errors
    /// The registry has ended.
    pub(super) async fn begin(
        app: App,
        form: Form,
        quota: usize,
        books: Rc<RefCell<Books>>,
    ) -> Result<Self, Error> {
        // Those that have waited for it.
        look_up(&app, &books).await?;
        let news = Rc::new(Notify::new());
        let (here, gone) = oneshot::channel();
        let state = Rc::new(RefCell::new(State {
            app,
            outbox: Outbox::new(form),
            calls: HashMap::new(),
            last_call: 0,
            others: 0,
            sending: 0,
            quota,
            books,
            listens: Listens::default(),
            waiting: None,
            lists: 0,
            end: None,
        }));
        let ear = Ear {
            state: state.clone(),
            news: news.clone(),
            _here: here,
        };
        let ear = ear.start();
        Ok(Session {
            state,
            news,
            ear,
            gone,
        })
    }

    /// Takes in a frame of the client.
    pub(super) fn take(&self, form: Form, bytes: Bytes) -> Result<(), End> {
        let taken = self.state.borrow_mut().take(form, bytes, &self.ear);
        self.news.notify_one();
        taken
    }

    /// Whether the next frame of the client should be read.
    pub(super) fn has_room(&self) -> bool {
        self.state.borrow().waiting.is_none()
    }

    /// What is to be sent now.
    pub(super) fn next_frame(&self) -> Result<Option<Bytes>, End> {
        let mut state = self.state.borrow_mut();
        if let Some(end) = state.end.take() {
            return Err(end);
        }
        let frame = state.outbox.next_frame()?;
        if frame.is_some() {
            // There may be room now.
            state.go_on(&self.ear)?;
        }
        Ok(frame)
    }

    /// Waits until there may be something to be sent.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// The client is gone: what it has not heard of waits for the next one,
    /// and its app is suspended, or forgotten if it has nothing left.
    pub(super) async fn leave(self) {
        let Session {
            state, ear, gone, ..
        } = self;
        ear.do_send(Leave);
        // It is dropped with the actor, whose mailbox is closed then: events
        // that are dropped from here on have reached nobody.
        let _ = gone.await;
        let (app, books, held) = {
            let mut state = state.borrow_mut();
            state.calls.clear();
            let outbox = std::mem::replace(&mut state.outbox, Outbox::new(Form::Text));
            let books = state.books.clone();
            (state.app.clone(), books, outbox.into_held())
        };
        drop(held);
        if let Err(error) = app.suspend().await {
            log::warn!("app {}: {error}", app.id());
        }
        if look_up(&app, &books).await.is_ok() && books.borrow().is_empty() {
            // Its registry may have ended: then there is nothing to forget.
            let _ = app.unload().await;
        }
    }

    /// Where it can be told something.
    pub(super) fn ear(&self) -> WeakAddr<Ear> {
        self.ear.downgrade()
    }
}

/// Writes down which sockets the app has.
async fn look_up(app: &App, books: &RefCell<Books>) -> Result<(), Error> {
    let servers = app.tcp_server.get_sockets().await?;
    let clients = app.tcp.get_sockets().await?;
    let servers = servers.iter().map(|info| info.socket_id.get());
    let clients = clients.iter();
    let clients = clients.map(|info| (info.socket_id.get(), info.buffer_size));
    books.borrow_mut().found(servers, clients);
    Ok(())
}

/// What is held for the client until it has handled it.
#[expect(dead_code, reason = "they are held to be dropped")]
enum Held {
    Accept(AcceptInfo),
    AcceptError(AcceptErrorInfo),
    Receive(ReceiveInfo),
}

pub(super) struct State {
    app: App,
    outbox: Outbox<Held>,
    calls: HashMap<u64, Pending>,
    last_call: u64,
    /// Unanswered calls that are no sends.
    others: usize,
    /// What unanswered sends take of the quota.
    sending: usize,
    quota: usize,
    books: Rc<RefCell<Books>>,
    listens: Listens,
    /// What is left of a frame.
    waiting: Option<Waiting>,
    /// Lists that were asked for and are not answered.
    lists: usize,
    /// Why it ends, found where nobody could be told.
    end: Option<End>,
}

/// The messages of a frame that wait for room for their answers.
struct Waiting {
    messages: std::vec::IntoIter<Vec<Value>>,
    data: Data,
    has_messages: bool,
    length: usize,
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
    fn take(&mut self, form: Form, bytes: Bytes, ear: &Addr<Ear>) -> Result<(), End> {
        let length = bytes.len();
        let Frame { header, data } = Frame::read(form, bytes)?;
        if header.hello.is_some() {
            return Err(End::new(Code::BadHello, "a hello was said already"));
        }
        if let Some(frames) = header.ack {
            self.outbox.acknowledge(frames)?;
        }
        self.waiting = Some(Waiting {
            has_messages: !header.messages.is_empty(),
            messages: header.messages.into_iter(),
            data,
            length,
        });
        self.go_on(ear)
    }

    /// Goes on with the frame that was read last. A list is asked for alone, and
    /// nothing while answers wait to be sent: they can be many times as long
    /// as what asks for them.
    fn go_on(&mut self, ear: &Addr<Ear>) -> Result<(), End> {
        while self.lists == 0
            && self.outbox.has_room()
            && let Some(mut frame) = self.waiting.take()
        {
            let Some(mut message) = frame.messages.next() else {
                frame.data.end()?;
                self.outbox.handled(frame.has_messages, frame.length);
                return Ok(());
            };
            self.message(&mut message, &mut frame.data, ear)?;
            self.waiting = Some(frame);
        }
        Ok(())
    }

    fn message(
        &mut self,
        message: &mut [Value],
        data: &mut Data,
        ear: &Addr<Ear>,
    ) -> Result<(), End> {
        match message {
            [Value::Number(id), call @ ..] => {
                let id = id.as_u64().filter(|id| *id > self.last_call);
                let Some(id) = id else {
                    let what = "a call's id is not greater than the one before";
                    return Err(End::new(Code::Overrun, what));
                };
                self.last_call = id;
                self.call(id, call, data, ear)
            }
            [Value::String(listen), Value::Array(events)] if listen == "listen" => {
                self.listen(events, ear)
            }
            _ => Err(FrameError::Message("it is neither a call nor `listen`").into()),
        }
    }

    fn call(
        &mut self,
        id: u64,
        call: &mut [Value],
        data: &mut Data,
        ear: &Addr<Ear>,
    ) -> Result<(), End> {
        let call = match call::read(call, data) {
            Ok(call) => call,
            Err(Wrong::Call(text)) => {
                self.tell(id, Outcome::failed(text));
                return Ok(());
            }
            Err(Wrong::Frame(error)) => return Err(error.into()),
        };
        let count = match call.kind {
            Kind::Create(_) => self.books.borrow().client_count(),
            Kind::CreateServer => self.books.borrow().server_count(),
            _ => 0,
        };
        if count >= SOCKETS {
            self.tell(id, Outcome::failed("Too many sockets"));
            return Ok(());
        }
        if let Kind::Send(_, length) = call.kind {
            let charge = length.max(MIN_SEND);
            if self.sending + charge > self.quota {
                self.tell(id, Outcome::failed(Error::WriteQuotaExceeded));
                return Ok(());
            }
            self.sending += charge;
        } else {
            self.others += 1;
            if self.others > CALLS {
                let what = "more calls are unanswered than the welcome allows";
                return Err(End::new(Code::Overrun, what));
            }
        }
        if call.kind == Kind::List {
            self.lists += 1;
        }
        let waker = waker(Arc::new(Bell {
            ear: ear.downgrade(),
            id,
        }));
        let pending = Pending {
            kind: call.kind,
            outcome: (call.start)(&self.app),
            waker,
        };
        self.calls.insert(id, pending);
        self.look_at(id);
        Ok(())
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
        let kind = pending.kind;
        self.calls.remove(&id);
        let succeeded = outcome.last_error.is_none();
        let created = outcome.values.first().map(|info| &info["socketId"]);
        let created = created.and_then(Value::as_u64);
        let mut books = self.books.borrow_mut();
        match kind {
            Kind::Send(socket, length) => {
                self.sending -= length.max(MIN_SEND);
                if succeeded {
                    books.sent(socket, length);
                }
            }
            Kind::Create(size) => {
                if let Some(socket) = created {
                    books.create(socket, size);
                }
            }
            Kind::Resize(socket, size) => books.resize(socket, size),
            Kind::Close(socket) => books.close(socket),
            Kind::Secure(socket) => {
                let stays = outcome.values.first().is_some_and(leaves_it);
                if !succeeded && !stays {
                    books.close(socket);
                }
            }
            Kind::CreateServer => {
                if let Some(socket) = created {
                    books.create_server(socket);
                }
            }
            Kind::CloseServer(socket) => books.close_server(socket),
            Kind::List => self.lists -= 1,
            Kind::Other => {}
        }
        drop(books);
        if !matches!(kind, Kind::Send(..)) {
            self.others -= 1;
        }
        self.tell(id, outcome);
    }

    fn tell(&mut self, id: u64, outcome: Outcome) {
        for message in outcome.messages(id) {
            self.outbox.push(&message);
        }
    }

    /// A call was answered.
    pub(super) fn answered(&mut self, id: u64, ear: &Addr<Ear>) {
        self.look_at(id);
        if let Err(end) = self.go_on(ear) {
            self.end = Some(end);
        }
    }

    /// `tcpServer.onAccept`.
    pub(super) fn accepted(&mut self, info: AcceptInfo) {
        let (server, client) = (info.socket_id, info.client_socket_id);
        let mut books = self.books.borrow_mut();
        books.accepted(server.get(), client.get());
        drop(books);
        let message = format!(r#"["tcpServer.onAccept",{server},{client}]"#);
        self.outbox.push_held(&message, Held::Accept(info));
    }

    /// `tcpServer.onAcceptError`.
    pub(super) fn accept_failed(&mut self, info: AcceptErrorInfo) {
        let (server, code) = (info.socket_id, info.result_code.code());
        let message = format!(r#"["tcpServer.onAcceptError",{server},{code}]"#);
        self.outbox.push_held(&message, Held::AcceptError(info));
    }

    /// `tcp.onReceive`.
    pub(super) fn received(&mut self, mut info: ReceiveInfo) {
        let socket = info.socket_id.get();
        let data = std::mem::take(&mut info.data);
        let most = self.books.borrow_mut().received(socket, data.len());
        let held = Held::Receive(info);
        self.outbox.push_receive(socket, &data, most, held);
    }

    /// `tcp.onReceiveError`.
    pub(super) fn ended(&mut self, info: &ReceiveErrorInfo) {
        let (socket, code) = (info.socket_id, info.result_code.code());
        let message = format!(r#"["tcp.onReceiveError",{socket},{code}]"#);
        self.outbox.push(&message);
    }

    /// A server socket was closed from outside.
    pub(super) fn server_taken(&mut self, id: ServerSocketId) {
        if self.listens.accept_error {
            let code = NetError::CONNECTION_CLOSED.code();
            let message = format!(r#"["tcpServer.onAcceptError",{id},{code}]"#);
            self.outbox.push(&message);
        }
    }

    /// A client socket was closed from outside.
    pub(super) fn client_taken(&mut self, id: ClientSocketId) {
        if self.listens.receive_error {
            let code = NetError::CONNECTION_CLOSED.code();
            let message = format!(r#"["tcp.onReceiveError",{id},{code}]"#);
            self.outbox.push(&message);
        }
    }

    /// The client listens for these, and no others.
    fn listen(&mut self, events: &[Value], ear: &Addr<Ear>) -> Result<(), End> {
        let mut wanted = Listens::default();
        for event in events {
            match event.as_str() {
                Some("tcpServer.onAccept") => wanted.accept = true,
                Some("tcpServer.onAcceptError") => wanted.accept_error = true,
                Some("tcp.onReceive") => wanted.receive = true,
                Some("tcp.onReceiveError") => wanted.receive_error = true,
                _ => return Err(FrameError::Message("there is no such event").into()),
            }
        }
        let listens = std::mem::replace(&mut self.listens, wanted);
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

/// Whether `secure` answers this for a socket that it leaves as it is.
fn leaves_it(code: &Value) -> bool {
    let codes = [
        NetError::INVALID_ARGUMENT,
        NetError::NO_SSL_VERSIONS_ENABLED,
        NetError::NOT_IMPLEMENTED,
    ];
    codes.iter().any(|known| *code == known.code())
}
