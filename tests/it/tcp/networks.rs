//! Networks with one difference each from the real or the scripted one.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use chrome_sockets::Address;
use chrome_sockets::os::{Listener, Network, Stream, TokioNetwork};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc::UnboundedSender;

/// Every name has these addresses.
pub struct FixedNames(pub Vec<IpAddr>);

impl Network for FixedNames {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        TokioNetwork.listen(address, backlog)
    }

    fn resolve(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let addresses = self.0.clone();
        async move { Ok(addresses) }.boxed()
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        TokioNetwork.connect(address)
    }

    fn connect_from(
        &self,
        local: SocketAddr,
        address: SocketAddr,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        TokioNetwork.connect_from(local, address)
    }
}

/// A network that has only what every network must have.
pub struct Minimal<N>(pub N);

impl<N: Network> Network for Minimal<N> {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.0.listen(address, backlog)
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.0.resolve(host)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.0.connect(address)
    }
}

/// The progress of a connect.
#[derive(Debug, PartialEq, Eq)]
pub enum Attempt {
    Started,
    Aborted,
}

/// Port 1 never answers.
pub struct SilentNetwork(pub UnboundedSender<Attempt>);

impl Network for SilentNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        TokioNetwork.listen(address, backlog)
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        TokioNetwork.resolve(host)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        if address.port() != 1 {
            return TokioNetwork.connect(address);
        }
        let sender = AbortNotifier(self.0.clone());
        async move {
            sender.0.send(Attempt::Started).expect("the test runs");
            std::future::pending::<()>().await;
            drop(sender);
            unreachable!("it never answers")
        }
        .boxed()
    }
}

/// Reports that its connect was dropped.
struct AbortNotifier(UnboundedSender<Attempt>);

impl Drop for AbortNotifier {
    fn drop(&mut self) {
        // The receiver is gone when the test has ended.
        let _ = self.0.send(Attempt::Aborted);
    }
}

/// An option that was set on a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum OptionSet {
    NoDelay(bool),
    KeepAlive(Option<Duration>),
}

/// Records options that are set on connections of `connect`.
pub struct OptionRecordingNetwork(pub UnboundedSender<OptionSet>);

impl Network for OptionRecordingNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        TokioNetwork.listen(address, backlog)
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        TokioNetwork.resolve(host)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let sender = self.0.clone();
        async move {
            let real = TokioNetwork.connect(address).await?;
            Ok(Box::new(OptionRecordingStream { real, sender }) as Box<dyn Stream>)
        }
        .boxed()
    }
}

struct OptionRecordingStream {
    real: Box<dyn Stream>,
    sender: UnboundedSender<OptionSet>,
}

impl Stream for OptionRecordingStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.real.poll_read(cx, buffer)
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.real.poll_peek(cx)
    }

    fn poll_error_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.real.poll_error_ready(cx)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.real.poll_write(cx, data)
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.real.local_addr()
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.sender
            .send(OptionSet::NoDelay(nodelay))
            .expect("the test runs");
        self.real.set_nodelay(nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        self.sender
            .send(OptionSet::KeepAlive(after))
            .expect("the test runs");
        self.real.set_keepalive(after)
    }
}
