//! The PROXY protocol, received and sent.

mod examples;
mod foreign;
mod handover;
mod lifecycle;
mod limits;
mod networks;
mod outgoing;
mod specification;
mod tls;

use std::net::SocketAddr;

use actix::Actor;
use chrome_sockets::os::Network;
use chrome_sockets::proxy_protocol::{ProxyError, ProxyProtocol};
use chrome_sockets::tcp_server::{AcceptInfo, ProxyErrorInfo, SocketInfo};
use chrome_sockets::{Registry, ServerSocketId};
use support::{EventSender, TestApp, within};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::tcp_server::dial;

/// An app with a server socket that expects headers.
struct Fixture {
    test: TestApp,
    id: ServerSocketId,
    at: SocketAddr,
    accepts: UnboundedReceiver<AcceptInfo>,
    errors: UnboundedReceiver<ProxyErrorInfo>,
}

impl Fixture {
    /// It expects headers from this machine.
    async fn new() -> Self {
        Self::on(Registry::new(), trusting(&["127.0.0.0/8"])).await
    }

    async fn with_network(network: impl Network) -> Self {
        let registry = Registry::with_network(network);
        Self::on(registry, trusting(&["127.0.0.0/8"])).await
    }

    async fn on(registry: Registry, settings: ProxyProtocol) -> Self {
        let test = TestApp::on(registry).await;
        let (id, at) = test.listen().await;
        let server = &test.app.tcp_server;
        let set = server.set_proxy_protocol(id, settings);
        set.await.expect("the settings are valid");
        let (accepts, errors) = listen_to(&test).await;
        Fixture {
            test,
            id,
            at,
            accepts,
            errors,
        }
    }

    /// The next `onAccept`, and not another event.
    async fn accepted(&mut self) -> AcceptInfo {
        tokio::select! {
            info = within("onAccept", self.accepts.recv()) => info.expect("the listener runs"),
            error = self.errors.recv() => panic!("expected onAccept, not {error:?}"),
        }
    }

    /// The next `onProxyError`, and not another event.
    async fn error(&mut self) -> ProxyErrorInfo {
        tokio::select! {
            info = within("onProxyError", self.errors.recv()) => info.expect("the listener runs"),
            info = self.accepts.recv() => panic!("expected onProxyError, not {info:?}"),
        }
    }

    async fn info(&self) -> SocketInfo {
        let info = self.test.app.tcp_server.get_info(self.id).await;
        info.expect("it exists")
    }

    /// Fails unless a connection with a header becomes a client.
    async fn assert_serves(&mut self) {
        let mut proxy = dial(self.at).await;
        write(&mut proxy, b"PROXY TCP4 192.0.2.7 192.0.2.8 7 8\r\nalive").await;
        let info = self.accepted().await;
        assert_eq!(info.peer().to_string(), "192.0.2.7:7");
        self.assert_receives(&info, b"alive").await;
    }

    /// Fails unless this is the data of the client.
    async fn assert_receives(&mut self, info: &AcceptInfo, data: &[u8]) {
        let client = self.test.accepted().await;
        assert_eq!(client.id(), info.client_socket_id);
        client.set_paused(false).await.expect("it is open");
        assert_eq!(self.test.received(client.id(), data.len()).await, data);
        // Its end is not reported.
        client.set_paused(true).await.expect("it is open");
    }
}

/// The events of an app's server sockets.
async fn listen_to(
    test: &TestApp,
) -> (
    UnboundedReceiver<AcceptInfo>,
    UnboundedReceiver<ProxyErrorInfo>,
) {
    let server = &test.app.tcp_server;
    let (sender, accepts) = unbounded_channel();
    let listener = EventSender(sender).start().recipient();
    let added = server.on_accept.add_listener(listener);
    added.await.expect("the registry runs");
    let (sender, errors) = unbounded_channel();
    let listener = EventSender(sender).start().recipient();
    let added = server.on_proxy_error.add_listener(listener);
    added.await.expect("the registry runs");
    (accepts, errors)
}

fn trusting(networks: &[&str]) -> ProxyProtocol {
    let networks = networks.iter().map(|it| it.parse().expect("a network"));
    ProxyProtocol {
        networks: networks.collect(),
        ..ProxyProtocol::default()
    }
}

async fn write(peer: &mut TcpStream, data: &[u8]) {
    within("the end of the write", peer.write_all(data))
        .await
        .expect("write");
}

/// Waits until the peer reads an end, be it a reset.
async fn expect_end(peer: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(peer, &mut rest);
    let _ = within("the end", read).await;
    assert!(rest.is_empty(), "the peer got {rest:?}");
}

fn failed(code: chrome_sockets::NetError) -> ProxyError {
    ProxyError::Failed(code)
}
