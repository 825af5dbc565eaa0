//! What an app gives to `set_listeners`.

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Recipient};

use crate::tcp::events::{ReceiveErrorInfo, ReceiveInfo, SendQueueInfo};

/// The listeners of one client socket (beyond Chrome), for
/// [`set_listeners`](crate::tcp::ClientSocket::set_listeners). The events of that socket go to
/// them, and not to the app's listeners. Events of a kind without a listener here still go to the
/// app's.
///
/// ```
/// use actix::prelude::*;
/// use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo, ResumeOptions, SocketListeners};
/// use chrome_sockets::tcp_server::AcceptInfo;
///
/// /// Serves one client.
/// struct Session;
///
/// impl Actor for Session {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<ReceiveInfo> for Session {
///     type Result = ();
///
///     fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
///         let client = info.client().clone();
///         if client.forward(info).is_err() {
///             client.do_close();
///         }
///     }
/// }
///
/// impl Handler<ReceiveErrorInfo> for Session {
///     type Result = ();
///
///     fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
///         // Drops the socket's listeners. This actor ends with its last address.
///         info.client().do_close();
///     }
/// }
///
/// /// Gives each client a session.
/// struct Acceptor;
///
/// impl Actor for Acceptor {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<AcceptInfo> for Acceptor {
///     type Result = ();
///
///     fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
///         // An accepted client is paused, so nothing is received before its listeners are set.
///         let session = SocketListeners::of(&Session.start());
///         info.client().do_resume_with(ResumeOptions::new().listeners(session));
///     }
/// }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SocketListeners {
    /// The listener of `onReceive`.
    pub on_receive: Option<Recipient<ReceiveInfo>>,
    /// The listener of `onReceiveError`.
    pub on_receive_error: Option<Recipient<ReceiveErrorInfo>>,
    /// The listener of [`on_send_queue`](crate::Tcp::on_send_queue).
    pub on_send_queue: Option<Recipient<SendQueueInfo>>,
    /// What the socket does when its listener of `onReceive` has died.
    pub when_dead: WhenDead,
}

/// What a socket does when its own listener of `onReceive` has died: its actor has stopped or
/// panicked, or its arbiter has ended (beyond Chrome).
///
/// The socket finds out when the listener leaves an event unhandled, and else at the next data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenDead {
    /// Ends the connection, also while the socket is paused, and logs a warning. The socket is back
    /// with the app's listeners, and their `onReceiveError` reports
    /// [`FAILED`](crate::NetError::FAILED). Data that the listener has not handled is lost, and so
    /// is data that waits to be sent: the peer sees a reset then. What was sent before still
    /// arrives. The default.
    #[default]
    EndConnection,
    /// Waits for other listeners, by `set_listeners`. What the dead one has not handled is raised
    /// again for them, as [`ReceiveInfo`] describes: in order, and at most
    /// [`MAX_PANICS`](crate::MAX_PANICS) times. Meanwhile the socket is not read. Whoever sets such
    /// listeners has to see their death: nothing ends the wait, except the connection's end, which
    /// waits for the listener of `onReceiveError` too.
    Wait,
}

impl SocketListeners {
    /// No listener of any kind yet: all events go to the app's listeners.
    pub fn new() -> Self {
        Self::default()
    }

    /// One actor as the listener of `onReceive` and `onReceiveError` of the socket.
    pub fn of<A>(actor: &Addr<A>) -> Self
    where
        A: Actor + Handler<ReceiveInfo> + Handler<ReceiveErrorInfo>,
        A::Context: ToEnvelope<A, ReceiveInfo> + ToEnvelope<A, ReceiveErrorInfo>,
    {
        SocketListeners::new()
            .on_receive(actor.clone().recipient())
            .on_receive_error(actor.clone().recipient())
    }

    /// With this listener of `onReceive`. Do not give a [`SyncArbiter`](actix::SyncArbiter) of more
    /// than one thread: it would handle the parts of the stream at the same time.
    #[must_use]
    pub fn on_receive(mut self, recipient: Recipient<ReceiveInfo>) -> Self {
        self.on_receive = Some(recipient);
        self
    }

    /// With this listener of `onReceiveError`. If it is dead when the end is to be reported, the
    /// app's listeners get the event, unless [`WhenDead::Wait`] is set.
    #[must_use]
    pub fn on_receive_error(mut self, recipient: Recipient<ReceiveErrorInfo>) -> Self {
        self.on_receive_error = Some(recipient);
        self
    }

    /// With this listener of [`on_send_queue`](crate::Tcp::on_send_queue). If it is dead when the
    /// event is to be raised, the app's listeners get the event, unless [`WhenDead::Wait`] is set.
    #[must_use]
    pub fn on_send_queue(mut self, recipient: Recipient<SendQueueInfo>) -> Self {
        self.on_send_queue = Some(recipient);
        self
    }

    /// With [`WhenDead::Wait`] or [`WhenDead::EndConnection`].
    #[must_use]
    pub fn when_dead(mut self, when_dead: WhenDead) -> Self {
        self.when_dead = when_dead;
        self
    }
}
