//! Closing more than once, and calls after `close`.

use support::EventSender;

use super::*;

#[actix_rt::test]
async fn of_many_closes_at_once_one_succeeds_and_the_others_find_no_socket() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    for round in 0..20 {
        let created = app.tcp_server.create(Default::default()).await;
        let server = created.expect("create").socket_id;
        let mut peer = dial(fixture.at).await;
        let client = fixture.test.accepted().await;
        let closes = (0..10).map(|i| match (i + round) % 3 {
            0 => client.close(),
            1 => client.clone().close(),
            _ => app.tcp.close(client.id()),
        });
        let answers = within("the answers", join_all(closes)).await;
        let closed = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(closed, 1, "{answers:?}");
        assert!(
            answers
                .iter()
                .all(|answer| answer.is_ok() || *answer == NOT_FOUND)
        );
        let mut nothing = [0];
        let end = within("the end", peer.read(&mut nothing)).await;
        assert_eq!(end.expect("a clean end"), 0);

        let closes = (0..10).map(|_| app.tcp_server.close(server));
        let answers = within("the answers", join_all(closes)).await;
        assert_eq!(answers[0], Ok(()));
        assert!(answers[1..].iter().all(|answer| *answer == NOT_FOUND));
    }
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn of_many_closes_from_many_threads_one_succeeds() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    for _ in 0..50 {
        let mut peer = dial(fixture.at).await;
        let client = fixture.test.accepted().await;
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|i| {
                let (app, client, barrier) = (app.clone(), client.clone(), barrier.clone());
                std::thread::spawn(move || {
                    barrier.wait();
                    match i % 2 {
                        0 => client.close(),
                        _ => app.tcp.close(client.id()),
                    }
                })
            })
            .collect();
        let closes = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        let answers = within("the answers", join_all(closes)).await;
        let closed = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(closed, 1, "{answers:?}");
        let end = within("the end", peer.read(&mut [0])).await;
        assert_eq!(end.expect("a clean end"), 0);
    }
    fixture.assert_alive().await;
}

#[actix_rt::test]
async fn calls_on_handles_after_close_answer_socket_not_found() {
    let mut fixture = Fixture::new().await;
    let app = fixture.test.app.clone();
    let (sender, mut kept) = unbounded_channel();
    let keeping_listener = EventSender(sender).start();
    let added = app
        .tcp
        .on_receive
        .add_listener(keeping_listener.clone().recipient());
    added.await.expect("added");
    let mut peer = dial(fixture.at).await;
    let client = fixture.test.accepted().await;
    client.set_paused(false).await.expect("resume");
    peer.write_all(b"early").await.expect("write");
    assert_eq!(fixture.test.received(client.id(), 5).await, b"early");
    let info = within("the event", kept.recv()).await.expect("it is alive");
    let removed = app
        .tcp
        .on_receive
        .remove_listener(keeping_listener.recipient());
    removed.await.expect("removed");

    app.tcp.close(client.id()).await.expect("close");
    assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
    for (function, answer) in handle_functions(&client).await {
        assert_eq!(answer, NOT_FOUND, "{function}");
    }
    // A kept event does not circumvent the close.
    assert_eq!(info.client().forward(info.clone()), NOT_FOUND);
    assert_eq!(client.forward(info), NOT_FOUND);
    fixture.assert_alive().await;
}
