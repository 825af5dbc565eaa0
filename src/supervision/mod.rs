//! Actors that survive their panics and the loss of their thread.
//!
//! A panic in one of the crate's own actors ends only what the actor was doing:
//! its address, the calls that wait and its state are kept. If an actor is
//! stopped, or its arbiter ends, another actor is started with its state. Each
//! such failure is reported ([`RestartInfo`]). An actor that fails too often in
//! too short a time ends ([`RestartLimit`]).

mod recovery_state;
mod registry_link;
mod restarter;
mod types;

pub(crate) use recovery_state::{RecoveryState, SlotPanic};
pub(crate) use registry_link::{ActorFailed, MailboxBarrier, RegistryLink, RegistryMessage};
pub(crate) use restarter::{
    Recoverable, RestartCounter, Restarter, StableAddr, SupervisedActor, Terminate, ask_all,
    catch_task_panic, supervise,
};
pub(crate) use types::log_restart;
pub use types::{ActorKind, Cause, RestartInfo, RestartLimit, UNHANDLED_RESTARTS};
