//! Calls during a handover are not lost.

use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::{self, Waker};

use actix::prelude::*;
use actix_rt::time::timeout;
use chrome_sockets::handover::{Error, Inheritance};
use chrome_sockets::tcp::ReceiveInfo;
use chrome_sockets::tcp_server::SocketProperties;
use chrome_sockets::{App, Error as CallError, Registry, Shutdown};
use support::{LIMIT, QUIET, TestApp, within};

use super::hostile_records::frame;
use super::{
    accept_persistent, begin_handover, dial, expect_service, persistent_server, port_is_free,
    socket_pair,
};

/// Sends the greeting of a successor.
pub fn send_greeting(mut there: &UnixStream) {
    const GREETING: &str = r#"{"Greeting":{"protocol":"chrome-sockets handover","version":1}}"#;
    let output = there.write_all(&frame(0, 0, GREETING));
    output.expect("there is room");
}

/// The other end of a handover that has quiesced all sockets: its first bytes have arrived.
pub async fn wait_until_quiesced(there: UnixStream) -> UnixStream {
    send_greeting(&there);
    let read = move || {
        there.set_read_timeout(Some(LIMIT)).expect("a limit");
        (&there).read_exact(&mut [0; 4]).expect("it begins");
        there
    };
    tokio::task::spawn_blocking(read).await.expect("it reads")
}

#[actix_rt::test]
async fn calls_wait_and_are_carried_out_if_the_handover_fails() {
    let mut old = TestApp::new().await;
    let (id, address) = persistent_server(&old, "before").await;
    let (client, mut peer) = accept_persistent(&mut old, address).await;
    let (here, there) = UnixStream::pair().expect("a pair");
    let outgoing = begin_handover(&old, here);
    let there = wait_until_quiesced(there).await;

    let renamed = SocketProperties {
        name: Some("after".into()),
        persistent: None,
    };
    let mut updated = pin!(old.app.tcp_server.update(id, renamed));
    let mut sent = pin!(client.send("late"));
    peer.write_all(b"early").expect("there is room");
    let waiting = dial(address);
    old.expect_no_event().await;
    let mut cx = task::Context::from_waker(Waker::noop());
    assert!(updated.as_mut().poll(&mut cx).is_pending());
    assert!(sent.as_mut().poll(&mut cx).is_pending());

    drop(there);
    let outgoing = within("the failure", outgoing).await.expect("the task ran");
    assert!(matches!(outgoing, Err(Error::Closed)), "{outgoing:?}");
    updated.await.expect("carried out");
    sent.await.expect("carried out");
    let info = old
        .app
        .tcp_server
        .get_info(id)
        .await
        .expect("it has arrived");
    assert_eq!(info.name.as_deref(), Some("after"));
    let mut reply = [0; 4];
    peer.read_exact(&mut reply).expect("it was sent");
    assert_eq!(&reply, b"late");
    let mut events = vec![
        format!("{:?}", old.next().await),
        format!("{:?}", old.next().await),
    ];
    events.sort();
    assert!(events[0].starts_with("Accept("), "{events:?}");
    assert!(events[1].contains("early"), "{events:?}");
    drop(waiting);
    expect_service(&mut old, address).await;
}

#[actix_rt::test]
async fn calls_that_waited_are_answered_with_socket_not_found_after_the_transfer() {
    let mut old = TestApp::new().await;
    let (id, address) = persistent_server(&old, "").await;
    let (client, mut peer) = accept_persistent(&mut old, address).await;
    // The successor has received everything, but cannot answer.
    let elsewhere = Arbiter::new();
    let new = Registry::start_in_arbiter(&elsewhere.handle(), |_| Registry::new());
    let (open, gate) = std::sync::mpsc::channel::<()>();
    elsewhere.spawn_fn(move || {
        let _ = gate.recv_timeout(LIMIT);
    });
    let (here, there) = socket_pair();
    let outgoing = begin_handover(&old, here);
    let registry = new.clone();
    let incoming = actix_rt::spawn(async move {
        let inheritance = Inheritance::from_socket(there);
        inheritance.adopt(&registry).await
    });
    let stands_still = async {
        while timeout(QUIET, old.app.tcp_server.get_info(id))
            .await
            .is_ok()
        {}
    };
    within("the standstill", stands_still).await;

    let paused = old.app.tcp_server.set_paused(id, true);
    let closed = old.app.tcp_server.close(id);
    let sent = client.send("nowhere");
    let ended = client.close();
    drop(open);
    within("the handover", incoming)
        .await
        .expect("the task ran")
        .expect("the incoming side succeeds");
    outgoing
        .await
        .expect("the task ran")
        .expect("the outgoing side succeeds");
    for answer in [
        paused.await,
        closed.await,
        sent.await.map(drop),
        ended.await,
    ] {
        assert_eq!(answer, Err(CallError::SocketNotFound));
    }
    let app = App::new("test", &new);
    let info = app.tcp_server.get_info(id).await.expect("it is there");
    assert_eq!((info.paused, info.local_addr()), (false, Some(address)));
    let sent = app.tcp.send(client.id(), "here").await;
    sent.expect("it is there");
    let mut reply = [0; 4];
    peer.read_exact(&mut reply).expect("it was sent");
    assert_eq!(&reply, b"here");
    elsewhere.stop();
}

#[actix_rt::test]
async fn calls_of_handlers_of_earlier_events_are_transferred() {
    // The listener is busy when the handover begins, so it echoes while the sockets are already
    // quiesced.
    struct Echo;
    impl Actor for Echo {
        type Context = Context<Self>;
    }
    impl Handler<ReceiveInfo> for Echo {
        type Result = ();
        fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
            std::thread::sleep(std::time::Duration::from_millis(1));
            let client = info.client().clone();
            client.forward(info).expect("it is open");
        }
    }
    const LENGTH: usize = 200_000;
    let mut old = TestApp::new().await;
    let new = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (client, mut peer) = accept_persistent(&mut old, address).await;
    client.set_paused(true).await.expect("paused");
    let receive = &old.app.tcp.on_receive;
    receive.do_remove_listener(old.listener.clone().recipient());
    let elsewhere = Arbiter::new();
    let echo = Echo::start_in_arbiter(&elsewhere.handle(), |_| Echo);
    receive
        .add_listener(echo.clone().recipient())
        .await
        .expect("added");
    let echo = Echo::start_in_arbiter(&elsewhere.handle(), |_| Echo);
    let there = &new.app.tcp.on_receive;
    there.do_remove_listener(new.listener.clone().recipient());
    there.add_listener(echo.recipient()).await.expect("added");

    let data: Vec<u8> = (0..LENGTH).map(|i| (i / 3 % 250) as u8).collect();
    let mut writer = peer.try_clone().expect("a clone");
    let written = data.clone();
    let writing = std::thread::spawn(move || writer.write_all(&written).expect("it reads"));
    let reading = std::thread::spawn(move || {
        let mut echoed = vec![0; LENGTH];
        peer.read_exact(&mut echoed).expect("everything");
        echoed
    });
    client.set_paused(false).await.expect("resumed");
    super::expect_handover(&old, &new).await;
    let echoed = tokio::task::spawn_blocking(|| reading.join().expect("it reads"));
    let echoed = within("the echo", echoed).await.expect("the task ran");
    writing.join().expect("it writes");
    assert!(echoed == data, "other bytes came back");
    elsewhere.stop();
}

#[actix_rt::test]
async fn a_shutdown_does_not_wait_for_a_handover() {
    let old = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (here, there) = UnixStream::pair().expect("a pair");
    let outgoing = begin_handover(&old, here);
    let there = wait_until_quiesced(there).await;
    let stopped = within("the end", old.registry.send(Shutdown)).await;
    stopped.expect("it runs").expect("stopped");
    drop(there);
    let outgoing = within("the failure", outgoing).await.expect("the task ran");
    assert!(outgoing.is_err(), "{outgoing:?}");
    port_is_free(address).await;
}

#[actix_rt::test]
async fn cancelling_a_handover_lets_everything_continue() {
    let mut old = TestApp::new().await;
    let (_, address) = persistent_server(&old, "").await;
    let (here, there) = UnixStream::pair().expect("a pair");
    let outgoing = begin_handover(&old, here);
    let _there = wait_until_quiesced(there).await;
    outgoing.abort();
    expect_service(&mut old, address).await;
}
