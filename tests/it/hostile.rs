//! Input that nobody should give: each is answered by a typed error, none by
//! a panic or by silence, and what was there before goes on.
#![expect(clippy::panic, reason = "this is how a test fails")]

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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::support::{Heard, World, within};

const MIB: usize = 1024 * 1024;
const ANY: DnsQueryType = DnsQueryType::Any;
const NOT_FOUND: Result<(), Error> = Err(Error::SocketNotFound);

/// What each function answered.
type Answers = Vec<(&'static str, Result<(), Error>)>;

/// A listening app with a connection, which every test finds alive at its end.
struct Scene {
    world: World,
    server: ServerSocketId,
    at: SocketAddr,
    client: ClientSocket,
    peer: TcpStream,
}

impl Scene {
    async fn new() -> Self {
        Self::on(Registry::new()).await
    }

    async fn on(registry: Registry) -> Self {
        let mut world = World::on(registry).await;
        let (server, at) = world.listen().await;
        let peer = dial(at).await;
        let client = world.accepted().await;
        Scene {
            world,
            server,
            at,
            client,
            peer,
        }
    }

    /// The server socket is as it was, the old connection works, and so does a
    /// new one.
    async fn assert_alive(&mut self) {
        let info = self.world.app.tcp_server.get_info(self.server).await;
        let info = info.expect("it exists");
        assert_eq!(info.local_addr(), Some(self.at));
        assert!(!info.paused && info.name.is_none() && !info.persistent);
        assert_talks(&mut self.world, &self.client, &mut self.peer).await;
        let mut peer = dial(self.at).await;
        let client = self.world.accepted().await;
        assert_talks(&mut self.world, &client, &mut peer).await;
    }
}

async fn dial(at: SocketAddr) -> TcpStream {
    within("the connection", TcpStream::connect(at))
        .await
        .expect("connect")
}

/// Both directions of a connection work.
async fn assert_talks(world: &mut World, client: &ClientSocket, peer: &mut TcpStream) {
    client.set_paused(false).await.expect("resume");
    client.send(&b"to the peer"[..]).await.expect("send");
    let mut heard = [0; 11];
    within("what was sent", peer.read_exact(&mut heard))
        .await
        .expect("read");
    assert_eq!(&heard, b"to the peer");
    peer.write_all(b"to the app").await.expect("write");
    assert_eq!(world.received(client.id(), 10).await, b"to the app");
    client.set_paused(true).await.expect("pause");
}

/// The number that Chrome's API shows for an answer that must be one.
fn code<T: std::fmt::Debug>(answer: Result<T, Error>) -> i32 {
    match answer.as_ref().map_err(Error::net_error) {
        Err(Some(code)) => code.code(),
        _ => panic!("expected a code, not {answer:?}"),
    }
}

/// Waits for what another thread shows.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    within(what, async {
        while !done() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

async fn called<T: Unpin>(
    name: &'static str,
    answer: Answer<T>,
) -> (&'static str, Result<(), Error>) {
    (name, within(name, answer).await.map(drop))
}

/// Every function of `tcpServer` that takes an id, by the app.
async fn server_functions(app: &App, id: ServerSocketId) -> Answers {
    let server = &app.tcp_server;
    let stolen = tcp_server::SocketProperties {
        persistent: Some(true),
        name: Some("stolen".into()),
    };
    vec![
        called("update", server.update(id, stolen)).await,
        called("setPaused(true)", server.set_paused(id, true)).await,
        called("setPaused(false)", server.set_paused(id, false)).await,
        called("listen", server.listen(id, "127.0.0.1", 0, None)).await,
        called("listen, wrongly", server.listen(id, "", -1, Some(-1))).await,
        called("getInfo", server.get_info(id)).await,
        called("disconnect", server.disconnect(id)).await,
        called("close", server.close(id)).await,
    ]
}

/// Every function of `tcp` that takes an id, by the app.
async fn client_functions(app: &App, id: ClientSocketId) -> Answers {
    let tcp = &app.tcp;
    let stolen = tcp::SocketProperties {
        persistent: Some(true),
        name: Some("stolen".into()),
        buffer_size: Some(1),
    };
    vec![
        called("update", tcp.update(id, stolen)).await,
        called("setPaused(true)", tcp.set_paused(id, true)).await,
        called("setPaused(false)", tcp.set_paused(id, false)).await,
        called("setKeepAlive", tcp.set_keep_alive(id, true, Some(-1))).await,
        called("setNoDelay", tcp.set_no_delay(id, true)).await,
        called("connect", tcp.connect(id, "127.0.0.1", 1, ANY)).await,
        called("connect, wrongly", tcp.connect(id, "", -1, ANY)).await,
        called("send", tcp.send(id, &b"stolen"[..])).await,
        called("send of nothing", tcp.send(id, &b""[..])).await,
        called("getInfo", tcp.get_info(id)).await,
        called("socket", tcp.socket(id)).await,
        called("disconnect", tcp.disconnect(id)).await,
        called("close", tcp.close(id)).await,
    ]
}

/// A plain message's answer; what the mailbox says is told apart.
fn asked<M, T>(registry: &Addr<Registry>, message: M) -> LocalBoxFuture<'static, Plain>
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

type Plain = (&'static str, Result<Result<(), Error>, MailboxError>);

/// Every message of both namespaces that names a socket. They are sent when
/// this is called.
fn messages(
    registry: &Addr<Registry>,
    app: &App,
    server: ServerSocketId,
    client: ClientSocketId,
) -> Vec<LocalBoxFuture<'static, Plain>> {
    macro_rules! asked {
        ($socket_id:expr; $($namespace:ident :: $message:ident { $($field:ident: $value:expr),* };)*) => {
            vec![$(asked(registry, $namespace::$message {
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
        tcp::Send { data: Bytes::from_static(b"stolen") };
        tcp::GetInfo {};
        tcp::GetSocket {};
        tcp::Disconnect {};
        tcp::Close {};
    });
    all
}

async fn assert_not_found(app: &App, server: ServerSocketId, client: ClientSocketId) {
    for (function, answer) in server_functions(app, server).await {
        assert_eq!(answer, NOT_FOUND, "tcpServer.{function} of {server}");
    }
    for (function, answer) in client_functions(app, client).await {
        assert_eq!(answer, NOT_FOUND, "tcp.{function} of {client}");
    }
    for (message, answer) in join_all(messages(app.registry(), app, server, client)).await {
        assert_eq!(answer, Ok(NOT_FOUND), "{message} of {server} or {client}");
    }
}

#[actix_rt::test]
async fn ids_that_do_not_exist_are_not_found_by_any_function() {
    let mut scene = Scene::new().await;
    for id in [0, 1000, 1 << 32, (1 << 32) + 1, u64::MAX - 1, u64::MAX] {
        assert_not_found(&scene.world.app, id.into(), id.into()).await;
    }
    scene.assert_alive().await;
}

#[actix_rt::test]
async fn ids_of_the_other_namespace_are_not_found_by_any_function() {
    let mut scene = Scene::new().await;
    let app = scene.world.app.clone();
    // Client 1 is there: now 2 to 4 are clients alone. 5 is a server alone,
    // since every client above 4 is closed.
    for _ in 0..3 {
        scene.world.create().await;
    }
    assert_not_found(&app, 2.into(), u64::MAX.into()).await;
    assert_not_found(&app, 4.into(), u64::MAX.into()).await;
    let mut server = scene.server;
    while server.get() < 5 {
        let created = app.tcp_server.create(Default::default()).await;
        server = created.expect("create").socket_id;
    }
    assert_not_found(&app, u64::MAX.into(), server.get().into()).await;
    let infos = app.tcp_server.get_sockets().await.expect("alive");
    assert_eq!(infos.len(), 5, "none was harmed");
    let infos = app.tcp.get_sockets().await.expect("alive");
    assert_eq!(infos.len(), 4, "none was harmed");
    scene.assert_alive().await;
}

#[actix_rt::test]
async fn closed_ids_are_not_found_by_any_function() {
    let mut scene = Scene::new().await;
    let app = scene.world.app.clone();
    let created = app.tcp_server.create(Default::default()).await;
    let server = created.expect("create").socket_id;
    let client = scene.world.create().await;
    app.tcp_server.close(server).await.expect("close");
    app.tcp.close(client).await.expect("close");
    assert_not_found(&app, server, client).await;
    scene.assert_alive().await;
}

#[actix_rt::test]
async fn another_apps_ids_are_not_found_by_any_function_whatever_the_app_is_called() {
    let mut scene = Scene::new().await;
    let large = "x".repeat(MIB);
    for name in ["", "TEST", "test ", "test\0", "tést", "*", &large] {
        let other = App::new(name, &scene.world.registry);
        assert_not_found(&other, scene.server, scene.client.id()).await;
        assert_eq!(other.tcp_server.get_sockets().await, Ok(vec![]));
        assert_eq!(other.tcp.get_sockets().await, Ok(vec![]));
        // It is an app like any other.
        let created = other.tcp.create(Default::default()).await;
        let own = created.expect("create").socket_id;
        other.tcp.close(own).await.expect("close");
    }
    scene.assert_alive().await;
}

/// What is no canonical IP literal, though much of it is taken somewhere.
fn hostile_addresses() -> Vec<String> {
    #[rustfmt::skip]
    let short = [
        "", " ", "\t", "\n", "\0", ".", ":", "::::", ":::", "*", "-", "%", "[", "]", "[]", "/",
        "\\", "127.0.0.1\0", "127.0.0.1\0.example", "\x00127.0.0.1", "::1\0", " 127.0.0.1",
        "127.0.0.1 ", "127.0.0.1\n", "127.0.0.1\r\n", "127. 0.0.1", "\u{a0}127.0.0.1",
        "[127.0.0.1]", "[::1]", "[::]", "[::1", "::1]", "[[::1]]", "[::1]:80", "127.0.0.1:80",
        "127.0.0.1/8", "::1/128", "tcp://127.0.0.1", "127.0.0.1#x", "a@127.0.0.1", "127.1",
        "127.0.1", "127", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01",
        "127.0.0.00", "127.0.0.256", "256.256.256.256", "127.0.0.1.", ".127.0.0.1", "127..0.1",
        "127.0.0.0.1", "+127.0.0.1", "-127.0.0.1", "1e2.0.0.1", "4294967296", "1.2.3.4.5",
        "99999999999999999999.0.0.1", "::ffff:127.1", "::127.0.0.1:80", "1::2::3", "12345::",
        "g::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::-1", "::0x1", "fe80::1%lo", "fe80::1%1",
        "::1%", "::1%25lo", "127.0.0.1%lo", "fe80::1%99999999999",
        // Digits and dots of other scripts, and what cannot be seen.
        "١٢٧.٠.٠.١", "127.0.0.１", "１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1", "127.0.0.1\u{200b}",
        "\u{202e}127.0.0.1", "\u{feff}127.0.0.1", "127.0.0.1\u{301}", "💥", "../../etc/passwd",
        "%s%s%s%n", "$(id)", "'; --",
    ];
    let mut all: Vec<_> = short.map(String::from).into();
    for unit in [
        "a", "1", ".", ":", "1.", "f:", "[", "\0", " ", "é", "💥", "a.",
    ] {
        all.push(unit.repeat(MIB / unit.len()));
    }
    all.push("127.0.0.1".to_owned() + &" ".repeat(MIB));
    all.push("127.0.0.1\0".to_owned() + &"a".repeat(MIB));
    all
}

/// A text that may be long, as a failure shows it.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    format!("{start:?} of {} bytes", text.len())
}

#[actix_rt::test]
async fn listening_at_a_hostile_address_is_an_invalid_argument() {
    let mut scene = Scene::new().await;
    let server = scene.world.app.tcp_server.clone();
    let id = server.create(Default::default()).await.expect("create");
    let id = id.socket_id;
    let before = server.get_info(id).await;
    for address in hostile_addresses()
        .iter()
        .map(String::as_str)
        .chain(["localhost", "example.com"])
    {
        let what = shown(address);
        let answer = within(&what, server.listen(id, address, 0, None)).await;
        assert_eq!(code(answer), -4, "{what}");
        assert_eq!(server.get_info(id).await, before, "{what}");
    }
    let listening = server.listen(id, "127.0.0.1", 0, None).await;
    listening.expect("it may listen after all of these");
    scene.assert_alive().await;
}

#[actix_rt::test]
async fn listening_at_an_address_that_is_not_this_machines_is_answered_by_the_os() {
    let mut scene = Scene::new().await;
    let server = scene.world.app.tcp_server.clone();
    let id = server.create(Default::default()).await.expect("create");
    let id = id.socket_id;
    let before = server.get_info(id).await;
    for (address, expected) in [
        ("192.0.2.1", Some(-108)),
        ("203.0.113.255", Some(-108)),
        ("2001:db8::1", Some(-108)),
        // A link-local address without its link.
        ("fe80::1", Some(-4)),
        // Groups and broadcasts, which some systems bind to.
        ("224.0.0.1", None),
        ("255.255.255.255", None),
        ("ff02::1", None),
        ("0.0.0.1", None),
    ] {
        let answer = within(address, server.listen(id, address, 0, None)).await;
        match (answer, expected) {
            (Ok(()), None) => server.disconnect(id).await.expect("disconnect"),
            (answer, Some(expected)) => assert_eq!(code(answer), expected, "{address}"),
            (answer, None) => assert!(code(answer) < 0, "{address}"),
        }
        assert_eq!(server.get_info(id).await, before, "{address}");
    }
    let listening = server.listen(id, "127.0.0.1", 0, None).await;
    listening.expect("it may listen after all of these");
    scene.assert_alive().await;
}

#[actix_rt::test]
async fn connecting_to_a_hostile_address_is_a_name_that_is_not_resolved() {
    let network = ScriptedNetwork::new();
    let mut world = World::with_network(network.clone()).await;
    let (_, at) = world.listen().await;
    let peer = network.client(at).expect("it listens");
    let client = world.accepted().await;
    let id = world.create().await;
    let before = world.app.tcp.get_info(id).await;
    let by_handle = world.app.tcp.socket(id).await.expect("it exists");
    for address in &hostile_addresses() {
        let what = shown(address);
        let answer = within(&what, world.app.tcp.connect(id, address, 80, ANY)).await;
        assert_eq!(code(answer), -105, "{what}");
        let answer = within(&what, by_handle.connect(address, 80, ANY)).await;
        assert_eq!(code(answer), -105, "{what} by handle");
        assert_eq!(world.app.tcp.get_info(id).await, before, "{what}");
    }
    // The resolver is not asked what cannot be a name.
    for call in network.calls() {
        if let Call::Resolve { host } = call {
            assert!(!host.is_empty() && host.len() <= 253, "{}", shown(&host));
            assert!(!host.contains(['\0', ' ', '\n', '\t']), "{host:?}");
        }
    }
    let host = at.ip().to_string();
    let connecting = world.app.tcp.connect(id, host, at.port().into(), ANY);
    within("connect", connecting)
        .await
        .expect("it may connect after all of these");
    world.accepted().await;
    assert_scripted_talks(&mut world, &client, &peer).await;
}

/// Both directions of a connection on the scripted network work.
async fn assert_scripted_talks(world: &mut World, client: &ClientSocket, peer: &Peer) {
    client.set_paused(false).await.expect("resume");
    client.send(&b"to the peer"[..]).await.expect("send");
    assert!(peer.received().ends_with(b"to the peer"));
    peer.send("to the app");
    assert_eq!(world.received(client.id(), 10).await, b"to the app");
    client.set_paused(true).await.expect("pause");
}

#[actix_rt::test]
async fn names_are_kept_as_they_are_or_refused_for_their_length() {
    let mut scene = Scene::new().await;
    let app = scene.world.app.clone();
    let fits = ["web", "\0", "a\0b", "\u{202e}", "💥", " ", "'; --", "%s%n"];
    let fits: Vec<String> = fits
        .map(String::from)
        .into_iter()
        .chain(["x".repeat(MAX_NAME), "é".repeat(MAX_NAME / 2)])
        .collect();
    let too_long = [
        "x".repeat(MAX_NAME + 1),
        "é".repeat(MAX_NAME / 2) + "x",
        "é".repeat(MAX_NAME),
        "💥".repeat(MIB / 4),
        "\0".repeat(MIB),
    ];
    let server_named = |name: &String| tcp_server::SocketProperties {
        name: Some(name.clone()),
        persistent: None,
    };
    let client_named = |name: &String| tcp::SocketProperties {
        name: Some(name.clone()),
        ..Default::default()
    };
    for name in &fits {
        let what = shown(name);
        let created = app.tcp_server.create(server_named(name)).await;
        let server = created.expect(&what).socket_id;
        let created = app.tcp.create(client_named(name)).await;
        let client = created.expect(&what).socket_id;
        for long in &too_long {
            let answer = app.tcp_server.update(server, server_named(long)).await;
            assert_eq!(code(answer), -4, "{}", shown(long));
            let answer = app.tcp.update(client, client_named(long)).await;
            assert_eq!(code(answer), -4, "{}", shown(long));
        }
        let info = app.tcp_server.get_info(server).await.expect("it exists");
        assert!(info.name.as_ref() == Some(name), "{what}");
        let info = app.tcp.get_info(client).await.expect("it exists");
        assert!(info.name.as_ref() == Some(name), "{what}");
        // The empty one takes it away.
        let none = String::new();
        let answer = app.tcp_server.update(server, server_named(&none)).await;
        answer.expect("update");
        let info = app.tcp_server.get_info(server).await.expect("it exists");
        assert_eq!(info.name, None);
        app.tcp_server.close(server).await.expect("close");
        app.tcp.close(client).await.expect("close");
    }
    for long in &too_long {
        let answer = app.tcp_server.create(server_named(long)).await;
        assert_eq!(code(answer), -4, "{}", shown(long));
        let answer = app.tcp.create(client_named(long)).await;
        assert_eq!(code(answer), -4, "{}", shown(long));
    }
    let servers = app.tcp_server.get_sockets().await.expect("alive");
    assert_eq!(servers.len(), 1, "a refused create makes no socket");
    let clients = app.tcp.get_sockets().await.expect("alive");
    assert_eq!(clients.len(), 1, "a refused create makes no socket");
    scene.assert_alive().await;
}

#[actix_rt::test]
async fn the_ends_of_buffer_size_lose_no_byte() {
    let mut scene = Scene::new().await;
    let app = scene.world.app.clone();
    let data: Vec<u8> = (0..200_000u32).map(|i| (i ^ (i >> 8)) as u8).collect();
    for (size, shown, most) in [
        (i32::MIN, None, 4096),
        (-1, None, 4096),
        (0, None, 4096),
        (1, Some(1), 1),
        (65_537, Some(65_537), 65_536),
        (i32::MAX, Some(i32::MAX), 65_536),
    ] {
        let properties = tcp::SocketProperties {
            buffer_size: Some(size),
            ..Default::default()
        };
        let created = app.tcp.create(properties.clone()).await;
        let info = app.tcp.get_info(created.expect("create").socket_id).await;
        assert_eq!(info.expect("it exists").buffer_size, shown, "{size}");

        let mut peer = dial(scene.at).await;
        let client = scene.world.accepted().await;
        client.update(properties).await.expect("update");
        client.set_paused(false).await.expect("resume");
        // One event a byte is slow where it is asked for.
        let data = &data[..if most == 1 { 5_000 } else { data.len() }];
        let writing = peer.write_all(data);
        let reading = async {
            let mut received = Vec::new();
            while received.len() < data.len() {
                match scene.world.next().await {
                    Heard::Receive(id, bytes) if id == client.id() => {
                        assert!((1..=most).contains(&bytes.len()), "{size}");
                        received.extend_from_slice(&bytes);
                    }
                    other => panic!("expected onReceive, not {other:?}"),
                }
            }
            received
        };
        let (written, received) = tokio::join!(writing, reading);
        written.expect("write");
        assert!(received == data, "not what was sent, with {size}");
        client.set_paused(true).await.expect("pause");
    }
    scene.assert_alive().await;
}

#[actix_rt::test]
async fn the_ends_of_ports_and_backlogs_are_invalid_or_taken() {
    let mut scene = Scene::new().await;
    let app = scene.world.app.clone();
    let created = app.tcp_server.create(Default::default()).await;
    let server = created.expect("create").socket_id;
    let client = scene.world.create().await;
    for port in [i32::MIN, -65_536, -1, 65_536, 65_536 + 80, i32::MAX] {
        let answer = app.tcp_server.listen(server, "127.0.0.1", port, None).await;
        assert_eq!(code(answer), -4, "listen on {port}");
        let answer = within("connect", app.tcp.connect(client, "127.0.0.1", port, ANY)).await;
        assert_eq!(code(answer), -4, "connect to {port}");
    }
    let answer = within("connect", app.tcp.connect(client, "127.0.0.1", 0, ANY)).await;
    assert_eq!(code(answer), -108);
    for backlog in [i32::MIN, -1, 0] {
        let answer = app.tcp_server.listen(server, "127.0.0.1", 0, Some(backlog));
        assert_eq!(code(answer.await), -4, "a backlog of {backlog}");
    }
    let answer = app
        .tcp_server
        .listen(server, "127.0.0.1", 0, Some(i32::MAX));
    answer.await.expect("the OS cuts it to its own limit");
    let info = app.tcp_server.get_info(server).await.expect("it exists");
    let _peer = dial(info.local_addr().expect("it listens")).await;
    scene.world.accepted().await;
    scene.assert_alive().await;
}

#[actix_rt::test]
async fn the_ends_of_keep_alive_delays_are_set_or_fail_and_the_connection_goes_on() {
    let mut scene = Scene::new().await;
    let app = scene.world.app.clone();
    let client = scene.client.clone();
    for enable in [true, false] {
        for delay in [i32::MIN, -1] {
            let what = format!("setKeepAlive({enable}, {delay})");
            let answer = app.tcp.set_keep_alive(client.id(), enable, Some(delay));
            assert_eq!(code(answer.await), -2, "{what}");
            let answer = client.set_keep_alive(enable, Some(delay)).await;
            assert_eq!(code(answer), -2, "{what} by handle");
        }
        for delay in [Some(0), Some(1), None] {
            let answer = client.set_keep_alive(enable, delay).await;
            assert_eq!(answer, Ok(()), "setKeepAlive({enable}, {delay:?})");
        }
    }
    // No OS takes 68 years; one that did would be right too.
    let answer = client.set_keep_alive(true, Some(i32::MAX)).await;
    assert!(answer.is_ok() || code(answer) == -2);
    scene.assert_alive().await;
}

#[actix_rt::test]
async fn a_send_above_the_quota_sends_nothing_and_one_of_the_quota_works() {
    let mut scene = Scene::on(Registry::new().write_quota(MIB)).await;
    let tcp = scene.world.app.tcp.clone();
    let client = scene.client.clone();
    let exceeded = Err(Error::WriteQuotaExceeded);
    for round in 0..3u8 {
        for size in [MIB + 1, 2 * MIB, 64 * MIB] {
            let data = Bytes::from(vec![b'x'; size]);
            let answer = tcp.send(client.id(), data.clone()).await;
            assert_eq!(answer.map(drop), exceeded, "{size} by id");
            let answer = client.send(data.clone()).await;
            assert_eq!(answer.map(drop), exceeded, "{size} by handle");
            assert_eq!(client.try_send(data), exceeded, "{size}");
        }
        let exact = vec![round; MIB];
        let sending = match round {
            0 => tcp.send(client.id(), exact.clone()),
            _ => client.send(exact.clone()),
        };
        let mut heard = vec![0; MIB];
        within("what was sent", scene.peer.read_exact(&mut heard))
            .await
            .expect("read");
        assert!(heard == exact, "something else came");
        let sent = within("the send", sending).await;
        assert_eq!(sent.map(|sent| sent.bytes_sent), Ok(MIB));
    }
    scene.assert_alive().await;
}

#[actix_rt::test]
async fn of_many_closes_at_once_one_closes_and_the_others_find_nothing() {
    let mut scene = Scene::new().await;
    let app = scene.world.app.clone();
    for round in 0..20 {
        let created = app.tcp_server.create(Default::default()).await;
        let server = created.expect("create").socket_id;
        let mut peer = dial(scene.at).await;
        let client = scene.world.accepted().await;
        let closes = (0..10).map(|i| match (i + round) % 3 {
            0 => client.close(),
            1 => client.clone().close(),
            _ => app.tcp.close(client.id()),
        });
        let answers = within("the answers", join_all(closes)).await;
        let closed = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(closed, 1, "{answers:?}");
        assert!(
            answers
                .iter()
                .all(|answer| answer.is_ok() || *answer == NOT_FOUND)
        );
        let mut nothing = [0];
        let end = within("the end", peer.read(&mut nothing)).await;
        assert_eq!(end.expect("closed in order"), 0);

        let closes = (0..10).map(|_| app.tcp_server.close(server));
        let answers = within("the answers", join_all(closes)).await;
        assert_eq!(answers[0], Ok(()));
        assert!(answers[1..].iter().all(|answer| *answer == NOT_FOUND));
    }
    scene.assert_alive().await;
}

#[actix_rt::test]
async fn of_many_closes_from_many_threads_one_closes() {
    let mut scene = Scene::new().await;
    let app = scene.world.app.clone();
    for _ in 0..50 {
        let mut peer = dial(scene.at).await;
        let client = scene.world.accepted().await;
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|i| {
                let (app, client, barrier) = (app.clone(), client.clone(), barrier.clone());
                std::thread::spawn(move || {
                    barrier.wait();
                    match i % 2 {
                        0 => client.close(),
                        _ => app.tcp.close(client.id()),
                    }
                })
            })
            .collect();
        let closes = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        let answers = within("the answers", join_all(closes)).await;
        let closed = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(closed, 1, "{answers:?}");
        let end = within("the end", peer.read(&mut [0])).await;
        assert_eq!(end.expect("closed in order"), 0);
    }
    scene.assert_alive().await;
}

/// Every function of a handle.
async fn handle_functions(client: &ClientSocket) -> Answers {
    vec![
        ("try_send", client.try_send(&b"late"[..])),
        ("try_send of nothing", client.try_send(&b""[..])),
        called("update", client.update(Default::default())).await,
        called("setPaused(true)", client.set_paused(true)).await,
        called("setPaused(false)", client.set_paused(false)).await,
        called("setKeepAlive", client.set_keep_alive(true, Some(-1))).await,
        called("setNoDelay", client.set_no_delay(true)).await,
        called("connect", client.connect("127.0.0.1", 1, ANY)).await,
        called("connect, wrongly", client.connect("", -1, ANY)).await,
        called("send", client.send(&b"late"[..])).await,
        called("send of nothing", client.send(&b""[..])).await,
        called("getInfo", client.get_info()).await,
        called("disconnect", client.disconnect()).await,
        called("close", client.close()).await,
    ]
}

/// Keeps what it receives, as a listener may.
struct Keeper(UnboundedSender<ReceiveInfo>);

impl Actor for Keeper {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for Keeper {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let _ = self.0.send(info);
    }
}

#[actix_rt::test]
async fn calls_on_handles_after_close_say_that_the_socket_is_not_found() {
    let mut scene = Scene::new().await;
    let app = scene.world.app.clone();
    let (sender, mut kept) = unbounded_channel();
    let keeper = Keeper(sender).start();
    let added = app.tcp.on_receive.add_listener(keeper.clone().recipient());
    added.await.expect("added");
    let mut peer = dial(scene.at).await;
    let client = scene.world.accepted().await;
    client.set_paused(false).await.expect("resume");
    peer.write_all(b"early").await.expect("write");
    assert_eq!(scene.world.received(client.id(), 5).await, b"early");
    let info = within("the event", kept.recv()).await.expect("it lives");
    let removed = app.tcp.on_receive.remove_listener(keeper.recipient());
    removed.await.expect("removed");

    app.tcp.close(client.id()).await.expect("close");
    assert_eq!(scene.world.ended(client.id()).await.code(), -100);
    for (function, answer) in handle_functions(&client).await {
        assert_eq!(answer, NOT_FOUND, "{function}");
    }
    // What an event still holds is no way around it.
    assert_eq!(info.client().forward(info.clone()), NOT_FOUND);
    assert_eq!(client.forward(info), NOT_FOUND);
    scene.assert_alive().await;
}

/// Every function of an app, those that take no id included.
async fn app_functions(app: &App, server: ServerSocketId, client: ClientSocketId) -> Answers {
    let mut answers = vec![
        called(
            "tcpServer.create",
            app.tcp_server.create(Default::default()),
        )
        .await,
        called("tcpServer.getSockets", app.tcp_server.get_sockets()).await,
        called("tcp.create", app.tcp.create(Default::default())).await,
        called("tcp.getSockets", app.tcp.get_sockets()).await,
        called(
            "onAccept.hasListeners",
            app.tcp_server.on_accept.has_listeners(),
        )
        .await,
        called(
            "onAcceptError.hasListeners",
            app.tcp_server.on_accept_error.has_listeners(),
        )
        .await,
        called("onReceive.hasListeners", app.tcp.on_receive.has_listeners()).await,
        called(
            "onReceiveError.hasListeners",
            app.tcp.on_receive_error.has_listeners(),
        )
        .await,
    ];
    answers.extend(server_functions(app, server).await);
    answers.extend(client_functions(app, client).await);
    answers
}

async fn listener_functions(world: &World) -> Answers {
    let recipient = || world.listener.clone().recipient();
    let events = &world.app.tcp_server.on_accept;
    let data = &world.app.tcp.on_receive;
    vec![
        called("onAccept.addListener", events.add_listener(recipient())).await,
        called("onAccept.hasListener", events.has_listener(recipient())).await,
        called(
            "onAccept.removeListener",
            events.remove_listener(recipient()),
        )
        .await,
        called(
            "onReceive.addListener",
            data.add_listener(world.listener.clone().recipient()),
        )
        .await,
    ]
}

#[actix_rt::test]
async fn a_stopped_registry_answers_every_call_and_its_ports_are_free() {
    let mut scene = Scene::new().await;
    let Scene {
        world,
        server,
        at,
        client,
        peer,
    } = &mut scene;
    let connected = client.clone();
    let closed = world.create().await;
    let closed = world.app.tcp.socket(closed).await.expect("it exists");
    closed.close().await.expect("close");
    let sending = connected.send(&b"before"[..]);
    let shutdown = within("the answer to Shutdown", world.registry.send(Shutdown)).await;
    shutdown.expect("it lives").expect("it has ended");

    // What was called before it happened before it.
    within("the send", sending).await.expect("send");
    let mut rest = Vec::new();
    within("the end", peer.read_to_end(&mut rest))
        .await
        .expect("read");
    assert_eq!(rest, b"before");

    let stopped = Err(Error::Stopped);
    for (function, answer) in app_functions(&world.app, *server, connected.id()).await {
        assert_eq!(answer, stopped, "{function}");
    }
    for (function, answer) in listener_functions(world).await {
        assert_eq!(answer, stopped, "{function}");
    }
    for (function, answer) in handle_functions(&closed).await {
        assert_eq!(answer, NOT_FOUND, "{function} of a closed one");
    }
    for (function, answer) in handle_functions(&connected).await {
        assert_eq!(answer, stopped, "{function}");
    }
    let plain = join_all(messages(
        &world.registry,
        &world.app,
        *server,
        connected.id(),
    ));
    for (message, answer) in plain.await {
        assert_eq!(answer, Err(MailboxError::Closed), "{message}");
    }
    let app = world.app.id().clone();
    let recipient = world.listener.clone().recipient::<AcceptErrorInfo>();
    for (message, answer) in [
        asked(&world.registry, Shutdown).await,
        asked(&world.registry, tcp::GetSockets { app: app.clone() }).await,
        asked(
            &world.registry,
            HasListener::<ReceiveErrorInfo> {
                app: app.clone(),
                recipient: None,
            },
        )
        .await,
        asked(
            &world.registry,
            AddListener {
                app: app.clone(),
                recipient: recipient.clone(),
            },
        )
        .await,
        asked(&world.registry, RemoveListener { app, recipient }).await,
    ] {
        assert_eq!(answer, Err(MailboxError::Closed), "{message}");
    }

    // Another registry lives, at the same port.
    let next = World::new().await;
    let created = next.app.tcp_server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    let listening = next
        .app
        .tcp_server
        .listen(id, "127.0.0.1", at.port().into(), None);
    within("listen", listening).await.expect("the port is free");
    let mut next = next;
    let mut peer = dial(*at).await;
    let client = next.accepted().await;
    assert_talks(&mut next, &client, &mut peer).await;
}

#[actix_rt::test]
async fn calls_that_come_after_shutdown_are_told_that_it_has_stopped_even_if_it_is_not_awaited() {
    let scene = Scene::new().await;
    let (server, tcp) = (&scene.world.app.tcp_server, &scene.world.app.tcp);
    // A second and a third server, so that ending them takes some turns.
    let _others = (scene.world.listen().await, scene.world.listen().await);
    let shutdown = scene.world.registry.send(Shutdown);
    let id = scene.server;
    let answers = (
        server.create(Default::default()),
        tcp.create(Default::default()),
        server.get_info(id),
        server.listen(id, "127.0.0.1", 0, None),
        tcp.get_info(scene.client.id()),
        tcp.send(scene.client.id(), &b"late"[..]),
        server.get_sockets(),
    );
    let stopped = Err(Error::Stopped);
    assert_eq!(within("create", answers.0).await.map(drop), stopped);
    assert_eq!(within("create", answers.1).await.map(drop), stopped);
    assert_eq!(within("getInfo", answers.2).await.map(drop), stopped);
    assert_eq!(within("listen", answers.3).await, stopped);
    assert_eq!(within("getInfo", answers.4).await.map(drop), stopped);
    assert_eq!(within("send", answers.5).await.map(drop), stopped);
    assert_eq!(within("getSockets", answers.6).await.map(drop), stopped);
    within("Shutdown", shutdown)
        .await
        .expect("it lived")
        .expect("it has ended");
}

#[actix_rt::test]
async fn a_registry_without_an_address_ends_and_its_handles_say_so() {
    let mut scene = Scene::new().await;
    let client = scene.client.clone();
    let mut peer = std::mem::replace(&mut scene.peer, dial(scene.at).await);
    let at = scene.at;
    drop(scene);
    let end = within("the end", peer.read(&mut [0])).await;
    assert_eq!(end.expect("closed in order"), 0);
    for (function, answer) in handle_functions(&client).await {
        assert_eq!(answer, Err(Error::Stopped), "{function}");
    }
    within("a free port", async {
        while TcpStream::connect(at).await.is_ok() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

/// Calls without end, until the registry has stopped; says how many were
/// answered otherwise before.
async fn call_until_stopped(app: App) -> usize {
    for calls in 0.. {
        let created = app.tcp_server.create(Default::default());
        let client = app.tcp.create(Default::default());
        let sockets = app.tcp_server.get_sockets();
        let clients = app.tcp.get_sockets();
        let (created, client, sockets, clients) = tokio::join!(created, client, sockets, clients);
        let mut stopped = [sockets.map(drop), clients.map(drop)].contains(&Err(Error::Stopped));
        match (created, client) {
            (Ok(server), Ok(client)) => {
                let id = server.socket_id;
                let listening = app.tcp_server.listen(id, "127.0.0.1", 0, None).await;
                let sent = app.tcp.send(client.socket_id, &b"x"[..]).await;
                let closed = app.tcp_server.close(id).await;
                for answer in [listening, closed, app.tcp.close(client.socket_id).await] {
                    assert!(
                        matches!(answer, Ok(()) | Err(Error::Stopped | Error::SocketNotFound)),
                        "{answer:?}"
                    );
                }
                assert!(
                    matches!(
                        sent,
                        Err(Error::Stopped
                            | Error::SocketNotFound
                            | Error::Net(NetError::SOCKET_NOT_CONNECTED))
                    ),
                    "{sent:?}"
                );
            }
            (server, client) => {
                assert!([server.map(drop), client.map(drop)].contains(&Err(Error::Stopped)));
                stopped = true;
            }
        }
        if stopped {
            return calls;
        }
    }
    unreachable!("it never stops to count")
}

#[actix_rt::test]
async fn calls_that_race_with_shutdown_all_get_an_answer() {
    for _ in 0..10 {
        let scene = Scene::new().await;
        let app = scene.world.app.clone();
        let arbiters = [Arbiter::new(), Arbiter::new()];
        let (answered, mut all_answered) = unbounded_channel();
        for caller in 0..8 {
            let (app, answered) = (app.clone(), answered.clone());
            let call = async move {
                let _ = answered.send(call_until_stopped(app).await);
            };
            match arbiters.get(caller % 3) {
                Some(arbiter) => assert!(arbiter.spawn(call)),
                None => drop(actix_rt::spawn(call)),
            }
        }
        drop(answered);
        let client = scene.client.clone();
        let handles = actix_rt::spawn(async move {
            while client.get_info().await.is_ok() {
                actix_rt::task::yield_now().await;
            }
        });
        // They are at it when it comes.
        actix_rt::task::yield_now().await;
        let shutdown = within("Shutdown", scene.world.registry.send(Shutdown)).await;
        shutdown.expect("it lived").expect("it has ended");
        let mut callers = 0;
        while within("an answer to every call", all_answered.recv())
            .await
            .is_some()
        {
            callers += 1;
        }
        assert_eq!(callers, 8, "a caller has panicked");
        within("an answer by handle", handles)
            .await
            .expect("no panic");
        for arbiter in arbiters {
            arbiter.stop();
        }
    }
    Scene::new().await.assert_alive().await;
}

/// Panics in its first handler, once its mailbox is as full as it gets.
struct Panicking(std::sync::mpsc::Receiver<()>);

impl Actor for Panicking {
    type Context = Context<Self>;
}

impl Panicking {
    fn fail(&self) {
        self.0.recv().expect("the test tells it");
        panic!("a listener that is not well");
    }
}

impl Handler<AcceptInfo> for Panicking {
    type Result = ();

    fn handle(&mut self, _: AcceptInfo, _: &mut Self::Context) {
        self.fail();
    }
}

impl Handler<ReceiveInfo> for Panicking {
    type Result = ();

    fn handle(&mut self, _: ReceiveInfo, _: &mut Self::Context) {
        self.fail();
    }
}

impl Handler<ReceiveErrorInfo> for Panicking {
    type Result = ();

    fn handle(&mut self, _: ReceiveErrorInfo, _: &mut Self::Context) {
        self.fail();
    }
}

/// Starts it on an arbiter of its own; it panics when the sender is used.
fn panicking(arbiter: &Arbiter) -> (Addr<Panicking>, std::sync::mpsc::Sender<()>) {
    let (fail, told) = std::sync::mpsc::channel();
    let actor = Panicking::start_in_arbiter(&arbiter.handle(), |_| Panicking(told));
    (actor, fail)
}

#[actix_rt::test]
async fn clients_of_a_listener_that_panics_are_raised_again_to_the_next_one() {
    let mut scene = Scene::new().await;
    let arbiter = Arbiter::new();
    let (listener, fail) = panicking(&arbiter);
    let on_accept = scene.world.app.tcp_server.on_accept.clone();
    let own = scene.world.listener.clone().recipient::<AcceptInfo>();
    on_accept.remove_listener(own.clone());
    on_accept
        .add_listener(listener.clone().recipient())
        .await
        .expect("added");
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(dial(scene.at).await);
    }
    // The first is in its handler, the others in its mailbox.
    within("twenty clients", async {
        while scene
            .world
            .app
            .tcp
            .get_sockets()
            .await
            .expect("alive")
            .len()
            < 21
        {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    fail.send(()).expect("it waits");
    until("its end", || !listener.connected()).await;
    on_accept.add_listener(own).await.expect("added");
    let (mut ids, mut clients) = (HashSet::new(), Vec::new());
    for peer in &peers {
        let client = scene.world.accepted().await;
        let info = client.get_info().await.expect("it exists");
        assert_eq!(info.peer_addr(), peer.local_addr().ok(), "another's turn");
        assert!(ids.insert(client.id()), "raised twice");
        clients.push(client);
    }
    for (client, peer) in clients.iter().zip(&mut peers) {
        assert_talks(&mut scene.world, client, peer).await;
    }
    scene.assert_alive().await;
    arbiter.stop();
}

#[actix_rt::test]
async fn a_listener_that_panics_on_data_harms_neither_its_socket_nor_the_others() {
    let mut scene = Scene::new().await;
    let arbiter = Arbiter::new();
    let (listener, fail) = panicking(&arbiter);
    let (on_receive, on_receive_error) = {
        let tcp = &scene.world.app.tcp;
        (tcp.on_receive.clone(), tcp.on_receive_error.clone())
    };
    let own = scene.world.listener.clone().recipient::<ReceiveInfo>();
    on_receive.remove_listener(own.clone());
    on_receive_error.add_listener(listener.clone().recipient());
    on_receive
        .add_listener(listener.clone().recipient())
        .await
        .expect("added");
    let mut peer = dial(scene.at).await;
    let client = scene.world.accepted().await;
    client.set_paused(false).await.expect("resume");
    // More than its window: what it was given dies with it, and no more.
    let data: Vec<u8> = (0..20 * MIB)
        .map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect();
    let expected = data.clone();
    let writing = actix_rt::spawn(async move {
        peer.write_all(&data).await.expect("write");
        peer
    });
    fail.send(()).expect("it waits");
    until("its end", || !listener.connected()).await;
    on_receive.add_listener(own).await.expect("added");

    let mut received = Vec::new();
    let lost = loop {
        match scene.world.next().await {
            Heard::Receive(id, bytes) if id == client.id() => received.extend_from_slice(&bytes),
            other => panic!("expected onReceive, not {other:?}"),
        }
        let lost = expected.len() - received.len();
        if expected[expected.len() - 1..] == received[received.len() - 1..]
            && lost <= tcp::WINDOW + 65_536
            && expected[lost..] == received
        {
            break lost;
        }
    };
    assert!(lost > 0, "the one that panicked had had something");
    let mut peer = within("the write", writing).await.expect("no panic");
    assert_talks(&mut scene.world, &client, &mut peer).await;
    scene.assert_alive().await;
    arbiter.stop();
}
