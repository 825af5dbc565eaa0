//! The state of a scripted network: its script, its listeners and the calls that it got.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Waker;

use crate::address::{Address, UnixAddress};
use crate::testing::scripted::backlog::{Backlog, ListenerGroup, Sharing};
use crate::testing::scripted::block::Blocks;
use crate::testing::scripted::connection::{self, Endpoint, os_error};

/// The ports that listening on port 0 gives, in this order.
pub(super) const LISTENING_PORTS: Ports = Ports { first: 49152 };
/// The ports that connections come from; they never overlap with the listening ports.
pub(super) const CLIENT_PORTS: Ports = Ports { first: 32768 };

/// A call that reached a [`ScriptedNetwork`](super::ScriptedNetwork).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `listen`, `listen_shared` or `listen_ipv6_only`, whatever its result.
    Listen {
        /// The address in the call: port 0 stays 0.
        address: SocketAddr,
        /// How many clients may wait.
        backlog: u32,
    },
    /// `resolve`, whatever its result.
    Resolve {
        /// The name.
        host: String,
    },
    /// `connect` or `connect_from`, whatever its result.
    Connect {
        /// The address.
        address: SocketAddr,
    },
    /// `listen_unix`, whatever its result.
    ListenUnix {
        /// The name.
        address: UnixAddress,
        /// The mode of the file.
        mode: Option<u32>,
        /// How many clients may wait.
        backlog: u32,
    },
    /// `connect_unix`, whatever its result.
    ConnectUnix {
        /// The name.
        address: UnixAddress,
    },
}

#[derive(Debug, Default)]
pub(super) struct NetworkState {
    pub(super) listen_errors: VecDeque<i32>,
    pub(super) resolves: HashMap<String, VecDeque<io::Result<Vec<IpAddr>>>>,
    connects: HashMap<Address, VecDeque<Result<Endpoint, i32>>>,
    pub(super) blocks: Blocks,
    pub(super) calls: Vec<Call>,
    pub(super) listeners: BTreeMap<Address, ListenerGroup>,
    last_listener: u64,
    listening_ports_used: u16,
    client_ports_used: u16,
}

impl NetworkState {
    /// Returns the bound address and the id of the listener.
    pub(super) fn listen(
        &mut self,
        mut address: SocketAddr,
        backlog: u32,
        sharing: Sharing,
    ) -> io::Result<(SocketAddr, u64)> {
        self.calls.push(Call::Listen { address, backlog });
        if let Some(errno) = self.listen_errors.pop_front() {
            return Err(os_error(errno));
        }
        let in_use = || os_error(libc::EADDRINUSE);
        if address.port() == 0 {
            address.set_port(self.free_port(address.ip(), sharing).ok_or_else(in_use)?);
        } else if self.is_in_use(address, sharing) {
            return Err(in_use());
        }
        let id = self.add_listener(address.into(), backlog, sharing);
        Ok((address, id))
    }

    /// Returns the id of the listener.
    pub(super) fn listen_unix(
        &mut self,
        address: &UnixAddress,
        mode: Option<u32>,
        backlog: u32,
    ) -> io::Result<u64> {
        self.calls.push(Call::ListenUnix {
            address: address.clone(),
            mode,
            backlog,
        });
        if let Some(errno) = self.listen_errors.pop_front() {
            return Err(os_error(errno));
        }
        let address = Address::Unix(address.clone());
        if self.listeners.contains_key(&address) {
            return Err(os_error(libc::EADDRINUSE));
        }
        Ok(self.add_listener(address, backlog, Sharing::default()))
    }

    fn add_listener(&mut self, address: Address, backlog: u32, sharing: Sharing) -> u64 {
        self.last_listener += 1;
        let group = self.listeners.entry(address);
        let group = group.or_insert_with(|| ListenerGroup::new(sharing));
        group.add(self.last_listener, backlog);
        self.last_listener
    }

    /// Whether a listener prevents another one on this address. As on the real network, listeners
    /// that all share the address do not conflict.
    fn is_in_use(&self, address: SocketAddr, sharing: Sharing) -> bool {
        let listeners = self.listeners.iter();
        let mut listeners =
            listeners.filter_map(|(other, group)| Some((other.socket_addr()?, group)));
        listeners.any(|(other, group)| {
            let of_other = group.sharing();
            let overlap = covers(other, of_other.ipv6_only, address)
                || covers(address, sharing.ipv6_only, other);
            // The listeners of one address all take IPv4, or none does.
            let fit = other != address || sharing == of_other;
            let both_share = sharing.port && of_other.port && fit;
            overlap && !both_share
        })
    }

    pub(super) fn backlog_mut(&mut self, address: &Address, listener: u64) -> Option<&mut Backlog> {
        self.listeners.get_mut(address)?.get_mut(listener)
    }

    /// Removes a listener, and returns its backlog.
    pub(super) fn remove_listener(&mut self, address: &Address, listener: u64) -> Option<Backlog> {
        let group = self.listeners.get_mut(address)?;
        let backlog = group.remove(listener);
        if group.is_empty() {
            self.listeners.remove(address);
        }
        backlog
    }

    fn free_port(&mut self, ip: IpAddr, sharing: Sharing) -> Option<u16> {
        let alone = Sharing {
            port: false,
            ..sharing
        };
        for _ in 0..Ports::COUNT {
            let port = LISTENING_PORTS.next(&mut self.listening_ports_used);
            if !self.is_in_use((ip, port).into(), alone) {
                return Some(port);
            }
        }
        None
    }

    /// A new local address for a connection to `to`.
    pub(super) fn client_address(&mut self, to: &Address) -> Address {
        match to {
            Address::Ip(to) => {
                let port = CLIENT_PORTS.next(&mut self.client_ports_used);
                SocketAddr::new(loopback(to.ip()), port).into()
            }
            Address::Unix(_) => UnixAddress::Unnamed.into(),
        }
    }

    /// The listeners that a connection to this address reaches.
    pub(super) fn listeners_at(&mut self, address: &Address) -> Option<&mut ListenerGroup> {
        let mut listeners = self.listeners.iter_mut();
        let (_, group) = listeners
            .find(|(listener, group)| reaches(listener, group.sharing().ipv6_only, address))?;
        Some(group)
    }

    /// Puts a new connection into the backlog of a listener. Returns the client's end, and the
    /// waker of the listener.
    pub(super) fn connect_to_listener(
        &mut self,
        to: Address,
        local: Option<SocketAddr>,
    ) -> io::Result<(Endpoint, Option<Waker>)> {
        let chosen = self.client_address(&to);
        let from = local_address(local, chosen);
        let group = self.listeners_at(&to);
        let backlog = group.and_then(ListenerGroup::next_with_room);
        let backlog = backlog.ok_or_else(|| os_error(libc::ECONNREFUSED))?;
        let reached = match to {
            Address::Ip(to) if to.ip().is_unspecified() => {
                SocketAddr::new(loopback(to.ip()), to.port()).into()
            }
            to => to,
        };
        let (client, accepted) = connection::pair(from.clone(), reached);
        Ok((client, backlog.push_client(accepted, from)))
    }

    pub(super) fn script_connect(&mut self, address: Address, result: Result<Endpoint, i32>) {
        self.connects.entry(address).or_default().push_back(result);
    }

    pub(super) fn scripted_connect(&mut self, address: &Address) -> Option<Result<Endpoint, i32>> {
        self.connects.get_mut(address)?.pop_front()
    }
}

/// The local address of a connection from `local`, which has the port of `chosen` if its own is 0.
pub(super) fn local_address(local: Option<SocketAddr>, chosen: Address) -> Address {
    match (local, chosen) {
        (Some(mut local), Address::Ip(chosen)) => {
            if local.port() == 0 {
                local.set_port(chosen.port());
            }
            local.into()
        }
        (_, chosen) => chosen,
    }
}

/// Whether a listener on `listener` is reached at `address`.
fn reaches(listener: &Address, ipv6_only: bool, address: &Address) -> bool {
    match (listener, address) {
        (Address::Ip(listener), Address::Ip(address)) => covers(*listener, ipv6_only, *address),
        _ => listener == address,
    }
}

/// Whether a listener on `listener` is reached at `address`. As on the real network, `::` takes
/// IPv4 too, unless it is `ipv6_only`.
fn covers(listener: SocketAddr, ipv6_only: bool, address: SocketAddr) -> bool {
    let any_ip = match listener.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && address.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified() && (address.is_ipv6() || !ipv6_only),
    };
    listener.port() == address.port() && (any_ip || listener.ip() == address.ip())
}

fn loopback(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// A range of ports that are used in order, and then again.
pub(super) struct Ports {
    first: u16,
}

impl Ports {
    pub(super) const COUNT: u16 = 1 << 14;

    pub(super) fn next(&self, used: &mut u16) -> u16 {
        let port = self.first + *used;
        *used = (*used + 1) % Self::COUNT;
        port
    }
}
