//! The real network, recording which threads use its connections.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread::ThreadId;
use std::time::Duration;

use chrome_sockets::Address;
use chrome_sockets::os::{Listener, Network, Stream, TokioNetwork};
use futures::FutureExt;
use futures::future::BoxFuture;

#[derive(Clone, Default)]
pub struct RecordingNetwork(Arc<Recordings>);

#[derive(Default)]
struct Recordings {
    /// Threads that accepted, read or wrote each connection, by its peer.
    threads: Mutex<HashMap<SocketAddr, HashSet<ThreadId>>>,
    reads: AtomicUsize,
    /// Number of polls for whether a connection is gone.
    waits: AtomicUsize,
    /// Listeners refuse to move to another thread.
    refuses_reregistering: AtomicBool,
    /// Another thread than this one panics, once, at a connection's local address.
    panics_outside: Mutex<Option<ThreadId>>,
}

impl RecordingNetwork {
    /// Number of connections accepted in the thread that they stay in.
    pub fn accepted(&self) -> usize {
        self.threads().len()
    }

    /// Number of reads of all connections.
    pub fn reads(&self) -> usize {
        self.0.reads.load(SeqCst)
    }

    /// Number of polls for whether a connection is gone.
    pub fn waits(&self) -> usize {
        self.0.waits.load(SeqCst)
    }

    /// Sets whether listeners refuse to move to another thread.
    pub fn refuse_reregistering(&self, hold: bool) {
        self.0.refuses_reregistering.store(hold, SeqCst);
    }

    /// Has another thread than this one panic, once, when it accepts a connection.
    pub fn panic_elsewhere(&self) {
        *self.panics_outside() = Some(std::thread::current().id());
    }

    fn panics_outside(&self) -> MutexGuard<'_, Option<ThreadId>> {
        let outside = self.0.panics_outside.lock();
        outside.unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> MutexGuard<'_, HashMap<SocketAddr, HashSet<ThreadId>>> {
        let threads = self.0.threads.lock();
        threads.unwrap_or_else(PoisonError::into_inner)
    }

    /// The only thread that has used the connection of this peer.
    pub fn thread_of(&self, peer: SocketAddr) -> ThreadId {
        let seen = self.threads();
        let threads = seen.get(&peer).expect("it was read");
        assert_eq!(threads.len(), 1, "{peer} was used by {threads:?}");
        *threads.iter().next().expect("one entry")
    }

    /// Number of connections of each thread, in ascending order.
    pub fn counts(&self, peers: &[SocketAddr]) -> Vec<usize> {
        let threads = peers.iter().map(|peer| self.thread_of(*peer));
        let threads: Vec<_> = threads.collect();
        let different: HashSet<_> = threads.iter().copied().collect();
        let count = |one: ThreadId| threads.iter().filter(|it| **it == one).count();
        let counts: BTreeSet<_> = different
            .into_iter()
            .map(|it| (count(it), format!("{it:?}")))
            .collect();
        counts.into_iter().map(|(count, _)| count).collect()
    }

    fn touched(&self, peer: SocketAddr, thread: ThreadId) {
        let mut seen = self.threads();
        seen.entry(peer).or_default().insert(thread);
    }

    fn stream(&self, inner: Box<dyn Stream>, peer: SocketAddr) -> Box<dyn Stream> {
        let network_log = self.clone();
        Box::new(RecordingStream {
            inner,
            peer,
            network_log,
        })
    }
}

impl Network for RecordingNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        let inner = TokioNetwork.listen(address, backlog)?;
        let network_log = self.clone();
        Ok(Box::new(RecordingListener {
            inner,
            is_shared: false,
            network_log,
        }))
    }

    fn listen_shared(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        let inner = TokioNetwork.listen_shared(address, backlog)?;
        let network_log = self.clone();
        Ok(Box::new(RecordingListener {
            inner,
            is_shared: true,
            network_log,
        }))
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        TokioNetwork.resolve(host)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let network_log = self.clone();
        let connected = TokioNetwork.connect(address);
        async move { Ok(network_log.stream(connected.await?, address)) }.boxed()
    }
}

struct RecordingListener {
    inner: Box<dyn Listener>,
    /// Then the thread that accepts a connection keeps it.
    is_shared: bool,
    network_log: RecordingNetwork,
}

type Accepted = (Box<dyn Stream>, Address);

fn ip(address: &Address) -> SocketAddr {
    address.socket_addr().expect("an IP address")
}

impl Listener for RecordingListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, peer) = ready!(self.inner.poll_accept(cx))?;
        if self.is_shared {
            let here = std::thread::current().id();
            self.network_log.touched(ip(&peer), here);
        }
        Poll::Ready(Ok((self.network_log.stream(stream, ip(&peer)), peer)))
    }

    fn poll_accept_here(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, peer) = ready!(self.inner.poll_accept_here(cx))?;
        Poll::Ready(Ok((self.network_log.stream(stream, ip(&peer)), peer)))
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.inner.local_addr()
    }

    /// The kernel does not report the backlog of a shared port; here it is empty.
    fn backlog(&self) -> Option<u32> {
        self.inner.backlog().or(Some(0))
    }

    fn reregister(&mut self) -> io::Result<()> {
        if self.network_log.0.refuses_reregistering.load(SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        self.inner.reregister()
    }
}

struct RecordingStream {
    inner: Box<dyn Stream>,
    peer: SocketAddr,
    network_log: RecordingNetwork,
}

impl RecordingStream {
    fn touched(&self) {
        self.network_log
            .touched(self.peer, std::thread::current().id());
    }
}

impl Stream for RecordingStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.network_log.0.reads.fetch_add(1, SeqCst);
        self.touched();
        self.inner.poll_read(cx, buffer)
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.touched();
        self.inner.poll_peek(cx)
    }

    fn poll_error_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.network_log.0.waits.fetch_add(1, SeqCst);
        self.inner.poll_error_ready(cx)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.touched();
        self.inner.poll_write(cx, data)
    }

    fn local_addr(&self) -> io::Result<Address> {
        let here = std::thread::current().id();
        let mut outside = self.network_log.panics_outside();
        if outside.take_if(|it| *it != here).is_some() {
            drop(outside);
            panic!("injected panic at an accept");
        }
        self.inner.local_addr()
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        self.inner.set_keepalive(after)
    }

    fn reregister(&mut self) -> io::Result<()> {
        self.inner.reregister()
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.inner.duplicate()
    }
}
