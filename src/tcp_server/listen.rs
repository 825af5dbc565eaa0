//! `listen` and `listenOn`: checks the arguments and binds.

use std::io;
use std::net::{IpAddr, SocketAddr};

use actix::Context;

use crate::address::{Address, Endpoint, UnixAddress, check_scope, split_scope};
use crate::answer::Request;
use crate::error::Error;
use crate::invalid_argument::InvalidArgument;
use crate::manifest::Host;
use crate::net_error::{self, NetError};
use crate::os;
use crate::tcp_server::actor::{BoundListener, HandleAlone, ServerSocket};
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
        match endpoint {
            Endpoint::Address(Address::Ip(address)) => {
                self.check_permitted(Some(&Host::Address(address.ip())), address.port())?;
                self.listen_on_ip(*address, options)
            }
            Endpoint::Address(Address::Unix(address)) => self.listen_unix(address, options),
            Endpoint::Host(text, port) => {
                let address = self.address_of(text, *port)?;
                self.listen_on_ip(address, options)
            }
        }
    }

    fn check_permitted(&self, host: Option<&Host>, port: u16) -> Result<(), Error> {
        let permissions = self.app_shards.app_context.permissions();
        match permissions.may_listen_at(host, port.into()) {
            true => Ok(()),
            false => Err(Error::PermissionDenied),
        }
    }

    /// The address of a permitted text.
    fn address_of(&self, text: &str, port: u16) -> Result<SocketAddr, Error> {
        let Some((address, scope)) = split_scope(text) else {
            self.check_permitted(Host::parse(text).ok().as_ref(), port)?;
            return Ok(parse_address(text, port.into())?);
        };
        // Permissions name addresses without a scope.
        self.check_permitted(Some(&Host::Address(address.into())), port)?;
        let scoped = os::scoped(&*self.network, address, scope, port);
        // It is an address of no interface.
        Ok(scoped.map_err(|_| NetError::ADDRESS_INVALID)?)
    }

    fn listen_on_ip(&mut self, address: SocketAddr, options: ListenOptions) -> Result<(), Error> {
        if options.ipv6_only && address.is_ipv4() {
            return Err(InvalidArgument::Ipv6OnlyForIpv4.into());
        }
        if options.mode.is_some() {
            return Err(InvalidArgument::ModeWithoutFile.into());
        }
        self.listen_at(address, options)
    }

    fn listen_unix(&mut self, address: &UnixAddress, options: ListenOptions) -> Result<(), Error> {
        let permissions = self.app_shards.app_context.permissions();
        if !permissions.may_use_unix_sockets() {
            return Err(Error::UnixPermissionDenied);
        }
        address.check()?;
        match options.mode {
            Some(_) if address.as_path().is_none() => {
                return Err(InvalidArgument::ModeWithoutFile.into());
            }
            Some(0o1000..) => return Err(InvalidArgument::ModeOutOfRange.into()),
            _ => {}
        }
        if options.ipv6_only {
            return Err(InvalidArgument::Ipv6OnlyForUnix.into());
        }
        if self.reuse_port {
            return Err(InvalidArgument::ReusePortForUnix.into());
        }
        let backlog = backlog(options)?;
        self.listen_by(|socket| {
            let listener = socket.network.listen_unix(address, options.mode, backlog)?;
            BoundListener::new(listener)
        })
    }

    fn listen_at(&mut self, address: SocketAddr, options: ListenOptions) -> Result<(), Error> {
        let backlog = backlog(options)?;
        check_scope(address)?;
        self.listen_by(|socket| socket.bind(address, backlog, options.ipv6_only))
    }

    fn listen_by(
        &mut self,
        bind: impl FnOnce(&Self) -> io::Result<BoundListener>,
    ) -> Result<(), Error> {
        if self.counter().is_draining() {
            return Err(Error::Draining);
        }
        if self.listener.is_some() {
            return Err(NetError::SOCKET_IS_CONNECTED.into());
        }
        let bind = || {
            let mut bound = bind(self)?;
            bound.apply_policy(&self.errors.policy())?;
            Ok(bound)
        };
        self.listener = Some(bind().map_err(|error: io::Error| net_error::listen(&error))?);
        Ok(())
    }
}

macro_rules! answers_listen {
    ($($call:ident: |$socket:ident, $message:ident| $listen:expr;)*) => {$(
        impl HandleAlone<Request<$call, ()>> for ServerSocket {
            type Result = ();

            fn handle_alone(&mut self, ask: Request<$call, ()>, _: &mut Context<Self>) {
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

fn backlog(options: ListenOptions) -> Result<u32, InvalidArgument> {
    match options.backlog.unwrap_or(DEFAULT_BACKLOG) {
        backlog @ 1.. => Ok(backlog.unsigned_abs()),
        _ => Err(InvalidArgument::BacklogBelowOne),
    }
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
