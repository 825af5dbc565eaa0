//! Rules come and go while it runs, by call and by message.

use actix::prelude::*;
use chrome_sockets::testing::{Clear, Inject, Release, Remove};

use super::*;

#[actix_rt::test]
async fn rules_are_added_and_removed_while_the_network_runs() {
    let mut scene = Scene::new().await;
    for round in 1..=3 {
        let id = scene.inject("accept=EMFILE");
        let during = dial(scene.at).await;
        for _ in 0..round {
            assert_eq!(scene.accept_error().await.code(), -12);
            scene.resume().await;
        }
        assert_eq!(scene.accept_error().await.code(), -12);
        let report = scene.network.remove(id).expect("it is there");
        assert_eq!((report.asked, report.struck), (round + 1, round + 1));
        scene.resume().await;
        scene.assert_alive(vec![during]).await;
    }
    assert_eq!(scene.network.report(), []);
    assert_eq!(scene.network.strikes().len(), 2 + 3 + 4);
}

#[actix_rt::test]
async fn rules_can_be_sent_from_another_arbiter() {
    let mut scene = Scene::new().await;
    let arbiter = Arbiter::new();
    let network = scene.network.clone();
    let actor = FaultyNetwork::start_in_arbiter(&arbiter.handle(), |_| network);
    let stall = actor.send(Inject(rule("accept=stall,times=1"))).await;
    let stall = stall.expect("it runs");
    let error = actor.send(Inject(rule("accept=ENFILE,times=1"))).await;
    let error = error.expect("it runs");

    let during = dial(scene.at).await;
    until("the stall", || scene.network.stalled(stall) == 1).await;
    assert_eq!(actor.send(Release(stall)).await, Ok(true));
    // It has been asked by both rules then, and goes on; the next one fails.
    let came = accepts(&mut scene.world, &during).await;
    assert_eq!(scene.accept_error().await.code(), -12);
    let removed = actor.send(Remove(error)).await.expect("it runs");
    assert_eq!(removed.map(|report| report.struck), Some(1));
    assert_eq!(actor.send(Remove(error)).await, Ok(None));
    let cleared = actor.send(Clear).await.expect("it runs");
    let cleared: Vec<_> = cleared.iter().map(ToString::to_string).collect();
    assert_eq!(cleared, ["accept=stall,times=1: struck 1 of 2"]);
    scene.resume().await;
    let mut during = during;
    assert_talks(&mut scene.world, &came, &mut during).await;
    scene.assert_alive(vec![]).await;
    arbiter.stop();
}
