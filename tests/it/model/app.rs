//! What all sockets of an app depend on: its listeners, and whether it is loaded.

/// Number of listeners of an app.
pub const LISTENERS: usize = 3;

/// The listeners of an app, and behind them actors that are only listeners of single sockets.
pub const ALL_LISTENERS: usize = 5;

/// Which event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Accept,
    AcceptError,
    Receive,
    ReceiveError,
    SendQueue,
}

pub const KINDS: [Kind; 5] = [
    Kind::Accept,
    Kind::AcceptError,
    Kind::Receive,
    Kind::ReceiveError,
    Kind::SendQueue,
];

/// A set of listeners, one bit each.
pub type ListenerMap = u8;

/// One app, as each of its sockets sees it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct AppState {
    listeners: [ListenerMap; KINDS.len()],
    /// Whether the last listener of the event has died.
    orphaned: [bool; KINDS.len()],
    /// No events are raised.
    pub suspended: bool,
    pub ending: Ending,
}

/// Which sockets are about to be closed.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Ending {
    #[default]
    Nothing,
    /// The app is being suspended: sockets that are not persistent.
    Transient,
    /// The app is being unloaded: all sockets.
    All,
}

/// A change of an app.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum AppChange {
    /// `addListener`, `removeListener`.
    Listens(Kind, usize, bool),
    /// The listener's actor has ended.
    Died(usize),
    Suspend,
    /// `resume`, or a load by the event page, with the listeners of everything after it.
    Resume(ListenerMap),
    Unload,
}

impl AppState {
    pub fn listeners(&self, kind: Kind) -> ListenerMap {
        self.listeners[kind as usize]
    }

    /// Whether an event without a listener waits for the next one.
    pub fn keeps_event(&self, kind: Kind) -> bool {
        self.listeners(kind) == 0 && self.orphaned[kind as usize]
    }

    pub fn change(&mut self, change: AppChange) {
        if let AppChange::Listens(kind, ..) = change {
            self.orphaned[kind as usize] = false;
        }
        match change {
            AppChange::Listens(kind, listener, true) => {
                self.listeners[kind as usize] |= 1 << listener
            }
            AppChange::Listens(kind, listener, false) => {
                self.listeners[kind as usize] &= !(1 << listener)
            }
            AppChange::Died(listener) => {
                for (listeners, orphaned) in self.listeners.iter_mut().zip(&mut self.orphaned) {
                    *orphaned |= *listeners == 1 << listener;
                    *listeners &= !(1 << listener);
                }
            }
            AppChange::Suspend if !self.suspended => {
                self.suspended = true;
                self.ending = Ending::Transient;
            }
            AppChange::Suspend => {}
            AppChange::Resume(page) if self.suspended => {
                self.suspended = false;
                self.listeners
                    .iter_mut()
                    .for_each(|listeners| *listeners |= page);
                if page != 0 {
                    self.orphaned = [false; KINDS.len()];
                }
            }
            AppChange::Resume(_) => {}
            AppChange::Unload => self.ending = Ending::All,
        }
    }

    /// Whether a socket is about to be closed.
    pub fn ends(&self, persistent: bool) -> bool {
        match self.ending {
            Ending::Nothing => false,
            Ending::Transient => !persistent,
            Ending::All => true,
        }
    }

    /// The sockets that were about to be closed are closed.
    pub fn ended(&mut self) {
        match self.ending {
            Ending::All => *self = AppState::default(),
            _ => {
                self.ending = Ending::Nothing;
                self.listeners = [0; KINDS.len()];
                self.orphaned = [false; KINDS.len()];
            }
        }
    }
}
