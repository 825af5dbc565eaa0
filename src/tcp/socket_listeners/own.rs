//! The own listeners of a socket.
//!
//! - Events in flight stay with the listeners that they were sent to. The next event waits until
//!   they are handled, or has those that return before it: the app's listeners and a socket's own
//!   are in different threads, and the stream must stay in order.
//! - A listener of `onReceive` that has died ends the connection, or the socket waits for another
//!   one: [`WhenDead`].
//! - A suspension takes them away, as it does the app's listeners. The other process of a handover
//!   has none.

use std::mem;

use crate::error::Error;
use crate::events::{Listeners, Snapshot};
use crate::net_error::NetError;
use crate::tcp::connection::Link;
use crate::tcp::connection::linger::Closing;
use crate::tcp::connection::state::{SocketState, Transfer};
use crate::tcp::events::{ReceiveErrorInfo, ReceiveInfo, SendQueueInfo};
use crate::tcp::socket_listeners::{HandlerLink, SocketListeners, WhenDead};
use crate::tcp::stream::attached::AttachedStream;

/// Who gets the events of one socket.
pub(crate) enum OwnListeners {
    Actors(OwnActors),
    /// The socket is a stream.
    Stream(AttachedStream),
}

/// The listeners of `set_listeners`. Events of a kind without one go to the app's listeners.
pub(crate) struct OwnActors {
    on_receive: Option<Listeners<ReceiveInfo>>,
    on_receive_error: Option<Listeners<ReceiveErrorInfo>>,
    on_send_queue: Option<Listeners<SendQueueInfo>>,
    when_dead: WhenDead,
    /// Only if they are the handler of an accepted client.
    handler: Option<HandlerLink>,
}

/// Who gets the data that is raised now.
#[derive(Clone)]
pub(in crate::tcp) enum Receivers {
    Listeners(Snapshot<ReceiveInfo>),
    Stream,
}

/// Where the data of a socket with own listeners goes.
pub(in crate::tcp) enum DataRoute {
    /// To the app's listeners: only other events have own ones.
    App,
    Own(Receivers),
    /// The own listener has died.
    Dead(WhenDead),
}

impl From<SocketListeners> for OwnListeners {
    fn from(from: SocketListeners) -> Self {
        OwnListeners::Actors(OwnActors {
            on_receive: from.on_receive.map(Listeners::from),
            on_receive_error: from.on_receive_error.map(Listeners::from),
            on_send_queue: from.on_send_queue.map(Listeners::from),
            when_dead: from.when_dead,
            handler: None,
        })
    }
}

impl OwnListeners {
    pub(in crate::tcp) fn boxed(listeners: Option<SocketListeners>) -> Option<Box<Self>> {
        listeners.map(|listeners| Box::new(OwnListeners::from(listeners)))
    }

    /// The own listeners of `onSendQueue`, unless the app's get the event, as with
    /// `onReceiveError`.
    pub(in crate::tcp) fn on_send_queue(&self) -> Option<&Listeners<SendQueueInfo>> {
        match self {
            OwnListeners::Stream(_) => None,
            OwnListeners::Actors(actors) => {
                let listeners = actors.on_send_queue.as_ref()?;
                let waits = actors.when_dead == WhenDead::Wait;
                (waits || listeners.contains(None)).then_some(listeners)
            }
        }
    }

    /// The listeners of a handler.
    pub(in crate::tcp) fn of_handler(listeners: SocketListeners, link: HandlerLink) -> Self {
        let mut own = OwnListeners::from(listeners);
        if let OwnListeners::Actors(actors) = &mut own {
            actors.handler = Some(link);
        }
        own
    }

    /// If the listener of `onReceive` is the handler whose listeners `old` are, it stays the
    /// handler: it has only changed what it gets.
    fn keep_handler(&mut self, old: &mut OwnListeners) {
        if let (OwnListeners::Actors(actors), OwnListeners::Actors(old)) = (self, old)
            && let (Some(on_receive), Some(before)) = (&actors.on_receive, &old.on_receive)
            && on_receive.has_any_of(before)
        {
            actors.handler = old.handler.take();
        }
    }

    fn data_route(&self) -> DataRoute {
        match self {
            OwnListeners::Stream(_) => DataRoute::Own(Receivers::Stream),
            OwnListeners::Actors(actors) => match &actors.on_receive {
                None => DataRoute::App,
                Some(listeners) => match listeners.snapshot().0 {
                    list if list.is_empty() => DataRoute::Dead(actors.when_dead),
                    list => DataRoute::Own(Receivers::Listeners(list)),
                },
            },
        }
    }
}

impl SocketState {
    /// Sets the socket's own listeners for its app. A stream stays what it is.
    pub(in crate::tcp) fn replace_listeners(
        &mut self,
        own: Option<Box<OwnListeners>>,
    ) -> Result<(), Error> {
        if self.stream().is_some() {
            return Err(Error::AlreadyStream);
        }
        self.set_own_listeners(own);
        Ok(())
    }

    /// Sets the socket's own listeners. `None`: the app's listeners get its events.
    pub(in crate::tcp) fn set_own_listeners(&mut self, mut own: Option<Box<OwnListeners>>) {
        if own.is_none() && self.own.is_none() {
            return;
        }
        if let (Some(new), Some(old)) = (&mut own, &mut self.own) {
            new.keep_handler(old);
        }
        let old = mem::replace(&mut self.own, own);
        self.wait_for_events_in_flight();
        // Events that returned before were counted.
        self.deaths = self.socket.app_shard().on_receive.liveness().1;
        self.socket.make_ready();
        // May run the drop of an actor's last address.
        drop(old);
    }

    /// Where the socket's data goes.
    pub(in crate::tcp) fn data_route(&self) -> DataRoute {
        let own = self.own.as_ref();
        own.map_or(DataRoute::App, |own| own.data_route())
    }

    /// The socket's handler, if it has one.
    pub(in crate::tcp) fn handler(&mut self) -> Option<&mut HandlerLink> {
        match self.own.as_deref_mut()? {
            OwnListeners::Actors(actors) => actors.handler.as_mut(),
            OwnListeners::Stream(_) => None,
        }
    }

    /// The stream of the socket, if it has one.
    pub(in crate::tcp) fn stream(&self) -> Option<&AttachedStream> {
        match self.own.as_deref() {
            Some(OwnListeners::Stream(stream)) => Some(stream),
            Some(OwnListeners::Actors(_)) | None => None,
        }
    }

    /// Takes the stream from the socket, if it has one.
    pub(in crate::tcp) fn take_stream(&mut self) -> Option<AttachedStream> {
        self.stream()?;
        match *self.own.take()? {
            OwnListeners::Stream(stream) => Some(stream),
            OwnListeners::Actors(_) => None,
        }
    }

    /// The socket's own listeners of `onReceiveError`, unless the app's get the event: because the
    /// socket has none, or they have died and it does not wait for others.
    pub(in crate::tcp) fn own_on_receive_error(&self) -> Option<&Listeners<ReceiveErrorInfo>> {
        match self.own.as_deref()? {
            OwnListeners::Stream(_) => None,
            OwnListeners::Actors(actors) => {
                let listeners = actors.on_receive_error.as_ref()?;
                let waits = actors.when_dead == WhenDead::Wait;
                (waits || listeners.contains(None)).then_some(listeners)
            }
        }
    }

    /// If the socket's own listener has died, and the socket does not wait for another one: ends
    /// the connection, whose end the app's listeners get. Returns what has to be delivered.
    #[must_use = "what was sent is delivered only if it lingers"]
    pub(in crate::tcp) fn end_if_unheard(&mut self) -> Option<Closing> {
        let app_shard = self.socket.app_shard();
        let may_end = self.transfer == Transfer::None && !app_shard.activity.is_suspended();
        // The guard of a handler reports its end.
        if self.handler().is_some() {
            return None;
        }
        let DataRoute::Dead(WhenDead::EndConnection) = self.data_route() else {
            return None;
        };
        if !may_end || !matches!(self.link, Link::Connected(_)) {
            return None;
        }
        log::warn!(
            "app {}: client socket {}: connection ended, its listener has died",
            self.socket.app(),
            self.socket.id()
        );
        self.set_own_listeners(None);
        self.fail_connection()
    }

    /// Ends the connection with [`NetError::FAILED`], which the app's listeners get even if the
    /// socket is paused. Its data is not raised again. Returns what has to be delivered.
    #[must_use = "what was sent is delivered only if it lingers"]
    fn fail_connection(&mut self) -> Option<Closing> {
        self.mark_claimed();
        self.paused = false;
        self.next_epoch();
        self.end_connection(NetError::FAILED)
    }
}
