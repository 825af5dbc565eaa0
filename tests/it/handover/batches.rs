//! A batch in flight when a handover begins.

use super::*;
use crate::batches::listen_for_batches;

#[actix_rt::test]
async fn a_handover_waits_until_a_batch_is_handled_and_loses_nothing() {
    let mut old = TestApp::new().await;
    let mut new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (_listener, mut batches) = listen_for_batches(&old).await;
    let mut peers = Vec::new();
    let mut kept = Vec::new();
    for _ in 0..2 {
        let (client, mut peer) = accept_persistent(&mut old, address).await;
        peer.write_all(b"old").expect("it reads");
        let batch = within("a batch", batches.recv()).await;
        kept.extend(batch.expect("the listener runs"));
        peers.push((client.id(), peer));
    }
    let (here, there) = socket_pair();
    let outgoing = begin_handover(&old, here);
    let incoming = Inheritance::from_socket(there);
    let incoming = actix_rt::spawn({
        let registry = new.registry.clone();
        async move { incoming.adopt(&registry).await }
    });
    while let Some(info) = kept.pop() {
        old.expect_no_event().await;
        assert!(!outgoing.is_finished(), "events are in flight");
        // A call of its handler is carried out before.
        let client = info.client().clone();
        client.forward(info).expect("it is open");
    }
    for side in [outgoing, incoming] {
        let receipt = within("the handover", side).await.expect("no panic");
        assert_eq!(receipt.expect("it succeeds").clients.len(), 2);
    }
    for (id, peer) in &mut peers {
        let mut echo = [0; 3];
        peer.read_exact(&mut echo).expect("the echo");
        assert_eq!(&echo, b"old");
        peer.write_all(b"new").expect("it is open");
        assert_eq!(new.received(*id, 3).await, b"new");
    }
    assert!(batches.try_recv().is_err());
    new.expect_no_event().await;
    expect_service(&mut new, address).await;
}
