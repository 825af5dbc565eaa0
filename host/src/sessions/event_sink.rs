//! The actor that receives an app's events, and the answers to its client's calls.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use actix::WeakAddr;
use actix::prelude::*;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo, HandshakeErrorInfo, ProxyErrorInfo};
use chrome_sockets::udp;
use futures::task::ArcWake;
use tokio::sync::{Notify, oneshot};

use crate::sessions::state::SessionState;
use crate::sessions::stats::Namespace;

/// Wakes a pending call through the mailbox that delivers the events, so that answers and events
/// keep their order.
pub(crate) struct CallWaker {
    pub(crate) sink: WeakAddr<EventSink>,
    pub(crate) id: u64,
}

impl ArcWake for CallWaker {
    fn wake_by_ref(waker: &Arc<Self>) {
        if let Some(sink) = waker.sink.upgrade() {
            sink.do_send(PollCall(waker.id));
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct PollCall(u64);

/// Ends the actor: the client has disconnected.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

/// The admin closed a socket of the app.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct ClosedByAdmin(pub(crate) Namespace, pub(crate) u64);

/// Receives an app's events for its client.
pub(crate) struct EventSink {
    pub(crate) state: Rc<RefCell<SessionState>>,
    pub(crate) output: Rc<Notify>,
    /// Dropped with the actor, which the other end waits for.
    pub(crate) _stopped: oneshot::Sender<()>,
}

impl Actor for EventSink {
    type Context = Context<Self>;
}

impl EventSink {
    fn update(&self, update: impl FnOnce(&mut SessionState)) {
        update(&mut self.state.borrow_mut());
        self.output.notify_one();
    }
}

impl Handler<AcceptInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        self.update(|state| state.on_accept(info));
    }
}

impl Handler<AcceptErrorInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: AcceptErrorInfo, _: &mut Self::Context) {
        self.update(|state| state.on_accept_error(info));
    }
}

impl Handler<HandshakeErrorInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: HandshakeErrorInfo, _: &mut Self::Context) {
        self.update(|state| state.on_handshake_error(info));
    }
}

/// For the log only: an app cannot change what a proxy sends.
impl Handler<ProxyErrorInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: ProxyErrorInfo, _: &mut Self::Context) {
        self.state.borrow().log_proxy_error(&info);
    }
}

impl Handler<ReceiveInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, ctx: &mut Self::Context) {
        self.update(|state| state.on_receive(info, &ctx.address()));
    }
}

impl Handler<ReceiveErrorInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        self.update(|state| state.on_receive_error(&info));
    }
}

impl Handler<udp::ReceiveInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: udp::ReceiveInfo, ctx: &mut Self::Context) {
        self.update(|state| state.on_datagram(info, &ctx.address()));
    }
}

impl Handler<udp::ReceiveErrorInfo> for EventSink {
    type Result = ();

    fn handle(&mut self, info: udp::ReceiveErrorInfo, _: &mut Self::Context) {
        self.update(|state| state.on_udp_error(&info));
    }
}

impl Handler<ClosedByAdmin> for EventSink {
    type Result = ();

    fn handle(&mut self, closed: ClosedByAdmin, _: &mut Self::Context) {
        self.update(|state| state.on_closed_by_admin(closed));
    }
}

impl Handler<PollCall> for EventSink {
    type Result = ();

    fn handle(&mut self, PollCall(id): PollCall, _: &mut Self::Context) {
        self.update(|state| state.poll_call(id));
    }
}

impl Handler<Stop> for EventSink {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
