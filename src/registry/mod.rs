//! Who owns which socket.

mod actor;
mod apps;
mod listeners;
mod routes;

pub use actor::{Registry, Shutdown};
