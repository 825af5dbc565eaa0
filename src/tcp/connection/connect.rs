//! `tcp.connect`: resolves a name and connects, outside the actor.

mod happy_eyeballs;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use actix_rt::time::timeout;
use futures::future::BoxFuture;

use crate::address::{Address, Endpoint, UnixAddress, check_scope, split_scope};
use crate::error::Error;
use crate::invalid_argument::InvalidArgument;
use crate::manifest::{Host, Permissions};
use crate::net_error::{self, NetError};
use crate::os::{self, Network, Stream};
use crate::proxy_protocol::ProxyHeader;
use crate::tcp::socket::ClientSocket;
use crate::tcp::{ConnectOptions, DnsQueryType};

/// The longest possible host name (RFC 1035).
pub(crate) const MAX_HOST_LENGTH: usize = 253;

/// The host of a Unix socket, for which the certificate of its server must be valid.
const HOST_OF_UNIX: &str = "localhost";

/// The arguments of `connect`.
pub(crate) struct Target {
    /// The host in the form that permissions are checked against. If it has no such form: as it was
    /// written, which only a permission for any host covers.
    host: Result<Host, String>,
    port: i32,
    options: ConnectOptions,
    /// The interface of a link-local address.
    scope: Scope,
    /// The Unix socket, in place of a host and a port.
    unix: Option<UnixAddress>,
}

enum Scope {
    None,
    Id(u32),
    /// A name, or an id as text.
    Text(Box<str>),
}

impl Target {
    pub(crate) fn new(host: &str, port: i32, dns: DnsQueryType) -> Self {
        Target {
            // A longer name cannot be resolved, so its rest is not kept.
            host: Host::parse(host).map_err(|_| host.chars().take(MAX_HOST_LENGTH + 1).collect()),
            port,
            options: ConnectOptions {
                dns_query_type: dns,
                ..ConnectOptions::default()
            },
            scope: Scope::None,
            unix: None,
        }
    }

    /// The target of `connect_to`.
    pub(crate) fn of(endpoint: Endpoint, options: ConnectOptions) -> Self {
        let dns = options.dns_query_type;
        let target = match endpoint {
            Endpoint::Address(Address::Ip(address)) => Target {
                scope: match address {
                    SocketAddr::V4(_) => Scope::None,
                    SocketAddr::V6(address) => Scope::Id(address.scope_id()),
                },
                host: Ok(Host::Address(address.ip())),
                ..Target::new("", address.port().into(), dns)
            },
            Endpoint::Address(Address::Unix(address)) => Target {
                unix: Some(address),
                ..Target::new(HOST_OF_UNIX, 0, dns)
            },
            Endpoint::Host(host, port) => match split_scope(&host) {
                Some((address, scope)) => Target {
                    scope: Scope::Text(scope.into()),
                    // Permissions name addresses without a scope.
                    host: Ok(Host::Address(address.into())),
                    ..Target::new("", port.into(), dns)
                },
                None => Target::new(&host, port.into(), dns),
            },
        };
        Target { options, ..target }
    }

    pub(in crate::tcp) fn port(&self) -> Result<u16, Error> {
        match u16::try_from(self.port) {
            Ok(0) => Err(NetError::ADDRESS_INVALID.into()),
            Ok(port) => Ok(port),
            Err(_) => Err(InvalidArgument::PeerPortOutOfRange.into()),
        }
    }

    /// Checks what the arguments show by themselves.
    pub(in crate::tcp) fn check(&self) -> Result<(), Error> {
        match &self.unix {
            Some(address) => address.check()?,
            None => drop(self.port()?),
        }
        if self.unix.is_some() && self.options.local.is_some() {
            return Err(InvalidArgument::LocalForUnix.into());
        }
        if let Some(Duration::ZERO) = self.options.timeout {
            return Err(InvalidArgument::ConnectTimeoutZero.into());
        }
        self.proxy_header().map(drop)
    }

    /// What is sent before everything else.
    fn proxy_header(&self) -> Result<Vec<u8>, Error> {
        let header = self.options.proxy_header.as_ref();
        let header = header.map_or(Ok(Vec::new()), ProxyHeader::to_bytes);
        header.map_err(Error::from)
    }

    /// # Errors
    /// The refusal, if the permissions do not allow to connect.
    pub(in crate::tcp) fn check_permitted(&self, permissions: &Permissions) -> Result<(), Error> {
        if self.unix.is_some() {
            return match permissions.may_use_unix_sockets() {
                true => Ok(()),
                false => Err(Error::UnixPermissionDenied),
            };
        }
        match permissions.may_reach(self.host.as_ref().ok(), self.port) {
            true => Ok(()),
            false => Err(Error::PermissionDenied),
        }
    }

    /// The host as given, for which the certificate must be valid, whatever its address is.
    fn host(&self) -> Box<str> {
        match &self.host {
            Ok(Host::Address(address)) => address.to_string().into(),
            Ok(Host::Name(name)) => name.relative().into(),
            Err(text) => text.as_str().into(),
        }
    }

    /// A new connection, when it has sent its header.
    async fn connected(
        &self,
        mut stream: Box<dyn Stream>,
        peer: Address,
    ) -> Result<Connected, Error> {
        let local = stream.local_addr().ok();
        let header = self.proxy_header()?;
        let sent = write_all(&mut *stream, &header).await;
        sent.map_err(|error| net_error::write(&error))?;
        Ok(Connected {
            local,
            stream,
            peer,
            host: self.host(),
            has_written: !header.is_empty(),
        })
    }

    /// The addresses to try, in this order.
    async fn addresses(
        &self,
        network: &Arc<dyn Network>,
        socket: &ClientSocket,
    ) -> Result<Vec<SocketAddr>, Error> {
        let port = self.port()?;
        let addresses = self.ip_addresses(network, socket).await?;
        let mut scoped = Vec::with_capacity(addresses.len());
        for address in addresses {
            scoped.push(match (&self.scope, address) {
                (Scope::Id(id), IpAddr::V6(address)) => {
                    SocketAddrV6::new(address, port, 0, *id).into()
                }
                (Scope::Text(scope), IpAddr::V6(address)) => {
                    os::scoped(&**network, address, scope, port)
                        // It is an address of no interface.
                        .map_err(|_| NetError::ADDRESS_INVALID)?
                }
                _ => SocketAddr::new(address, port),
            });
        }
        if let Ok(Host::Address(_)) = &self.host {
            scoped.iter().copied().try_for_each(check_scope)?;
        }
        if let Some(local) = self.options.local {
            scoped.retain(|address| address.is_ipv4() == local.is_ipv4());
            if scoped.is_empty() {
                return Err(NetError::ADDRESS_INVALID.into());
            }
        }
        Ok(happy_eyeballs::interleave(scoped))
    }

    async fn ip_addresses(
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
        addresses.retain(|address| match self.options.dns_query_type {
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
pub(crate) fn is_resolvable(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_HOST_LENGTH
        && !text.contains(|c: char| c.is_control() || c.is_whitespace())
}

/// A connection that `connect` made.
pub(crate) struct Connected {
    pub(in crate::tcp) stream: Box<dyn Stream>,
    pub(in crate::tcp) peer: Address,
    pub(in crate::tcp) local: Option<Address>,
    pub(in crate::tcp) host: Box<str>,
    /// Whether a header was sent.
    pub(in crate::tcp) has_written: bool,
}

/// Connects to the first address of the target that answers. If none does, returns the error of the
/// last address, or `NETWORK_ACCESS_DENIED` if any of them was denied.
pub(in crate::tcp) async fn connect(
    network: Arc<dyn Network>,
    target: Target,
    socket: ClientSocket,
) -> Result<Connected, Error> {
    let connecting = try_addresses(&network, &target, &socket);
    match target.options.timeout {
        None => connecting.await,
        // What is dropped here is cancelled.
        Some(limit) => timeout(limit, connecting)
            .await
            .unwrap_or(Err(NetError::CONNECTION_TIMED_OUT.into())),
    }
}

async fn try_addresses(
    network: &Arc<dyn Network>,
    target: &Target,
    socket: &ClientSocket,
) -> Result<Connected, Error> {
    if let Some(address) = &target.unix {
        let connected = network.connect_unix(address).await;
        let stream = connected.map_err(|error| net_error::connect(&error))?;
        return target
            .connected(stream, Address::Unix(address.clone()))
            .await;
    }
    let addresses = target.addresses(network, socket).await?;
    let attempt = |peer| -> BoxFuture<'static, _> {
        match target.options.local {
            Some(local) => network.connect_from(local, peer),
            None => network.connect(peer),
        }
    };
    let (stream, peer) = happy_eyeballs::connect(addresses, attempt).await?;
    target.connected(stream, peer.into()).await
}

async fn write_all(stream: &mut dyn Stream, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let write =
            poll_fn(|cx| os::retry_if_spurious(stream.poll_write(cx, &[IoSlice::new(data)]), cx));
        match write.await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => data = data.get(count..).unwrap_or_default(),
        }
    }
    Ok(())
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
