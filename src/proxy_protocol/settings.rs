//! What a server socket does about PROXY headers.

use std::time::Duration;

use crate::address::Address;
use crate::invalid_argument::InvalidArgument;
use crate::proxy_protocol::IpNetwork;

/// How long a header may take by default: 3 seconds, as the specification suggests at least.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

/// How many connections of one server socket may owe their header at once by default: 1,024.
pub const DEFAULT_MAX_PENDING: usize = 1024;

/// The most networks of [`ProxyProtocol::networks`]: 1,024.
pub const MAX_NETWORKS: usize = 1024;

/// Which connections begin with a PROXY header: see
/// [`TcpServer::set_proxy_protocol`](crate::TcpServer::set_proxy_protocol).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyProtocol {
    /// The networks of the proxies, at most [`MAX_NETWORKS`], and at least one. Each connection
    /// from them must begin with a header. A proxy can name any client, so these must be
    /// networks in which only proxies can open connections.
    pub networks: Vec<IpNetwork>,
    /// Whether the peers at a Unix socket are proxies
    /// ([`listen_unix`](crate::TcpServer::listen_unix)). Default: they are not. If it is set,
    /// there may be no networks.
    pub unix_peers: bool,
    /// What becomes of connections from elsewhere. Default: they are accepted as they are.
    pub others: OtherPeers,
    /// How long a header may take, more than 0. Default: [`DEFAULT_TIMEOUT`].
    pub timeout: Duration,
    /// How many connections may owe their header at once, at least 1. Default:
    /// [`DEFAULT_MAX_PENDING`]. Beyond it the oldest is closed if it is older than a second,
    /// else one connection waits, and the others stay in the backlog.
    pub max_pending: usize,
}

impl Default for ProxyProtocol {
    /// Without networks, which have to be set.
    fn default() -> Self {
        ProxyProtocol {
            networks: Vec::new(),
            unix_peers: false,
            others: OtherPeers::default(),
            timeout: DEFAULT_TIMEOUT,
            max_pending: DEFAULT_MAX_PENDING,
        }
    }
}

impl ProxyProtocol {
    /// What becomes of a connection of this peer.
    pub(crate) fn rule(&self, peer: &Address) -> HeaderRule {
        let is_proxy = match peer.ip() {
            Some(peer) => self.networks.iter().any(|it| it.contains(peer)),
            None => self.unix_peers,
        };
        match self.others {
            _ if is_proxy => HeaderRule::Expect,
            OtherPeers::Accept => HeaderRule::None,
            OtherPeers::Refuse => HeaderRule::Refuse,
        }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidArgument> {
        if self.networks.is_empty() && !self.unix_peers {
            Err(InvalidArgument::ProxyNetworksEmpty)
        } else if self.networks.len() > MAX_NETWORKS {
            Err(InvalidArgument::ProxyNetworksTooMany)
        } else if self.timeout.is_zero() {
            Err(InvalidArgument::ProxyTimeoutZero)
        } else if self.max_pending == 0 {
            Err(InvalidArgument::ProxyMaxPendingZero)
        } else {
            Ok(())
        }
    }
}

/// What becomes of connections that come from none of the
/// [`networks`](ProxyProtocol::networks).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum OtherPeers {
    /// They are accepted without a header. If they send one, it is data like any other.
    #[default]
    Accept,
    /// They are closed, and reported ([`ProxyError::NotTrusted`](super::ProxyError::NotTrusted)).
    Refuse,
}

/// What becomes of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeaderRule {
    /// It has no header.
    None,
    Expect,
    Refuse,
}
