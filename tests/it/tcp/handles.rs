//! Handles of sockets do the same as their ids.

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{
    ClientSocket, DnsQueryType, ReceiveErrorInfo, ReceiveInfo, SocketProperties,
};
use chrome_sockets::{App, ClientSocketId, Error};
use support::{TestApp, code, within};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{connect, connected, foreign_listener, pair, read, read_to_end, write};

async fn handle(test: &TestApp, id: ClientSocketId) -> ClientSocket {
    test.app.tcp.socket(id).await.expect("it exists")
}

#[actix_rt::test]
async fn the_handle_of_an_id_has_its_id_and_app() {
    let mut test = TestApp::new().await;
    let created = test.create().await;
    let (accepted, _peer) = pair(&mut test).await;
    for id in [created, accepted.id()] {
        let client = handle(&test, id).await;
        assert_eq!(client.id(), id);
        assert_eq!(client.app(), test.app.id());
        assert_eq!(client, handle(&test, id).await);
    }
    assert_eq!(handle(&test, accepted.id()).await, accepted);
    assert_ne!(handle(&test, created).await, accepted);
}

#[actix_rt::test]
async fn functions_of_a_handle_do_the_same_as_functions_by_id() {
    let mut test = TestApp::new().await;
    let tcp = test.app.tcp.clone();
    let id = test.create().await;
    let client = handle(&test, id).await;
    assert_eq!(client.get_info().await, tcp.get_info(id).await);

    let properties = SocketProperties {
        persistent: Some(true),
        name: Some("by handle".into()),
        buffer_size: Some(2),
        allow_half_open: Some(true),
        ..Default::default()
    };
    assert_eq!(client.update(properties).await, Ok(()));
    let info = tcp.get_info(id).await.expect("it exists");
    assert_eq!(info.name.as_deref(), Some("by handle"));
    assert_eq!((info.persistent, info.buffer_size), (true, Some(2)));

    assert_eq!(code("send", client.send(Bytes::new())).await, -15);
    assert_eq!(code("setNoDelay", client.set_no_delay(true)).await, -2);
    let keep_alive = client.set_keep_alive(true, None);
    assert_eq!(code("setKeepAlive", keep_alive).await, -2);

    assert_eq!(client.set_paused(true).await, Ok(()));
    assert!(tcp.get_info(id).await.expect("it exists").paused);
    let (listener, at) = foreign_listener().await;
    let port = at.port().into();
    let connecting = client.connect("127.0.0.1", port, DnsQueryType::Any);
    assert_eq!(connecting.await, Ok(()));
    let (mut peer, _) = listener.accept().await.expect("accept");
    assert_eq!(client.set_no_delay(true).await, Ok(()));
    assert_eq!(client.set_keep_alive(true, Some(10)).await, Ok(()));
    assert_eq!(client.get_info().await, tcp.get_info(id).await);

    let sent = client.send(&b"answered"[..]).await.expect("send");
    assert_eq!(sent.bytes_sent, 8);
    assert_eq!(client.try_send(&b"unanswered"[..]), Ok(()));
    assert_eq!(read(&mut peer, 18).await, b"answeredunanswered");
    write(&mut peer, b"in").await;
    assert_eq!(client.set_paused(false).await, Ok(()));
    assert_eq!(test.received(id, 2).await, b"in");

    assert_eq!(client.disconnect().await, Ok(()));
    assert_eq!(test.ended(id).await.code(), -100);
    assert_eq!(read_to_end(&mut peer).await, b"");
    assert_eq!(client.close().await, Ok(()));
    assert_eq!(tcp.get_info(id).await, Err(Error::SocketNotFound));
}

#[actix_rt::test]
async fn a_handle_outlives_its_socket_and_every_call_answers_socket_not_found() {
    let mut test = TestApp::new().await;
    for by_handle in [true, false] {
        let (client, _peer) = pair(&mut test).await;
        let other = client.clone();
        let closed = if by_handle {
            other.close()
        } else {
            test.app.tcp.close(client.id())
        };
        closed.await.expect("close");
        let connecting = client.connect("127.0.0.1", 1, DnsQueryType::Any);
        for (function, answer) in [
            ("update", client.update(Default::default()).await),
            ("setPaused", client.set_paused(false).await),
            ("setKeepAlive", client.set_keep_alive(true, None).await),
            ("setNoDelay", client.set_no_delay(true).await),
            ("connect", connecting.await),
            ("send", client.send(&b"late"[..]).await.map(drop)),
            ("try_send", client.try_send(&b"late"[..])),
            ("getInfo", client.get_info().await.map(drop)),
            ("disconnect", client.disconnect().await),
            ("close", client.close().await),
        ] {
            assert_eq!(answer, Err(Error::SocketNotFound), "{function}");
        }
        assert_eq!(client.id(), other.id());
    }
}

#[actix_rt::test]
async fn a_handle_does_not_keep_its_socket_open_and_dropping_it_does_not_close_the_socket() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let id = client.id();
    drop(client);
    let tcp = &test.app.tcp;
    tcp.send(id, &b"alive"[..]).await.expect("send");
    assert_eq!(read(&mut peer, 5).await, b"alive");
    let _kept = handle(&test, id).await;
    tcp.close(id).await.expect("close");
    assert_eq!(read_to_end(&mut peer).await, b"");
}

/// Sends data back through the handles of its events.
struct EchoingListener(UnboundedSender<ClientSocket>);

impl Actor for EchoingListener {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for EchoingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        assert_eq!(info.client().id(), info.socket_id);
        let client = info.client().clone();
        client.forward(info).expect("forward");
    }
}

impl Handler<ReceiveErrorInfo> for EchoingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        assert_eq!(info.client().id(), info.socket_id);
        self.0.send(info.client().clone()).expect("the test runs");
    }
}

#[actix_rt::test]
async fn on_receive_and_on_receive_error_carry_the_sockets_handle() {
    let test = TestApp::new().await;
    let app = App::new("answers", &test.registry);
    let (ended, mut ends) = unbounded_channel();
    let answers = EchoingListener(ended).start();
    let on_receive = &app.tcp.on_receive;
    let added = on_receive.add_listener(answers.clone().recipient());
    added.await.expect("the registry runs");
    let on_end = &app.tcp.on_receive_error;
    let added = on_end.add_listener(answers.recipient());
    added.await.expect("the registry runs");

    let created = app.tcp.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    let mut peer = connect(&app, id).await;
    write(&mut peer, b"echo").await;
    assert_eq!(read(&mut peer, 4).await, b"echo");
    drop(peer);
    let client = within("onReceiveError", ends.recv())
        .await
        .expect("it runs");
    assert_eq!(client, app.tcp.socket(id).await.expect("it exists"));
    assert_eq!(client.close().await, Ok(()));
}

#[actix_rt::test]
async fn on_accept_carries_the_sockets_handle() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    assert_eq!(client, handle(&test, client.id()).await);
    client.send(&b"through it"[..]).await.expect("send");
    assert_eq!(read(&mut peer, 10).await, b"through it");
}

#[actix_rt::test]
async fn data_of_one_socket_can_be_forwarded_to_another() {
    let mut test = TestApp::new().await;
    let (to, mut to_peer) = connected(&test).await;
    let forwards = ForwardingListener(to).start();
    let on_receive = &test.app.tcp.on_receive;
    let ours = test.listener.clone().recipient();
    on_receive.remove_listener(ours).await.expect("removed");
    let added = on_receive.add_listener(forwards.recipient());
    added.await.expect("the registry runs");
    let (from, mut from_peer) = pair(&mut test).await;
    from.set_paused(false).await.expect("resume");
    write(&mut from_peer, b"pass it on").await;
    assert_eq!(read(&mut to_peer, 10).await, b"pass it on");
}

/// Forwards data to one socket.
struct ForwardingListener(ClientSocket);

impl Actor for ForwardingListener {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for ForwardingListener {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        self.0.forward(info).expect("forward");
    }
}
