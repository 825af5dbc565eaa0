//! A batch that a listener keeps is a number of events that it keeps.

use chrome_sockets::tcp::WINDOW;
use futures::FutureExt;

use super::*;

/// The most bytes of one app in flight.
const APP_WINDOW: usize = 64 * WINDOW;

#[actix_rt::test]
async fn a_pause_waits_until_the_events_of_its_socket_are_handled_and_for_no_others() {
    let mut fixture = Fixture::new(2, 100).await;
    for (_, peer) in &fixture.clients {
        peer.send("data");
    }
    let batch = fixture.next().await;
    let client = fixture.clients[0].0.clone();
    let mut paused = client.set_paused(true);
    fixture.until_raised().await;
    assert!((&mut paused).now_or_never().is_none(), "it is in flight");
    let mut events = batch.into_iter();
    let first = events.next().expect("two events");
    assert_eq!(first.client(), &client);
    fixture.until_raised().await;
    assert!((&mut paused).now_or_never().is_none(), "it is taken out");
    drop(first);
    within("the pause", paused).await.expect("it is open");
    // The other event is still there.
    assert_eq!(events.len(), 1);
    fixture.clients[0].1.send("later");
    fixture.until_raised().await;
    assert!(fixture.batches.try_recv().is_err(), "it is paused");
    client.set_paused(false).await.expect("it is open");
    assert_eq!(fixture.take(5).await[0], b"later");
    drop(events);
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn a_listener_that_keeps_batches_stops_the_sockets_whose_windows_are_full() {
    let mut fixture = Fixture::new(2, WINDOW as i32).await;
    let [full, free] = [0, 1];
    fixture.clients[full].1.send(vec![1; 10 * WINDOW]);
    fixture.clients[free].1.send("a");
    fixture.until_raised().await;
    let mut kept = Vec::new();
    let mut small = Vec::new();
    while let Some(batch) = fixture.batches.recv().now_or_never() {
        for info in batch.expect("the listener runs") {
            match fixture.index_of(info.socket_id) == full {
                true => kept.push(info),
                false => small.push(info),
            }
        }
        fixture.until_raised().await;
    }
    // A window, and no more than another read.
    let held: usize = kept.iter().map(|info| info.data.len()).sum();
    assert!((WINDOW..=2 * WINDOW).contains(&held), "it holds {held}");
    assert_eq!(small.len(), 1);
    drop(small);
    fixture.clients[free].1.send("b");
    assert_eq!(fixture.take(1).await[free], b"b", "the other one goes on");
    drop(kept);
    let rest = fixture.take(10 * WINDOW - held).await;
    assert!(rest[full].iter().all(|byte| *byte == 1));
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn kept_batches_of_many_sockets_fill_the_window_of_the_app_and_not_more() {
    const CLIENTS: usize = 100;
    let mut fixture = Fixture::new(CLIENTS, WINDOW as i32).await;
    for (_, peer) in &fixture.clients {
        peer.send(vec![2; WINDOW]);
    }
    let mut kept = Vec::new();
    loop {
        fixture.until_raised().await;
        match fixture.batches.try_recv() {
            Ok(batch) => kept.push(batch),
            Err(_) => break,
        }
    }
    let held: usize = kept.iter().flatten().map(|info| info.data.len()).sum();
    assert!(
        (APP_WINDOW..APP_WINDOW + WINDOW).contains(&held),
        "{held} are held"
    );
    // Half of it has to be handled.
    let mut taken = kept.into_iter().flatten();
    let some: Vec<_> = taken.by_ref().take(CLIENTS / 4).collect();
    drop(some);
    fixture.until_raised().await;
    assert!(fixture.batches.try_recv().is_err());
    drop(taken);
    fixture.take(CLIENTS * WINDOW - held).await;
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn tiny_events_that_a_listener_keeps_count_256_bytes_each() {
    let mut fixture = Fixture::new(1, 1).await;
    fixture.clients[0].1.send(vec![3; 4000]);
    let mut kept = Vec::new();
    loop {
        fixture.until_raised().await;
        match fixture.batches.try_recv() {
            Ok(batch) => kept.extend(batch),
            Err(_) => break,
        }
    }
    // The window, and what one read finds.
    let most = WINDOW / 256 + 16;
    assert!(
        (WINDOW / 256..=most).contains(&kept.len()),
        "{}",
        kept.len()
    );
    // A listener keeps the smallest part of each block of memory.
    let taken = kept.len();
    drop(kept);
    let rest = fixture.take(4000 - taken).await;
    assert_eq!(rest[0].len(), 4000 - taken);
    fixture.assert_alive().await;
}
