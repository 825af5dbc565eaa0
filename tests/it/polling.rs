//! Connections that the arbiter's poller watches. Other tests run with it too, see
//! `arbiters::suite_rerun`.

#![expect(clippy::panic, reason = "tests fail by panics")]

use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, TcpStream};

use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::{ClientSocketId, NetError};
use support::polled_network::PolledNetwork;
use support::{ListenerEvent, TestApp, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::tls::certificates::Authority;
use crate::tls::connect;

/// More than one call of the OS announces.
const MANY: usize = 150;

/// Clients that are resumed, and their peers, in the same order.
async fn clients(test: &mut TestApp, count: usize) -> Vec<(ClientSocket, TcpStream)> {
    let (_, at) = test.listen().await;
    let mut all = Vec::new();
    for _ in 0..count {
        let peer = TcpStream::connect(at).expect("it listens");
        let client = test.accepted().await;
        client.set_paused(false).await.expect("it is open");
        all.push((client, peer));
    }
    all
}

/// What the next events bring: the data of each client, and how its connection has ended, until each
/// has `length` bytes and, if `ends`, an end.
async fn events(
    test: &mut TestApp,
    clients: usize,
    length: usize,
    ends: bool,
) -> HashMap<ClientSocketId, (Vec<u8>, Option<NetError>)> {
    let mut all: HashMap<_, (Vec<u8>, Option<NetError>)> = HashMap::new();
    let is_done = |it: &(Vec<u8>, Option<NetError>)| it.0.len() == length && it.1.is_some() == ends;
    while all.values().filter(|it| is_done(it)).count() < clients {
        match test.next().await {
            ListenerEvent::Receive(id, data) => {
                let of_client = all.entry(id).or_default();
                assert_eq!(of_client.1, None, "its end came before its data");
                of_client.0.extend_from_slice(&data);
            }
            ListenerEvent::ReceiveError(id, code) => {
                let before = all.entry(id).or_default().1.replace(code);
                assert_eq!(before, None, "it has ended twice");
            }
            other => panic!("not {other:?}"),
        }
    }
    all
}

#[actix_rt::test]
async fn many_connections_that_are_ready_at_once_are_all_served_again_and_again() {
    let mut test = TestApp::new().await;
    let mut all = clients(&mut test, MANY).await;
    for round in 0..5_u8 {
        for (_, peer) in &mut all {
            peer.write_all(&[round; 64]).expect("it is open");
        }
        let came = events(&mut test, MANY, 64, false).await;
        assert!(came.values().all(|(data, _)| *data == [round; 64]));
    }
}

#[actix_rt::test]
async fn an_end_that_comes_with_data_is_reported_after_it_on_every_connection() {
    let mut test = TestApp::new().await;
    let mut all = clients(&mut test, MANY).await;
    for (_, peer) in &mut all {
        peer.write_all(b"the last words").expect("it is open");
        peer.shutdown(Shutdown::Write).expect("it is open");
    }
    let came = events(&mut test, MANY, 14, true).await;
    let expected = (
        b"the last words".to_vec(),
        Some(NetError::CONNECTION_CLOSED),
    );
    assert!(came.values().all(|it| *it == expected), "{came:?}");
}

#[actix_rt::test]
async fn closed_connections_free_their_slots_for_others_whose_data_is_theirs() {
    let mut test = TestApp::new().await;
    let mut all = clients(&mut test, MANY).await;
    // Every second slot gets another connection.
    let (mut position, mut closed) = (0, Vec::new());
    all.retain_mut(|(client, peer)| {
        position += 1;
        if position % 2 == 0 {
            return true;
        }
        peer.shutdown(Shutdown::Write).expect("it is open");
        closed.push(client.clone());
        false
    });
    for (_, (_, end)) in events(&mut test, closed.len(), 0, true).await {
        assert_eq!(end, Some(NetError::CONNECTION_CLOSED));
    }
    for client in closed {
        client.close().await.expect("it is open");
    }
    all.extend(clients(&mut test, MANY / 2).await);
    for (number, (_, peer)) in (0_u32..).zip(&mut all) {
        peer.write_all(&number.to_be_bytes()).expect("it is open");
    }
    let came = events(&mut test, all.len(), 4, false).await;
    for (number, (client, _)) in (0_u32..).zip(&all) {
        assert_eq!(came[&client.id()].0, number.to_be_bytes());
    }
}

#[actix_rt::test]
async fn a_slow_reader_is_sent_everything() {
    let mut test = TestApp::with_network(PolledNetwork).await;
    let all = clients(&mut test, 5).await;
    let data: Vec<u8> = (0..8_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut sent = Vec::new();
    for (client, _) in &all {
        sent.push(client.send(data.clone()));
    }
    for (_, peer) in all {
        peer.set_nonblocking(true).expect("the option is set");
        let mut peer = tokio::net::TcpStream::from_std(peer).expect("it registers");
        let mut received = vec![0; data.len()];
        let read = peer.read_exact(&mut received);
        within("everything", read).await.expect("it is open");
        assert!(received == data);
    }
    for sent in sent {
        within("the answer", sent).await.expect("it was sent");
    }
}

#[actix_rt::test]
async fn encrypted_connections_are_polled_after_their_handshake() {
    let authority = Authority::new();
    let mut test = TestApp::with_network(PolledNetwork).await;
    let (id, at) = test.listen().await;
    let server = authority.issue("localhost").server();
    let set = test.app.tcp_server.set_tls(id, Some(server)).await;
    set.expect("it exists");
    let mut all = Vec::new();
    for _ in 0..10 {
        let peer = connect(at, &authority).await.expect("a handshake");
        let client = test.accepted().await;
        client.set_paused(false).await.expect("it is open");
        all.push((client, peer));
    }
    for round in 0..3_u8 {
        for (_, peer) in &mut all {
            peer.write_all(&[round; 20_000]).await.expect("it is open");
        }
        let came = events(&mut test, 10, 20_000, false).await;
        assert!(came.values().all(|(data, _)| *data == [round; 20_000]));
        for (client, peer) in &mut all {
            client.send(vec![round; 20_000]).await.expect("it is open");
            let mut echoed = [0; 20_000];
            let read = peer.read_exact(&mut echoed);
            within("the answer", read).await.expect("it is open");
            assert!(echoed == [round; 20_000]);
        }
    }
}
