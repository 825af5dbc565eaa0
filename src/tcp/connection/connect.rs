//! `tcp.connect`: resolves a name and connects, outside the actor.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::error::Error;
use crate::invalid_argument::InvalidArgument;
use crate::manifest::{Host, Permissions};
use crate::net_error::{self, NetError};
use crate::os::{Network, Stream};
use crate::tcp::DnsQueryType;
use crate::tcp::socket::ClientSocket;

/// The longest possible host name (RFC 1035).
const MAX_HOST_LENGTH: usize = 253;

/// The arguments of `connect`.
pub(crate) struct Target {
    /// The host in the form that permissions are checked against. If it has no such form: as it was
    /// written, which only a permission for any host covers.
    host: Result<Host, String>,
    port: i32,
    dns: DnsQueryType,
}

impl Target {
    pub(crate) fn new(host: &str, port: i32, dns: DnsQueryType) -> Self {
        Target {
            // A longer name cannot be resolved, so its rest is not kept.
            host: Host::parse(host).map_err(|_| host.chars().take(MAX_HOST_LENGTH + 1).collect()),
            port,
            dns,
        }
    }

    pub(in crate::tcp) fn port(&self) -> Result<u16, Error> {
        match u16::try_from(self.port) {
            Ok(0) => Err(NetError::ADDRESS_INVALID.into()),
            Ok(port) => Ok(port),
            Err(_) => Err(InvalidArgument::PeerPortOutOfRange.into()),
        }
    }

    pub(in crate::tcp) fn is_permitted(&self, permissions: &Permissions) -> bool {
        permissions.may_reach(self.host.as_ref().ok(), self.port)
    }

    /// The host as given, for which the certificate must be valid, whatever its address is.
    fn host(&self) -> Box<str> {
        match &self.host {
            Ok(Host::Address(address)) => address.to_string().into(),
            Ok(Host::Name(name)) => name.relative().into(),
            Err(text) => text.as_str().into(),
        }
    }

    async fn addresses(
        &self,
        network: &Arc<dyn Network>,
        socket: &ClientSocket,
    ) -> Result<Vec<IpAddr>, NetError> {
        let name = match &self.host {
            Ok(Host::Address(literal)) => return self.filter_family(vec![*literal]),
            // RFC 6761, 6.3: without a look at a resolver or the hosts file.
            Ok(Host::Name(name)) if name.is_localhost() => {
                let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                return self.filter_family(loopback.into());
            }
            Ok(Host::Name(name)) => name.as_str(),
            Err(text) if is_resolvable(text) => text,
            Err(_) => return Err(NetError::NAME_NOT_RESOLVED),
        };
        let app_context = &socket.app_shard().app_context;
        let permit = app_context.lookups.acquire(&app_context.app).await;
        let permit = Box::new(permit.ok_or(NetError::FAILED)?);
        // The look-up keeps its permit until the resolver answers, also if the attempt is
        // cancelled: it takes a thread until then.
        let resolved = network.resolve_with_permit(name, permit).await;
        self.filter_family(resolved.map_err(|error| net_error::resolve(&error))?)
    }

    fn filter_family(&self, mut addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, NetError> {
        addresses.retain(|address| match self.dns {
            DnsQueryType::Any => true,
            DnsQueryType::Ipv4 => address.is_ipv4(),
            DnsQueryType::Ipv6 => address.is_ipv6(),
        });
        if addresses.is_empty() {
            return Err(NetError::NAME_NOT_RESOLVED);
        }
        Ok(addresses)
    }
}

/// Whether to ask a resolver for a text that is not a valid host.
fn is_resolvable(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_HOST_LENGTH
        && !text.contains(|c: char| c.is_control() || c.is_whitespace())
}

/// A connection that `connect` made.
pub(crate) struct Connected {
    pub(in crate::tcp) stream: Box<dyn Stream>,
    pub(in crate::tcp) peer: SocketAddr,
    pub(in crate::tcp) local: Option<SocketAddr>,
    pub(in crate::tcp) host: Box<str>,
}

/// Tries the target's addresses one after the other. If none works, returns the last error, or
/// `NETWORK_ACCESS_DENIED` if any of them was that.
pub(in crate::tcp) async fn connect(
    network: Arc<dyn Network>,
    target: Target,
    socket: ClientSocket,
) -> Result<Connected, Error> {
    let port = target.port()?;
    let mut last = NetError::NAME_NOT_RESOLVED;
    for address in target.addresses(&network, &socket).await? {
        let peer = SocketAddr::new(address, port);
        match network.connect(peer).await {
            Ok(stream) => {
                let local = stream.local_addr().ok();
                return Ok(Connected {
                    stream,
                    peer,
                    local,
                    host: target.host(),
                });
            }
            Err(_) if last == NetError::NETWORK_ACCESS_DENIED => {}
            Err(error) => last = net_error::connect(&error),
        }
    }
    Err(last.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: i32) -> Target {
        Target::new(host, port, DnsQueryType::Any)
    }

    #[test]
    fn ports_outside_the_range_are_invalid() {
        assert_eq!(target("a", 1).port(), Ok(1));
        assert_eq!(target("a", 65535).port(), Ok(65535));
        let zero = target("a", 0).port();
        assert_eq!(zero, Err(NetError::ADDRESS_INVALID.into()));
        for port in [-1, 65536, i32::MAX, i32::MIN] {
            let error = InvalidArgument::PeerPortOutOfRange.into();
            assert_eq!(target("a", port).port(), Err(error));
        }
    }

    #[test]
    fn a_text_that_cannot_be_a_name_is_not_resolved() {
        for host in ["", " ", "a b", "a\0b", "a\n"] {
            assert!(!is_resolvable(host), "{host:?}");
        }
        assert!(!is_resolvable(&"a".repeat(254)));
        assert!(is_resolvable(&"a".repeat(253)));
        let long = target(&"a".repeat(1 << 20), 1);
        assert!(long.host.is_err_and(|text| text.len() == 254));
    }
}
