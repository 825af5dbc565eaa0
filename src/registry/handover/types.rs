//! What a registry keeps while a handover is running.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::handover_state::{AppLimitsRecord, HandoverOutcome};
use crate::ids::AppId;
use crate::tcp;
use crate::tcp_server::Inherited;
use crate::udp;

/// Identifies a handover: the messages of one have the same token.
#[derive(Clone, Default)]
pub(crate) struct HandoverToken(Arc<()>);

impl PartialEq for HandoverToken {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A handover to another process.
pub(in crate::registry) struct OutgoingHandover {
    pub(super) token: HandoverToken,
    pub(super) outcome: HandoverOutcome,
    pub(super) decision: oneshot::Sender<()>,
}

/// The sockets of another process, checked and opened. They are used only if the
/// import is committed.
#[derive(Default)]
pub(in crate::registry) struct PreparedImport {
    pub(super) token: HandoverToken,
    pub(super) last_server: u64,
    pub(super) last_client: u64,
    pub(super) last_udp: u64,
    pub(super) servers: Vec<(AppId, Inherited)>,
    pub(super) clients: Vec<(AppId, tcp::Inherited)>,
    pub(super) udp_sockets: Vec<(AppId, udp::Inherited)>,
    pub(super) app_limits: Vec<(AppId, AppLimitsRecord)>,
}
