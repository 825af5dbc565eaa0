//! New sockets go to the arbiter with the fewest connections.

use super::recording_network::RecordingNetwork;
use super::*;

/// This many clients that receive, and whose echo was seen.
async fn clients(
    test: &mut TestApp,
    at: SocketAddr,
    count: usize,
) -> Vec<(ClientSocket, TcpStream)> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let (client, mut peer) = accept(test, at).await;
        client.set_paused(false).await.expect("resume");
        write(&mut peer, b"here").await;
        assert_eq!(read(&mut peer, 4).await, b"here");
        clients.push((client, peer));
    }
    clients
}

fn addresses(clients: &[(ClientSocket, TcpStream)]) -> Vec<SocketAddr> {
    let peers = clients.iter().map(|(_, peer)| peer.local_addr());
    peers.map(|it| it.expect("an address")).collect()
}

#[actix_rt::test]
async fn accepted_sockets_go_to_the_arbiter_with_the_fewest_connections() {
    let network_log = RecordingNetwork::default();
    let registry = Registry::with_network(network_log.clone()).arbiters(3);
    let (mut test, _received) = with_local_echo(registry).await;
    let (_, at) = test.listen().await;
    let mut all = clients(&mut test, at, 9).await;
    assert_eq!(network_log.counts(&addresses(&all)), [3, 3, 3]);

    // All sockets of one thread are closed, so the next ones go there.
    let first = addresses(&all)[0];
    let empty = network_log.thread_of(first);
    let leaving = all.extract_if(.., |(_, peer)| {
        network_log.thread_of(peer.local_addr().expect("an address")) == empty
    });
    for (client, _) in leaving.collect::<Vec<_>>() {
        client.close().await.expect("close");
    }
    let new = clients(&mut test, at, 3).await;
    for peer in addresses(&new) {
        assert_eq!(network_log.thread_of(peer), empty);
    }
}

#[actix_rt::test]
async fn created_sockets_are_placed_and_counted_like_accepted_ones() {
    let network_log = RecordingNetwork::default();
    let registry = Registry::with_network(network_log.clone()).arbiters(2);
    let (mut test, _received) = with_local_echo(registry).await;
    let (_, at) = test.listen().await;
    let made = [
        test.create().await,
        test.create().await,
        test.create().await,
    ];
    // One arbiter has two connections and the other one: the next goes to the latter.
    let one = clients(&mut test, at, 1).await;
    test.app.tcp.close(made[1]).await.expect("close");
    let two = clients(&mut test, at, 1).await;
    let [one, two] = [one, two].map(|it| network_log.thread_of(addresses(&it)[0]));
    assert_eq!(one, two, "both in the arbiter of the second created socket");
}

#[actix_rt::test]
async fn a_single_arbiter_is_the_registrys_own() {
    let network_log = RecordingNetwork::default();
    let (mut test, mut received) =
        with_local_echo(Registry::with_network(network_log.clone())).await;
    let (_, at) = test.listen().await;
    let all = clients(&mut test, at, 2).await;
    let here = std::thread::current().id();
    for peer in addresses(&all) {
        assert_eq!(network_log.thread_of(peer), here);
    }
    let received = received.try_recv().expect("it was echoed");
    assert_eq!((received.arbiter, received.thread), (0, here));
}
