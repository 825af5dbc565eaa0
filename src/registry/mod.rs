//! The registry: which app owns which socket, and what it does with the apps.

mod actor;
mod apps;
mod arbiters;
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
mod system_network;

pub use actor::Shutdown;
pub use arbiters::local_listeners::AddLocalListener;
pub(crate) use arbiters::local_listeners::OnEachArbiter;
pub use escalation::EscalateTo;
pub(crate) use handover::incoming::{AdoptListener, CommitImport, PrepareImport};
pub(crate) use handover::outgoing::{Deliver, Export, FinishExport, Quiesce};
pub(crate) use handover::types::HandoverToken;
pub use lifecycle::event_page::LOAD_LIMIT;
pub use lifecycle::transitions::{IsSuspended, Resume, SetEventPage, Suspend, Unload};
pub use limits::{AppLimits, SetAppLimits, SetRegistryLimits};
pub use permissions::{DenyConnect, SetPermissions};
pub(crate) use recovery::TrackAddress;
pub use state::{EventPage, Registry};
pub use system_network::GetNetworkInterfaces;
