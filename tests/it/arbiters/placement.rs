//! A socket goes where the fewest are.

use super::recording_network::Spy;
use super::*;

/// So many clients that receive, and were heard of by the echo.
async fn clients(
    world: &mut World,
    at: SocketAddr,
    count: usize,
) -> Vec<(ClientSocket, TcpStream)> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let (client, mut peer) = accept(world, at).await;
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
    let spy = Spy::default();
    let registry = Registry::with_network(spy.clone()).arbiters(3);
    let (mut world, _heard) = echoing(registry).await;
    let (_, at) = world.listen().await;
    let mut all = clients(&mut world, at, 9).await;
    assert_eq!(spy.counts(&addresses(&all)), [3, 3, 3]);

    // Those of one thread are closed: the next ones come there.
    let first = addresses(&all)[0];
    let empty = spy.thread_of(first);
    let leaving = all.extract_if(.., |(_, peer)| {
        spy.thread_of(peer.local_addr().expect("an address")) == empty
    });
    for (client, _) in leaving.collect::<Vec<_>>() {
        client.close().await.expect("close");
    }
    let new = clients(&mut world, at, 3).await;
    for peer in addresses(&new) {
        assert_eq!(spy.thread_of(peer), empty);
    }
}

#[actix_rt::test]
async fn created_sockets_are_placed_and_counted_like_accepted_ones() {
    let spy = Spy::default();
    let registry = Registry::with_network(spy.clone()).arbiters(2);
    let (mut world, _heard) = echoing(registry).await;
    let (_, at) = world.listen().await;
    let made = [
        world.create().await,
        world.create().await,
        world.create().await,
    ];
    // Two are in one, one in the other: this one evens it out.
    let one = clients(&mut world, at, 1).await;
    world.app.tcp.close(made[1]).await.expect("close");
    let two = clients(&mut world, at, 1).await;
    let [one, two] = [one, two].map(|it| spy.thread_of(addresses(&it)[0]));
    assert_eq!(one, two, "both where the second of those made was");
}

#[actix_rt::test]
async fn a_single_arbiter_is_the_registrys_own() {
    let spy = Spy::default();
    let (mut world, mut heard) = echoing(Registry::with_network(spy.clone())).await;
    let (_, at) = world.listen().await;
    let all = clients(&mut world, at, 2).await;
    let here = std::thread::current().id();
    for peer in addresses(&all) {
        assert_eq!(spy.thread_of(peer), here);
    }
    let heard = heard.try_recv().expect("it was echoed");
    assert_eq!((heard.arbiter, heard.thread), (0, here));
}
