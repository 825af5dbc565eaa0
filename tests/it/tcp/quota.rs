//! The write quota of an app.

use std::process::Command;
use std::time::Duration;

use actix::Actor;
use bytes::Bytes;
use chrome_sockets::tcp::{
    ClientSocket, DEFAULT_WRITE_QUOTA, RESERVED_SEND, RESERVED_SENDS_OF_APP, ReceiveInfo, Timeouts,
};
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use chrome_sockets::{App, Error, Registry};
use support::process::Program;
use support::programs::has;
use support::{EventSender, TestApp, until, within};
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;

use crate::tcp_server::dial;

use super::{connect, pair, read, write};

const MIB: usize = 1024 * 1024;

#[actix_rt::test]
async fn more_than_200_mib_of_pending_sends_of_one_app_is_refused() {
    assert_eq!(DEFAULT_WRITE_QUOTA, 200 * MIB);
    let mut test = TestApp::new().await;
    let (client, _peer) = pair(&mut test).await;
    // The same memory many times; the peer does not read.
    let data = Bytes::from(vec![0; 20 * MIB]);
    let mut sends = Vec::new();
    for _ in 0..10 {
        sends.push(client.send(data.clone()));
    }
    let refused = client.send(&b"x"[..]).await;
    assert_eq!(refused, Err(Error::WriteQuotaExceeded));
    assert_eq!(
        Error::WriteQuotaExceeded.to_string(),
        "Exceeded write quota."
    );
    let info = client.get_info().await.expect("it exists");
    assert!(info.connected, "a refusal ends no connection");
}

#[actix_rt::test]
async fn all_sockets_of_an_app_share_the_quota_and_it_is_released() {
    let mut test = TestApp::on(Registry::new().write_quota(16 * MIB)).await;
    let (first, mut peer) = pair(&mut test).await;
    let (second, mut second_peer) = pair(&mut test).await;
    let sending = first.send(vec![1; 16 * MIB]);
    // More than the reserve takes.
    let large = Bytes::from(vec![0; RESERVED_SEND + 1]);
    for refused in [
        second.send(large.clone()).await,
        test.app.tcp.send(first.id(), &b"x"[..]).await,
    ] {
        assert_eq!(refused, Err(Error::WriteQuotaExceeded));
    }
    assert_eq!(second.try_send(large), Err(Error::WriteQuotaExceeded));

    // Another app has its own quota.
    let other = App::new("other", &test.registry);
    let created = other.tcp.create(Default::default()).await;
    let theirs = created.expect("create").socket_id;
    let mut their_peer = connect(&other, theirs).await;
    other
        .tcp
        .send(theirs, &b"fine"[..])
        .await
        .expect("another app's quota");
    assert_eq!(read(&mut their_peer, 4).await, b"fine");

    // Refused sends have not arrived, and later ones work.
    assert!(read(&mut peer, 16 * MIB).await == vec![1; 16 * MIB]);
    within("the send", sending).await.expect("send");
    second.send(&b"second"[..]).await.expect("it came back");
    assert_eq!(read(&mut second_peer, 6).await, b"second");
    first.send(&b"first"[..]).await.expect("it came back");
    assert_eq!(read(&mut peer, 5).await, b"first");
}

/// Connects so many times, reads nothing, and ends with its input.
const SILENT_PEERS: &str = r#"
import socket, sys

peers = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(int(sys.argv[3]))]
print("connected", flush=True)
sys.stdin.read()
"#;

/// Clients of another program that read nothing and have used the app's quota up. The first half is
/// closed, and its sends linger.
async fn use_quota_up(
    test: &mut TestApp,
    at: std::net::SocketAddr,
) -> (Program, Vec<ClientSocket>) {
    let (host, port) = (at.ip().to_string(), at.port().to_string());
    let mut peers =
        Program::start(Command::new("python3").args(["-c", SILENT_PEERS, &host, &port, "30"]));
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(test.accepted().await);
    }
    peers.stdout.line("connected");
    // The same memory many times.
    let data = Bytes::from(vec![0; 16 * MIB]);
    // The first takes more than the kernel buffers for each, so that something waits at all.
    for part in [6 * MIB, MIB, 1024] {
        for client in clients.iter().cycle() {
            if client.try_send(data.slice(..part)).is_err() {
                break;
            }
        }
    }
    for client in &clients {
        let more = client.try_send(data.slice(..1024));
        assert_eq!(more, Err(Error::WriteQuotaExceeded));
        assert!(client.queued_bytes() > 0);
    }
    for client in clients.drain(..15) {
        client.close().await.expect("it is open");
    }
    (peers, clients)
}

/// The app answers this client on each way of sending.
async fn assert_is_answered(test: &TestApp, client: &ClientSocket, peer: &mut TcpStream) {
    let answer = Bytes::from(vec![7; RESERVED_SEND]);
    client.send(answer.clone()).await.expect("beyond the quota");
    assert!(read(peer, RESERVED_SEND).await == answer);
    client.try_send(answer.clone()).expect("beyond the quota");
    assert!(read(peer, RESERVED_SEND).await == answer);
    until("the end of the send", || client.queued_bytes() == 0).await;
    let by_id = test.app.tcp.send(client.id(), answer.clone());
    by_id.await.expect("beyond the quota");
    assert!(read(peer, RESERVED_SEND).await == answer);
    until("the end of the send", || client.queued_bytes() == 0).await;
    let larger = client.try_send(vec![0; RESERVED_SEND + 1]);
    assert_eq!(larger, Err(Error::WriteQuotaExceeded));
}

#[actix_rt::test]
async fn peers_that_do_not_read_do_not_keep_others_from_their_answers() {
    if !has("python3", "--version", "Python 3.") {
        return;
    }
    let mut test = TestApp::new().await;
    test.remove_listener().await;
    let (sender, mut received) = unbounded_channel::<ReceiveInfo>();
    let listener = EventSender(sender).start();
    let on_receive = &test.app.tcp.on_receive;
    on_receive.do_add_listener(listener.recipient());
    let accepts = test.listener.clone().recipient();
    test.app.tcp_server.on_accept.do_add_listener(accepts);
    let (_, at) = test.listen().await;
    let (silent, clients) = use_quota_up(&mut test, at).await;

    let mut peer = dial(at).await;
    let client = test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    assert_is_answered(&test, &client, &mut peer).await;
    write(&mut peer, b"echo").await;
    let request = within("the request", received.recv()).await;
    let request = request.expect("it is alive");
    client.forward(request).expect("beyond the quota");
    assert_eq!(read(&mut peer, 4).await, b"echo");
    // A socket with timeouts has no fast path.
    let timeouts = Timeouts {
        idle: Some(Duration::from_secs(60)),
        ..Timeouts::default()
    };
    client.set_timeouts(timeouts).await.expect("it is open");
    assert_is_answered(&test, &client, &mut peer).await;

    // What the others have taken comes back.
    assert_eq!(
        clients[0].try_send(&b"x"[..]),
        Err(Error::WriteQuotaExceeded)
    );
    drop(silent);
    let all = Bytes::from(vec![0; 199 * MIB]);
    until("the quota", || client.try_send(all.clone()).is_ok()).await;
    client.reset().await.expect("it is open");
}

/// An app whose quota one client has used up, and clients whose peers take nothing.
async fn scripted(clients: usize) -> (TestApp, Vec<(ClientSocket, Peer)>) {
    let network = ScriptedNetwork::new();
    let registry = Registry::with_network(network.clone()).write_quota(MIB);
    let mut test = TestApp::on(registry).await;
    let (_, at) = test.listen().await;
    let mut pairs = Vec::new();
    for _ in 0..=clients {
        let peer = network.client(at).expect("it listens");
        peer.limit_writes(0);
        pairs.push((test.accepted().await, peer));
    }
    let (first, _) = &pairs[0];
    first.try_send(vec![0; MIB]).expect("within the quota");
    (test, pairs)
}

#[actix_rt::test]
async fn a_bounded_number_of_sockets_sends_beyond_the_quota_and_gives_the_room_back() {
    let exceeded = || Err(Error::WriteQuotaExceeded);
    let (test, pairs) = scripted(RESERVED_SENDS_OF_APP + 1).await;
    let data = Bytes::from(vec![1; RESERVED_SEND]);
    let (first, reserved) = pairs.split_first().expect("there are some");
    let (late, reserved) = reserved.split_last().expect("there are some");
    for (client, _) in reserved {
        client.try_send(data.clone()).expect("there is a place");
    }
    for (client, _) in [first, late, &reserved[0]] {
        assert_eq!(client.try_send(&b"x"[..]), exceeded());
        assert_eq!(client.send(&b"x"[..]).await.map(drop), exceeded());
        let by_id = test.app.tcp.send(client.id(), &b"x"[..]).await;
        assert_eq!(by_id.map(drop), exceeded());
    }
    // A closed connection keeps its place until its peer has everything, or is gone.
    let (closed, taking) = &reserved[0];
    closed.close().await.expect("it is open");
    assert_eq!(late.0.try_send(&b"x"[..]), exceeded());
    assert_eq!(closed.queued_bytes(), RESERVED_SEND);
    taking.unlimit_writes();
    until("a place", || late.0.try_send(data.clone()).is_ok()).await;
    assert_eq!(closed.queued_bytes(), 0);
    assert!(taking.received() == data);

    for (_, peer) in &pairs {
        peer.unlimit_writes();
    }
    let all = || pairs.iter().all(|(client, _)| client.queued_bytes() == 0);
    until("everything", all).await;
    // The whole quota, and every place, are free again.
    for (_, peer) in &pairs {
        peer.limit_writes(0);
    }
    first.0.try_send(vec![0; MIB]).expect("within the quota");
    for (client, _) in &reserved[1..] {
        client.try_send(data.clone()).expect("there is a place");
    }
    late.0.try_send(data.clone()).expect("there is a place");
}

/// Another thread answers, and the sender must not be faster than what is given back.
#[actix_rt::test]
async fn whoever_has_the_answer_to_a_send_can_send_as_much_again() {
    let registry = Registry::new().arbiters(2).write_quota(4 * MIB);
    let mut test = TestApp::on(registry).await;
    let (_, at) = test.listen().await;
    let mut readers = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut peer = std::net::TcpStream::connect(at).expect("it listens");
        clients.push(test.accepted().await);
        readers.push(std::thread::spawn(move || {
            std::io::copy(&mut peer, &mut std::io::sink()).expect("an end")
        }));
    }
    // All of the quota, and more than the kernel takes at once.
    let data = Bytes::from(vec![7; 4 * MIB]);
    const SENDS: usize = 100;
    for _ in 0..SENDS {
        for client in &clients {
            client.send(data.clone()).await.expect("the quota is free");
        }
    }
    for client in clients {
        client.close().await.expect("it is open");
    }
    for reader in readers {
        let read = reader.join().expect("it has read");
        assert_eq!(read, (SENDS * data.len()) as u64);
    }
}
