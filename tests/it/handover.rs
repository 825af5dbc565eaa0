//! Persistent sockets move from one registry to the next, completely or not at all.

mod batches;
mod concurrent_calls;
mod failures;
pub mod hostile_records;
mod settings;
mod shared_port;
mod streams;
mod timeouts;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use actix::prelude::*;
use actix_rt::task::JoinHandle;
use chrome_sockets::handover::{Error, Inheritance, Receipt, Successor, hand_over};
use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp::ReceiveInfo;
use chrome_sockets::tcp_server::{AtLimit, Limit, Limits, SocketProperties};
use chrome_sockets::{ClientSocketId, NetError, ServerSocketId, tcp};
use socket2::SockRef;
use support::{LIMIT, ListenerEvent, TestApp, within};

/// A connected pair of descriptors for the two processes.
pub fn socket_pair() -> (OwnedFd, OwnedFd) {
    let (old, new) = UnixStream::pair().expect("a pair");
    (old.into(), new.into())
}

/// Hands everything of one registry over to another.
async fn hand_over_to(
    old: &TestApp,
    new: &TestApp,
) -> (Result<Receipt, Error>, Result<Receipt, Error>) {
    let (here, there) = socket_pair();
    let outgoing = hand_over(&old.registry, Successor::from_socket(here));
    let incoming = Inheritance::from_socket(there).adopt(&new.registry);
    within("the handover", futures::future::join(outgoing, incoming)).await
}

/// Starts the outgoing side of a handover.
pub fn begin_handover(
    old: &TestApp,
    here: impl Into<OwnedFd>,
) -> JoinHandle<Result<Receipt, Error>> {
    let (registry, here) = (old.registry.clone(), here.into());
    actix_rt::spawn(async move { hand_over(&registry, Successor::from_socket(here)).await })
}

/// [`hand_over_to`], which must succeed.
pub async fn expect_handover(old: &TestApp, new: &TestApp) -> Receipt {
    let (outgoing, incoming) = hand_over_to(old, new).await;
    let (outgoing, incoming) = (
        outgoing.expect("the outgoing side succeeds"),
        incoming.expect("the incoming side succeeds"),
    );
    assert_eq!(outgoing.servers, incoming.servers);
    assert_eq!(outgoing.clients, incoming.clients);
    assert_eq!(outgoing.unreported_clients, incoming.unreported_clients);
    outgoing
}

/// A listening persistent server socket.
async fn persistent_server(test: &TestApp, name: &str) -> (ServerSocketId, SocketAddr) {
    let (id, address) = test.listen().await;
    let properties = SocketProperties {
        persistent: Some(true),
        name: Some(name.into()),
    };
    let updated = test.app.tcp_server.update(id, properties).await;
    updated.expect("update");
    (id, address)
}

/// An accepted client socket that is persistent and receives, and its peer.
async fn accept_persistent(
    test: &mut TestApp,
    address: SocketAddr,
) -> (tcp::ClientSocket, TcpStream) {
    let peer = dial(address);
    let client = test.accepted().await;
    let properties = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(properties).await.expect("update");
    client.set_paused(false).await.expect("it receives");
    (client, peer)
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LIMIT).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// Waits until the port is free. This may take a moment: a child process of another test has a
/// copy of every socket until it runs its program.
async fn port_is_free(address: SocketAddr) {
    within("the port's end", async {
        while TcpStream::connect(address).is_ok() {
            actix_rt::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Checks that a new client is accepted and received here.
async fn expect_service(test: &mut TestApp, address: SocketAddr) {
    let mut peer = dial(address);
    let client = test.accepted().await;
    client.do_set_paused(false);
    peer.write_all(b"alive").expect("it reads");
    assert_eq!(test.received(client.id(), 5).await, b"alive");
    client.send("yes").await.expect("sent");
    let mut reply = [0; 3];
    peer.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"yes");
    client.close().await.expect("closed");
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
}

#[actix_rt::test]
async fn a_server_socket_is_transferred_with_all_its_properties() {
    let old = TestApp::new().await;
    let mut new = TestApp::new().await;
    // A closed socket, so that ids do not start at the first.
    let (closed, _) = old.listen().await;
    old.app.tcp_server.close(closed).await.expect("closed");
    let (id, address) = persistent_server(&old, "web").await;
    let (transient, other) = old.listen().await;
    let before = old.app.tcp_server.get_info(id).await;

    let receipt = expect_handover(&old, &new).await;
    assert_eq!(receipt.servers, [("test".into(), id)]);
    assert_eq!(
        (receipt.unreported_clients, receipt.not_transferred),
        (0, Vec::new())
    );

    assert_eq!(new.app.tcp_server.get_info(id).await, before);
    assert_eq!(
        old.app.tcp_server.get_info(id).await,
        Err(chrome_sockets::Error::SocketNotFound)
    );
    let kept = old.app.tcp_server.get_sockets().await.expect("it runs");
    let kept: Vec<_> = kept.into_iter().map(|info| info.socket_id).collect();
    assert_eq!(kept, [transient], "sockets that are not persistent stay");
    dial(other);

    // No id is allocated twice.
    let next = new.app.tcp_server.create(Default::default()).await;
    assert_eq!(next.map(|info| info.socket_id), Ok(ServerSocketId::new(4)));
    expect_service(&mut new, address).await;
}

#[actix_rt::test]
async fn connections_in_the_backlog_are_accepted_once_by_the_successor() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (id, address) = persistent_server(&old, "").await;
    expect_service(&mut old, address).await;
    old.app
        .tcp_server
        .set_paused(id, true)
        .await
        .expect("paused");
    let mut waiting: Vec<_> = (0..20).map(|_| dial(address)).collect();

    expect_handover(&old, &new).await;
    let info = new
        .app
        .tcp_server
        .get_info(id)
        .await
        .expect("it has arrived");
    assert!(info.paused, "a paused one stays paused");
    new.expect_no_event().await;
    new.app
        .tcp_server
        .set_paused(id, false)
        .await
        .expect("resumed");
    for (i, peer) in waiting.iter_mut().enumerate() {
        let client = new.accepted().await;
        // The first id belongs to the old process.
        assert_eq!(client.id(), ClientSocketId::new(i as u64 + 2));
        client.send(format!("{i:02}")).await.expect("sent");
        let mut reply = [0; 2];
        peer.read_exact(&mut reply).expect("a reply");
        assert_eq!(reply, format!("{i:02}").as_bytes());
    }
    new.expect_no_event().await;
    old.expect_no_event().await;
}

#[actix_rt::test]
async fn a_persistent_client_loses_no_byte_in_either_direction() {
    const MANY: usize = 8 * 1024 * 1024;
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (client, mut peer) = accept_persistent(&mut old, address).await;
    let properties = tcp::SocketProperties {
        name: Some("friend".into()),
        buffer_size: Some(1000),
        ..Default::default()
    };
    client.update(properties).await.expect("update");
    client
        .set_keep_alive(true, Some(77))
        .await
        .expect("the option is set");
    peer.write_all(b"first ").expect("it reads");
    assert_eq!(old.received(client.id(), 6).await, b"first ");
    // The peer does not read, so most of this is still unsent.
    let data: Vec<u8> = (0..MANY).map(|i| (i / 7 % 251) as u8).collect();
    let sent = data.chunks(100_000).map(|part| client.send(part.to_vec()));
    let sent: Vec<_> = sent.collect();
    // Data has arrived, but the paused socket has not read it.
    client.set_paused(true).await.expect("paused");
    peer.write_all(b"second ").expect("there is room");
    let mut before = old.app.tcp.get_info(client.id()).await.expect("open");
    // The new process counts from the handover on.
    before.traffic = None;

    let receipt = expect_handover(&old, &new).await;
    assert_eq!(receipt.clients, [("test".into(), client.id())]);
    for answer in sent {
        answer.await.expect("the successor sends it");
    }
    let mut after = new.app.tcp.get_info(client.id()).await.expect("open");
    after.traffic = None;
    // The successor goes on to write.
    assert!(after.queued_bytes <= before.queued_bytes);
    after.queued_bytes = before.queued_bytes;
    assert_eq!(after, before);
    let closed = client.send("lost").await;
    assert_eq!(closed, Err(chrome_sockets::Error::SocketNotFound));

    let here = new
        .app
        .tcp
        .socket(client.id())
        .await
        .expect("it has arrived");
    let last = here.send("the end");
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; MANY + 7];
        peer.read_exact(&mut got).expect("everything");
        (peer, got)
    });
    last.await.expect("sent");
    let (mut peer, got) = reader.join().expect("it reads");
    assert!(got[..MANY] == data, "other bytes came than were sent");
    assert_eq!(&got[MANY..], b"the end");
    new.expect_no_event().await;
    here.set_paused(false).await.expect("resumed");
    peer.write_all(b"third").expect("it reads");
    assert_eq!(new.received(client.id(), 12).await, b"second third");
    drop(peer);
    assert_eq!(new.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    old.expect_no_event().await;
}

#[actix_rt::test]
async fn an_end_behind_unread_data_is_reported_by_the_successor() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (client, mut peer) = accept_persistent(&mut old, address).await;
    client.set_paused(true).await.expect("paused");
    peer.write_all(b"bye").expect("there is room");
    drop(peer);

    expect_handover(&old, &new).await;
    let here = new
        .app
        .tcp
        .socket(client.id())
        .await
        .expect("it has arrived");
    here.set_paused(false).await.expect("resumed");
    assert_eq!(new.received(client.id(), 3).await, b"bye");
    assert_eq!(new.ended(client.id()).await, NetError::CONNECTION_CLOSED);
}

#[actix_rt::test]
async fn a_reset_of_a_paused_socket_is_reported_by_the_successor() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (server, address) = persistent_server(&old, "").await;
    let (client, peer) = accept_persistent(&mut old, address).await;
    client.set_paused(true).await.expect("paused");
    let limits = Limits {
        connections: Some(Limit {
            most: 1,
            then: AtLimit::Queue,
        }),
        ..Default::default()
    };
    let set = old.app.tcp_server.set_limits(server, limits).await;
    set.expect("valid limits");
    let waiting_peer = dial(address);
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .expect("the option is set");
    drop(peer);
    // Its place in limits is free, so only its end is left.
    let second = old.accepted().await;
    second.close().await.expect("it was open");

    expect_handover(&old, &new).await;
    let here = new
        .app
        .tcp
        .socket(client.id())
        .await
        .expect("it has arrived");
    new.expect_no_event().await;
    // It takes no place in the successor either.
    let third = dial(address);
    new.accepted().await;
    here.set_paused(false).await.expect("resumed");
    assert_eq!(new.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    drop((waiting_peer, third));
}

#[actix_rt::test]
async fn an_end_that_was_read_but_not_reported_is_reported_by_the_successor() {
    // The end is read while a listener still has data, and reported only after that.
    struct SlowListener(Sender<()>, Receiver<()>);
    impl Actor for SlowListener {
        type Context = Context<Self>;
    }
    impl Handler<ReceiveInfo> for SlowListener {
        type Result = ();
        fn handle(&mut self, _: ReceiveInfo, _: &mut Self::Context) {
            self.0.send(()).expect("the test waits");
            self.1.recv_timeout(LIMIT).expect("the test signals");
        }
    }
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (client, mut peer) = accept_persistent(&mut old, address).await;
    let receive = &old.app.tcp.on_receive;
    receive.do_remove_listener(old.listener.clone().recipient());
    let elsewhere = Arbiter::new();
    let (began, begins) = channel();
    let (go, in_progress) = channel();
    let slow =
        SlowListener::start_in_arbiter(&elsewhere.handle(), |_| SlowListener(began, in_progress));
    receive.add_listener(slow.recipient()).await.expect("added");
    peer.write_all(b"bye").expect("it reads");
    let begins = tokio::task::spawn_blocking(move || begins.recv_timeout(LIMIT));
    begins
        .await
        .expect("the task ran")
        .expect("the listener runs");
    // A reset is an end that cannot be read a second time.
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .expect("the option is set");
    drop(peer);
    old.expect_no_event().await;

    let (here, there) = socket_pair();
    let outgoing = begin_handover(&old, here);
    let registry = new.registry.clone();
    let incoming = actix_rt::spawn(async move {
        let inheritance = Inheritance::from_socket(there);
        inheritance.adopt(&registry).await
    });
    // By now the sockets raise no events.
    old.expect_no_event().await;
    go.send(()).expect("it waits");
    within("the handover", incoming)
        .await
        .expect("the task ran")
        .expect("the incoming side succeeds");
    outgoing
        .await
        .expect("the task ran")
        .expect("the outgoing side succeeds");
    assert_eq!(new.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    old.expect_no_event().await;
    elsewhere.stop();
}

#[actix_rt::test]
async fn the_old_process_continues_to_serve_a_client_that_is_not_persistent() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let mut peer = dial(address);
    let client = old.accepted().await;
    client.set_paused(false).await.expect("it receives");

    expect_handover(&old, &new).await;
    peer.write_all(b"still here").expect("it reads");
    assert_eq!(old.received(client.id(), 10).await, b"still here");
    client.send("good").await.expect("sent");
    let mut reply = [0; 4];
    peer.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"good");
    expect_service(&mut new, address).await;
}

#[actix_rt::test]
async fn accepted_clients_without_delivered_on_accept_are_transferred() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (id, address) = persistent_server(&old, "").await;
    // The app is suspended, so the first connection is accepted but not reported.
    old.app.suspend().await.expect("suspended");
    let mut peers: Vec<_> = (0..3).map(|_| dial(address)).collect();
    let client = ClientSocketId::new(1);
    within("the first one", async {
        while old.app.tcp.get_info(client).await.is_err() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;

    let receipt = expect_handover(&old, &new).await;
    assert_eq!(receipt.unreported_clients, 1);
    assert_eq!(receipt.clients, [], "it was not reported yet");
    for (i, peer) in peers.iter_mut().enumerate() {
        match new.next().await {
            ListenerEvent::Accept(server, client) => {
                assert_eq!(server, id);
                assert_eq!(client.id(), ClientSocketId::new(i as u64 + 1));
                client.send("hello").await.expect("sent");
            }
            other => panic!("expected onAccept, not {other:?}"),
        }
        let mut reply = [0; 5];
        peer.read_exact(&mut reply).expect("a reply");
    }
    old.expect_no_event().await;
}

#[actix_rt::test]
async fn an_unconnected_socket_is_transferred_too() {
    let old = TestApp::new().await;
    let new = TestApp::new().await;
    let properties = SocketProperties {
        persistent: Some(true),
        name: Some("later".into()),
    };
    let server = old.app.tcp_server.create(properties).await;
    let server = server.expect("create").socket_id;
    let properties = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let client = old.app.tcp.create(properties).await.expect("create");

    expect_handover(&old, &new).await;
    let (_, address) = new.listen().await;
    let tcp = &new.app.tcp;
    let connected = tcp.connect(
        client.socket_id,
        "127.0.0.1",
        address.port().into(),
        Default::default(),
    );
    connected.await.expect("it connects here");
    let listening = new.app.tcp_server.listen(server, "127.0.0.1", 0, None);
    listening.await.expect("it listens here");
    let info = new.app.tcp_server.get_info(server).await.expect("getInfo");
    assert_eq!(info.name.as_deref(), Some("later"));
}

#[actix_rt::test]
async fn a_suspended_app_stays_suspended_in_the_successor_until_it_is_loaded() {
    let old = TestApp::new().await;
    let (id, address) = persistent_server(&old, "").await;
    old.app.suspend().await.expect("suspended");
    let registry = chrome_sockets::Registry::new().start();
    let (here, there) = socket_pair();
    let outgoing = hand_over(&old.registry, Successor::from_socket(here));
    let incoming = Inheritance::from_socket(there).adopt(&registry);
    let (outgoing, incoming) =
        within("the handover", futures::future::join(outgoing, incoming)).await;
    assert_eq!(
        outgoing.expect("the outgoing side succeeds"),
        incoming.expect("the incoming side succeeds")
    );

    let app = chrome_sockets::App::new("test", &registry);
    assert_eq!(app.is_suspended().await, Ok(true));
    let info = app.tcp_server.get_info(id).await.expect("it has arrived");
    assert_eq!(info.local_addr(), Some(address));
}

#[actix_rt::test]
async fn many_processes_hand_over_one_after_the_other() {
    let mut test = TestApp::new().await;
    let (id, address) = persistent_server(&test, "dynasty").await;
    let (client, mut peer) = accept_persistent(&mut test, address).await;
    let client = client.id();
    for round in 0..20 {
        let next = TestApp::new().await;
        // The data may arrive at any point of the handover.
        peer.write_all(&[round; 3000]).expect("there is room");
        expect_handover(&test, &next).await;
        let mut had = Vec::new();
        let old = std::mem::replace(&mut test, next);
        let mut old = old;
        // Data that the old process had read, and data that it had not.
        while let Some(ListenerEvent::Receive(_, data)) = old.try_next() {
            had.extend_from_slice(&data);
        }
        had.extend(test.received(client, 3000 - had.len()).await);
        assert_eq!(had, [round; 3000]);
    }
    let info = test
        .app
        .tcp_server
        .get_info(id)
        .await
        .expect("it has arrived");
    assert_eq!(info.name.as_deref(), Some("dynasty"));
}

#[actix_rt::test]
async fn a_waiting_client_loads_the_event_page_of_the_successor() {
    let old = TestApp::new().await;
    let mut new = TestApp::new().await;
    // This registry's listener is added by the event page.
    new.app.suspend().await.expect("suspended");
    let listener = new.listener.clone();
    let page = EventPage::new(move |app| {
        let listener = listener.clone().recipient();
        app.tcp_server.on_accept.add_listener(listener)
    });
    new.app.set_event_page(Some(page)).await.expect("it is set");
    let (_, address) = persistent_server(&old, "").await;
    old.app.suspend().await.expect("suspended");
    let mut waiting = dial(address);

    expect_handover(&old, &new).await;
    let client = new.accepted().await;
    client.send("hello").await.expect("sent");
    waiting.read_exact(&mut [0; 5]).expect("it is served");
    assert_eq!(new.app.is_suspended().await, Ok(false));
}
