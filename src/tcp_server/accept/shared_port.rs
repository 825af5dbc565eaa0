//! The listeners that one server socket has in several arbiters, as one listener.
//!
//! Each listener has a task in its arbiter, its acceptor. While the server socket
//! permits it, the acceptor raises `onAccept` itself (`direct_accepts.rs`). Else it
//! accepts a few connections ahead. These count as if they were still in the
//! backlog: limits, events and errors concern them only when the server socket
//! takes them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;

use crate::address::Address;
use crate::error::Error;
use crate::net_error::{self, AcceptErrorClass, NetError};
use crate::os::{Listener, Network, Stream};
use crate::tcp::{AdoptingShards, AppShards, Shard};
use crate::tcp_server::accept::accepted_ahead::AheadQueue;
use crate::tcp_server::accept::direct_accepts::{DirectAccepts, Permit, SharedWithAcceptors};
use crate::tcp_server::actor::{BoundListener, ServerSocket};

/// How many connections one arbiter accepts ahead. The server socket in its own
/// thread has to be woken for them: a wake-up for several costs as much as for one.
const MAX_AHEAD: usize = 16;

/// How many connections an acceptor raises before other tasks of its arbiter have their turn.
const MAX_RAISED_PER_TURN: usize = 16;

type Accepted = (Box<dyn Stream>, Address);

/// One listener per arbiter, all on the same port.
struct SharedPort {
    listeners: Vec<(Arc<ArbiterListener>, Arc<Shard>)>,
    /// The index of the listener that is asked first, so that all have their turn.
    next: usize,
    direct: Arc<DirectAccepts>,
}

/// The listener of one arbiter and the connections that it has accepted ahead.
struct ArbiterListener {
    /// The index of its arbiter.
    arbiter: usize,
    direct: Arc<DirectAccepts>,
    /// `None`: it is closed.
    listener: Mutex<Option<Box<dyn Listener>>>,
    ahead: AheadQueue<Accepted, io::Error>,
}

impl SharedPort {
    fn listen(
        network: &dyn Network,
        mut address: SocketAddr,
        backlog: u32,
        ipv6_only: bool,
        app_shards: &AppShards,
        direct: Arc<DirectAccepts>,
    ) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for (arbiter, app_shard) in app_shards.shards().enumerate() {
            let listener = listen_shared(network, address, backlog, ipv6_only)?;
            // If the OS chooses the port, it does so for the first listener only.
            if let Address::Ip(bound) = listener.local_addr()? {
                address = bound;
            }
            let listener = ArbiterListener {
                arbiter,
                direct: direct.clone(),
                listener: Mutex::new(Some(listener)),
                ahead: AheadQueue::new(),
            };
            listeners.push((Arc::new(listener), app_shard.shard.clone()));
        }
        Ok(SharedPort {
            listeners,
            next: 0,
            direct,
        })
    }

    fn map_all<T>(&self, call: impl Fn(&mut dyn Listener) -> io::Result<T>) -> io::Result<Vec<T>> {
        let call = |(it, _): &(Arc<ArbiterListener>, _)| match &mut *it.listener.lock() {
            Some(listener) => call(&mut **listener),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        self.listeners.iter().map(call).collect()
    }

    /// The next connection that was accepted ahead, or error.
    fn pop(&mut self) -> Option<io::Result<Accepted>> {
        for offset in 0..self.listeners.len() {
            let index = (self.next + offset) % self.listeners.len();
            if let Some(popped) = self.listeners[index].0.ahead.pop() {
                self.direct.set_last_arbiter(index);
                self.next = index + 1;
                if let Err(error) = &popped {
                    self.stop_all_after(error);
                }
                return Some(popped);
            }
        }
        None
    }

    /// An error that is not of a single connection stops all listeners until the
    /// next request, and drops their errors: they have the same cause, which is
    /// reported once.
    fn stop_all_after(&self, error: &io::Error) {
        use AcceptErrorClass::{Listener, Resources};
        if let Some((Listener | Resources, _)) = net_error::accept(error) {
            for (it, _) in &self.listeners {
                it.ahead.cancel_request();
            }
        }
    }
}

/// A listener that shares its port with others.
fn listen_shared(
    network: &dyn Network,
    address: SocketAddr,
    backlog: u32,
    ipv6_only: bool,
) -> io::Result<Box<dyn Listener>> {
    match ipv6_only {
        true => network.listen_ipv6_only(address, backlog, true),
        false => network.listen_shared(address, backlog),
    }
}

impl Listener for SharedPort {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        for (it, _) in &self.listeners {
            it.ahead.register_consumer(cx);
        }
        if let Some(popped) = self.pop() {
            return Poll::Ready(popped);
        }
        for (it, shard) in &self.listeners {
            it.request(shard);
        }
        Poll::Pending
    }

    /// For a drain, which closes this listener next: accepts from the backlog in
    /// this thread, without the tasks.
    fn poll_accept_here(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        for (it, _) in &self.listeners {
            if let Some(listener) = &mut *it.listener.lock() {
                if let Some(accepted) = it.ahead.pop_accepted() {
                    return Poll::Ready(Ok(accepted));
                }
                if let Poll::Ready(accepted) = listener.poll_accept_here(cx) {
                    return Poll::Ready(accepted);
                }
            }
        }
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<Address> {
        let addresses = self.map_all(|listener| listener.local_addr())?;
        let first = addresses.into_iter().next();
        first.ok_or(io::ErrorKind::NotConnected.into())
    }

    fn poll_shed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Address>> {
        // What was accepted ahead has a descriptor already.
        if let Some(Ok((_, peer))) = self.pop() {
            return Poll::Ready(Ok(peer));
        }
        // All are locked, so that no task accepts with the descriptor that
        // `poll_shed` has just freed from the reserve.
        let listeners = self.listeners.iter().map(|(it, _)| it.listener.lock());
        let mut listeners: Vec<_> = listeners.collect();
        let mut shed = Poll::Pending;
        for listener in listeners.iter_mut().filter_map(|it| it.as_mut()) {
            shed = listener.poll_shed(cx);
            if shed.is_ready() {
                break;
            }
        }
        drop(listeners);
        for (it, shard) in &self.listeners {
            if shed.is_pending() {
                it.request(shard);
            }
            // `poll_shed` has replaced the waker of the task at this listener: the
            // task has to register again.
            it.ahead.wake_acceptor();
        }
        shed
    }

    fn set_reserve_fd(&mut self, reserve: bool) -> io::Result<()> {
        self.map_all(|listener| listener.set_reserve_fd(reserve))
            .map(drop)
    }

    fn backlog(&self) -> Option<u32> {
        let backlogs = self.map_all(|listener| Ok(listener.backlog())).ok()?;
        let backlog: Option<u32> = backlogs.into_iter().sum();
        let ahead = self.listeners.iter().map(|(it, _)| it.ahead.count());
        Some(backlog? + u32::try_from(ahead.sum::<usize>()).ok()?)
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a socket that listens in several arbiters cannot leave the process",
        ))
    }
}

impl Drop for SharedPort {
    fn drop(&mut self) {
        for (it, _) in &self.listeners {
            *it.listener.lock() = None;
            // Reset, as the OS does with the backlog of a closed listener.
            let ahead = it.ahead.take_all();
            ahead.into_iter().for_each(|(stream, _)| stream.reset());
            it.ahead.wake_acceptor();
        }
    }
}

impl ArbiterListener {
    /// Requests more connections from the task, and starts it if necessary. Its
    /// arbiter may have been replaced since the last request.
    fn request(self: &Arc<Self>, shard: &Shard) {
        if self.ahead.request() {
            let acceptor = Acceptor(self.clone());
            // If the arbiter has ended, the acceptor is dropped with this closure.
            // That wakes the consumer, which requests again.
            shard.arbiter().spawn_fn(move || {
                if acceptor.0.reregister() {
                    actix_rt::spawn(acceptor);
                }
            });
        }
    }

    /// Registers the listener with the event loop of this thread. `false`: it is
    /// closed, or that has failed.
    fn reregister(&self) -> bool {
        let registered = match &mut *self.listener.lock() {
            Some(listener) => listener.reregister(),
            None => return false,
        };
        registered
            .map_err(|error| self.ahead.push_error(error))
            .is_ok()
    }
}

/// The task that accepts ahead from one listener.
struct Acceptor(Arc<ArbiterListener>);

impl Future for Acceptor {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ArbiterListener {
            arbiter,
            direct,
            listener,
            ahead,
        } = &*self.0;
        ahead.register_acceptor(cx);
        // Dropped at the end of the turn, which wakes the sockets of this arbiter.
        let mut adopting = AdoptingShards::default();
        for _ in 0..MAX_RAISED_PER_TURN {
            let Some(waiting) = ahead.may_accept(MAX_AHEAD) else {
                return match *listener.lock() {
                    Some(_) => Poll::Pending,
                    None => Poll::Ready(()),
                };
            };
            let mut listener = listener.lock();
            let accepted = match &mut *listener {
                Some(listener) => ready!(listener.poll_accept(cx)),
                None => return Poll::Ready(()),
            };
            // Raised or pushed under the lock: when another thread gets the listener, all
            // that it has accepted is with the server socket.
            match accepted {
                Ok(accepted) => {
                    // Those that wait come first.
                    let raised = match waiting {
                        0 => direct.raise(*arbiter, accepted, &mut adopting),
                        _ => Err(accepted),
                    };
                    match raised {
                        Ok(()) => continue,
                        Err(accepted) => ahead.push(accepted),
                    }
                }
                Err(error) => {
                    direct.stop();
                    ahead.push_error(error);
                }
            }
            drop(listener);
            ahead.wake_consumer();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.0.ahead.acceptor_ended();
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

    /// Listens: in each arbiter if `set_reuse_port` says so.
    pub(in crate::tcp_server) fn bind(
        &self,
        address: SocketAddr,
        backlog: u32,
        ipv6_only: bool,
    ) -> io::Result<BoundListener> {
        let network = &*self.network;
        if !self.reuse_port {
            return BoundListener::new(match ipv6_only {
                true => network.listen_ipv6_only(address, backlog, false)?,
                false => network.listen(address, backlog)?,
            });
        }
        // With one arbiter, one listener is enough. Other processes may share the
        // port too.
        if !self.app_shards.is_remote() {
            let listener = listen_shared(network, address, backlog, ipv6_only)?;
            return BoundListener::new(listener);
        }
        let app_shards = &self.app_shards;
        let direct = Arc::new(DirectAccepts::new(self.shared_with_acceptors()));
        let shared = direct.clone();
        let port = SharedPort::listen(network, address, backlog, ipv6_only, app_shards, shared)?;
        let mut bound = BoundListener::new(Box::new(port))?;
        bound.direct = Some(direct);
        Ok(bound)
    }

    fn shared_with_acceptors(&self) -> SharedWithAcceptors {
        SharedWithAcceptors {
            socket_id: self.id,
            app_listeners: self.app_listeners.clone(),
            app_shards: self.app_shards.clone(),
            table: self.table.clone(),
            accepts_in_flight: self.accepts_in_flight.clone(),
            limiters: self.admission.limiters().clone(),
            stats: self.stats.clone(),
        }
    }

    /// Permits acceptors to raise `onAccept`, if there is nothing to decide. Called when an event
    /// might be raised and no connection waits.
    pub(super) fn permit_direct_accepts(&self) {
        if let Some(bound) = &self.listener
            && let Some(direct) = &bound.direct
            && self.undelivered.is_empty()
            && self.handshakes.is_none()
            && self.proxy.is_none()
            && self.transfer.is_none()
            && self.errors.attempt == 0
        {
            direct.permit(Permit {
                serving: self.serving.clone(),
                listener_deaths: self.listener_deaths,
                local: bound.local_of_clients(),
            });
        }
    }

    /// Begins a message or a turn of the actor: acceptors raise nothing until its end.
    pub(in crate::tcp_server) fn begin_turn(&mut self) {
        if let Some(direct) = self.listener.as_ref().and_then(|it| it.direct.as_ref()) {
            let since = direct.revoke();
            self.counts.accepted += since.accepted;
            if since.accepting_from.is_some() {
                self.accepting_from = since.accepting_from;
            }
        }
    }
}
