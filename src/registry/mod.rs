//! Who owns which socket.

mod actor;
mod apps;
mod arbiters;
mod deny_connect;
mod draining;
mod escalation;
mod handover;
mod lifecycle;
mod limits;
mod listeners;
mod permissions;
mod recovery;
mod routes;
mod state;

pub use crate::registry::lifecycle::calls::{IsSuspended, Resume, SetEventPage, Suspend, Unload};
pub use crate::registry::lifecycle::event_page::LOAD_LIMIT;
pub use actor::Shutdown;
pub use escalation::EscalateTo;
pub use limits::{AppLimits, SetAppLimits, SetRegistryLimits};
pub use permissions::SetPermissions;

pub use crate::registry::arbiters::local_listeners::AddLocalListener;
pub(crate) use crate::registry::arbiters::local_listeners::OnEachArbiter;
pub(crate) use crate::registry::handover::incoming::{AdoptListener, CommitImport, PrepareImport};
pub(crate) use crate::registry::handover::outgoing::{Deliver, Export, FinishExport, Quiesce};
pub(crate) use crate::registry::handover::types::Token;
pub(crate) use crate::registry::recovery::Remember;
pub use deny_connect::DenyConnect;
pub use state::{EventPage, Registry};
