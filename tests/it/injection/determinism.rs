//! The seed determines which faults are injected.

use bytes::Bytes;
use chrome_sockets::testing::InjectedFault;

use super::*;

#[actix_rt::test]
async fn ten_thousand_reads_fail_as_the_seed_determines() {
    let mut fixture = Fixture::new().await;
    let (client, mut peer) = fixture.accepted().await;
    let id = fixture.inject("read=EINTR,p=0.01");
    client.set_paused(false).await.expect("resume");
    let mut sent = 0;
    while fixture.network.evaluated(id) < 10_000 {
        write(&mut peer, b"x").await;
        assert_eq!(fixture.test.received(client.id(), 1).await, b"x");
        sent += 1;
    }
    // Each interrupted read was retried.
    assert!((9_800..10_000).contains(&sent), "{sent}");
    let faults = fixture.network.injected_faults();
    let numbers: Vec<u64> = faults.iter().map(|fault| fault.number).collect();
    assert_eq!(numbers[..5], [169, 252, 295, 406, 480]);
    assert_eq!(
        numbers.iter().filter(|number| **number <= 10_000).count(),
        93
    );
    client.set_paused(true).await.expect("pause");
    fixture.assert_alive(vec![]).await;
}

/// The injected faults, and what the app and its clients observed.
async fn run(seed: u64) -> (Vec<(u64, String)>, Vec<String>) {
    let network = FaultyNetwork::new(TokioNetwork, seed);
    let mut test = TestApp::with_network(network.clone()).await;
    let (server, at) = test.listen().await;
    for text in [
        "accept=EMFILE,p=0.2",
        "accept=ENOBUFS,every=7",
        "write=short,bytes=3,p=0.3",
        "write=EPIPE,p=0.02",
    ] {
        network.inject(rule(text));
    }
    let mut reported = Vec::new();
    for _ in 0..100 {
        let mut peer = dial(at).await;
        let client = loop {
            match test.next().await {
                ListenerEvent::Accept(_, client) => break client,
                ListenerEvent::AcceptError(_, code) => reported.push(code.to_string()),
                other => panic!("expected onAccept, not {other:?}"),
            }
            let resumed = test.app.tcp_server.set_paused(server, false);
            resumed.await.expect("resume");
        };
        for _ in 0..3 {
            let sent = within("a send", client.send(Bytes::from_static(&[7; 9]))).await;
            reported.push(format!("{sent:?}"));
            if sent.is_ok() {
                assert_eq!(read(&mut peer, 9).await, [7; 9]);
            }
        }
    }
    let faults = network.injected_faults();
    let what = |fault: &InjectedFault| (fault.number, format!("{} {fault}", fault.rule));
    let faults: Vec<_> = faults
        .iter()
        .map(|fault| InjectedFault {
            peer: None,
            listener: None,
            ..fault.clone()
        })
        .map(|fault| what(&fault))
        .collect();
    (faults, reported)
}

#[actix_rt::test]
async fn one_seed_gives_the_same_faults_and_the_same_events() {
    let (faults, reported) = run(SEED).await;
    assert!(faults.len() > 100, "{faults:?}");
    for kind in ["EMFILE", "ENOBUFS", "short", "EPIPE"] {
        let of_it = |(_, text): &(u64, String)| text.contains(kind);
        assert!(faults.iter().any(of_it), "no {kind}");
    }
    assert_eq!(run(SEED).await, (faults.clone(), reported));
    assert_ne!(run(SEED + 1).await.0, faults);
}

#[actix_rt::test]
async fn the_injected_faults_are_those_reported_to_the_app() {
    let mut fixture = Fixture::new().await;
    fixture.inject("accept=EMFILE,p=0.3");
    let mut reported = 0;
    for _ in 0..100 {
        let mut peer = dial(fixture.at).await;
        let client = loop {
            match fixture.test.next().await {
                ListenerEvent::Accept(_, client) => break client,
                ListenerEvent::AcceptError(_, code) => assert_eq!(code.code(), -12),
                other => panic!("expected onAccept, not {other:?}"),
            }
            reported += 1;
            fixture.resume().await;
        };
        within("a send", client.send(&b"x"[..]))
            .await
            .expect("send");
        assert_eq!(read(&mut peer, 1).await, b"x");
    }
    fixture.network.clear();
    let faults = fixture.network.injected_faults();
    assert!(
        faults
            .iter()
            .all(|fault| fault.listener == Some(fixture.at))
    );
    // The last accept may have failed since, without a client.
    while reported < faults.len() {
        assert_eq!(fixture.accept_error().await.code(), -12);
        reported += 1;
        fixture.resume().await;
    }
    fixture.assert_alive(vec![]).await;
    assert_eq!(fixture.network.injected_faults().len(), reported);
}
