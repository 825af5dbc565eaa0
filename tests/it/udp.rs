//! `chrome.sockets.udp`: a test for each promise of the documentation.
#![expect(clippy::panic, reason = "tests fail by panics")]

mod binding;
mod faults;
mod foreign_peers;
mod groups;
mod handover;
mod lifecycle;
mod model;
mod ownership;
mod pausing;
mod permissions;
mod receiving;
mod redelivery;
mod sending;

use std::net::SocketAddr;

use chrome_sockets::udp::SocketProperties;
use chrome_sockets::{NetError, UdpSocketId};
use support::{ListenerEvent, TestApp, within};
use tokio::net::UdpSocket;

/// A socket that is not bound.
async fn create(test: &TestApp, properties: SocketProperties) -> UdpSocketId {
    let created = test.app.udp.create(properties).await;
    created.expect("create").socket_id
}

/// A socket that is bound to this address, with a port of the OS's choice.
async fn bind_to(test: &TestApp, address: &str) -> (UdpSocketId, SocketAddr) {
    let id = create(test, SocketProperties::default()).await;
    test.app.udp.bind(id, address, 0).await.expect("bind");
    (id, address_of(test, id).await)
}

async fn bound(test: &TestApp) -> (UdpSocketId, SocketAddr) {
    bind_to(test, "127.0.0.1").await
}

async fn address_of(test: &TestApp, id: UdpSocketId) -> SocketAddr {
    let info = test.app.udp.get_info(id).await.expect("it exists");
    info.local_addr().expect("it is bound")
}

/// An ordinary UDP program.
struct Peer(UdpSocket);

impl Peer {
    async fn new() -> Self {
        Self::at("127.0.0.1:0").await
    }

    async fn at(address: &str) -> Self {
        Peer(UdpSocket::bind(address).await.expect("a port"))
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }

    async fn send(&self, data: &[u8], to: SocketAddr) {
        self.0.send_to(data, to).await.expect("sent");
    }

    async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let received = within("a datagram", self.0.recv_from(&mut buffer)).await;
        let (length, from) = received.expect("received");
        buffer.truncate(length);
        (buffer, from)
    }

    fn has_nothing(&self) -> bool {
        self.0.try_recv(&mut [0; 1]).is_err()
    }
}

/// The next event, which must be this socket's `onReceive`.
async fn received(test: &mut TestApp, id: UdpSocketId) -> (Vec<u8>, SocketAddr) {
    match test.next().await {
        ListenerEvent::Datagram(from, peer, data) if from == id => (data.into(), peer),
        other => panic!("expected onReceive of {id}, not {other:?}"),
    }
}

/// The next event, which must be this socket's `onReceiveError`.
async fn failed(test: &mut TestApp, id: UdpSocketId) -> NetError {
    match test.next().await {
        ListenerEvent::UdpError(from, code) if from == id => code,
        other => panic!("expected onReceiveError of {id}, not {other:?}"),
    }
}

/// Checks that the socket receives and sends.
async fn expect_alive(test: &mut TestApp, id: UdpSocketId) {
    let mut at = address_of(test, id).await;
    if at.ip().is_unspecified() {
        at.set_ip([127, 0, 0, 1].into());
    }
    let peer = Peer::new().await;
    peer.send(b"are you alive", at).await;
    assert_eq!(
        received(test, id).await,
        (b"are you alive".to_vec(), peer.address())
    );
    let socket = test.app.udp.socket(id).await.expect("it exists");
    let sent = socket.send_to("yes", peer.address()).await;
    assert_eq!(sent.map(|sent| sent.bytes_sent), Ok(3));
    let (data, from) = peer.receive().await;
    assert_eq!((data, from.port()), (b"yes".to_vec(), at.port()));
}
