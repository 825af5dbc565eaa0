//! How many connections are open, for those who wait for them to end.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ids::ClientSocketId;

/// The connections of one server socket, or of one app.
#[derive(Default)]
pub(crate) struct Guests {
    open: AtomicUsize,
    /// How many there have been that are not open any more.
    over: AtomicUsize,
    /// How many drains go on.
    draining: AtomicUsize,
    /// Those that drains have ended, while there are any.
    forced: Mutex<Vec<ClientSocketId>>,
    changed: Notify,
    /// The app's, of a server socket's.
    parent: Option<Arc<Guests>>,
}

impl Guests {
    pub(crate) fn of(parent: &Arc<Guests>) -> Self {
        Guests {
            parent: Some(parent.clone()),
            ..Guests::default()
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    pub(crate) fn over(&self) -> usize {
        self.over.load(SeqCst)
    }

    /// Whether nobody new is to come.
    pub(crate) fn is_draining(&self) -> bool {
        let parent = self.parent.as_ref();
        self.draining.load(SeqCst) > 0 || parent.is_some_and(|parent| parent.is_draining())
    }

    /// Which ones were forced while drains have gone on, from the `from`th.
    pub(crate) fn forced(&self, from: usize) -> Vec<ClientSocketId> {
        self.lock_forced().get(from..).unwrap_or_default().to_vec()
    }

    pub(crate) fn count_forced(&self) -> usize {
        self.lock_forced().len()
    }

    /// Waits until none is open.
    pub(crate) async fn gone(&self) {
        let mut changed = std::pin::pin!(self.changed.notified());
        loop {
            // Registered before the look: no end is missed.
            changed.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }

    /// This, and what it is part of.
    fn each(&self, mut act: impl FnMut(&Guests)) {
        act(self);
        if let Some(parent) = &self.parent {
            act(parent);
        }
    }

    fn lock_forced(&self) -> MutexGuard<'_, Vec<ClientSocketId>> {
        self.forced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection.
pub(crate) struct Guest(Arc<Guests>);

impl Guest {
    pub(crate) fn new(guests: Arc<Guests>) -> Self {
        guests.each(|guests| {
            guests.open.fetch_add(1, SeqCst);
        });
        Guest(guests)
    }

    /// Whether it is one of those.
    pub(crate) fn is_of(&self, guests: &Arc<Guests>) -> bool {
        let parent = self.0.parent.as_ref();
        Arc::ptr_eq(&self.0, guests) || parent.is_some_and(|parent| Arc::ptr_eq(parent, guests))
    }

    /// It is ended by a drain.
    pub(crate) fn force(&self, id: ClientSocketId) {
        self.0.each(|guests| {
            if guests.draining.load(SeqCst) > 0 {
                guests.lock_forced().push(id);
            }
        });
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.each(|guests| {
            guests.over.fetch_add(1, SeqCst);
            if guests.open.fetch_sub(1, SeqCst) == 1 {
                guests.changed.notify_waiters();
            }
        });
    }
}

/// A drain goes on, until this is dropped.
pub(crate) struct Draining(Arc<Guests>);

impl Draining {
    pub(crate) fn new(guests: Arc<Guests>) -> Self {
        guests.draining.fetch_add(1, SeqCst);
        Draining(guests)
    }

    pub(crate) fn guests(&self) -> &Arc<Guests> {
        &self.0
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if self.0.draining.fetch_sub(1, SeqCst) == 1 {
            *self.0.lock_forced() = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_counts_for_its_server_socket_and_for_its_app() {
        let app = Arc::new(Guests::default());
        let server = Arc::new(Guests::of(&app));
        let dialled = Guest::new(app.clone());
        let accepted = Guest::new(server.clone());
        assert_eq!((app.open(), server.open()), (2, 1));
        assert!(accepted.is_of(&app) && accepted.is_of(&server));
        assert!(dialled.is_of(&app) && !dialled.is_of(&server));

        accepted.force(1.into());
        assert_eq!(app.count_forced(), 0, "nobody drains");
        let draining = Draining::new(app.clone());
        assert!(app.is_draining() && server.is_draining());
        accepted.force(1.into());
        assert_eq!((app.forced(0), server.count_forced()), (vec![1.into()], 0));
        drop(draining);
        assert!(!server.is_draining());
        assert_eq!(app.count_forced(), 0);

        drop((accepted, dialled));
        assert_eq!((app.open(), server.open()), (0, 0));
    }
}
