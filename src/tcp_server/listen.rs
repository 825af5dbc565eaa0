//! `listen` and `listenOn`: checks the arguments and binds.

use std::io;
use std::net::{IpAddr, SocketAddr};

use actix::Handler;

use crate::address::{Address, Endpoint, check_scope, split_scope};
use crate::answer::Request;
use crate::error::Error;
use crate::invalid_argument::InvalidArgument;
use crate::manifest::Host;
use crate::net_error::{self, NetError};
use crate::os;
use crate::tcp_server::actor::ServerSocket;
use crate::tcp_server::{DEFAULT_BACKLOG, Listen, ListenCall, ListenOn, ListenOptions};

impl ServerSocket {
    fn listen(&mut self, call: &Listen) -> Result<(), Error> {
        let permissions = self.app_shards.app_context.permissions();
        if !permissions.may_listen(&call.address, call.port) {
            return Err(Error::PermissionDenied);
        }
        let address = parse_address(&call.address, call.port)?;
        let options = ListenOptions {
            backlog: call.backlog,
            ..ListenOptions::default()
        };
        self.listen_at(address, options)
    }

    fn listen_on(&mut self, endpoint: &Endpoint, options: ListenOptions) -> Result<(), Error> {
        let (host, port) = match endpoint {
            Endpoint::Address(Address::Ip(address)) => {
                (Some(Host::Address(address.ip())), address.port())
            }
            Endpoint::Host(text, port) => match split_scope(text) {
                // Permissions name addresses without a scope.
                Some((address, _)) => (Some(Host::Address(address.into())), *port),
                None => (Host::parse(text).ok(), *port),
            },
        };
        let permissions = self.app_shards.app_context.permissions();
        if !permissions.may_listen_at(host.as_ref(), port.into()) {
            return Err(Error::PermissionDenied);
        }
        let address = match endpoint {
            Endpoint::Address(Address::Ip(address)) => *address,
            Endpoint::Host(text, port) => match split_scope(text) {
                Some((address, scope)) => os::scoped(&*self.network, address, scope, *port)
                    // It is an address of no interface.
                    .map_err(|_| NetError::ADDRESS_INVALID)?,
                None => parse_address(text, (*port).into())?,
            },
        };
        if options.ipv6_only && address.is_ipv4() {
            return Err(InvalidArgument::Ipv6OnlyForIpv4.into());
        }
        self.listen_at(address, options)
    }

    fn listen_at(&mut self, address: SocketAddr, options: ListenOptions) -> Result<(), Error> {
        let backlog = match options.backlog.unwrap_or(DEFAULT_BACKLOG) {
            backlog @ 1.. => backlog.unsigned_abs(),
            _ => return Err(InvalidArgument::BacklogBelowOne.into()),
        };
        check_scope(address)?;
        if self.counter().is_draining() {
            return Err(Error::Draining);
        }
        if self.listener.is_some() {
            return Err(NetError::SOCKET_IS_CONNECTED.into());
        }
        let bind = || {
            let mut bound = self.bind(address, backlog, options.ipv6_only)?;
            bound.apply_policy(&self.errors.policy)?;
            Ok(bound)
        };
        self.listener = Some(bind().map_err(|error: io::Error| match error.kind() {
            // The network has no listeners that share a port.
            io::ErrorKind::Unsupported if self.reuse_port => NetError::NOT_IMPLEMENTED,
            _ => net_error::listen(&error),
        })?);
        Ok(())
    }
}

macro_rules! answers_listen {
    ($($call:ident: |$socket:ident, $message:ident| $listen:expr;)*) => {$(
        impl Handler<Request<$call, ()>> for ServerSocket {
            type Result = ();

            fn handle(&mut self, ask: Request<$call, ()>, _: &mut Self::Context) {
                let ($socket, $message) = (&mut *self, &ask.message);
                let answer = match $socket.is_closed {
                    true => Err(Error::SocketNotFound),
                    false => $listen,
                };
                ask.message.answer(ask.reply, answer);
            }
        }
    )*};
}

answers_listen! {
    Listen: |socket, call| socket.listen(call);
    ListenOn: |socket, call| socket.listen_on(&call.endpoint, call.options);
}

/// Parses the address of `listen`, which has to be a canonical IP literal.
fn parse_address(address: &str, port: i32) -> Result<SocketAddr, InvalidArgument> {
    let address: IpAddr = address.parse().map_err(|_| InvalidArgument::AddressNotIp)?;
    let port = u16::try_from(port).map_err(|_| InvalidArgument::PortOutOfRange)?;
    Ok((address, port).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_ip_literals_and_ports_are_addresses() {
        for (address, port) in [
            ("", 0),
            ("localhost", 0),
            ("[::1]", 0),
            ("300.1.1.1", 0),
            ("127.1", 0),
            ("0x7f000001", 0),
            ("0177.0.0.1", 0),
            ("127.0.0.1 ", 0),
            ("127.0.0.1:80", 0),
            ("::1%lo", 0),
            ("*", 0),
            ("127.0.0.1\0", 0),
        ] {
            let error = InvalidArgument::AddressNotIp;
            assert_eq!(parse_address(address, port), Err(error), "{address:?}");
        }
        for port in [-1, 65536, i32::MAX] {
            let error = InvalidArgument::PortOutOfRange;
            assert_eq!(parse_address("127.0.0.1", port), Err(error), "{port}");
        }
        assert!(parse_address("::", 0).is_ok());
        assert!(parse_address("0.0.0.0", 65535).is_ok());
    }
}
