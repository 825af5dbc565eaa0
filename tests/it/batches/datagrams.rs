//! Batches of datagrams.

use chrome_sockets::udp;
use support::KeepingListener;
use tokio::net::UdpSocket;

use super::*;

/// A bound socket, and a listener of batches in place of the test's.
async fn bound(test: &TestApp) -> (udp::Socket, std::net::SocketAddr) {
    let api = &test.app.udp;
    let own = test.listener.clone().recipient();
    let removed = api.on_receive.remove_listener(own).await;
    removed.expect("the registry runs");
    let created = api.create(Default::default()).await.expect("create");
    let id = created.socket_id;
    api.bind(id, "127.0.0.1", 0).await.expect("bind");
    let info = api.get_info(id).await.expect("it exists");
    let socket = api.socket(id).await.expect("it exists");
    (socket, info.local_addr().expect("it is bound"))
}

async fn send(to: std::net::SocketAddr, datagrams: std::ops::Range<u8>) -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    for i in datagrams {
        peer.send_to(&[i, i], to).await.expect("sent");
    }
    peer
}

#[actix_rt::test]
async fn the_datagrams_of_a_turn_are_one_message_in_order() {
    let test = TestApp::new().await;
    let (socket, at) = bound(&test).await;
    let peer = send(at, 0..10).await;
    let (sender, mut batches) = unbounded_channel();
    let listener = EventSender::<udp::ReceiveBatch>(sender).start();
    let added = test
        .app
        .udp
        .on_receive_batch
        .add_listener(listener.recipient());
    added.await.expect("the registry runs");
    let batch = within("a batch", batches.recv()).await.expect("it runs");
    assert_eq!(batch.len(), 10, "they had all come");
    for (i, info) in batch.into_iter().enumerate() {
        assert_eq!(info.data, [i as u8; 2].as_slice());
        assert_eq!(Ok(info.remote_addr()), peer.local_addr().map_err(|_| ()));
        let (to, data) = (info.remote_addr(), info.into_data());
        socket
            .send(
                data,
                &to.ip().to_string(),
                to.port().into(),
                DnsQueryType::Any,
            )
            .await
            .expect("sent");
    }
    for i in 0..10 {
        let mut answer = [0; 3];
        let length = within("an answer", peer.recv(&mut answer)).await;
        assert_eq!((length.expect("it is sent"), answer[0]), (2, i));
    }
}

/// Records datagrams, and panics at the third.
struct Victim(tokio::sync::mpsc::UnboundedSender<Bytes>);

impl Actor for Victim {
    type Context = Context<Self>;
}

impl Handler<udp::ReceiveBatch> for Victim {
    type Result = ();

    fn handle(&mut self, batch: udp::ReceiveBatch, _: &mut Self::Context) {
        for info in batch {
            assert!(info.data[0] != 2, "injected panic");
            let _ = self.0.send(info.into_data());
        }
    }
}

#[actix_rt::test]
async fn datagrams_of_a_batch_that_were_not_handled_return_before_the_suspect() {
    let mut test = TestApp::new().await;
    let (_socket, at) = bound(&test).await;
    let _peer = send(at, 0..5).await;
    let (handled, mut datagrams) = unbounded_channel();
    let victim = Victim(handled).start();
    let on_receive = &test.app.udp.on_receive_batch;
    let added = on_receive.add_listener(victim.clone().recipient()).await;
    added.expect("the registry runs");
    support::until("its death", || !victim.connected()).await;
    for i in 0..2u8 {
        assert_eq!(datagrams.try_recv().expect("handled"), [i, i].as_slice());
    }
    let own = test.listener.clone().recipient();
    let added = test.app.udp.on_receive.add_listener(own).await;
    added.expect("the registry runs");
    for i in [3u8, 4, 2] {
        match test.next().await {
            support::ListenerEvent::Datagram(_, _, data) => assert_eq!(data, [i, i].as_slice()),
            other => panic!("expected a datagram, not {other:?}"),
        }
    }
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_pause_waits_for_the_datagrams_of_a_batch() {
    let test = TestApp::new().await;
    let (socket, at) = bound(&test).await;
    let _peer = send(at, 0..3).await;
    let keeping = KeepingListener::<udp::ReceiveBatch>::default().start();
    let on_receive = &test.app.udp.on_receive_batch;
    let recipient = keeping.clone().recipient();
    on_receive.do_add_listener(recipient.clone());
    for _ in 0..3 {
        socket.get_info().await.expect("it is open");
    }
    let mut paused = socket.set_paused(true);
    socket.get_info().await.expect("it is open");
    assert!(futures::FutureExt::now_or_never(&mut paused).is_none());
    // Its last addresses.
    on_receive
        .remove_listener(recipient)
        .await
        .expect("it runs");
    drop(keeping);
    within("the pause", paused).await.expect("it is open");
}
