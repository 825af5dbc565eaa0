//! What a registry keeps of a handover that goes on.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::handover_state::{AppLimitsRecord, HandoverOutcome};
use crate::ids::AppId;
use crate::tcp;
use crate::tcp_server::Inherited;

/// Which handover a message belongs to.
#[derive(Clone, Default)]
pub(crate) struct Token(Arc<()>);

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

pub(in crate::registry) struct Leaving {
    pub(super) token: Token,
    pub(super) outcome: HandoverOutcome,
    pub(super) end: oneshot::Sender<()>,
}

/// What is ours if the other process lets go.
pub(in crate::registry) struct Prepared {
    pub(super) token: Token,
    pub(super) last_server: u64,
    pub(super) last_client: u64,
    pub(super) servers: Vec<(AppId, Inherited)>,
    pub(super) clients: Vec<(AppId, tcp::Inherited)>,
    pub(super) app_limits: Vec<(AppId, AppLimitsRecord)>,
}
