//! What works as with TCP, and the options that only TCP has.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use chrome_sockets::Registry;
use chrome_sockets::tcp::{
    ConnectOptions, ReceiveErrorInfo, ReceiveInfo, SocketProperties, Timeouts,
};
use rustix::process::{getgid, getpid, getuid};
use socket2::{Domain, Type};
use support::code;

use super::*;

#[actix_rt::test]
async fn each_side_knows_who_the_other_is() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let mut accepts = accepts(&test).await;
    listen(&test, folder.path()).await;
    let client = test.create().await;
    let connected = test.app.tcp.connect_unix(client, folder.path()).await;
    connected.expect("connect");
    let info = within("onAccept", accepts.recv()).await.expect("an event");
    let peer = info.peer_credentials().expect("Linux tells it");
    assert_eq!(
        peer.pid,
        u32::try_from(getpid().as_raw_nonzero().get()).ok()
    );
    assert_eq!((peer.uid, peer.gid), (getuid().as_raw(), getgid().as_raw()));
    for info in [
        test.app.tcp.get_info(client).await.expect("info"),
        test.accepted().await.get_info().await.expect("info"),
    ] {
        assert_eq!(info.peer_credentials, Some(peer));
    }

    let (_, at) = test.listen().await;
    let _peer = std::net::TcpStream::connect(at).expect("it listens");
    let info = within("onAccept", accepts.recv()).await.expect("an event");
    assert_eq!(info.peer_credentials(), None, "of TCP");
    let client = test.accepted().await;
    assert_eq!(
        client.get_info().await.expect("info").peer_credentials,
        None
    );
}

#[actix_rt::test]
async fn a_large_amount_arrives_whole_both_ways_through_a_small_window() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    let (client, mut peer) = pair(&mut test, &folder.path()).await;
    let data = pattern(LARGE);
    let sent = client.send(data.clone());
    assert!(read(&mut peer, LARGE).await == data, "other bytes came");
    sent.await.expect("sent");
    let (mut reader, mut writer) = peer.into_split();
    let written = async {
        writer.write_all(&data).await.expect("written");
        writer.shutdown().await.expect("shut");
    };
    let id = client.id();
    let received = test.received(id, LARGE);
    let (received, ()) = within("all of it", futures::future::join(received, written)).await;
    assert!(received == data, "other bytes came");
    assert_eq!(test.ended(id).await, NetError::CONNECTION_CLOSED);
    assert_eq!(reader.read(&mut [0; 1]).await.expect("the end"), 0);
}

#[actix_rt::test]
async fn a_paused_server_socket_leaves_clients_in_the_backlog_and_counts_them() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let id = listen(&test, folder.path()).await;
    let server = &test.app.tcp_server;
    server.set_paused(id, true).await.expect("paused");
    let _peers = [dial(&folder.path()).await, dial(&folder.path()).await];
    let backlog = server.get_info(id).await.expect("info").backlog;
    assert!(matches!(backlog, None | Some(2)), "{backlog:?}");
    test.expect_no_event().await;
    test.app
        .tcp_server
        .set_paused(id, false)
        .await
        .expect("resumed");
    let client = test.accepted().await;
    test.accepted().await;
    // An accepted client is paused as well.
    assert!(client.get_info().await.expect("info").paused);
}

#[actix_rt::test]
async fn options_of_tcp_are_not_implemented_and_change_nothing() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    let (client, mut peer) = pair(&mut test, &folder.path()).await;
    let not_implemented = NetError::NOT_IMPLEMENTED.code();
    let no_delay = client.set_no_delay(true);
    assert_eq!(code("setNoDelay", no_delay).await, not_implemented);
    let keep_alive = client.set_keep_alive(true, Some(30));
    assert_eq!(code("setKeepAlive", keep_alive).await, not_implemented);
    let properties = || SocketProperties {
        user_timeout: Some(Duration::from_secs(9)),
        ..Default::default()
    };
    let updated = client.update(properties());
    assert_eq!(code("update", updated).await, not_implemented);
    assert_eq!(client.get_info().await.expect("info").user_timeout, None);
    write(&mut peer, b"alive").await;
    assert_eq!(test.received(client.id(), 5).await, b"alive");

    // A socket that has the option set connects, and has no use for it.
    let id = test.create().await;
    let tcp = &test.app.tcp;
    tcp.update(id, properties()).await.expect("update");
    tcp.connect_unix(id, folder.path()).await.expect("connect");
    test.accepted().await;
}

#[actix_rt::test]
async fn the_timeouts_of_the_crate_end_a_connection() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    let (client, mut peer) = pair(&mut test, &folder.path()).await;
    let idle = Timeouts {
        idle: Some(Duration::from_millis(20)),
        ..Timeouts::default()
    };
    client.set_timeouts(idle).await.expect("set");
    assert_eq!(test.ended(client.id()).await, NetError::TIMED_OUT);
    assert_eq!(read_to_end(&mut peer).await, b"");

    // The peer reads nothing.
    let (client, _peer) = pair(&mut test, &folder.path()).await;
    let send = Timeouts {
        send: Some(Duration::from_millis(20)),
        ..Timeouts::default()
    };
    client.set_timeouts(send).await.expect("set");
    let sent = within("the answer", client.send(pattern(LARGE))).await;
    assert_eq!(sent, Err(NetError::TIMED_OUT.into()));
    assert_eq!(test.ended(client.id()).await, NetError::TIMED_OUT);
}

#[actix_rt::test]
async fn connect_reaches_a_server_of_another_program() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let listener = UnixListener::bind(folder.path()).expect("a socket");
    let id = test.create().await;
    test.app
        .tcp
        .connect_unix(id, folder.path())
        .await
        .expect("connect");
    let (mut peer, _) = listener.accept().expect("a client");
    std::io::Write::write_all(&mut peer, b"welcome").expect("written");
    assert_eq!(test.received(id, 7).await, b"welcome");
    test.app.tcp.send(id, &b"thanks"[..]).await.expect("sent");
    test.app.tcp.close(id).await.expect("close");
    let mut got = Vec::new();
    std::io::Read::read_to_end(&mut peer, &mut got).expect("an orderly end");
    assert_eq!(got, b"thanks");
}

#[actix_rt::test]
async fn connect_waits_for_room_in_a_full_backlog_as_long_as_it_may() {
    let folder = Folder::new();
    let test = TestApp::new().await;
    let path = folder.path();
    let listener = UnixListener::bind(&path).expect("a socket");
    rustix::net::listen(&listener, 0).expect("it listens");
    let mut waiting = Vec::new();
    loop {
        let peer = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        peer.set_nonblocking(true).expect("the option is set");
        let at = socket2::SockAddr::unix(&path).expect("a name");
        match peer.connect(&at) {
            Ok(()) => waiting.push(peer),
            Err(_) => break,
        }
    }
    let id = test.create().await;
    let tcp = &test.app.tcp;
    let options = ConnectOptions {
        timeout: Some(Duration::from_millis(50)),
        ..ConnectOptions::default()
    };
    let refused = tcp.connect_to(id, UnixAddress::from(&path), options).await;
    assert_eq!(refused, Err(NetError::CONNECTION_TIMED_OUT.into()));

    let connecting = tcp.connect_unix(id, &path);
    // It has tried before this is answered.
    tcp.get_info(id).await.expect("info");
    listener.accept().expect("a client");
    within("the connection", connecting)
        .await
        .expect("there is room");

    let other = test.create().await;
    let connecting = tcp.connect_unix(other, &path);
    tcp.disconnect(other).await.expect("it exists");
    assert_eq!(connecting.await, Err(NetError::ABORTED.into()));
}

/// Echoes.
struct Session;

impl Actor for Session {
    type Context = actix::Context<Self>;
}

impl actix::Handler<ReceiveInfo> for Session {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let _ = info.client().try_send(info.data.clone());
    }
}

impl actix::Handler<ReceiveErrorInfo> for Session {
    type Result = ();

    fn handle(&mut self, _: ReceiveErrorInfo, ctx: &mut Self::Context) {
        actix::ActorContext::stop(ctx);
    }
}

#[actix_rt::test]
async fn serve_works_with_one_arbiter_and_with_three() {
    for registry in [Registry::new(), Registry::new().arbiters(3)] {
        let folder = Folder::new();
        let test = TestApp::on(registry).await;
        let id = listen(&test, folder.path()).await;
        let serving = test.app.tcp_server.serve(id, |_, _| Session);
        serving.await.expect("it serves");
        let mut peers = Vec::new();
        for number in 0..12_u8 {
            let mut peer = dial(&folder.path()).await;
            write(&mut peer, &[number; 5000]).await;
            peers.push(peer);
        }
        for (number, mut peer) in (0..).zip(peers) {
            assert_eq!(read(&mut peer, 5000).await, [number; 5000]);
            peer.shutdown().await.expect("shut");
            assert_eq!(read_to_end(&mut peer).await, b"");
        }
        test.app.tcp_server.close(id).await.expect("close");
        within("the end of the sockets", async {
            while !test
                .app
                .tcp
                .get_sockets()
                .await
                .expect("sockets")
                .is_empty()
            {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
    }
}

#[actix_rt::test]
async fn a_socket_becomes_a_stream() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    let (client, mut peer) = pair(&mut test, &folder.path()).await;
    let stream = within("the stream", client.into_stream()).await;
    let mut stream = stream.expect("it is connected");
    write(&mut peer, b"a request").await;
    peer.shutdown().await.expect("shut");
    let mut request = Vec::new();
    let read = within("the request", stream.read_to_end(&mut request)).await;
    read.expect("read");
    assert_eq!(request, b"a request");
    stream.write_all(b"an answer").await.expect("written");
    stream.shutdown().await.expect("shut");
    assert_eq!(read_to_end(&mut peer).await, b"an answer");
}
