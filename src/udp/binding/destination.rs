//! Where a datagram is sent to: an address, or a name that is looked up outside the actor.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use crate::error::Error;
use crate::invalid_argument::InvalidArgument;
use crate::manifest::{Host, Permissions};
use crate::net_error::{self, NetError};
use crate::os::Network;
use crate::supervision::{ActorKind, catch_task_panic};
use crate::tcp::{MAX_HOST_LENGTH, is_resolvable};
use crate::udp::DnsQueryType;
use crate::udp::binding::write::PendingSend;
use crate::udp::command::Command;

/// The address and port of `send`.
pub(crate) struct Destination {
    /// The host in the form that permissions are checked against. If it has no such form: as it was
    /// written, which only a permission for any host covers.
    host: Result<Host, Box<str>>,
    port: i32,
    dns_query_type: DnsQueryType,
    /// Of a link-local address.
    scope_id: u32,
}

/// A destination, as far as it is known without a look-up.
pub(in crate::udp) enum Target {
    Address(SocketAddr),
    Name(Box<str>),
}

/// A send whose name was looked up.
pub(crate) struct Resolved {
    pub(in crate::udp) pending: PendingSend,
    pub(in crate::udp) result: Result<SocketAddr, Error>,
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Destination {
            host: Ok(Host::Address(address.ip())),
            port: address.port().into(),
            dns_query_type: DnsQueryType::Any,
            scope_id: match address {
                SocketAddr::V4(_) => 0,
                SocketAddr::V6(address) => address.scope_id(),
            },
        }
    }
}

impl Destination {
    pub(crate) fn new(host: &str, port: i32, dns_query_type: DnsQueryType) -> Self {
        // A longer name cannot be resolved, so its rest is not kept.
        let start = |_| -> Box<str> { host.chars().take(MAX_HOST_LENGTH + 1).collect() };
        Destination {
            host: Host::parse(host).map_err(start),
            port,
            dns_query_type,
            scope_id: 0,
        }
    }

    pub(in crate::udp) fn is_permitted(&self, permissions: &Permissions) -> bool {
        permissions.may_send_to(self.host.as_ref().ok(), self.port)
    }

    /// The address, if no name has to be looked up and the arguments are valid.
    pub(in crate::udp) fn address(&self) -> Option<SocketAddr> {
        match &self.host {
            Ok(Host::Address(ip)) if self.allows(*ip) => {
                Some(self.with_port(*ip, self.port().ok()?))
            }
            _ => None,
        }
    }

    /// The target, for a socket of this family.
    pub(in crate::udp) fn target(&self, is_ipv4: bool) -> Result<Target, Error> {
        let port = self.port()?;
        let address = |ip| Target::Address(self.with_port(ip, port));
        match &self.host {
            Ok(Host::Address(ip)) if self.allows(*ip) => Ok(address(*ip)),
            // RFC 6761, 6.3: without a look at a resolver or the hosts file.
            Ok(Host::Name(name)) if name.is_localhost() => {
                let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                Ok(address(self.choose(&loopback, is_ipv4)?))
            }
            Ok(Host::Name(name)) => Ok(Target::Name(name.as_str().into())),
            Err(text) if is_resolvable(text) => Ok(Target::Name(text.clone())),
            Ok(Host::Address(_)) | Err(_) => Err(NetError::NAME_NOT_RESOLVED.into()),
        }
    }

    fn port(&self) -> Result<u16, InvalidArgument> {
        u16::try_from(self.port).map_err(|_| InvalidArgument::PortOutOfRange)
    }

    fn with_port(&self, ip: IpAddr, port: u16) -> SocketAddr {
        match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.scope_id).into(),
        }
    }

    fn allows(&self, ip: IpAddr) -> bool {
        match self.dns_query_type {
            DnsQueryType::Any => true,
            DnsQueryType::Ipv4 => ip.is_ipv4(),
            DnsQueryType::Ipv6 => ip.is_ipv6(),
        }
    }

    /// The first address of the socket's family. An IPv6 socket reaches IPv4 too, if the name has
    /// no other address.
    fn choose(&self, addresses: &[IpAddr], is_ipv4: bool) -> Result<IpAddr, NetError> {
        let allowed = || addresses.iter().copied().filter(|ip| self.allows(*ip));
        let own = allowed().find(|ip| ip.is_ipv4() == is_ipv4);
        own.or_else(|| allowed().next().filter(|_| !is_ipv4))
            .ok_or(NetError::NAME_NOT_RESOLVED)
    }
}

/// Looks a name up, and then queues the send again.
pub(in crate::udp) fn look_up(
    mut pending: PendingSend,
    name: Box<str>,
    network: Arc<dyn Network>,
    is_ipv4: bool,
) {
    // Other sends do not wait for it.
    pending.finish_call();
    actix_rt::spawn(async move {
        let socket = pending.socket().clone();
        let app_shard = socket.app_shard();
        let context = &app_shard.app_context;
        let work = async {
            let permit = context.lookups.acquire(&context.app).await;
            let permit = Box::new(permit.ok_or(NetError::FAILED)?);
            // The look-up keeps its permit until the resolver answers.
            let resolved = network.resolve_with_permit(&name, permit).await;
            resolved.map_err(|error| net_error::resolve(&error))
        };
        let actor = ActorKind::UdpSend(socket.id());
        let link = app_shard.activity.registry_link();
        let resolved = catch_task_panic(work, actor, &context.app, link).await;
        let to = pending.to();
        let result = resolved
            .unwrap_or(Err(NetError::FAILED))
            .and_then(|addresses| to.choose(&addresses, is_ipv4))
            .map_err(Error::from)
            .and_then(|ip| Ok(to.with_port(ip, to.port()?)));
        let resolved = Box::new(Resolved { pending, result });
        socket.do_send(Command::Resolved(resolved));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_name_is_resolved_to_the_family_of_the_socket() {
        use DnsQueryType::{Any, Ipv4, Ipv6};
        for (query, addresses, is_ipv4, expected) in [
            (Any, &["::1", "127.0.0.1"][..], true, Some("127.0.0.1")),
            (Any, &["127.0.0.1", "::1"], false, Some("::1")),
            (Any, &["127.0.0.1"], false, Some("127.0.0.1")),
            (Any, &["::1"], true, None),
            (Any, &[], true, None),
            (Ipv6, &["127.0.0.1", "::1"], true, None),
            (Ipv4, &["::1", "127.0.0.1"], false, Some("127.0.0.1")),
        ] {
            let addresses: Vec<_> = addresses.iter().copied().map(address).collect();
            let chosen = Destination::new("a", 1, query).choose(&addresses, is_ipv4);
            assert_eq!(chosen.ok(), expected.map(address), "{query:?} {is_ipv4}");
        }
    }

    #[test]
    fn only_a_literal_with_a_valid_port_needs_no_look_up() {
        let of = |host: &str, port| Destination::new(host, port, DnsQueryType::Any).address();
        assert_eq!(of("127.0.0.1", 9), Some(([127, 0, 0, 1], 9).into()));
        assert!(of("::1", 0).is_some());
        for (host, port) in [
            ("127.0.0.1", -1),
            ("::1", 65_536),
            ("localhost", 1),
            ("", 1),
        ] {
            assert_eq!(of(host, port), None, "{host} {port}");
        }
        let wrong_family = Destination::new("127.0.0.1", 1, DnsQueryType::Ipv6);
        assert_eq!(wrong_family.address(), None);
        let scoped: SocketAddr = "[fe80::1%7]:1".parse().expect("an address");
        assert_eq!(Destination::from(scoped).address(), Some(scoped));
    }
}
