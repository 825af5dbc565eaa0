//! A network without the ports of the process's own that nobody may connect to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};

use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::io::Errno;

use super::{Listener, Network, Stream};

/// The addresses that connections may not go to.
#[derive(Clone, Default)]
pub(crate) struct Walls(Arc<RwLock<Vec<SocketAddr>>>);

impl Walls {
    pub(crate) fn add(&self, address: SocketAddr) {
        let walls = self.0.write();
        walls.unwrap_or_else(PoisonError::into_inner).push(address);
    }

    /// Whether a connection to this address comes to one of them; `local` is its own end, if it
    /// is connected already.
    fn deny(&self, peer: SocketAddr, local: Option<SocketAddr>) -> bool {
        let walls = self.0.read();
        let walls = walls.unwrap_or_else(PoisonError::into_inner);
        walls.iter().any(|wall| is_it(*wall, peer, local))
    }

    fn is_empty(&self) -> bool {
        let walls = self.0.read();
        walls.unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

fn is_it(wall: SocketAddr, peer: SocketAddr, local: Option<SocketAddr>) -> bool {
    let (wall_ip, peer_ip) = (wall.ip().to_canonical(), peer.ip().to_canonical());
    if wall.port() != peer.port() {
        return false;
    }
    // The unspecified address is this machine. A connection to any address of this machine has
    // that address at its own end too.
    let is_here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    let is_own = local.is_some_and(|local| local.ip().to_canonical() == peer_ip);
    wall_ip == peer_ip
        || (peer_ip.is_unspecified() && is_here(wall_ip))
        || (wall_ip.is_unspecified() && (is_here(peer_ip) || is_own))
}

/// A network, and where in it nobody may go.
pub(crate) struct Walled {
    pub(crate) inner: Arc<dyn Network>,
    pub(crate) walls: Walls,
}

/// As of a firewall.
fn denied() -> io::Error {
    Errno::ACCESS.into()
}

impl Network for Walled {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.inner.listen(address, backlog)
    }

    fn listen_shared(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.inner.listen_shared(address, backlog)
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.inner.resolve(host)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        if self.walls.is_empty() {
            return self.inner.connect(address);
        }
        if self.walls.deny(address, None) {
            return std::future::ready(Err(denied())).boxed();
        }
        let walls = self.walls.clone();
        let connecting = self.inner.connect(address);
        let connected = async move {
            let stream = connecting.await?;
            match walls.deny(address, stream.local_addr().ok()) {
                true => Err(denied()),
                false => Ok(stream),
            }
        };
        connected.boxed()
    }

    fn adopt_listener(&self, listener: OwnedFd) -> io::Result<Box<dyn Listener>> {
        self.inner.adopt_listener(listener)
    }

    fn adopt_stream(&self, stream: OwnedFd) -> io::Result<Box<dyn Stream>> {
        self.inner.adopt_stream(stream)
    }

    #[cfg(feature = "testing")]
    fn checkpoint(&self, actor: super::Checkpoint) -> bool {
        self.inner.checkpoint(actor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_stands_whatever_its_address_is_called() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        for (wall, peer, local, denies) in [
            ("127.0.0.1:80", "127.0.0.1:80", None, true),
            ("127.0.0.1:80", "127.0.0.1:81", None, false),
            ("127.0.0.1:80", "127.0.0.2:80", None, false),
            ("127.0.0.1:80", "0.0.0.0:80", None, true),
            ("127.0.0.1:80", "[::]:80", None, true),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", None, true),
            ("127.0.0.1:80", "[::ffff:0.0.0.0]:80", None, true),
            ("[::1]:80", "[::1]:80", None, true),
            ("[::1]:80", "[::]:80", None, true),
            ("0.0.0.0:80", "127.9.9.9:80", None, true),
            ("[::]:80", "[::1]:80", None, true),
            ("0.0.0.0:80", "10.0.0.7:80", Some("10.0.0.7:5000"), true),
            ("[::]:80", "10.0.0.7:80", Some("10.0.0.7:5000"), true),
            ("0.0.0.0:80", "10.0.0.8:80", Some("10.0.0.7:5000"), false),
            ("10.0.0.7:80", "10.0.0.7:80", None, true),
            ("10.0.0.7:80", "0.0.0.0:80", None, false),
        ] {
            let denied = is_it(at(wall), at(peer), local.map(at));
            assert_eq!(denied, denies, "{wall} {peer} {local:?}");
        }
    }
}
