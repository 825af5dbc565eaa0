//! Rules are added and removed at run time, by call and by message.

use actix::prelude::*;
use chrome_sockets::testing::{Clear, Inject, Release, Remove};

use super::*;

#[actix_rt::test]
async fn rules_are_added_and_removed_while_the_network_runs() {
    let mut fixture = Fixture::new().await;
    for round in 1..=3 {
        let id = fixture.inject("accept=EMFILE");
        let during = dial(fixture.at).await;
        for _ in 0..round {
            assert_eq!(fixture.accept_error().await.code(), -12);
            fixture.resume().await;
        }
        assert_eq!(fixture.accept_error().await.code(), -12);
        let report = fixture.network.remove(id).expect("it is there");
        assert_eq!((report.evaluated, report.triggered), (round + 1, round + 1));
        fixture.resume().await;
        fixture.assert_alive(vec![during]).await;
    }
    assert_eq!(fixture.network.report(), []);
    assert_eq!(fixture.network.injected_faults().len(), 2 + 3 + 4);
}

#[actix_rt::test]
async fn rules_can_be_sent_from_another_arbiter() {
    let mut fixture = Fixture::new().await;
    let arbiter = Arbiter::new();
    let network = fixture.network.clone();
    let actor = FaultyNetwork::start_in_arbiter(&arbiter.handle(), |_| network);
    let stall = actor.send(Inject(rule("accept=stall,times=1"))).await;
    let stall = stall.expect("it runs");
    let error = actor.send(Inject(rule("accept=ENFILE,times=1"))).await;
    let error = error.expect("it runs");

    let during = dial(fixture.at).await;
    until("the stalled call", || fixture.network.stalled(stall) == 1).await;
    assert_eq!(actor.send(Release(stall)).await, Ok(true));
    // It has passed both rules; the next one fails.
    let arrived = expect_accept(&mut fixture.test, &during).await;
    assert_eq!(fixture.accept_error().await.code(), -12);
    let removed = actor.send(Remove(error)).await.expect("it runs");
    assert_eq!(removed.map(|report| report.triggered), Some(1));
    assert_eq!(actor.send(Remove(error)).await, Ok(None));
    let cleared = actor.send(Clear).await.expect("it runs");
    let cleared: Vec<_> = cleared.iter().map(ToString::to_string).collect();
    assert_eq!(cleared, ["accept=stall,times=1: triggered 1 of 2"]);
    fixture.resume().await;
    let mut during = during;
    assert_talks(&mut fixture.test, &arrived, &mut during).await;
    fixture.assert_alive(vec![]).await;
    arbiter.stop();
}
