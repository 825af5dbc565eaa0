//! Headers with pauses, suspensions, drains, dead listeners, handlers and several arbiters.

use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptInfo, SocketProperties};
use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{NetError, Registry};
use support::{EventSender, TestApp, subscribe, within};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::unbounded_channel;

use super::{Fixture, dial, expect_end, failed, listen_to, trusting, write};

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\r\n";
const CLIENT: &str = "192.0.2.1:56789";

#[actix_rt::test]
async fn a_paused_socket_reads_headers_and_raises_their_clients_when_it_is_resumed() {
    let mut fixture = Fixture::new().await;
    let mut proxy = dial(fixture.at).await;
    write(&mut proxy, &HEADER[..20]).await;
    fixture.test.expect_no_event().await;
    let server = fixture.test.app.tcp_server.clone();
    server.set_paused(fixture.id, true).await.expect("paused");
    write(&mut proxy, &HEADER[20..]).await;
    let mut other = dial(fixture.at).await;
    write(&mut other, b"garbage").await;
    fixture.test.expect_no_event().await;
    assert!(fixture.errors.try_recv().is_err(), "it is paused");
    server.set_paused(fixture.id, false).await.expect("resumed");
    let info = within("onAccept", fixture.accepts.recv()).await;
    let info = info.expect("the listener runs");
    assert_eq!(info.peer().to_string(), CLIENT);
    within("onProxyError", fixture.errors.recv()).await;
}

#[actix_rt::test]
async fn a_suspended_app_is_loaded_for_a_client_and_not_for_a_bad_header() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    let persistent = SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let updated = app.tcp_server.update(fixture.id, persistent);
    updated.await.expect("it exists");
    let listener = fixture.test.another_listener();
    let (sender, mut accepts) = unbounded_channel();
    let page = EventPage::new(move |app| {
        let accepts = EventSender(sender.clone()).start().recipient();
        app.tcp_server.on_accept.do_add_listener(accepts);
        subscribe(&app, &listener().start())
    });
    app.set_event_page(Some(page)).await.expect("it runs");
    app.suspend().await.expect("suspended");
    let mut garbage = dial(fixture.at).await;
    write(&mut garbage, b"GET / HTTP/1.1\r\n\r\n").await;
    expect_end(&mut garbage).await;
    let mut proxy = dial(fixture.at).await;
    write(&mut proxy, &HEADER[..20]).await;
    fixture.test.expect_no_event().await;
    assert_eq!(app.is_suspended().await, Ok(true));
    write(&mut proxy, &HEADER[20..]).await;
    let info = within("onAccept", accepts.recv()).await;
    let info = info.expect("the listener runs");
    assert_eq!(info.peer().to_string(), CLIENT);
    assert!(info.proxy_peer().is_some());
    assert_eq!(app.is_suspended().await, Ok(false));
}

#[actix_rt::test]
async fn a_drain_waits_for_headers_until_its_deadline() {
    let mut fixture = Fixture::new().await;
    let mut proxy = dial(fixture.at).await;
    write(&mut proxy, &HEADER[..20]).await;
    // It is accepted once a client after it is.
    fixture.assert_serves().await;
    let server = fixture.test.app.tcp_server.clone();
    let draining = server.drain(fixture.id, Duration::from_secs(60));
    let draining = actix_rt::spawn(draining);
    fixture.test.expect_no_event().await;
    write(&mut proxy, &HEADER[20..]).await;
    let info = fixture.accepted().await;
    assert_eq!(info.peer().to_string(), CLIENT);
    for client in fixture.test.app.tcp.get_sockets().await.expect("a list") {
        let closed = fixture.test.app.tcp.close(client.socket_id);
        closed.await.expect("it exists");
    }
    drop(proxy);
    let drained = within("the drain", draining).await.expect("it runs");
    assert_eq!(drained.expect("drained").unfinished_handshakes, 0);
}

#[actix_rt::test]
async fn the_deadline_of_a_drain_ends_connections_that_owe_their_header() {
    let network = ScriptedNetwork::new();
    let mut fixture = Fixture::with_network(network.clone()).await;
    let silent = network.client(fixture.at).expect("it listens");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let server = fixture.test.app.tcp_server.clone();
    let drained = server.drain(fixture.id, Duration::ZERO);
    let drained = within("the drain", drained).await.expect("drained");
    assert_eq!(drained.unfinished_handshakes, 1);
    let info = fixture.error().await;
    assert_eq!(info.error, failed(NetError::ABORTED));
    assert_eq!(info.peer, silent.addr());
}

#[actix_rt::test]
async fn an_event_that_no_listener_has_handled_is_raised_again_with_its_proxy() {
    /// Dies of the first client.
    struct Panicking;
    impl Actor for Panicking {
        type Context = Context<Self>;
    }
    impl Handler<AcceptInfo> for Panicking {
        type Result = ();

        fn handle(&mut self, _: AcceptInfo, _: &mut Self::Context) {
            panic!("a panic of the test");
        }
    }
    let test = TestApp::new().await;
    test.remove_listener().await;
    let (id, at) = test.listen().await;
    let server = &test.app.tcp_server;
    let set = server.set_proxy_protocol(id, trusting(&["127.0.0.0/8"]));
    set.await.expect("the settings are valid");
    // In an arbiter of its own, whose thread the panic may end.
    let arbiter = Arbiter::new();
    let panicking = Panicking::start_in_arbiter(&arbiter.handle(), |_| Panicking);
    let added = server.on_accept.add_listener(panicking.clone().recipient());
    added.await.expect("the registry runs");
    let mut proxy = dial(at).await;
    write(&mut proxy, HEADER).await;
    within("its death", async {
        while panicking.connected() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    let (mut accepts, _errors) = listen_to(&test).await;
    let info = within("onAccept", accepts.recv()).await;
    let info = info.expect("the listener runs");
    assert_eq!(info.peer().to_string(), CLIENT);
    let proxy_peer = info.proxy_peer().expect("it has one");
    assert_eq!(proxy_peer.address.socket_addr(), proxy.local_addr().ok());
}

#[actix_rt::test]
async fn handlers_in_several_arbiters_and_on_a_shared_port_get_the_client() {
    /// Answers with the addresses of its client and its proxy.
    struct Session(String);
    impl Actor for Session {
        type Context = Context<Self>;
    }
    impl Handler<ReceiveInfo> for Session {
        type Result = ();

        fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
            let text = String::from_utf8_lossy(&info.data).into_owned();
            info.client()
                .try_send(format!("{} {text}", self.0))
                .expect("it is short");
        }
    }
    impl Handler<ReceiveErrorInfo> for Session {
        type Result = ();

        fn handle(&mut self, _: ReceiveErrorInfo, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }
    for reuse_port in [false, true] {
        let test = TestApp::on(Registry::new().arbiters(3)).await;
        test.remove_listener().await;
        let server = &test.app.tcp_server;
        let created = server.create(Default::default()).await.expect("create");
        let id = created.socket_id;
        server.set_reuse_port(id, reuse_port).await.expect("set");
        let set = server.set_proxy_protocol(id, trusting(&["127.0.0.0/8"]));
        set.await.expect("the settings are valid");
        let serving = server.serve(id, |info, _| {
            let proxy = info.proxy_peer().expect("it has a proxy");
            Session(format!("{} {}", info.peer(), proxy.address))
        });
        serving.await.expect("it exists");
        server
            .listen(id, "127.0.0.1", 0, None)
            .await
            .expect("listen");
        let info = server.get_info(id).await.expect("it exists");
        let at = info.local_addr().expect("it listens");
        let mut proxies = Vec::new();
        for number in 0..30_u8 {
            let mut proxy = dial(at).await;
            let header = format!("PROXY TCP4 192.0.2.{number} 192.0.2.255 80 81\r\nhello");
            let (begin, end) = header.split_at(usize::from(number));
            write(&mut proxy, begin.as_bytes()).await;
            proxies.push((number, proxy, end.to_owned()));
        }
        for (number, proxy, end) in &mut proxies {
            write(proxy, end.as_bytes()).await;
            let address = proxy.local_addr().expect("its address");
            let expected = format!("192.0.2.{number}:80 {address} hello");
            let mut answer = vec![0; expected.len()];
            let read = within("the answer", proxy.read_exact(&mut answer)).await;
            read.expect("read");
            assert_eq!(String::from_utf8_lossy(&answer), expected);
        }
    }
}
