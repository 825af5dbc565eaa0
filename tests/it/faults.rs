//! Every fault that the OS can answer with, written by the test. Each test
//! ends with proof of life: an old connection works, the one that came during
//! the fault works, and a new one works.
#![expect(clippy::panic, reason = "this is how a test fails")]

use std::fmt::Debug;
use std::net::SocketAddr;

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{ClientSocket, DnsQueryType, SendInfo};
use chrome_sockets::tcp_server::{AcceptInfo, UNHANDLED_ACCEPTS};
use chrome_sockets::testing::{Call, Peer, ScriptedNetwork};
use chrome_sockets::{Answer, ClientSocketId, Error, NetError, ServerSocketId};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::support::{Heard, World, within};

/// A listening app on a scripted network, with a connection that was there
/// before any fault.
struct Scene {
    world: World,
    network: ScriptedNetwork,
    server: ServerSocketId,
    at: SocketAddr,
    old: (ClientSocket, Peer),
}

impl Scene {
    async fn new() -> Self {
        let network = ScriptedNetwork::new();
        let mut world = World::with_network(network.clone()).await;
        let (server, at) = world.listen().await;
        let peer = network.client(at).expect("it listens");
        let client = accepts(&mut world, &peer).await;
        Scene {
            old: (client, peer),
            world,
            network,
            server,
            at,
        }
    }

    /// A client that waits for its turn.
    fn dial(&self) -> Peer {
        self.network.client(self.at).expect("it listens")
    }

    /// A new connection.
    async fn accepted(&mut self) -> (ClientSocket, Peer) {
        let peer = self.dial();
        let client = accepts(&mut self.world, &peer).await;
        (client, peer)
    }

    /// A socket that is connected to a server which the test plays.
    async fn connected(&mut self, to: SocketAddr) -> (ClientSocketId, Peer) {
        let id = self.world.create().await;
        let peer = self.network.server(to);
        let answer = connect(&self.world, id, &to.ip().to_string(), to.port());
        within("connect", answer).await.expect("connect");
        (id, peer)
    }

    /// The old connection works, those that came during the fault do, in the
    /// order in which they came, and so does a new one.
    async fn assert_alive(&mut self, during: Vec<Peer>) {
        let mut came = Vec::new();
        for peer in during {
            came.push((accepts(&mut self.world, &peer).await, peer));
        }
        let (client, peer) = &self.old;
        assert_talks(&mut self.world, client, peer).await;
        for (client, peer) in &came {
            assert_talks(&mut self.world, client, peer).await;
        }
        let (client, peer) = self.accepted().await;
        assert_talks(&mut self.world, &client, &peer).await;
    }
}

fn connect(world: &World, id: ClientSocketId, host: &str, port: u16) -> Answer<()> {
    world
        .app
        .tcp
        .connect(id, host, port.into(), DnsQueryType::Any)
}

/// The next event, which must be `onAccept` for the connection of `peer`.
async fn accepts(world: &mut World, peer: &Peer) -> ClientSocket {
    let client = world.accepted().await;
    let info = client.get_info().await.expect("it exists");
    assert_eq!(info.peer_addr(), Some(peer.addr()), "another's turn");
    client
}

/// Both directions of a connection work. It is paused then, so that its end,
/// which the end of the test's interest in it is, makes no event.
async fn assert_talks(world: &mut World, client: &ClientSocket, peer: &Peer) {
    client.set_paused(false).await.expect("resume");
    let sent = within("the send", client.send(&b"to the peer"[..])).await;
    assert_eq!(sent, Ok(SendInfo { bytes_sent: 11 }));
    assert!(peer.received().ends_with(b"to the peer"));
    peer.send("to the app");
    assert_eq!(world.received(client.id(), 10).await, b"to the app");
    client.set_paused(true).await.expect("pause");
}

/// The same of a socket that is known by its id.
async fn assert_id_talks(world: &mut World, id: ClientSocketId, peer: &Peer) {
    let client = world.app.tcp.socket(id).await.expect("it exists");
    assert_talks(world, &client, peer).await;
}

/// The number that Chrome's API shows for a call that the network refused.
async fn code<T: Debug + Unpin>(call: &str, answer: Answer<T>) -> i32 {
    let answer = within(call, answer).await;
    match answer.as_ref().map_err(Error::net_error) {
        Err(Some(code)) => code.code(),
        _ => panic!("{call} should fail with a code, not answer {answer:?}"),
    }
}

/// Waits for what the network shows.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    within(what, async {
        while !done() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

/// Bytes of which none is like the one beside it, nor a whole chunk like
/// another, so that what is lost or swapped shows.
fn pattern(length: usize) -> Vec<u8> {
    let bytes = (0..length).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8);
    bytes.collect()
}

#[actix_rt::test]
async fn each_listen_error_has_its_code_and_the_socket_may_listen_then() {
    let mut scene = Scene::new().await;
    for (errno, expected) in [
        (libc::EADDRINUSE, -147),
        (libc::EADDRNOTAVAIL, -108),
        (libc::EACCES, -10),
        (libc::EPERM, -10),
        (libc::EMFILE, -12),
        (libc::ENFILE, -12),
        (libc::ENOMEM, -13),
        (libc::ENOBUFS, -176),
        (libc::EINVAL, -4),
        (libc::EAFNOSUPPORT, -109),
        (libc::EOPNOTSUPP, -11),
        (libc::ENOTSOCK, -2),
    ] {
        let server = scene.world.app.tcp_server.clone();
        let id = server.create(Default::default()).await.expect("create");
        let id = id.socket_id;
        let before = server.get_info(id).await;
        scene.network.listen_error(errno);
        let refused = server.listen(id, "127.0.0.1", 0, None);
        assert_eq!(code("listen", refused).await, expected, "errno {errno}");
        assert_eq!(server.get_info(id).await, before, "errno {errno}");

        // The next one finds the OS willing.
        let during = scene.dial();
        let listening = server.listen(id, "127.0.0.1", 0, None).await;
        assert_eq!(listening, Ok(()), "after errno {errno}");
        scene.assert_alive(vec![during]).await;
        let info = server.get_info(id).await.expect("it exists");
        let at = info.local_addr().expect("it listens");
        let peer = scene.network.client(at).expect("it listens");
        let client = accepts(&mut scene.world, &peer).await;
        assert_talks(&mut scene.world, &client, &peer).await;
    }
}

#[actix_rt::test]
async fn each_accept_error_is_told_pauses_and_keeps_the_clients_in_line() {
    let mut scene = Scene::new().await;
    let server = scene.world.app.tcp_server.clone();
    for (errno, expected) in [
        (libc::EMFILE, -12),
        (libc::ENFILE, -12),
        (libc::ENOBUFS, -176),
        (libc::ENOMEM, -13),
        (libc::EPROTO, -2),
        (libc::EPERM, -10),
        (libc::ENETDOWN, -106),
        (libc::EHOSTUNREACH, -109),
    ] {
        let faulty = scene.network.accept_error(scene.at, errno);
        faulty.expect("it listens");
        let during = vec![scene.dial(), scene.dial(), scene.dial()];
        match scene.world.next().await {
            Heard::AcceptError(from, error) => {
                assert_eq!((from, error.code()), (scene.server, expected), "{errno}");
            }
            other => panic!("expected onAcceptError for errno {errno}, not {other:?}"),
        }
        let info = server.get_info(scene.server).await.expect("it exists");
        assert!(info.paused, "after errno {errno}");
        assert_eq!(info.local_addr(), Some(scene.at), "it goes on listening");
        assert_eq!(scene.network.waiting(scene.at), 3, "they wait in line");

        let resumed = server.set_paused(scene.server, false).await;
        resumed.expect("resume");
        // The next event is the first client's, so no error was told twice.
        scene.assert_alive(during).await;
    }
}

#[actix_rt::test]
async fn an_accept_error_in_the_middle_of_the_line_and_again_after_resuming_loses_nobody() {
    let mut scene = Scene::new().await;
    let server = scene.world.app.tcp_server.clone();
    let pause = async |paused| server.set_paused(scene.server, paused).await;
    pause(true).await.expect("pause");
    let first = scene.dial();
    for _ in 0..3 {
        let faulty = scene.network.accept_error(scene.at, libc::EMFILE);
        faulty.expect("it listens");
    }
    let during = vec![scene.dial(), scene.dial()];
    pause(false).await.expect("resume");

    let client = accepts(&mut scene.world, &first).await;
    for _ in 0..3 {
        match scene.world.next().await {
            Heard::AcceptError(_, error) => assert_eq!(error.code(), -12),
            other => panic!("expected onAcceptError, not {other:?}"),
        }
        assert_eq!(scene.network.waiting(scene.at), 2);
        pause(false).await.expect("resume");
    }
    scene.assert_alive(during).await;
    assert_talks(&mut scene.world, &client, &first).await;
}

#[actix_rt::test]
async fn clients_that_gave_up_and_interrupted_accepts_are_no_errors() {
    let mut scene = Scene::new().await;
    for round in 0..1000 {
        let errno = [libc::ECONNABORTED, libc::EINTR][usize::from(round % 10 == 0)];
        let faulty = scene.network.accept_error(scene.at, errno);
        faulty.expect("it listens");
    }
    let during = vec![scene.dial()];
    // The next event is the client's.
    scene.assert_alive(during).await;
    let info = scene.world.app.tcp_server.get_info(scene.server).await;
    assert!(!info.expect("it exists").paused);
}

#[actix_rt::test]
async fn each_connect_error_has_its_code_and_the_socket_may_connect_then() {
    let mut scene = Scene::new().await;
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    let other = SocketAddr::from(([192, 0, 2, 2], 80));
    for (errno, expected) in [
        (libc::ECONNREFUSED, -102),
        (libc::ETIMEDOUT, -118),
        (libc::EACCES, -138),
        (libc::EPERM, -138),
        (libc::ENETUNREACH, -109),
        (libc::EHOSTUNREACH, -109),
        (libc::EADDRNOTAVAIL, -108),
        (libc::ECONNRESET, -101),
        (libc::ECONNABORTED, -103),
        (libc::ENETDOWN, -106),
        (libc::EMFILE, -12),
        (libc::ENOBUFS, -176),
        (libc::EPROTO, -104),
    ] {
        let id = scene.world.create().await;
        let before = scene.world.app.tcp.get_info(id).await;
        // One that is on its way while the other fails.
        let hold = scene.network.hold_connect(other);
        let slow = scene.world.create().await;
        let slow_peer = scene.network.server(other);
        let slow_answer = connect(&scene.world, slow, "192.0.2.2", 80);
        until("the slow attempt", || hold.waiting() == 1).await;

        scene.network.connect_error(far, errno);
        let refused = connect(&scene.world, id, "192.0.2.1", 80);
        assert_eq!(code("connect", refused).await, expected, "errno {errno}");
        let info = scene.world.app.tcp.get_info(id).await;
        assert_eq!(info, before, "errno {errno}");

        hold.release();
        within("the slow connect", slow_answer)
            .await
            .expect("it goes on");
        assert_id_talks(&mut scene.world, slow, &slow_peer).await;
        let peer = scene.network.server(far);
        let again = connect(&scene.world, id, "192.0.2.1", 80);
        within("connect", again).await.expect("it may connect then");
        assert_id_talks(&mut scene.world, id, &peer).await;
        scene.assert_alive(vec![]).await;
    }
}

#[actix_rt::test]
async fn each_read_error_is_told_after_the_data_before_it() {
    let mut scene = Scene::new().await;
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    for (errno, expected) in [
        (libc::ECONNRESET, -100),
        (libc::ETIMEDOUT, -7),
        (libc::EHOSTUNREACH, -109),
        (libc::ECONNABORTED, -103),
        (libc::ENOBUFS, -176),
        (libc::ENOMEM, -13),
        (libc::EIO, -2),
    ] {
        let (client, peer) = scene.accepted().await;
        let before = pattern(100_000);
        peer.send(&before);
        peer.read_error(errno);
        let (came, during) = scene.accepted().await;
        client.set_paused(false).await.expect("resume");
        let received = scene.world.received(client.id(), before.len()).await;
        assert_eq!(received, before, "before errno {errno}");
        let end = scene.world.ended(client.id()).await;
        assert_eq!(end.code(), expected, "errno {errno}");

        let info = client.get_info().await.expect("its id lives on");
        assert!(!info.connected && info.paused, "{info:?}");
        assert!(peer.is_closed(), "the connection is not kept");
        assert_eq!(code("send", client.send(&b"late"[..])).await, -15);

        // The socket itself is of use again.
        let peer = scene.network.server(far);
        let again = connect(&scene.world, client.id(), "192.0.2.1", 80);
        within("connect", again).await.expect("connect");
        assert_talks(&mut scene.world, &client, &peer).await;
        assert_talks(&mut scene.world, &came, &during).await;
        scene.assert_alive(vec![]).await;
    }
}

#[actix_rt::test]
async fn each_write_error_fails_this_send_and_later_ones_and_what_came_before_is_still_read() {
    let mut scene = Scene::new().await;
    for (errno, expected) in [
        (libc::EPIPE, -101),
        (libc::ECONNRESET, -101),
        (libc::ETIMEDOUT, -7),
        (libc::EHOSTUNREACH, -109),
        (libc::ENOBUFS, -176),
    ] {
        let (client, peer) = scene.accepted().await;
        peer.send("came before");
        peer.write_error(errno);
        for round in 0..3 {
            let call = format!("send {round} after errno {errno}");
            let by_id = scene.world.app.tcp.send(client.id(), &b"lost"[..]);
            assert_eq!(code(&call, by_id).await, expected, "{call}");
            let by_handle = client.send(&b"lost"[..]);
            assert_eq!(code(&call, by_handle).await, expected, "{call}");
        }
        assert_eq!(peer.received(), b"", "errno {errno}");
        let (came, during) = scene.accepted().await;

        client.set_paused(false).await.expect("resume");
        let received = scene.world.received(client.id(), 11).await;
        assert_eq!(received, b"came before", "errno {errno}");
        peer.send("and after");
        let received = scene.world.received(client.id(), 9).await;
        assert_eq!(received, b"and after", "errno {errno}");
        peer.end();
        let end = scene.world.ended(client.id()).await;
        assert_eq!(end, NetError::CONNECTION_CLOSED);
        assert_talks(&mut scene.world, &came, &during).await;
        scene.assert_alive(vec![]).await;
    }
}

#[actix_rt::test]
async fn a_write_error_answers_every_send_that_waits() {
    let mut scene = Scene::new().await;
    for (errno, expected) in [(libc::EPIPE, -101), (libc::ETIMEDOUT, -7)] {
        let (client, peer) = scene.accepted().await;
        peer.limit_writes(6);
        let whole = client.send(&b"whole"[..]);
        let waiting: Vec<_> = (0..100).map(|_| client.send(&b"never"[..])).collect();
        within("the first send", whole).await.expect("it was taken");
        peer.write_error(errno);
        for answer in waiting {
            assert_eq!(code("send", answer).await, expected, "errno {errno}");
        }
        assert_eq!(peer.received(), b"wholen", "errno {errno}");
        scene.assert_alive(vec![]).await;
    }
}

#[actix_rt::test]
async fn one_byte_a_call_keeps_order_in_both_directions() {
    let mut scene = Scene::new().await;
    let (client, peer) = scene.accepted().await;
    let large = pattern(50_000);
    peer.short_writes(1);
    peer.short_reads(1);
    peer.send(&large);
    client.set_paused(false).await.expect("resume");
    // In three sends that are not awaited, an empty one among them.
    let sends = [&large[..20_000], &[], &large[20_000..]];
    let answers = sends.map(|part| client.send(Bytes::copy_from_slice(part)));
    for (answer, part) in answers.into_iter().zip(sends) {
        let sent = within("a send", answer).await.expect("send");
        assert_eq!(sent.bytes_sent, part.len());
    }
    assert!(peer.received() == large, "sent in another order");
    let received = scene.world.received(client.id(), large.len()).await;
    assert!(received == large, "received in another order");
    assert_talks(&mut scene.world, &client, &peer).await;
    scene.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn sends_to_a_stalled_peer_still_leave_after_close() {
    let mut scene = Scene::new().await;
    let (client, peer) = scene.accepted().await;
    let data = pattern(100_000);
    peer.limit_writes(10);
    let answers: Vec<_> = data
        .chunks(1000)
        .map(|part| client.send(Bytes::copy_from_slice(part)))
        .collect();
    let during = scene.dial();
    within("close", client.close()).await.expect("close");
    let gone = scene.world.app.tcp.get_info(client.id()).await;
    assert_eq!(gone, Err(Error::SocketNotFound));
    assert!(!peer.is_closed(), "the queue has not left");
    assert_eq!(peer.received(), &data[..10]);

    // It reads again, but not at once.
    for limit in [1, 1000, 50_000] {
        let before = peer.received().len();
        peer.limit_writes(limit);
        let next = || peer.received().len() == before + limit;
        until("the next part", next).await;
        assert!(!peer.is_closed());
    }
    peer.unlimit_writes();
    until("the end of the connection", || peer.is_closed()).await;
    assert!(peer.received() == data, "not what was sent");
    for answer in answers {
        let sent = within("the answer to a send", answer).await;
        assert_eq!(sent.map(|sent| sent.bytes_sent), Ok(1000));
    }
    scene.assert_alive(vec![during]).await;
}

#[actix_rt::test]
async fn sends_to_a_stalled_peer_leave_after_disconnect_while_the_socket_has_another_connection() {
    let mut scene = Scene::new().await;
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    let (id, stalled) = scene.connected(far).await;
    let client = scene.world.app.tcp.socket(id).await.expect("it exists");
    stalled.limit_writes(0);
    let sending = client.send(&b"for the first"[..]);
    client.disconnect().await.expect("disconnect");
    assert_eq!(
        scene.world.ended(id).await,
        NetError::CONNECTION_CLOSED,
        "it was receiving"
    );
    let peer = scene.network.server(far);
    let again = connect(&scene.world, id, "192.0.2.1", 80);
    within("connect", again).await.expect("connect");
    assert_talks(&mut scene.world, &client, &peer).await;

    stalled.unlimit_writes();
    until("the end of the first", || stalled.is_closed()).await;
    assert_eq!(stalled.received(), b"for the first");
    within("the send", sending).await.expect("it has left");
    assert_eq!(peer.received(), b"to the peer", "nothing of the first's");
    assert_talks(&mut scene.world, &client, &peer).await;
    scene.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn each_option_error_is_failed_and_the_connection_goes_on() {
    let mut scene = Scene::new().await;
    let (client, peer) = scene.accepted().await;
    for errno in [
        libc::EINVAL,
        libc::ENOPROTOOPT,
        libc::EPERM,
        libc::ENOBUFS,
        libc::ECONNRESET,
    ] {
        peer.option_error(errno);
        assert_eq!(code("setNoDelay", client.set_no_delay(true)).await, -2);
        assert_eq!(peer.nodelay(), None, "errno {errno}");
        peer.option_error(errno);
        let keep_alive = client.set_keep_alive(true, Some(7));
        assert_eq!(code("setKeepAlive", keep_alive).await, -2);
        assert_eq!(peer.keepalive(), None, "errno {errno}");
        assert_talks(&mut scene.world, &client, &peer).await;
    }
    client.set_no_delay(true).await.expect("nothing fails it");
    assert_eq!(peer.nodelay(), Some(true));
    scene.assert_alive(vec![]).await;
}

/// How an attempt to connect is given up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum GiveUp {
    Disconnect,
    Close,
}

#[actix_rt::test]
async fn a_connect_or_resolve_that_hangs_is_given_up_by_disconnect_and_close() {
    let mut scene = Scene::new().await;
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    for give_up in [GiveUp::Disconnect, GiveUp::Close] {
        for host in ["192.0.2.1", "far.example"] {
            let what = format!("{give_up:?} while {host} hangs");
            let hold = match host {
                "192.0.2.1" => scene.network.hold_connect(far),
                name => scene.network.hold_resolve(name),
            };
            let id = scene.world.create().await;
            let attempt = connect(&scene.world, id, host, 80);
            until("the attempt", || hold.waiting() == 1).await;
            let during = scene.dial();

            let tcp = scene.world.app.tcp.clone();
            let ended = match give_up {
                GiveUp::Disconnect => tcp.disconnect(id),
                GiveUp::Close => tcp.close(id),
            };
            within(&what, ended).await.expect("it is given up");
            assert_eq!(code(&what, attempt).await, -3);
            until("the end of the attempt", || hold.waiting() == 0).await;
            hold.release();
            match give_up {
                GiveUp::Disconnect => {
                    let info = tcp.get_info(id).await.expect("the id stays");
                    assert!(!info.connected && !info.paused, "{what}: {info:?}");
                    // Were there an onReceiveError of the attempt, it came now.
                    scene.assert_alive(vec![during]).await;
                    let peer = scene.network.server(far);
                    let again = connect(&scene.world, id, "192.0.2.1", 80);
                    within("connect", again).await.expect("it may connect then");
                    assert_id_talks(&mut scene.world, id, &peer).await;
                }
                GiveUp::Close => {
                    assert_eq!(tcp.get_info(id).await, Err(Error::SocketNotFound));
                    scene.assert_alive(vec![during]).await;
                }
            }
        }
    }
}

#[actix_rt::test]
async fn a_second_connect_while_connecting_fails_and_the_first_goes_on() {
    let mut scene = Scene::new().await;
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    let hold = scene.network.hold_connect(far);
    let peer = scene.network.server(far);
    let id = scene.world.create().await;
    let first = connect(&scene.world, id, "192.0.2.1", 80);
    for host in ["192.0.2.1", "192.0.2.9", "other.example", ""] {
        let second = connect(&scene.world, id, host, 80);
        assert_eq!(code("the second connect", second).await, -104, "{host:?}");
    }
    until("the attempt", || hold.waiting() == 1).await;
    let attempts = scene.network.calls();
    let attempts = attempts
        .iter()
        .filter(|call| !matches!(call, Call::Listen { .. }));
    assert_eq!(attempts.count(), 1, "the refused ones ask the OS nothing");
    let during = scene.dial();
    hold.release();
    within("the first connect", first).await.expect("connect");
    let third = connect(&scene.world, id, "192.0.2.1", 80);
    assert_eq!(code("connect", third).await, -23, "it is connected now");

    scene.assert_alive(vec![during]).await;
    assert_id_talks(&mut scene.world, id, &peer).await;
}

/// Dies in the handler of its first event, once it is told to, with whatever
/// its mailbox holds by then.
struct Dying {
    handling: UnboundedSender<ClientSocket>,
    go_on: std::sync::mpsc::Receiver<()>,
}

impl Actor for Dying {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Dying {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, ctx: &mut Self::Context) {
        let _ = self.handling.send(info.client().clone());
        self.go_on.recv().expect("the test tells it");
        ctx.stop();
    }
}

/// Lets `clients` connect while the only listener is in its first event;
/// returns them with the first one's socket and what makes the listener die.
async fn with_a_full_mailbox(
    scene: &mut Scene,
    arbiter: &Arbiter,
    clients: usize,
) -> (
    Vec<Peer>,
    ClientSocket,
    std::sync::mpsc::Sender<()>,
    Addr<Dying>,
) {
    let (handling, mut handled) = unbounded_channel();
    let (die, go_on) = std::sync::mpsc::channel();
    let dying = Dying::start_in_arbiter(&arbiter.handle(), |_| Dying { handling, go_on });
    let on_accept = &scene.world.app.tcp_server.on_accept;
    on_accept.remove_listener(scene.world.listener.clone().recipient());
    on_accept
        .add_listener(dying.clone().recipient())
        .await
        .expect("added");
    let peers: Vec<_> = (0..clients).map(|_| scene.dial()).collect();
    let first = within("its first event", handled.recv()).await;
    let wait = clients - UNHANDLED_ACCEPTS;
    let full = || scene.network.waiting(scene.at) == wait;
    until("a full mailbox", full).await;
    (peers, first.expect("it lives"), die, dying)
}

#[actix_rt::test]
async fn what_a_dead_listener_left_unhandled_is_raised_again_exactly_once_and_in_order() {
    let mut scene = Scene::new().await;
    let arbiter = Arbiter::new();
    let (mut peers, first, die, _) = with_a_full_mailbox(&mut scene, &arbiter, 200).await;
    die.send(()).expect("it waits");
    let on_accept = scene.world.app.tcp_server.on_accept.clone();
    // It is forgotten when its actor is dead.
    within("its death", async {
        while on_accept.has_listeners().await.expect("alive") {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    scene.world.nothing().await;
    let next = scene.world.listener.clone().recipient();
    on_accept.add_listener(next).await.expect("added");

    let during = peers.split_off(1);
    scene.assert_alive(during).await;
    assert_talks(&mut scene.world, &first, &peers[0]).await;
    let sockets = scene.world.app.tcp.get_sockets().await.expect("alive");
    assert_eq!(sockets.len(), 1 + 200 + 1, "each client has one socket");
    arbiter.stop();
}

#[actix_rt::test]
async fn what_a_dead_listener_left_unhandled_comes_before_the_clients_that_came_later() {
    // Its mailbox is emptied on its own thread while the next listener's is
    // filled on this one: many rounds, so that each has been faster.
    for _ in 0..50 {
        let mut scene = Scene::new().await;
        let arbiter = Arbiter::new();
        let (peers, first, die, dying) = with_a_full_mailbox(&mut scene, &arbiter, 200).await;
        let server = scene.world.app.tcp_server.clone();
        let next = scene.world.listener.clone().recipient();
        // What it handles as the last makes room: not for another, which both
        // listeners would rightly hear of.
        let pausing = server.set_paused(scene.server, true);
        server.on_accept.add_listener(next).await.expect("added");
        die.send(()).expect("it waits");
        until("its death", || !dying.connected()).await;
        let resuming = server.set_paused(scene.server, false);
        for peer in &peers[1..] {
            accepts(&mut scene.world, peer).await;
        }
        for answer in [pausing, resuming] {
            within("the answer", answer).await.expect("alive");
        }
        assert_talks(&mut scene.world, &first, &peers[0]).await;
        scene.assert_alive(vec![]).await;
        arbiter.stop();
    }
}

#[actix_rt::test]
async fn what_a_dead_listener_left_unhandled_is_not_raised_again_if_another_had_it() {
    let mut scene = Scene::new().await;
    let arbiter = Arbiter::new();
    let clients = UNHANDLED_ACCEPTS;
    let (handling, mut handled) = unbounded_channel();
    let (die, go_on) = std::sync::mpsc::channel();
    let dying = Dying::start_in_arbiter(&arbiter.handle(), |_| Dying { handling, go_on });
    let on_accept = scene.world.app.tcp_server.on_accept.clone();
    let added = on_accept.add_listener(dying.clone().recipient()).await;
    added.expect("added");

    let peers: Vec<_> = (0..clients).map(|_| scene.dial()).collect();
    within("its first event", handled.recv()).await;
    let mut sockets = Vec::new();
    for peer in &peers {
        // The listener that lives hears at once, whatever the other does.
        sockets.push(accepts(&mut scene.world, peer).await);
    }
    die.send(()).expect("it waits");
    until("its death", || !dying.connected()).await;
    scene.world.nothing().await;
    for (client, peer) in sockets.iter().zip(&peers) {
        assert_talks(&mut scene.world, client, peer).await;
    }
    scene.assert_alive(vec![]).await;
    arbiter.stop();
}

/// Keeps every event that it hears.
struct Keeping(Vec<AcceptInfo>);

impl Actor for Keeping {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Keeping {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        self.0.push(info);
    }
}

#[actix_rt::test]
async fn a_listener_that_keeps_its_events_does_not_stop_the_others_when_one_dies() {
    let mut scene = Scene::new().await;
    let arbiter = Arbiter::new();
    let on_accept = scene.world.app.tcp_server.on_accept.clone();
    let keeping = Keeping(Vec::new()).start();
    let added = on_accept.add_listener(keeping.clone().recipient()).await;
    added.expect("added");
    let (handling, mut handled) = unbounded_channel();
    let (die, go_on) = std::sync::mpsc::channel();
    let dying = Dying::start_in_arbiter(&arbiter.handle(), |_| Dying { handling, go_on });
    let added = on_accept.add_listener(dying.clone().recipient()).await;
    added.expect("added");

    // The kept events are fewer than a server socket may have on their way.
    let first = scene.dial();
    let client = accepts(&mut scene.world, &first).await;
    within("its first event", handled.recv()).await;
    die.send(()).expect("it waits");
    until("its death", || !dying.connected()).await;
    scene.assert_alive(vec![]).await;
    assert_talks(&mut scene.world, &client, &first).await;
    assert!(keeping.connected());
    arbiter.stop();
}
