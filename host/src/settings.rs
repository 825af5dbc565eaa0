//! What the owner of a host decides, and may change while it runs.

use chrome_sockets::proxy_protocol::{IpNetwork, ProxyProtocol};

use crate::access::origins::Origins;
use crate::access::policy::Policy;
use crate::limits::Limits;

/// What a host does with its clients.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What clients may do, and how they authenticate.
    pub policy: Policy,
    /// The pages that may connect to a gateway.
    pub origins: Origins,
    /// The limits on clients.
    pub limits: Limits,
    /// The networks of the proxies in front of a gateway, whose connections begin with a PROXY
    /// header. The client that the header names is the peer, for limits and the log.
    pub proxies: Vec<IpNetwork>,
    /// The same for the server sockets of apps that are created from now on.
    pub app_proxies: Vec<IpNetwork>,
}

impl Settings {
    /// What the server sockets of apps expect.
    pub(crate) fn app_proxy_protocol(&self) -> Option<ProxyProtocol> {
        let settings = ProxyProtocol {
            networks: self.app_proxies.clone(),
            ..ProxyProtocol::default()
        };
        (!settings.networks.is_empty()).then_some(settings)
    }
}
