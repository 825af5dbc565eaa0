//! Closing and suspension while a batch is in flight.

use chrome_sockets::Error;
use futures::FutureExt;

use super::*;

#[actix_rt::test]
async fn a_socket_that_is_closed_during_a_batch_leaves_the_other_events_as_they_are() {
    let mut fixture = Fixture::new(3, 100).await;
    for (_, peer) in &fixture.clients {
        peer.send("data");
    }
    let batch = fixture.next().await;
    let closed = fixture.clients[1].0.clone();
    closed.close().await.expect("it is open");
    let mut answers = Vec::new();
    for info in batch {
        let client = info.client().clone();
        assert_eq!(info.data, "data");
        answers.push(client.forward(info));
    }
    assert_eq!(answers, [Ok(()), Err(Error::SocketNotFound), Ok(())]);
    assert!(fixture.clients[1].1.is_closed());
    assert_eq!(fixture.clients[1].1.received(), b"");
    fixture.clients.remove(1);
    for (_, peer) in &fixture.clients {
        assert_eq!(peer.received(), b"data");
    }
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn a_suspension_waits_until_a_batch_is_handled() {
    let mut fixture = Fixture::new(2, 100).await;
    let app = fixture.test.app.clone();
    for (client, _) in &fixture.clients {
        let persistent = tcp::SocketProperties {
            persistent: Some(true),
            ..Default::default()
        };
        client.update(persistent).await.expect("it is open");
    }
    for (_, peer) in &fixture.clients {
        peer.send("data");
    }
    let batch = fixture.next().await;
    let mut suspended = app.suspend();
    let mut events = batch.into_iter();
    for _ in 0..2 {
        fixture.test.expect_no_event().await;
        assert!((&mut suspended).now_or_never().is_none());
        drop(events.next());
    }
    within("the suspension", suspended).await.expect("it ends");
    // A suspended app gets nothing; loaded again, it adds its listeners.
    for (_, peer) in &fixture.clients {
        peer.send("later");
    }
    fixture.until_raised().await;
    assert!(fixture.batches.try_recv().is_err());
    app.resume().await.expect("it runs");
    let listener = fixture.listener.clone().recipient();
    let added = app.tcp.on_receive_batch.add_listener(listener).await;
    added.expect("the registry runs");
    assert_eq!(fixture.take(10).await, [b"later", b"later"]);
    fixture.assert_alive().await;
}
