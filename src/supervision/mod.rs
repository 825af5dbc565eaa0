//! Actors that outlive their panics and their thread.
//!
//! A panic in one of the crate's own actors ends what the actor was just
//! doing, and nothing else: its address, the calls that wait and all that it
//! keeps go on. An actor that is stopped, or whose arbiter ends, leaves what it
//! keeps, and another one goes on with that. Each is told
//! ([`RestartInfo`]), and too many in too short a time are the end of it
//! ([`RestartLimit`]).

mod registry_link;
mod restarter;
mod types;

pub(crate) use registry_link::{ActorFailed, CallsPassed, LoadApp, RegistryLink, ServerClosed};
pub(crate) use restarter::{
    Child, Recoverable, RestartCounter, Restarter, StableAddr, Terminate, guard, supervise,
};
pub(crate) use types::log_restart;
pub use types::{Cause, RestartInfo, RestartLimit, Supervised, UNHANDLED_RESTARTS};
