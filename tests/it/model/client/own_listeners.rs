//! Listeners of one client socket.

use super::super::app::{Kind, ListenerMap};
use super::super::ops::OwnListeners;
use super::super::possible_states::Seen;
use super::{Client, Link, is_data};

/// The error with which a connection ends whose own listener has died.
const FAILED: i32 = -2;

/// The own listeners of a socket.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Own {
    on_receive: Option<Listener>,
    on_receive_error: Option<Listener>,
    on_send_queue: Option<Listener>,
    waits: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Listener {
    number: usize,
    is_dead: bool,
}

impl From<OwnListeners> for Own {
    fn from(own: OwnListeners) -> Self {
        let listener = |number| Listener {
            number,
            is_dead: false,
        };
        Own {
            on_receive: own.on_receive.map(listener),
            on_receive_error: own.on_receive_error.map(listener),
            on_send_queue: own.on_send_queue.map(listener),
            waits: own.waits,
        }
    }
}

impl Own {
    /// The actor with this number has ended. Another one has its number now.
    pub fn died(&mut self, number: usize) {
        for listener in [
            &mut self.on_receive,
            &mut self.on_receive_error,
            &mut self.on_send_queue,
        ] {
            if let Some(listener) = listener
                && listener.number == number
            {
                listener.is_dead = true;
            }
        }
    }
}

impl Client {
    /// `set_listeners`.
    pub fn set_listeners(&mut self, own: Option<Own>, seen: &Seen) {
        self.own = own;
        // What the earlier listeners got was handled before.
        let last = seen.last_place(&self.progress, is_data);
        self.others_until = last.unwrap_or(0);
    }

    /// The own listener of such an event, unless the app's listeners get it.
    fn own_listener(&self, kind: Kind) -> Option<Listener> {
        let own = self.own?;
        let listener = match kind {
            Kind::Receive => return own.on_receive,
            Kind::SendQueue => own.on_send_queue,
            _ => own.on_receive_error,
        };
        // If the own listener has died, the app gets its event.
        listener.filter(|listener| own.waits || !listener.is_dead)
    }

    /// The listeners that get such an event.
    pub fn listeners(&self, kind: Kind) -> ListenerMap {
        match self.own_listener(kind) {
            Some(listener) if listener.is_dead => 0,
            Some(listener) => 1 << listener.number,
            None => self.app.listeners(kind),
        }
    }

    /// Whether such an event waits for a listener.
    pub fn keeps_event(&self, kind: Kind) -> bool {
        match self.own_listener(kind) {
            Some(listener) => listener.is_dead,
            None => self.app.keeps_event(kind),
        }
    }

    /// Whether the socket ends its connection as soon as it finds out that its own listener is
    /// dead.
    pub fn ends_unheard(&self) -> bool {
        let connected = matches!(self.link, Link::Connected(_));
        let is_dead = |own: Own| {
            let listener = own.on_receive;
            !own.waits && listener.is_some_and(|listener| listener.is_dead)
        };
        self.open && connected && !self.app.suspended && self.own.is_some_and(is_dead)
    }

    /// The socket finds out that its own listener is dead: at the next data, or before.
    pub fn end_unheard(&self, seen: &Seen) -> Option<Self> {
        if !self.ends_unheard() {
            return None;
        }
        let mut state = self.clone();
        let Link::Connected(connection) = &mut state.link else {
            return None;
        };
        let left = connection.terminate(FAILED, seen)?;
        state.closed.extend(left);
        state.own = None;
        state.paused = false;
        Some(state)
    }

    /// Whether the end of a connection has to be found out.
    pub fn has_to_end_unheard(&self) -> bool {
        let Link::Connected(connection) = &self.link else {
            return false;
        };
        let is_readable = !connection.half_closed && self.may_hear();
        let is_due = is_readable && (connection.end.is_some() || connection.may_read());
        self.ends_unheard() && is_due
    }
}
