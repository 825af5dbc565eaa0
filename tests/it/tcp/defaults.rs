//! The default options of a connection: Chromium's.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use chrome_sockets::os::{Listener, Network, TokioNetwork};
use chrome_sockets::tcp::DnsQueryType;
use socket2::Socket;
use support::{TestApp, descriptors, within};
use tokio::net::{TcpListener, TcpStream};

use crate::tcp_server::dial;

/// `TCP_NODELAY`, and the times of keep-alive probes.
#[derive(PartialEq, Eq, Debug)]
struct SocketOptions {
    no_delay: bool,
    keep_alive: bool,
    idle: Duration,
    interval: Duration,
}

fn options(socket: &Socket) -> SocketOptions {
    SocketOptions {
        no_delay: socket.tcp_nodelay().expect("the option is set"),
        keep_alive: socket.keepalive().expect("the option is set"),
        idle: socket.tcp_keepalive_time().expect("the option is set"),
        interval: socket.tcp_keepalive_interval().expect("the option is set"),
    }
}

const DEFAULTS: SocketOptions = SocketOptions {
    no_delay: true,
    keep_alive: true,
    idle: Duration::from_secs(45),
    interval: Duration::from_secs(45),
};

fn of(at: SocketAddr, peer: &TcpStream) -> SocketOptions {
    let peer = peer.local_addr().expect("its address");
    options(&descriptors::find(at, peer))
}

#[actix_rt::test]
async fn accepted_sockets_have_chromiums_options() {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let peer = dial(at).await;
    test.accepted().await;
    assert_eq!(of(at, &peer), DEFAULTS);
}

#[actix_rt::test]
async fn accepted_sockets_of_a_shared_port_have_chromiums_options() {
    let mut test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let id = server.create(Default::default()).await.expect("create");
    let id = id.socket_id;
    server.set_reuse_port(id, true).await.expect("it is set");
    let listening = server.listen(id, "127.0.0.1", 0, None).await;
    listening.expect("listen");
    let info = server.get_info(id).await.expect("it is open");
    let at = info.local_addr().expect("it listens");
    let peer = dial(at).await;
    test.accepted().await;
    assert_eq!(of(at, &peer), DEFAULTS);
}

#[actix_rt::test]
async fn connected_sockets_have_chromiums_options_until_the_app_sets_others() {
    let test = TestApp::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("its address");
    let id = test.create().await;
    let tcp = &test.app.tcp;
    let connected = tcp.connect(id, "127.0.0.1", at.port().into(), DnsQueryType::Any);
    within("connect", connected).await.expect("it listens");
    let info = tcp.get_info(id).await.expect("it is open");
    let local = info.local_addr().expect("it is connected");
    let now = || options(&descriptors::find(local, at));
    assert_eq!(now(), DEFAULTS);

    tcp.set_keep_alive(id, true, Some(7))
        .await
        .expect("it is set");
    let seven = Duration::from_secs(7);
    let set = SocketOptions {
        idle: seven,
        interval: seven,
        ..DEFAULTS
    };
    assert_eq!(now(), set);
    // Neither sets a delay, so the one before stays.
    for delay in [None, Some(0)] {
        tcp.set_keep_alive(id, false, delay)
            .await
            .expect("it is set");
        assert!(!now().keep_alive);
        tcp.set_keep_alive(id, true, delay)
            .await
            .expect("it is set");
        assert_eq!(now(), set);
    }
    tcp.set_no_delay(id, false).await.expect("it is set");
    assert!(!now().no_delay);
}

/// The options of the next connection that a listener accepts.
async fn accept(listener: &mut dyn Listener, is_loose: bool) -> SocketOptions {
    let accepted = poll_fn(|cx| match is_loose {
        true => listener.poll_accept_here(cx),
        false => listener.poll_accept(cx),
    });
    let (stream, _) = within("a connection", accepted).await.expect("accept");
    options(&stream.duplicate().expect("a duplicate").into())
}

#[actix_rt::test]
async fn connections_that_waited_at_an_inherited_listener_have_chromiums_options() {
    for (is_loose, has_set) in [
        (false, ""),
        (true, ""),
        (true, "no delay"),
        (true, "keep-alive"),
    ] {
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = theirs.local_addr().expect("its address");
        let own = socket2::SockRef::from(&theirs);
        own.set_tcp_nodelay(has_set == "no delay")
            .expect("the option is set");
        own.set_keepalive(has_set == "keep-alive")
            .expect("the option is set");
        let before = [dial(at).await, dial(at).await];
        let adopted = TokioNetwork.adopt_listener(OwnedFd::from(theirs));
        let mut adopted = adopted.expect("a listener");
        let after = dial(at).await;
        for _ in 0..3 {
            assert_eq!(accept(&mut *adopted, is_loose).await, DEFAULTS);
        }
        drop((before, after));
    }
}

#[actix_rt::test]
async fn a_transferred_connection_keeps_its_options() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("its address");
    let peer = std::net::TcpStream::connect(at).expect("it listens");
    let theirs = Socket::from(peer);
    let before = options(&theirs);
    assert_ne!(before, DEFAULTS);
    let adopted = TokioNetwork.adopt_stream(theirs.into()).expect("a stream");
    let duplicate = adopted.duplicate().expect("a duplicate");
    assert_eq!(options(&duplicate.into()), before);
}

#[actix_rt::test]
async fn inherited_descriptors_are_not_inherited_by_child_processes() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("its address");
    let stream = std::net::TcpStream::connect(at).expect("it listens");
    let (listener, stream) = (Socket::from(listener), Socket::from(stream));
    for socket in [&listener, &stream] {
        socket.set_cloexec(false).expect("the option is set");
    }
    let numbers = [listener.as_raw_fd(), stream.as_raw_fd()];
    let _listener = TokioNetwork
        .adopt_listener(listener.into())
        .expect("one entry");
    let _stream = TokioNetwork
        .adopt_stream(stream.into())
        .expect("it is adopted");
    for number in numbers {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
        let info = info.expect("it is open");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.expect("its flags").trim(), 8);
        assert_ne!(flags.expect("octal") & 0o2_000_000, 0, "{info}");
    }
}
