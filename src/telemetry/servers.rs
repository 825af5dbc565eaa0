//! What server sockets count, by their names.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::telemetry::labels::{ErrorClass, LostBy, RefusedBy};

/// How many names of server sockets have a value of the label `server` of their own: 64.
pub const MAX_SERVER_NAMES: usize = 64;

/// The longest name of a server socket that has a value of its own, in bytes: 128.
pub const MAX_SERVER_NAME: usize = 128;

/// The value of all other names.
const OTHER: &str = "other";

/// The places of the values that are always there: of no name, and of all other names.
const UNNAMED_INDEX: usize = 0;
const OTHER_INDEX: usize = 1;

/// The counts of every value of the label. The places exist from the start, so counting takes no
/// lock.
pub(super) struct ServerTable {
    pub(super) entries: Box<[ServerCounts]>,
    /// How many entries have a name. Names are only added.
    len: Mutex<usize>,
    /// Whether all server sockets count as unnamed.
    hides_names: AtomicBool,
}

/// The counts of the server sockets with one name.
#[derive(Default)]
pub(super) struct ServerCounts {
    name: OnceLock<Box<str>>,
    pub(super) accepted: AtomicU64,
    /// By [`RefusedBy`].
    pub(super) refused: [AtomicU64; RefusedBy::VALUES.len()],
    /// By [`LostBy`].
    pub(super) failed: [AtomicU64; LostBy::VALUES.len()],
    /// By [`ErrorClass`].
    pub(super) accept_errors: [AtomicU64; ErrorClass::VALUES.len()],
}

impl ServerCounts {
    /// `None` if the place is free.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.get().map(|name| &**name)
    }
}

impl ServerTable {
    pub(super) fn new() -> Self {
        let entries: Box<[ServerCounts]> = std::iter::repeat_with(ServerCounts::default)
            .take(OTHER_INDEX + 1 + MAX_SERVER_NAMES)
            .collect();
        for (index, name) in [(UNNAMED_INDEX, ""), (OTHER_INDEX, OTHER)] {
            // Nobody else has the table yet.
            let _ = entries[index].name.set(name.into());
        }
        ServerTable {
            entries,
            len: Mutex::new(OTHER_INDEX + 1),
            hides_names: AtomicBool::new(false),
        }
    }

    pub(super) fn hide_names(&self) {
        self.hides_names.store(true, Relaxed);
    }

    /// The place of a name.
    fn index_of(&self, name: Option<&str>) -> usize {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return UNNAMED_INDEX;
        };
        if self.hides_names.load(Relaxed) {
            return UNNAMED_INDEX;
        }
        if name.len() > MAX_SERVER_NAME {
            return OTHER_INDEX;
        }
        let mut len = self.len.lock();
        let mut named = self.entries.iter().take(*len);
        if let Some(index) = named.position(|entry| entry.name() == Some(name)) {
            return index;
        }
        match self.entries.get(*len) {
            Some(entry) => {
                let _ = entry.name.set(name.into());
                *len += 1;
                *len - 1
            }
            None => OTHER_INDEX,
        }
    }
}

/// Counts for one server socket, under its present name.
#[derive(Clone, Default)]
pub(crate) struct ServerStats(Option<Arc<Named>>);

struct Named {
    table: Arc<ServerTable>,
    index: AtomicUsize,
}

impl ServerStats {
    pub(super) fn new(table: Option<Arc<ServerTable>>) -> Self {
        ServerStats(table.map(|table| {
            Arc::new(Named {
                table,
                index: AtomicUsize::new(UNNAMED_INDEX),
            })
        }))
    }

    /// The server socket has this name from now on.
    pub(crate) fn set_name(&self, name: Option<&str>) {
        if let Some(named) = &self.0 {
            named.index.store(named.table.index_of(name), Relaxed);
        }
    }

    /// The place of its name, for [`Readings`](super::Readings).
    pub(crate) fn index(&self) -> usize {
        self.0
            .as_ref()
            .map_or(UNNAMED_INDEX, |named| named.index.load(Relaxed))
    }

    pub(crate) fn accepted(&self) {
        self.count(|counts| &counts.accepted);
    }

    pub(crate) fn refused(&self, by: RefusedBy) {
        self.count(|counts| &counts.refused[by as usize]);
    }

    pub(crate) fn failed(&self, by: LostBy) {
        self.count(|counts| &counts.failed[by as usize]);
    }

    pub(crate) fn accept_error(&self, class: ErrorClass) {
        self.count(|counts| &counts.accept_errors[class as usize]);
    }

    fn count(&self, count: impl FnOnce(&ServerCounts) -> &AtomicU64) {
        if let Some(named) = &self.0 {
            let entry = &named.table.entries[named.index.load(Relaxed)];
            count(entry).fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_names_have_places_of_their_own_and_all_others_share_one() {
        let table = ServerTable::new();
        assert_eq!(table.index_of(None), UNNAMED_INDEX);
        assert_eq!(table.index_of(Some("")), UNNAMED_INDEX);
        assert_eq!(table.index_of(Some(OTHER)), OTHER_INDEX);
        let long = "x".repeat(MAX_SERVER_NAME + 1);
        assert_eq!(table.index_of(Some(&long)), OTHER_INDEX);
        let places: Vec<_> = (0..MAX_SERVER_NAMES)
            .map(|number| table.index_of(Some(&format!("server {number}"))))
            .collect();
        assert_eq!(places, Vec::from_iter(2..MAX_SERVER_NAMES + 2));
        assert_eq!(table.index_of(Some("one more")), OTHER_INDEX);
        assert_eq!(table.index_of(Some("server 7")), places[7]);
    }
}
