//! `onAccept` and `onAcceptError`, and properties of accepted sockets.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use chrome_sockets::Address;
use chrome_sockets::os::{Listener, Network, Stream, TokioNetwork};
use chrome_sockets::tcp_server::SocketProperties;
use futures::future::BoxFuture;
use support::{ListenerEvent, TestApp, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{dial, expect_accept};

/// Out of descriptors, on every Unix.
const EMFILE: i32 = 24;

#[actix_rt::test]
async fn on_accept_is_raised_once_for_each_connection() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let mut clients = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.push(dial(at).await);
    }
    for _ in 0..10 {
        match test.next().await {
            ListenerEvent::Accept(server, client) => {
                assert_eq!(server, id);
                assert_eq!(client.app(), test.app.id());
                clients.push(client.id());
            }
            other => panic!("expected onAccept, not {other:?}"),
        }
    }
    test.expect_no_event().await;
    clients.sort();
    clients.dedup();
    assert_eq!(clients.len(), 10);
    let sockets = test.app.tcp.get_sockets().await.expect("getSockets");
    let ids: Vec<_> = sockets.iter().map(|info| info.socket_id).collect();
    assert_eq!(ids, clients);
}

#[actix_rt::test]
async fn an_accepted_client_starts_paused_and_receives_when_resumed() {
    let mut test = TestApp::new().await;
    let (_, address) = test.listen().await;
    let mut peer = dial(address).await;
    peer.write_all(b"early").await.expect("write");
    let client = test.accepted().await;
    test.expect_no_event().await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.received(client.id(), 5).await, b"early");
    client.send(&b"back"[..]).await.expect("send");
    let mut back = [0; 4];
    within("the echo", peer.read_exact(&mut back))
        .await
        .expect("read");
    assert_eq!(&back, b"back");
}

#[actix_rt::test]
async fn an_accepted_client_is_connected_paused_nameless_and_not_persistent() {
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    // It inherits nothing from its server socket.
    let named = SocketProperties {
        persistent: Some(true),
        name: Some("web".into()),
    };
    let updated = test.app.tcp_server.update(id, named);
    updated.await.expect("update");
    let peer = dial(at).await;
    let client = expect_accept(&mut test, &peer).await;
    let info = test.app.tcp.get_info(client).await.expect("it exists");
    assert!(info.connected);
    assert!(info.paused);
    assert!(!info.persistent);
    assert_eq!(info.name, None);
    assert_eq!(info.buffer_size, None);
}

#[actix_rt::test]
async fn an_accepted_client_reports_its_peer_and_no_local_address() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let peer = dial(at).await;
    let client = expect_accept(&mut test, &peer).await;
    let info = test.app.tcp.get_info(client).await.expect("it exists");
    assert_eq!(info.peer_addr(), peer.local_addr().ok());
    assert_eq!(info.local_address, None);
    assert_eq!(info.local_port, None);
}

#[actix_rt::test]
async fn a_paused_accepted_client_can_send() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let mut peer = dial(at).await;
    let client = test.accepted().await;
    let sent = client.send(&b"welcome"[..]).await.expect("send");
    assert_eq!(sent.bytes_sent, 7);
    let mut received = [0; 7];
    within("the welcome", peer.read_exact(&mut received))
        .await
        .expect("read");
    assert_eq!(&received, b"welcome");
}

#[actix_rt::test]
async fn a_network_failure_raises_on_accept_error_and_pauses_until_resumed() {
    let faulty = FailingNetwork::default();
    faulty
        .0
        .lock()
        .expect("no panic while locked")
        .push_back(EMFILE);
    let mut test = TestApp::with_network(faulty.clone()).await;
    let (id, at) = test.listen().await;
    match test.next().await {
        ListenerEvent::AcceptError(server, error) => {
            assert_eq!(server, id);
            assert_eq!(error.code(), -12);
        }
        other => panic!("expected onAcceptError, not {other:?}"),
    }
    let server = test.app.tcp_server.clone();
    let info = server.get_info(id).await.expect("it exists");
    assert!(info.paused);
    assert_eq!(info.local_addr(), Some(at), "it continues to listen");

    let waiting = dial(at).await;
    test.expect_no_event().await;
    server.set_paused(id, false).await.expect("resume");
    expect_accept(&mut test, &waiting).await;
    let new = dial(at).await;
    expect_accept(&mut test, &new).await;
}

/// The real network, whose `accept` fails with each of these errors once.
#[derive(Clone, Default)]
struct FailingNetwork(Arc<Mutex<VecDeque<i32>>>);

impl Network for FailingNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(FailingListener {
            errors: self.0.clone(),
            real: TokioNetwork.listen(address, backlog)?,
        }))
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        TokioNetwork.resolve(host)
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        TokioNetwork.connect(address)
    }
}

struct FailingListener {
    errors: Arc<Mutex<VecDeque<i32>>>,
    real: Box<dyn Listener>,
}

impl Listener for FailingListener {
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, Address)>> {
        match self
            .errors
            .lock()
            .expect("no panic while locked")
            .pop_front()
        {
            Some(errno) => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            None => self.real.poll_accept(cx),
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.real.local_addr()
    }
}
