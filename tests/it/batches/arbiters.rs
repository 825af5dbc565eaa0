//! Batches with several arbiters: each has its own.

use std::thread::{self, ThreadId};

use chrome_sockets::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;

use super::*;

/// Echoes, and reports where.
struct LocalEcho {
    arbiter: usize,
    runs: UnboundedSender<(usize, ThreadId, ClientSocketId)>,
}

impl Actor for LocalEcho {
    type Context = Context<Self>;
}

impl Handler<ReceiveBatch> for LocalEcho {
    type Result = ();

    fn handle(&mut self, batch: ReceiveBatch, _: &mut Self::Context) {
        for info in batch {
            let client = info.client().clone();
            let run = (self.arbiter, thread::current().id(), client.id());
            // The receiver is gone when the test has ended.
            let _ = self.runs.send(run);
            client.forward(info).expect("it is open");
        }
    }
}

async fn accept(test: &mut TestApp, at: std::net::SocketAddr) -> (ClientSocket, TcpStream) {
    let peer = TcpStream::connect(at).await.expect("it listens");
    let client = test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    (client, peer)
}

#[actix_rt::test]
async fn a_local_listener_of_batches_gets_the_data_of_its_own_arbiter() {
    let mut test = TestApp::on(Registry::new().arbiters(3)).await;
    test.app
        .tcp
        .on_receive
        .remove_listener(test.listener.clone().recipient())
        .await
        .expect("the registry runs");
    let (runs, mut reported) = unbounded_channel();
    let set_up = test.app.on_each_arbiter(move |local| {
        let (arbiter, runs) = (local.index(), runs.clone());
        let echo = LocalEcho { arbiter, runs }.start();
        local.do_add_listener::<ReceiveBatch>(echo.recipient());
    });
    set_up.await.expect("the registry runs");
    let (_, at) = test.listen().await;
    let mut peers = Vec::new();
    for _ in 0..9 {
        peers.push(accept(&mut test, at).await.1);
    }
    for round in 0..20u8 {
        for peer in &mut peers {
            peer.write_all(&[round; 50]).await.expect("it reads");
        }
        for peer in &mut peers {
            let mut echo = [0; 50];
            let read = peer.read_exact(&mut echo);
            within("the echo", read).await.expect("it is sent");
            assert_eq!(echo, [round; 50]);
        }
    }
    let mut arbiters = std::collections::BTreeMap::new();
    let mut sockets = std::collections::HashMap::new();
    while let Ok((arbiter, thread, socket)) = reported.try_recv() {
        assert_eq!(*arbiters.entry(arbiter).or_insert(thread), thread);
        assert_eq!(*sockets.entry(socket).or_insert(arbiter), arbiter);
    }
    assert_eq!((arbiters.len(), sockets.len()), (3, 9));
}

#[actix_rt::test]
async fn one_listener_gets_the_batches_of_all_arbiters_and_order_holds() {
    let mut test = TestApp::on(Registry::new().arbiters(2)).await;
    let (_listener, mut batches) = listen_for_batches(&test).await;
    let (_, at) = test.listen().await;
    let mut peers = Vec::new();
    for _ in 0..6 {
        peers.push(accept(&mut test, at).await);
    }
    let sent: Vec<u8> = (0..100_000).map(|i| (i / 7 % 251) as u8).collect();
    let mut received = std::collections::HashMap::new();
    let mut writers = Vec::new();
    for (client, mut peer) in peers {
        received.insert(client.id(), Vec::new());
        let sent = sent.clone();
        writers.push(actix_rt::spawn(async move {
            for piece in sent.chunks(777) {
                peer.write_all(piece).await.expect("it reads");
            }
            peer
        }));
    }
    while received.values().any(|it| it.len() < sent.len()) {
        let batch = within("a batch", batches.recv()).await;
        for info in batch.expect("the listener runs") {
            let of = received.get_mut(&info.socket_id);
            of.expect("one of them").extend_from_slice(&info.data);
        }
    }
    assert!(received.values().all(|it| *it == sent), "in order");
    for writer in writers {
        writer.await.expect("it has written");
    }
}
