//! The actor that hears for a client: its app's events, and the answers to its
//! calls.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use actix::WeakAddr;
use actix::prelude::*;
use futures::task::ArcWake;
use tokio::sync::{Notify, oneshot};

use crate::sessions::state::State;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::{ClientSocketId, ServerSocketId};

/// Rings when a call is answered: through the mailbox by which events come,
/// so that both keep their order.
pub(crate) struct CallWaker {
    pub(crate) ear: WeakAddr<EventSink>,
    pub(crate) id: u64,
}

impl ArcWake for CallWaker {
    fn wake_by_ref(bell: &Arc<Self>) {
        if let Some(ear) = bell.ear.upgrade() {
            ear.do_send(Answered(bell.id));
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Answered(u64);

/// The client has left.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Leave;

/// A socket of the app was closed, not by the app.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) enum Taken {
    Server(ServerSocketId),
    Client(ClientSocketId),
}

/// The actor that hears an app's events for its client.
pub(crate) struct EventSink {
    pub(crate) state: Rc<RefCell<State>>,
    pub(crate) news: Rc<Notify>,
    /// Dropped with the actor.
    pub(crate) _here: oneshot::Sender<()>,
}

impl Actor for EventSink {
    type Context = Context<Self>;
}

impl EventSink {
    fn tell(&self, tell: impl FnOnce(&mut State)) {
        tell(&mut self.state.borrow_mut());
        self.news.notify_one();
    }
}

impl Handler<AcceptInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        self.tell(|state| state.accepted(info));
    }
}

impl Handler<AcceptErrorInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: AcceptErrorInfo, _: &mut Self::Context) {
        self.tell(|state| state.accept_failed(info));
    }
}

impl Handler<ReceiveInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, ctx: &mut Self::Context) {
        self.tell(|state| state.received(info, &ctx.address()));
    }
}

impl Handler<ReceiveErrorInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        self.tell(|state| state.ended(&info));
    }
}

impl Handler<Taken> for EventSink {
    type Result = ();

    fn handle(&mut self, taken: Taken, _: &mut Self::Context) {
        self.tell(|state| match taken {
            Taken::Server(id) => state.server_taken(id),
            Taken::Client(id) => state.client_taken(id),
        });
    }
}

impl Handler<Answered> for EventSink {
    type Result = ();

    fn handle(&mut self, Answered(id): Answered, _: &mut Self::Context) {
        self.tell(|state| state.answered(id));
    }
}

impl Handler<Leave> for EventSink {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
