//! What the server sockets of an app share.

use std::sync::Arc;

use crate::connections::ConnectionCounter;
use crate::draining::DrainInfo;
use crate::events::Listeners;
use crate::tcp_server::accept::escalation::EscalationTarget;
use crate::tcp_server::events::{AcceptErrorInfo, AcceptInfo};
use crate::tcp_server::limits::limiter::Limiter;
use crate::tcp_server::proxy::header_errors::ProxyErrorInfo;
use crate::tcp_server::tls::handshake_errors::HandshakeErrorInfo;
use crate::tcp_server::{LimitScope, RefusedInfo};

/// What the server sockets of one app share.
pub(crate) struct AppListeners {
    pub(crate) on_accept: Listeners<AcceptInfo>,
    pub(crate) on_accept_error: Listeners<AcceptErrorInfo>,
    pub(crate) on_handshake_error: Listeners<HandshakeErrorInfo>,
    pub(crate) on_proxy_error: Listeners<ProxyErrorInfo>,
    pub(crate) on_refused: Listeners<RefusedInfo>,
    pub(crate) on_drain: Listeners<DrainInfo>,
    /// The app's and the registry's.
    pub(super) limits: [Arc<Limiter>; 2],
    /// Decides on accept errors if the policy is `Escalate`.
    pub(super) escalation_target: Arc<EscalationTarget>,
}

impl AppListeners {
    pub(crate) fn new(
        counter: Arc<ConnectionCounter>,
        registry: Arc<Limiter>,
        escalation_target: Arc<EscalationTarget>,
    ) -> Self {
        let app = Arc::new(Limiter::new(LimitScope::App, counter));
        AppListeners {
            on_accept: Listeners::default(),
            on_accept_error: Listeners::default(),
            on_handshake_error: Listeners::default(),
            on_proxy_error: Listeners::default(),
            on_refused: Listeners::default(),
            on_drain: Listeners::default(),
            limits: [app, registry],
            escalation_target,
        }
    }

    /// The limits of the app.
    pub(crate) fn limits(&self) -> &Limiter {
        &self.limits[0]
    }
}
