//! An actor panics with an operation in progress that cannot be kept: it is reported.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use chrome_sockets::Address;
use chrome_sockets::os::{Listener as OsListener, Network, Stream};
use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
use chrome_sockets::testing::ScriptedNetwork;
use futures::future::BoxFuture;

use super::*;

/// A network whose streams violate the rules of streams.
struct MisbehavingNetwork {
    network: ScriptedNetwork,
    how: Misbehaviour,
}

#[derive(Clone, Copy)]
enum Misbehaviour {
    /// A read returns more than fits its buffer.
    ReadsTooMuch,
    /// A reset panics.
    Reset,
    /// Options panic.
    Options,
    /// It panics when it is closed.
    Close,
}

impl Network for MisbehavingNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn OsListener>> {
        let inner = self.network.listen(address, backlog)?;
        Ok(Box::new(MisbehavingListener(inner, self.how)))
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<std::net::IpAddr>>> {
        self.network.resolve(host)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.network.connect(address)
    }
}

struct MisbehavingListener(Box<dyn OsListener>, Misbehaviour);

impl OsListener for MisbehavingListener {
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, Address)>> {
        let how = self.1;
        self.0.poll_accept(cx).map_ok(|(inner, peer)| {
            let stream: Box<dyn Stream> = Box::new(MisbehavingStream(inner, how));
            (stream, peer)
        })
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.0.local_addr()
    }
}

struct MisbehavingStream(Box<dyn Stream>, Misbehaviour);

impl Stream for MisbehavingStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.0.poll_read(cx, buffer);
        match self.1 {
            Misbehaviour::ReadsTooMuch => read.map_ok(|_| usize::MAX),
            _ => read,
        }
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.0.poll_peek(cx)
    }

    fn poll_error_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_error_ready(cx)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, data)
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.0.local_addr()
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        if let Misbehaviour::Options = self.1 {
            panic!("this stream has no options");
        }
        self.0.set_nodelay(nodelay)
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        self.0.set_keepalive(after)
    }

    fn reset(self: Box<Self>) {
        if let Misbehaviour::Reset = self.1 {
            panic!("this stream cannot be reset");
        }
    }
}

impl Drop for MisbehavingStream {
    fn drop(&mut self) {
        if let Misbehaviour::Close = self.1 {
            panic!("this stream cannot be closed");
        }
    }
}

/// An app on a network with this misbehaviour, and the scripted network below it.
async fn misbehaving_network(how: Misbehaviour) -> (ScriptedNetwork, TestApp) {
    let network = ScriptedNetwork::new();
    let misbehaving = MisbehavingNetwork {
        network: network.clone(),
        how,
    };
    (network, TestApp::with_network(misbehaving).await)
}

#[actix_rt::test]
async fn a_call_that_panics_answers_panicked_and_the_next_one_is_carried_out() {
    let (network, mut test) = misbehaving_network(Misbehaviour::Options).await;
    let (_, at) = test.listen().await;
    let peer = network.client(at).expect("it listens");
    let client = test.accepted().await;
    let [first, second] = [0, 1].map(|_| client.set_no_delay(true));
    let third = client.set_paused(false);
    assert_eq!(first.await, Err(Error::Panicked));
    assert_eq!(second.await, Err(Error::Panicked));
    third.await.expect("it is carried out");
    peer.send("hello");
    assert_eq!(test.received(client.id(), 5).await, b"hello");
}

#[actix_rt::test]
async fn a_socket_whose_close_panics_is_closed() {
    let (network, mut test) = misbehaving_network(Misbehaviour::Close).await;
    let (_, at) = test.listen().await;
    network.client(at).expect("it listens");
    let client = test.accepted().await;
    assert_eq!(client.close().await, Err(Error::Panicked));
    let sockets = test.app.tcp.get_sockets().await.expect("it runs");
    assert_eq!(sockets, vec![]);
    network.client(at).expect("it listens");
    test.accepted().await;
    test.registry
        .send(chrome_sockets::Shutdown)
        .await
        .expect("it runs")
        .expect("it ends");
}

#[actix_rt::test]
async fn bytes_that_were_read_but_not_delivered_end_their_connection() {
    let (network, mut test) = misbehaving_network(Misbehaviour::ReadsTooMuch).await;
    let (_, at) = test.listen().await;
    let peer = network.client(at).expect("it listens");
    let client = test.accepted().await;
    client.set_paused(false).await.expect("resume");
    peer.send("lost");
    assert_eq!(test.ended(client.id()).await, NetError::FAILED);
    assert!(peer.is_closed());
}

#[actix_rt::test]
async fn an_accepted_connection_that_is_lost_is_reported() {
    let (network, mut test) = misbehaving_network(Misbehaviour::Reset).await;
    let (server, at) = test.listen().await;
    network.client(at).expect("it listens");
    test.accepted().await;
    let no_other = Limits {
        connections: Some(Limit {
            most: 1,
            then: AtLimit::Reset,
        }),
        ..Limits::default()
    };
    let tcp_server = test.app.tcp_server.clone();
    tcp_server
        .set_limits(server, no_other)
        .await
        .expect("it is set");
    network.client(at).expect("it listens");
    match test.next().await {
        ListenerEvent::AcceptError(from, code) => {
            assert_eq!((from, code), (server, NetError::FAILED))
        }
        other => panic!("expected onAcceptError, not {other:?}"),
    }
    let info = tcp_server.get_info(server).await.expect("it exists");
    assert_eq!((info.counts.accepted, info.counts.failed), (2, 1));
    assert!(!info.paused, "it was that connection's alone");
    tcp_server
        .set_limits(server, Limits::default())
        .await
        .expect("it is set");
    network.client(at).expect("it listens");
    test.accepted().await;
}
