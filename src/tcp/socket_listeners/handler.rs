//! The handler of one accepted client: an actor that lives and ends with the connection.
//!
//! The handler is the socket's own listener for everything, with a guard among its futures. When
//! the handler ends, in whatever way, its guard is dropped and ends the connection. When the
//! connection has ended, or the socket has other listeners, the guard completes, since a future
//! would keep the actor alive.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::{mem, thread};

use actix::prelude::*;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::answer::Reply;
use crate::net_error::NetError;
use crate::tcp::actor::SocketTable;
use crate::tcp::command::Command;
use crate::tcp::connection::Link;
use crate::tcp::events::{ReceiveErrorInfo, ReceiveInfo};
use crate::tcp::socket::ClientSocket;
use crate::tcp::socket_listeners::{OwnListeners, SocketListeners};

/// How a handler has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HandlerEnd {
    /// It has stopped, or its connection has ended before it.
    Stopped,
    Panicked,
    /// Its arbiter has ended.
    ThreadLost,
}

/// What a socket keeps of its handler.
pub(in crate::tcp) struct HandlerLink {
    /// Dropping or using it completes the guard.
    guard: Option<oneshot::Sender<()>>,
    /// Whether `setPaused(true)` was called before the handler had started: the socket is not
    /// resumed by itself then.
    keeps_paused: bool,
}

impl HandlerLink {
    pub(in crate::tcp) fn keep_paused(&mut self) {
        self.keeps_paused = true;
    }

    /// The end of the connection was raised for the handler: its guard completes behind the event.
    pub(in crate::tcp) fn complete_guard(&mut self) {
        if let Some(guard) = self.guard.take() {
            // Fails if the handler has ended, which has dropped the guard.
            let _ = guard.send(());
        }
    }
}

/// A future of the handler. Dropping it reports the handler's end.
struct HandlerGuard {
    client: ClientSocket,
    completed: oneshot::Receiver<()>,
    has_started: bool,
}

impl<A: Actor> ActorFuture<A> for HandlerGuard {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        _: &mut A,
        _: &mut A::Context,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let guard = self.get_mut();
        // Futures are polled after `Actor::started`.
        if !mem::replace(&mut guard.has_started, true) {
            guard.client.do_send(Command::HandlerStarted);
        }
        Pin::new(&mut guard.completed).poll(cx).map(drop)
    }
}

impl Drop for HandlerGuard {
    fn drop(&mut self) {
        let end = match runtime::Handle::try_current() {
            _ if thread::panicking() => HandlerEnd::Panicked,
            // An arbiter that ends drops its actors outside its runtime.
            Err(_) => HandlerEnd::ThreadLost,
            Ok(_) => HandlerEnd::Stopped,
        };
        self.client.do_send(Command::HandlerEnded(end));
    }
}

impl ClientSocket {
    /// Starts the actor that `factory` makes as the handler of this socket, in the current thread,
    /// which is that of the socket's arbiter. If the factory panics, that counts as a panic of the
    /// handler.
    pub(crate) fn start_handler<A>(&self, factory: impl FnOnce() -> A)
    where
        A: Actor<Context = Context<A>> + Handler<ReceiveInfo> + Handler<ReceiveErrorInfo>,
    {
        let mut ctx = Context::<A>::new();
        let (sender, completed) = oneshot::channel();
        let link = HandlerLink {
            guard: Some(sender),
            keeps_paused: false,
        };
        let own = OwnListeners::of_handler(SocketListeners::of(&ctx.address()), link);
        // Before the calls that the factory makes.
        self.do_send(Command::SetListeners(Some(Box::new(own)), Reply::discard()));
        let guard = HandlerGuard {
            client: self.clone(),
            completed,
            has_started: false,
        };
        let handler = factory();
        ctx.spawn(guard);
        ctx.run(handler);
    }
}

impl SocketTable {
    /// The handler has started: its socket is resumed, unless the handler has paused it.
    pub(in crate::tcp) fn handler_started(&mut self, socket: &ClientSocket) {
        let handler = self.get(socket).and_then(|state| state.handler());
        if handler.is_some_and(|handler| !handler.keeps_paused) {
            self.set_paused(socket, false, Reply::discard());
        }
    }

    /// The handler has ended, and its connection ends with it. A failure is reported to the app's
    /// listeners. The socket is closed, since nothing else closes it.
    pub(in crate::tcp) fn handler_ended(&mut self, socket: &ClientSocket, end: HandlerEnd) {
        let Some(state) = self.get(socket) else {
            return;
        };
        // Other listeners were set since, or the app's own `close` is in the queue.
        if state.handler().is_none() || !socket.mark_closed() {
            return;
        }
        socket.app_shard().id_table.remove(socket.id());
        state.set_own_listeners(None);
        // The close raises nothing: the handler has ended it, or the event below reports it.
        state.paused = true;
        if end != HandlerEnd::Stopped {
            let what = match end {
                HandlerEnd::ThreadLost => "lost its thread",
                HandlerEnd::Panicked | HandlerEnd::Stopped => "panicked",
            };
            log::warn!(
                "app {}: client socket {}: closed, its handler has {what}",
                socket.app(),
                socket.id()
            );
            let closed = match &mut state.link {
                Link::Connected(connection) => connection.terminate(NetError::FAILED),
                _ => None,
            };
            // A suspended app gets no event.
            if !socket.app_shard().activity.is_suspended() {
                state.raise_receive_error(NetError::FAILED);
            }
            self.linger(closed, socket);
        }
        let _ = self.close(socket);
    }
}
