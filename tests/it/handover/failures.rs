//! A handover that fails changes nothing: the old process continues to serve.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;

use chrome_sockets::handover::{AnySocketId, Error, Successor, TIMEOUT, hand_over};
use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{ClientSocketId, tcp};
use support::{TestApp, within};

use super::concurrent_calls::{send_greeting, wait_until_quiesced};
use super::{
    accept_persistent, begin_handover, expect_service, hand_over_to, persistent_server, socket_pair,
};

/// Checks that the old process has everything and serves.
async fn expect_unchanged(old: &mut TestApp, address: std::net::SocketAddr) {
    expect_service(old, address).await;
    let next = TestApp::new().await;
    let receipt = super::expect_handover(old, &next).await;
    assert!(!receipt.servers.is_empty(), "a later handover works");
    let mut next = next;
    expect_service(&mut next, address).await;
}

#[actix_rt::test]
async fn a_successor_that_dies_at_once_changes_nothing() {
    let mut old = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (here, there) = socket_pair();
    drop(there);
    let outgoing = hand_over(&old.registry, Successor::from_socket(here)).await;
    assert!(matches!(outgoing, Err(Error::Closed)), "{outgoing:?}");
    expect_unchanged(&mut old, address).await;
}

#[actix_rt::test]
async fn a_program_that_is_not_a_successor_changes_nothing() {
    let mut old = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (client, mut peer) = accept_persistent(&mut old, address).await;
    for program in [&["true"][..], &["sh", "-c", "echo nonsense >&0; cat"]] {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .stdout(std::process::Stdio::null());
        let successor = Successor::spawn(command).expect("it starts");
        let outgoing = within("the failure", hand_over(&old.registry, successor)).await;
        assert!(
            matches!(outgoing, Err(Error::Closed | Error::Malformed(_))),
            "{program:?}: {outgoing:?}"
        );
    }
    peer.write_all(b"unharmed").expect("it reads");
    assert_eq!(old.received(client.id(), 8).await, b"unharmed");
    expect_unchanged(&mut old, address).await;
}

#[actix_rt::test]
async fn a_missing_program_is_an_error_that_names_the_cause() {
    let spawned = Successor::spawn(Command::new("/does/not/exist"));
    let error = spawned.expect_err("there is none").to_string();
    assert!(error.starts_with("starting the successor: "), "{error}");
}

#[actix_rt::test]
async fn an_id_in_use_in_the_successor_is_refused_and_changes_nothing() {
    let mut old = TestApp::new().await;
    let new = TestApp::new().await;
    let (id, address) = persistent_server(&old, "").await;
    let (theirs, _) = new.listen().await;
    assert_eq!(id, theirs);
    let (outgoing, incoming) = hand_over_to(&old, &new).await;
    for answer in [outgoing, incoming] {
        let error = answer.expect_err("it is refused").to_string();
        assert!(error.contains("server socket 1 is in use"), "{error}");
    }
    let sockets = new.app.tcp_server.get_sockets().await.expect("it runs");
    assert_eq!(sockets.len(), 1);
    expect_unchanged(&mut old, address).await;
}

#[actix_rt::test]
async fn a_client_id_in_use_in_the_successor_is_refused_and_changes_nothing() {
    let mut old = TestApp::new().await;
    let new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (_client, _peer) = accept_persistent(&mut old, address).await;
    assert_eq!(new.create().await, ClientSocketId::new(1));
    let (outgoing, _) = hand_over_to(&old, &new).await;
    let error = outgoing.expect_err("it is refused").to_string();
    assert!(error.contains("client socket 1 is in use"), "{error}");
    let sockets = new.app.tcp_server.get_sockets().await;
    assert_eq!(sockets, Ok(Vec::new()), "nothing of it came");
    expect_unchanged(&mut old, address).await;
}

#[actix_rt::test]
async fn a_successor_that_has_stopped_is_refused() {
    let mut old = TestApp::new().await;
    let new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let stopped = new.registry.send(chrome_sockets::Shutdown).await;
    stopped.expect("it runs").expect("stopped");
    let (outgoing, incoming) = hand_over_to(&old, &new).await;
    assert!(matches!(incoming, Err(Error::Stopped)), "{incoming:?}");
    assert!(matches!(outgoing, Err(Error::Refused(_))), "{outgoing:?}");
    expect_unchanged(&mut old, address).await;
}

#[actix_rt::test]
async fn a_successor_of_another_version_changes_nothing() {
    let mut old = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    for (here, reason) in [
        (
            r#"{"protocol":"chrome-sockets handover","version":2}"#,
            "of version 2",
        ),
        (
            r#"{"protocol":"something","version":1}"#,
            "\"something\" of version 1",
        ),
        (r#"{"news":[1,2,3]}"#, "of version 0"),
    ] {
        let (here_end, there) = UnixStream::pair().expect("a pair");
        let record = format!(r#"{{"Greeting":{here}}}"#);
        (&there)
            .write_all(&super::hostile_records::frame(0, 0, &record))
            .expect("there is room");
        let outgoing = within("the failure", begin_handover(&old, here_end)).await;
        let error = outgoing
            .expect("the task ran")
            .expect_err("it is refused")
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
    expect_unchanged(&mut old, address).await;
}

#[actix_rt::test]
async fn a_successor_that_starts_slowly_delays_nothing() {
    let mut old = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (here, there) = socket_pair();
    let outgoing = begin_handover(&old, here);
    old.expect_no_event().await;
    expect_service(&mut old, address).await;
    drop(there);
    assert!(matches!(
        outgoing.await.expect("the task ran"),
        Err(Error::Closed)
    ));
}

#[actix_rt::test]
async fn a_successor_that_does_not_answer_in_time_changes_nothing() {
    let mut old = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (here, there) = UnixStream::pair().expect("a pair");
    let outgoing = begin_handover(&old, here);
    let there = wait_until_quiesced(there).await;
    tokio::time::pause();
    tokio::time::advance(TIMEOUT).await;
    tokio::time::resume();
    let outgoing = within("the failure", outgoing).await.expect("the task ran");
    assert!(matches!(outgoing, Err(Error::TimedOut)), "{outgoing:?}");
    drop(there);
    expect_unchanged(&mut old, address).await;
}

#[actix_rt::test]
async fn a_second_handover_at_the_same_time_is_refused() {
    let mut old = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (here, there) = UnixStream::pair().expect("a pair");
    let first = begin_handover(&old, here);
    let there = wait_until_quiesced(there).await;
    let (here, other) = UnixStream::pair().expect("a pair");
    send_greeting(&other);
    let second = within("the second", begin_handover(&old, here))
        .await
        .expect("the task ran");
    assert!(matches!(second, Err(Error::Busy)), "{second:?}");
    drop(there);
    let first = within("the first", first).await.expect("the task ran");
    assert!(matches!(first, Err(Error::Closed)), "{first:?}");
    expect_unchanged(&mut old, address).await;
}

#[actix_rt::test]
async fn sockets_that_cannot_be_transferred_are_reported_and_stay() {
    let net = ScriptedNetwork::new();
    let mut old = TestApp::with_network(net.clone()).await;
    let new = TestApp::new().await;
    let (id, address) = persistent_server(&old, "").await;
    let peer = net.client(address).expect("it listens");
    let client = old.accepted().await;
    let properties = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(properties).await.expect("update");

    let (outgoing, incoming) = hand_over_to(&old, &new).await;
    let receipt = outgoing.expect("the outgoing side succeeds");
    assert_eq!(
        incoming.expect("the incoming side succeeds"),
        Default::default()
    );
    let left: Vec<_> = receipt
        .not_transferred
        .iter()
        .map(|left| left.socket.clone())
        .collect();
    let app = chrome_sockets::AppId::from("test");
    assert_eq!(
        left,
        [
            AnySocketId::Server(app.clone(), id),
            AnySocketId::Client(app, client.id())
        ]
    );
    assert!(
        receipt.not_transferred[0].reason.contains("cannot leave"),
        "{receipt:?}"
    );
    client.set_paused(false).await.expect("it has arrived");
    peer.send("on");
    assert_eq!(old.received(client.id(), 2).await, b"on");
    let _second = net.client(address).expect("it listens");
    old.accepted().await;
}
