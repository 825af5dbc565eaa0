//! Persistent sockets and their file go to the next process; or nothing does.

use std::os::fd::OwnedFd;
use std::process::Command;

use chrome_sockets::handover::{Inheritance, Successor, hand_over};
use chrome_sockets::tcp;
use chrome_sockets::tcp_server::SocketProperties;
use support::process::{Program, binary};
use support::programs::has;

use super::*;
use crate::handover::{expect_handover, socket_pair};

async fn persistent(test: &TestApp, at: &Path) -> ServerSocketId {
    let id = listen(test, at).await;
    let properties = SocketProperties {
        persistent: Some(true),
        name: None,
    };
    test.app
        .tcp_server
        .update(id, properties)
        .await
        .expect("update");
    id
}

#[actix_rt::test]
async fn a_server_socket_moves_with_its_backlog_its_clients_and_its_file() {
    let folder = Folder::new();
    let path = folder.path();
    let mut old = TestApp::new().await;
    let id = persistent(&old, &path).await;
    let (client, mut peer) = pair(&mut old, &path).await;
    let properties = tcp::SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    client.update(properties.clone()).await.expect("update");
    // An outbound one.
    let outbound = old.create().await;
    let tcp = &old.app.tcp;
    tcp.update(outbound, properties).await.expect("update");
    tcp.connect_unix(outbound, &path).await.expect("connect");
    let end = old.accepted().await;
    let before = old.app.tcp.get_info(outbound).await.expect("info");
    // One in the backlog.
    old.app
        .tcp_server
        .set_paused(id, true)
        .await
        .expect("paused");
    let mut waiting = dial(&path).await;
    old.app.tcp_server.do_set_paused(id, true);

    let mut new = TestApp::new().await;
    let receipt = expect_handover(&old, &new).await;
    assert_eq!(receipt.servers.len(), 1);
    assert_eq!(folder.names(), ["s"], "the file stays, without a lock");
    let info = new.app.tcp.get_info(outbound).await.expect("info");
    assert_eq!((info.peer, info.local), (before.peer, before.local));
    assert_eq!(info.peer_credentials, before.peer_credentials);
    drop(end);
    // The old process ends, and with it the other end of that connection.
    let ended = old.registry.send(chrome_sockets::Shutdown).await;
    ended.expect("it runs").expect("shut down");
    drop(old);
    assert_eq!(folder.names(), ["s"]);
    assert_eq!(new.ended(outbound).await, NetError::CONNECTION_CLOSED);
    write(&mut peer, b"to the new one").await;
    assert_eq!(new.received(client.id(), 14).await, b"to the new one");
    let sent = new.app.tcp.send(client.id(), &b"from it"[..]).await;
    sent.expect("sent");
    assert_eq!(read(&mut peer, 7).await, b"from it");

    new.app
        .tcp_server
        .set_paused(id, false)
        .await
        .expect("resumed");
    let accepted = new.accepted().await;
    accepted.set_paused(false).await.expect("resume");
    write(&mut waiting, b"waited").await;
    assert_eq!(new.received(accepted.id(), 6).await, b"waited");
    assert_in_use(&new, &path).await;
    new.app.tcp_server.close(id).await.expect("close");
    assert_eq!(folder.names(), [""; 0], "the new process removes it");
}

#[actix_rt::test]
async fn a_client_that_no_listener_has_heard_of_moves_and_counts_for_its_user() {
    let folder = Folder::new();
    let old = TestApp::new().await;
    persistent(&old, &folder.path()).await;
    old.app.suspend().await.expect("suspended");
    let mut peer = dial(&folder.path()).await;
    write(&mut peer, b"early").await;
    let mut new = TestApp::new().await;
    expect_handover(&old, &new).await;
    new.app.resume().await.expect("resumed");
    let client = new.accepted().await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(new.received(client.id(), 5).await, b"early");
}

#[actix_rt::test]
async fn a_handover_that_fails_leaves_socket_and_file_to_the_old_process() {
    let folder = Folder::new();
    let mut old = TestApp::new().await;
    let id = persistent(&old, &folder.path()).await;
    // The other process has received everything when it goes.
    let (here, there) = socket_pair();
    let there: OwnedFd = there;
    let new = TestApp::new().await;
    let taken = TestApp::new().await;
    // Its registry has this id already, so it refuses.
    listen(&taken, folder.0.path().join("t")).await;
    let outgoing = hand_over(&old.registry, Successor::from_socket(here));
    let incoming = Inheritance::from_socket(there).adopt(&taken.registry);
    let (outgoing, incoming) =
        within("the handover", futures::future::join(outgoing, incoming)).await;
    assert!(outgoing.is_err() && incoming.is_err());
    assert_eq!(folder.names(), ["s", "t"]);
    expect_service(&mut old, &folder.path()).await;

    // A second attempt succeeds.
    expect_handover(&old, &new).await;
    assert_eq!(folder.names(), ["s", "t"]);
    new.app.tcp_server.close(id).await.expect("close");
    assert_eq!(folder.names(), ["t"]);
}

#[test]
fn a_listener_that_systemd_has_opened_serves_and_keeps_its_file() {
    const PROGRAM: &str = "systemd-socket-activate";
    if !has(PROGRAM, "--help", "--fdname") || !has("socat", "-h", "unix-connect") {
        return;
    }
    let folder = Folder::new();
    let path = folder.path();
    let mut command = Command::new(PROGRAM);
    let listen = format!("--listen={}", path.display());
    let mut program = Program::start(command.arg(listen).arg(binary("persistent_server")));
    program.stderr.line("Listening on");
    let mut socat = Command::new("socat");
    let to = format!("UNIX-CONNECT:{}", path.display());
    let mut socat = Program::start(socat.args(["-t20", "-", &to]));
    socat.feed(b"a line\n");
    assert_eq!(socat.stdout.line("a line"), "a line");
    program.signal(rustix::process::Signal::TERM);
    drop(socat);
    program.ended();
    assert_eq!(folder.names(), ["s"], "it belongs to systemd");
}
