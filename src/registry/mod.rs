//! Who owns which socket.

mod actor;
mod apps;
mod lifecycle;
mod listeners;
mod routes;

pub use actor::{Registry, Shutdown};
pub use lifecycle::{EventPage, IsSuspended, LOAD_LIMIT, Resume, SetEventPage, Suspend, Unload};
