//! Who owns which socket.

mod actor;
mod apps;
mod arbiters;
mod deny_connect;
mod desertion;
mod draining;
mod escalation;
mod event_page;
mod inherit;
mod kept;
mod leave;
mod lifecycle;
mod limits;
mod listeners;
mod local;
mod permissions;
mod routes;

pub use actor::{Registry, Shutdown};
pub use escalation::EscalateTo;
pub use event_page::{EventPage, LOAD_LIMIT};
pub use lifecycle::{IsSuspended, Resume, SetEventPage, Suspend, Unload};
pub use limits::{AppLimits, SetAppLimits, SetRegistryLimits};
pub use permissions::SetPermissions;

pub use deny_connect::DenyConnect;
pub(crate) use inherit::{AdoptListener, Enter, Prepare};
pub(crate) use kept::Door;
pub(crate) use leave::{Conclude, Deliver, Hold, Take, Token};
pub use local::AddLocalListener;
pub(crate) use local::OnEachArbiter;
