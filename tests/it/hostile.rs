//! Hostile input: each is answered by a typed error, never by a panic or by silence, and
//! existing sockets continue to work.
#![expect(clippy::panic, reason = "tests fail by panics")]

mod arguments;
mod closing;
mod ids;
mod non_reading_peers;
mod panicking_listeners;
mod stopped_registry;

use std::collections::HashSet;
use std::net::SocketAddr;

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{self, ClientSocket, DnsQueryType, ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{self, AcceptErrorInfo, AcceptInfo};
use chrome_sockets::testing::{Call, Peer, ScriptedNetwork};
use chrome_sockets::{
    AddListener, Answer, App, ClientSocketId, Error, HasListener, MAX_NAME, NetError, Registry,
    RemoveListener, ServerSocketId, Shutdown,
};
use futures::future::{LocalBoxFuture, join_all};
use support::{ListenerEvent, TestApp, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;

const MIB: usize = 1024 * 1024;

const ANY: DnsQueryType = DnsQueryType::Any;

const NOT_FOUND: Result<(), Error> = Err(Error::SocketNotFound);

/// What each function answered.
type Answers = Vec<(&'static str, Result<(), Error>)>;

/// A listening app with a connection, which every test checks at its end.
struct Fixture {
    test: TestApp,
    server: ServerSocketId,
    at: SocketAddr,
    client: ClientSocket,
    peer: TcpStream,
}

impl Fixture {
    async fn new() -> Self {
        Self::on(Registry::new()).await
    }

    async fn on(registry: Registry) -> Self {
        let mut test = TestApp::on(registry).await;
        let (server, at) = test.listen().await;
        let peer = dial(at).await;
        let client = test.accepted().await;
        Fixture {
            test,
            server,
            at,
            client,
            peer,
        }
    }

    /// Checks that the server socket is unchanged, and that the old connection and a new one
    /// work.
    async fn assert_alive(&mut self) {
        let info = self.test.app.tcp_server.get_info(self.server).await;
        let info = info.expect("it exists");
        assert_eq!(info.local_addr(), Some(self.at));
        assert!(!info.paused && info.name.is_none() && !info.persistent);
        assert_talks(&mut self.test, &self.client, &mut self.peer).await;
        let mut peer = dial(self.at).await;
        let client = self.test.accepted().await;
        assert_talks(&mut self.test, &client, &mut peer).await;
    }
}

async fn dial(at: SocketAddr) -> TcpStream {
    within("the connection", TcpStream::connect(at))
        .await
        .expect("connect")
}

/// Checks both directions of a connection.
async fn assert_talks(test: &mut TestApp, client: &ClientSocket, peer: &mut TcpStream) {
    client.set_paused(false).await.expect("resume");
    client.send(&b"to the peer"[..]).await.expect("send");
    let mut received = [0; 11];
    within("the sent data", peer.read_exact(&mut received))
        .await
        .expect("read");
    assert_eq!(&received, b"to the peer");
    peer.write_all(b"to the app").await.expect("write");
    assert_eq!(test.received(client.id(), 10).await, b"to the app");
    client.set_paused(true).await.expect("pause");
}

/// The number that Chrome's API returns for an error.
fn code<T: std::fmt::Debug>(answer: Result<T, Error>) -> i32 {
    match answer.as_ref().map_err(Error::net_error) {
        Err(Some(code)) => code.code(),
        _ => panic!("expected a code, not {answer:?}"),
    }
}

async fn answer_of<T: Unpin>(
    name: &'static str,
    answer: Answer<T>,
) -> (&'static str, Result<(), Error>) {
    (name, within(name, answer).await.map(drop))
}

/// Every function of `tcpServer` that takes an id, called through the app.
async fn server_functions(app: &App, id: ServerSocketId) -> Answers {
    let server = &app.tcp_server;
    let stolen = tcp_server::SocketProperties {
        persistent: Some(true),
        name: Some("stolen".into()),
    };
    vec![
        answer_of("update", server.update(id, stolen)).await,
        answer_of("setPaused(true)", server.set_paused(id, true)).await,
        answer_of("setPaused(false)", server.set_paused(id, false)).await,
        answer_of("listen", server.listen(id, "127.0.0.1", 0, None)).await,
        answer_of("listen, wrongly", server.listen(id, "", -1, Some(-1))).await,
        answer_of("getInfo", server.get_info(id)).await,
        answer_of("disconnect", server.disconnect(id)).await,
        answer_of("close", server.close(id)).await,
    ]
}

/// Every function of `tcp` that takes an id, called through the app.
async fn client_functions(app: &App, id: ClientSocketId) -> Answers {
    let tcp = &app.tcp;
    let stolen = tcp::SocketProperties {
        persistent: Some(true),
        name: Some("stolen".into()),
        buffer_size: Some(1),
        allow_half_open: Some(true),
        ..Default::default()
    };
    vec![
        answer_of("update", tcp.update(id, stolen)).await,
        answer_of("setPaused(true)", tcp.set_paused(id, true)).await,
        answer_of("setPaused(false)", tcp.set_paused(id, false)).await,
        answer_of("setKeepAlive", tcp.set_keep_alive(id, true, Some(-1))).await,
        answer_of("setNoDelay", tcp.set_no_delay(id, true)).await,
        answer_of("connect", tcp.connect(id, "127.0.0.1", 1, ANY)).await,
        answer_of("connect, wrongly", tcp.connect(id, "", -1, ANY)).await,
        answer_of("send", tcp.send(id, &b"stolen"[..])).await,
        answer_of("send of nothing", tcp.send(id, &b""[..])).await,
        answer_of("getInfo", tcp.get_info(id)).await,
        answer_of("socket", tcp.socket(id)).await,
        answer_of("disconnect", tcp.disconnect(id)).await,
        answer_of("close", tcp.close(id)).await,
    ]
}

/// Sends a message to the registry, and returns its answer; mailbox errors fail.
fn send_message<M, T>(
    registry: &Addr<Registry>,
    message: M,
) -> LocalBoxFuture<'static, MessageAnswer>
where
    Registry: Handler<M>,
    M: Message<Result = Result<T, Error>> + Send + 'static,
    T: Send + 'static,
{
    let request = registry.send(message);
    Box::pin(async move {
        let answer = within(std::any::type_name::<M>(), request).await;
        let answer = answer.map(|answer| answer.map(drop));
        (std::any::type_name::<M>(), answer)
    })
}

type MessageAnswer = (&'static str, Result<Result<(), Error>, MailboxError>);

/// Every message of both namespaces that names a socket. They are sent when this is called.
fn messages(
    registry: &Addr<Registry>,
    app: &App,
    server: ServerSocketId,
    client: ClientSocketId,
) -> Vec<LocalBoxFuture<'static, MessageAnswer>> {
    macro_rules! asked {
        ($socket_id:expr; $($namespace:ident :: $message:ident { $($field:ident: $value:expr),* };)*) => {
            vec![$(send_message(registry, $namespace::$message {
                app: app.id().clone(),
                socket_id: $socket_id,
                $($field: $value),*
            })),*]
        };
    }
    let mut all = asked! { server;
        tcp_server::Update { properties: Default::default() };
        tcp_server::SetPaused { paused: true };
        tcp_server::Listen { address: "127.0.0.1".into(), port: 0, backlog: None };
        tcp_server::ListenOn {
            endpoint: ("127.0.0.1", 0).into(), options: Default::default()
        };
        tcp_server::GetInfo {};
        tcp_server::Disconnect {};
        tcp_server::Close {};
    };
    all.extend(asked! { client;
        tcp::Update { properties: Default::default() };
        tcp::SetPaused { paused: true };
        tcp::SetKeepAlive { enable: true, delay: None };
        tcp::SetNoDelay { no_delay: true };
        tcp::Connect { peer_address: "127.0.0.1".into(), peer_port: 1, dns_query_type: ANY };
        tcp::ConnectTo { endpoint: ("127.0.0.1", 1).into(), options: Default::default() };
        tcp::Send { data: Bytes::from_static(b"stolen") };
        tcp::GetInfo {};
        tcp::GetSocket {};
        tcp::Disconnect {};
        tcp::Close {};
    });
    all
}

/// Checks both directions of a connection on the scripted network.
async fn assert_scripted_talks(test: &mut TestApp, client: &ClientSocket, peer: &Peer) {
    client.set_paused(false).await.expect("resume");
    client.send(&b"to the peer"[..]).await.expect("send");
    assert!(peer.received().ends_with(b"to the peer"));
    peer.send("to the app");
    assert_eq!(test.received(client.id(), 10).await, b"to the app");
    client.set_paused(true).await.expect("pause");
}

/// Every function of a handle.
async fn handle_functions(client: &ClientSocket) -> Answers {
    vec![
        ("try_send", client.try_send(&b"late"[..])),
        ("try_send of nothing", client.try_send(&b""[..])),
        answer_of("update", client.update(Default::default())).await,
        answer_of("setPaused(true)", client.set_paused(true)).await,
        answer_of("setPaused(false)", client.set_paused(false)).await,
        answer_of("setKeepAlive", client.set_keep_alive(true, Some(-1))).await,
        answer_of("setNoDelay", client.set_no_delay(true)).await,
        answer_of("connect", client.connect("127.0.0.1", 1, ANY)).await,
        answer_of("connect, wrongly", client.connect("", -1, ANY)).await,
        answer_of("send", client.send(&b"late"[..])).await,
        answer_of("send of nothing", client.send(&b""[..])).await,
        answer_of("getInfo", client.get_info()).await,
        answer_of("disconnect", client.disconnect()).await,
        answer_of("close", client.close()).await,
    ]
}
