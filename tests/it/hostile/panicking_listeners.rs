//! Listeners that panic.

use super::*;

/// Panics in its first handler, once its mailbox is full.
struct PanickingListener(std::sync::mpsc::Receiver<()>);

impl Actor for PanickingListener {
    type Context = Context<Self>;
}

impl PanickingListener {
    fn fail(&self) {
        self.0.recv().expect("the test signals");
        panic!("injected panic of the listener");
    }
}

impl Handler<AcceptInfo> for PanickingListener {
    type Result = ();

    fn handle(&mut self, _: AcceptInfo, _: &mut Self::Context) {
        self.fail();
    }
}

impl Handler<ReceiveInfo> for PanickingListener {
    type Result = ();

    fn handle(&mut self, _: ReceiveInfo, _: &mut Self::Context) {
        self.fail();
    }
}

impl Handler<ReceiveErrorInfo> for PanickingListener {
    type Result = ();

    fn handle(&mut self, _: ReceiveErrorInfo, _: &mut Self::Context) {
        self.fail();
    }
}

/// Starts it on an arbiter of its own; it panics when the sender is used.
fn start_panicking(arbiter: &Arbiter) -> (Addr<PanickingListener>, std::sync::mpsc::Sender<()>) {
    let (fail, reported) = std::sync::mpsc::channel();
    let actor =
        PanickingListener::start_in_arbiter(&arbiter.handle(), |_| PanickingListener(reported));
    (actor, fail)
}

#[actix_rt::test]
async fn clients_of_a_listener_that_panics_are_raised_again_for_the_next_one() {
    let mut fixture = Fixture::new().await;
    let arbiter = Arbiter::new();
    let (listener, fail) = start_panicking(&arbiter);
    let on_accept = fixture.test.app.tcp_server.on_accept.clone();
    let own = fixture.test.listener.clone().recipient::<AcceptInfo>();
    on_accept.do_remove_listener(own.clone());
    on_accept
        .add_listener(listener.clone().recipient())
        .await
        .expect("added");
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(dial(fixture.at).await);
    }
    // The first event is in its handler, the others in its mailbox.
    within("twenty clients", async {
        while fixture
            .test
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
    // The client at which it panicked comes last.
    peers.rotate_left(1);
    let (mut ids, mut clients) = (HashSet::new(), Vec::new());
    for peer in &peers {
        let client = fixture.test.accepted().await;
        let info = client.get_info().await.expect("it exists");
        assert_eq!(
            info.peer_addr(),
            peer.local_addr().ok(),
            "the other socket's turn"
        );
        assert!(ids.insert(client.id()), "raised twice");
        clients.push(client);
    }
    for (client, peer) in clients.iter().zip(&mut peers) {
        assert_talks(&mut fixture.test, client, peer).await;
    }
    fixture.assert_alive().await;
    arbiter.stop();
}

#[actix_rt::test]
async fn a_listener_that_panics_on_data_loses_none_of_it_and_harms_no_other_socket() {
    let mut fixture = Fixture::new().await;
    let arbiter = Arbiter::new();
    let (listener, fail) = start_panicking(&arbiter);
    let (on_receive, on_receive_error) = {
        let tcp = &fixture.test.app.tcp;
        (tcp.on_receive.clone(), tcp.on_receive_error.clone())
    };
    let own = fixture.test.listener.clone().recipient::<ReceiveInfo>();
    on_receive.do_remove_listener(own.clone());
    on_receive_error.do_add_listener(listener.clone().recipient());
    on_receive
        .add_listener(listener.clone().recipient())
        .await
        .expect("added");
    let mut peer = dial(fixture.at).await;
    let client = fixture.test.accepted().await;
    client.set_paused(false).await.expect("resume");
    // Much more than its window.
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

    let received = fixture.test.received(client.id(), expected.len()).await;
    assert!(received == expected, "all of it, in order");
    let mut peer = within("the write", writing).await.expect("no panic");
    assert_talks(&mut fixture.test, &client, &mut peer).await;
    fixture.assert_alive().await;
    arbiter.stop();
}
