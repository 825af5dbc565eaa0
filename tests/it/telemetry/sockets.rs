//! What one socket has transferred, in `getInfo`.

use std::time::{Duration, SystemTime};

use chrome_sockets::telemetry::Traffic;
use chrome_sockets::{ClientSocketId, Registry};
use support::{TestApp, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::Fixture;
use crate::tcp_server::dial;

/// The coarse clock is up to two ticks late.
const CLOCK: Duration = Duration::from_millis(1100);

async fn traffic(test: &TestApp, id: ClientSocketId) -> Option<Traffic> {
    let info = test.app.tcp.get_info(id).await;
    info.expect("it exists").traffic
}

/// Without a recorder: sockets count anyway.
#[actix_rt::test]
async fn get_info_tells_what_a_socket_has_transferred_since_when_and_when_last() {
    let mut test = TestApp::on(Registry::new()).await;
    let (_, at) = test.listen().await;
    let before = SystemTime::now();
    let mut peer = dial(at).await;
    let client = test.accepted().await;
    let first = traffic(&test, client.id()).await.expect("a connection");
    assert_eq!((first.bytes_received, first.bytes_sent), (0, 0));
    assert_eq!(first.since, first.last_activity);
    assert!(first.since + CLOCK >= before && first.since <= SystemTime::now() + CLOCK);
    client.set_paused(false).await.expect("it is open");
    // Later than the connection by several ticks.
    until("time", || before.elapsed().is_ok_and(|age| age > 2 * CLOCK)).await;
    peer.write_all(b"hello").await.expect("it is open");
    assert_eq!(test.received(client.id(), 5).await, b"hello");
    let received = traffic(&test, client.id()).await.expect("a connection");
    assert_eq!((received.bytes_received, received.bytes_sent), (5, 0));
    let age = received.last_activity.duration_since(received.since);
    assert!(age.is_ok_and(|age| age >= CLOCK / 2), "{received:?}");
    // A send in the caller's thread, long after the last turn of the actor.
    let rested = SystemTime::now();
    until("time", || rested.elapsed().is_ok_and(|age| age > 2 * CLOCK)).await;
    client.send(&b"hi!"[..]).await.expect("it is open");
    let sent = traffic(&test, client.id()).await.expect("a connection");
    assert_eq!((sent.bytes_received, sent.bytes_sent), (5, 3));
    let age = sent.last_activity.duration_since(received.last_activity);
    assert!(
        age.is_ok_and(|age| age >= CLOCK / 2),
        "{received:?} {sent:?}"
    );
    let mut data = [0; 3];
    within("hi!", peer.read_exact(&mut data))
        .await
        .expect("sent");
}

#[actix_rt::test]
async fn each_connection_of_a_socket_counts_from_zero() {
    let test = TestApp::on(Registry::new()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it listens").port();
    let id = test.create().await;
    assert_eq!(traffic(&test, id).await, None, "it had no connection yet");
    for length in [3, 2] {
        let connected = test
            .app
            .tcp
            .connect(id, "127.0.0.1", port.into(), Default::default());
        within("the answer", connected).await.expect("it listens");
        let (mut peer, _) = listener.accept().await.expect("accept");
        let sent = test.app.tcp.send(id, vec![0; length]).await;
        sent.expect("it is connected");
        let mut data = vec![0; length];
        within("data", peer.read_exact(&mut data))
            .await
            .expect("sent");
        let counted = traffic(&test, id).await.expect("a connection");
        assert_eq!(counted.bytes_sent, length as u64);
        test.app.tcp.disconnect(id).await.expect("it is connected");
        // The counts of the last connection stay.
        let counted = traffic(&test, id).await.expect("it had a connection");
        assert_eq!(counted.bytes_sent, length as u64);
    }
}

#[actix_rt::test]
async fn the_counts_of_all_sockets_add_up_to_those_of_the_arbiter() {
    let mut fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    let (mut sum, mut peers) = (0, Vec::new());
    for length in 1..20 {
        let mut peer = dial(at).await;
        let client = fixture.test.accepted().await;
        client.set_paused(false).await.expect("it is open");
        peer.write_all(&vec![0; length]).await.expect("it is open");
        fixture.test.received(client.id(), length).await;
        let counted = traffic(&fixture.test, client.id()).await;
        sum += counted.expect("a connection").bytes_received;
        peers.push(peer);
    }
    assert_eq!(
        fixture.value("received_bytes_total{arbiter=\"0\"}"),
        sum as f64
    );
}
