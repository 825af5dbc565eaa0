//! `onDrain`.

use actix::prelude::*;
use chrome_sockets::draining::PROGRESS_INTERVAL;
use support::EventSender;
use tokio::sync::mpsc::unbounded_channel;

use super::*;

#[actix_rt::test]
async fn progress_is_reported_first_and_last_but_not_for_every_connection() {
    const CLIENTS: usize = 100;
    let mut test = TestApp::new().await;
    let (sender, mut reported) = unbounded_channel();
    let listening = test
        .app
        .on_drain
        .add_listener(EventSender(sender).start().recipient());
    listening.await.expect("it runs");
    let (server, at) = test.listen().await;
    let mut peers = Vec::new();
    for _ in 0..CLIENTS {
        peers.push(open(&mut test, at).await);
    }
    let from = std::time::Instant::now();
    let drained = test.app.tcp_server.drain(server, LIMIT);
    let first = within("the first", reported.recv()).await.expect("it runs");
    assert_eq!((first.open, first.finished, first.forced), (CLIENTS, 0, 0));
    assert_eq!((&first.app, first.socket_id), (test.app.id(), Some(server)));
    // Kept until the end, so no other event is in flight.
    let mut last = None;
    for (client, peer) in peers {
        last = Some(client.id());
        drop(peer);
        test.ended(client.id()).await;
    }
    assert!(last.is_some());
    let drained = within("the receipt", drained).await.expect("drained");
    assert_eq!(drained.finished, CLIENTS);
    let end = within("the last", reported.recv()).await.expect("it runs");
    assert_eq!((end.open, end.finished, end.forced), (0, CLIENTS, 0));
    assert!(
        reported.try_recv().is_err(),
        "the first one was not handled"
    );
    drop((first, end));

    // Handled at once, so they come at the highest rate.
    let again = test.app.drain(Duration::ZERO).await.expect("drained");
    assert_eq!(again, Drained::default());
    let mut events = 0;
    while reported.try_recv().is_ok() {
        events += 1;
    }
    let most = 2 + from.elapsed().div_duration_f64(PROGRESS_INTERVAL) as usize;
    assert!((1..=most).contains(&events), "{events} of {most}");
}
