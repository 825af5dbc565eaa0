//! The listeners of one server socket in several arbiters, as one.
//!
//! Each has a task in its arbiter that accepts, a few connections ahead. They
//! wait here as those in the backlog do: the server socket alone takes them, and
//! all that it decides, it decides once.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, ready};

use crate::error::Error;
use crate::net_error::{self, AcceptErrorClass, NetError};
use crate::os::{Listener, Network, Stream};
use crate::tcp::{AppShards, Shard};
use crate::tcp_server::accept::accepted_ahead::Ahead;
use crate::tcp_server::actor::{Bound, ServerSocket};
use parking_lot::{Mutex, MutexGuard};

/// How many connections one arbiter accepts ahead: enough for a wake to be
/// worth its price.
const AHEAD: usize = 16;

type Accepted = (Box<dyn Stream>, SocketAddr);

/// One listener an arbiter.
struct Ports {
    all: Vec<(Arc<Port>, Arc<Shard>)>,
    /// Who is looked at first.
    next: usize,
    /// Where the one lives that was taken last.
    last: Arc<AtomicUsize>,
}

/// A listener, and what it has accepted.
struct Port {
    /// `None`: it is closed.
    listener: Mutex<Option<Box<dyn Listener>>>,
    ahead: Ahead<Accepted, io::Error>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl Ports {
    /// Listens in every arbiter, on one port.
    fn listen(
        network: &dyn Network,
        address: SocketAddr,
        backlog: u32,
        app_shards: &AppShards,
    ) -> io::Result<Self> {
        let mut at = address;
        let mut all = Vec::new();
        for app_shard in app_shards.shards() {
            let listener = network.listen_shared(at, backlog)?;
            // The OS chooses for the first.
            at = listener.local_addr()?;
            let port = Port {
                listener: Mutex::new(Some(listener)),
                ahead: Ahead::new(),
            };
            all.push((Arc::new(port), app_shard.shard.clone()));
        }
        Ok(Ports {
            all,
            next: 0,
            last: Arc::default(),
        })
    }

    fn each<T>(&self, call: impl Fn(&mut dyn Listener) -> io::Result<T>) -> io::Result<Vec<T>> {
        let call = |(port, _): &(Arc<Port>, _)| match &mut *lock(&port.listener) {
            Some(listener) => call(&mut **listener),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        self.all.iter().map(call).collect()
    }

    /// What one of them has accepted, or why it could not.
    fn take(&mut self) -> Option<io::Result<Accepted>> {
        for at in 0..self.all.len() {
            let at = (self.next + at) % self.all.len();
            if let Some(taken) = self.all[at].0.ahead.take() {
                self.last.store(at, SeqCst);
                self.next = at + 1;
                if let Err(error) = &taken {
                    self.failed(error);
                }
                return Some(taken);
            }
        }
        None
    }

    /// What keeps one of them from accepting keeps all: it is told once, as of one
    /// listener, and none goes on before more is wanted.
    fn failed(&self, error: &io::Error) {
        use AcceptErrorClass::{Listener, Resources};
        let known = net_error::accept(error);
        if let Some((Listener | Resources, _)) = known {
            for (port, _) in &self.all {
                port.ahead.want_nothing();
            }
        }
    }
}

impl Listener for Ports {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        for (port, _) in &self.all {
            port.ahead.begin_taking(cx);
        }
        if let Some(taken) = self.take() {
            return Poll::Ready(taken);
        }
        for (port, shard) in &self.all {
            port.want(shard);
        }
        Poll::Pending
    }

    /// Takes what waits past the tasks, as the end of all of them.
    fn poll_accept_unregistered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        for (port, _) in &self.all {
            if let Some(listener) = &mut *lock(&port.listener) {
                if let Some(accepted) = port.ahead.take_accepted() {
                    return Poll::Ready(Ok(accepted));
                }
                if let Poll::Ready(accepted) = listener.poll_accept_unregistered(cx) {
                    return Poll::Ready(accepted);
                }
            }
        }
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let all = self.each(|listener| listener.local_addr())?;
        all.first()
            .copied()
            .ok_or(io::ErrorKind::NotConnected.into())
    }

    fn poll_shed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<SocketAddr>> {
        if let Some(Ok((stream, peer))) = self.take() {
            drop(stream);
            return Poll::Ready(Ok(peer));
        }
        // Meanwhile none accepts: what it took would be the place of a reserve.
        let listeners = self.all.iter().map(|(port, _)| lock(&port.listener));
        let mut listeners: Vec<_> = listeners.collect();
        let mut shed = Poll::Pending;
        for listener in listeners.iter_mut().filter_map(|it| it.as_mut()) {
            shed = listener.poll_shed(cx);
            if shed.is_ready() {
                break;
            }
        }
        drop(listeners);
        for (port, shard) in &self.all {
            if shed.is_pending() {
                port.want(shard);
            }
            // It is woken no more for what comes here.
            port.ahead.wake_acceptor();
        }
        shed
    }

    fn set_reserve_fd(&mut self, reserve: bool) -> io::Result<()> {
        self.each(|listener| listener.set_reserve_fd(reserve))
            .map(drop)
    }

    fn backlog(&self) -> Option<u32> {
        let waiting = self.each(|listener| Ok(listener.backlog())).ok()?;
        let waiting: Option<u32> = waiting.into_iter().sum();
        let ahead = self.all.iter().map(|(port, _)| port.ahead.count());
        Some(waiting? + u32::try_from(ahead.sum::<usize>()).ok()?)
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a socket that listens in several arbiters cannot leave the process",
        ))
    }
}

impl Drop for Ports {
    /// Who was accepted ahead fares like those in the backlog.
    fn drop(&mut self) {
        for (port, _) in &self.all {
            *lock(&port.listener) = None;
            let ahead = port.ahead.take_all();
            ahead.into_iter().for_each(|(stream, _)| stream.reset());
            port.ahead.wake_acceptor();
        }
    }
}

impl Port {
    /// Has the task accept, wherever its arbiter is now.
    fn want(self: &Arc<Self>, shard: &Shard) {
        if self.ahead.want() {
            let acceptor = Acceptor(self.clone());
            // If the arbiter has ended, this ends it, and the taker tries again.
            shard.arbiter().spawn_fn(move || {
                if acceptor.0.is_here() {
                    actix_rt::spawn(acceptor);
                }
            });
        }
    }

    /// Its listener is of this thread from now on; `false`: it cannot be.
    fn is_here(&self) -> bool {
        let reregister = match &mut *lock(&self.listener) {
            Some(listener) => listener.reregister(),
            None => return false,
        };
        match reregister {
            Ok(()) => true,
            Err(error) => {
                self.ahead.failed(error);
                false
            }
        }
    }
}

/// The task of one listener.
struct Acceptor(Arc<Port>);

impl Future for Acceptor {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let port = &self.0;
        port.ahead.begin_accepting(cx);
        loop {
            if !port.ahead.may_accept(AHEAD) {
                return match *lock(&port.listener) {
                    Some(_) => Poll::Pending,
                    None => Poll::Ready(()),
                };
            }
            let mut listener = lock(&port.listener);
            let accepted = match &mut *listener {
                Some(listener) => ready!(listener.poll_accept(cx)),
                None => return Poll::Ready(()),
            };
            // Who has the listener finds it here.
            match accepted {
                Ok(accepted) => port.ahead.accepted(accepted),
                Err(error) => port.ahead.failed(error),
            }
            drop(listener);
            port.ahead.wake_taker();
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.0.ahead.ended();
    }
}

impl ServerSocket {
    pub(in crate::tcp_server) fn set_reuse_port(&mut self, reuse_port: bool) -> Result<(), Error> {
        if self.listener.is_some() {
            return Err(NetError::SOCKET_IS_CONNECTED.into());
        }
        self.reuse_port = reuse_port;
        Ok(())
    }

    /// Listens, in each arbiter if that was asked for.
    pub(in crate::tcp_server) fn bind(
        &self,
        address: SocketAddr,
        backlog: u32,
    ) -> io::Result<Bound> {
        let network = &*self.network;
        if !self.reuse_port {
            return Bound::new(network.listen(address, backlog)?);
        }
        if !self.app_shards.is_remote() {
            return Bound::new(network.listen_shared(address, backlog)?);
        }
        let ports = Ports::listen(network, address, backlog, &self.app_shards)?;
        let accepted_in = Some(ports.last.clone());
        let bound = Bound::new(Box::new(ports))?;
        Ok(Bound {
            accepted_in,
            ..bound
        })
    }
}
