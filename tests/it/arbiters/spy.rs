//! The real network, and who touches its connections.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread::ThreadId;
use std::time::Duration;

use chrome_sockets::os::{Listener, Network, Stream, TokioNetwork};
use futures::FutureExt;
use futures::future::BoxFuture;

/// Which threads have read or written each connection, by its peer.
#[derive(Clone, Default)]
pub struct Spy(Arc<Mutex<HashMap<SocketAddr, HashSet<ThreadId>>>>);

impl Spy {
    /// The one thread that has touched the connection of this peer.
    pub fn thread_of(&self, peer: SocketAddr) -> ThreadId {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let threads = seen.get(&peer).expect("it was read");
        assert_eq!(threads.len(), 1, "{peer} was touched by {threads:?}");
        *threads.iter().next().expect("one")
    }

    /// How many connections each thread has, the fewest first.
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

    fn touched(&self, peer: SocketAddr) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let threads = seen.entry(peer).or_default();
        threads.insert(std::thread::current().id());
    }

    fn stream(&self, inner: Box<dyn Stream>, peer: SocketAddr) -> Box<dyn Stream> {
        let spy = self.clone();
        Box::new(Watched { inner, peer, spy })
    }
}

impl Network for Spy {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        let inner = TokioNetwork.listen(address, backlog)?;
        let spy = self.clone();
        Ok(Box::new(Door { inner, spy }))
    }

    fn listen_shared(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        let inner = TokioNetwork.listen_shared(address, backlog)?;
        let spy = self.clone();
        Ok(Box::new(Door { inner, spy }))
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        TokioNetwork.resolve(host)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let spy = self.clone();
        let connected = TokioNetwork.connect(address);
        async move { Ok(spy.stream(connected.await?, address)) }.boxed()
    }
}

struct Door {
    inner: Box<dyn Listener>,
    spy: Spy,
}

type Accepted = (Box<dyn Stream>, SocketAddr);

impl Listener for Door {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, peer) = ready!(self.inner.poll_accept(cx))?;
        self.spy.touched(peer);
        Poll::Ready(Ok((self.spy.stream(stream, peer), peer)))
    }

    fn poll_accept_loose(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, peer) = ready!(self.inner.poll_accept_loose(cx))?;
        Poll::Ready(Ok((self.spy.stream(stream, peer), peer)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn moved(&mut self) -> io::Result<()> {
        self.inner.moved()
    }
}

struct Watched {
    inner: Box<dyn Stream>,
    peer: SocketAddr,
    spy: Spy,
}

impl Watched {
    fn touched(&self) {
        self.spy.touched(self.peer);
    }
}

impl Stream for Watched {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.touched();
        self.inner.poll_read(cx, buffer)
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.touched();
        self.inner.poll_peek(cx)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.touched();
        self.inner.poll_write(cx, data)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        self.inner.set_keepalive(after)
    }

    fn moved(&mut self) -> io::Result<()> {
        self.inner.moved()
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.inner.duplicate()
    }
}
