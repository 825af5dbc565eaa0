//! Stalls, short transfers, resets and ends, on real sockets.

use bytes::Bytes;
use tokio::net::TcpListener;

use super::*;

/// The rule's text, limited to the connection of this peer.
fn for_peer(peer: &TcpStream, text: &str) -> String {
    let address = peer.local_addr().expect("it is connected");
    format!("{text},peer={address}")
}

#[actix_rt::test]
async fn a_reset_is_reported_at_both_ends() {
    let mut fixture = Fixture::new().await;
    for text in ["read=reset", "write=reset"] {
        let (client, mut peer) = fixture.accepted().await;
        client.set_paused(false).await.expect("resume");
        fixture.inject(&for_peer(&peer, text));
        match text {
            "read=reset" => write(&mut peer, b"never read").await,
            _ => assert_eq!(code(text, client.send(&b"lost"[..])).await, -101),
        }
        let during = dial(fixture.at).await;
        assert_eq!(fixture.test.ended(client.id()).await.code(), -100, "{text}");
        let seen = end(&mut peer).await;
        assert_eq!(seen, Err(io::ErrorKind::ConnectionReset), "{text}");
        assert_eq!(code(text, client.send(&b"late"[..])).await, -15);
        fixture.assert_alive(vec![during]).await;
    }
}

#[actix_rt::test]
async fn an_injected_end_is_reported_although_the_peer_has_not_ended() {
    let mut fixture = Fixture::new().await;
    let (client, mut peer) = fixture.accepted().await;
    client.set_paused(false).await.expect("resume");
    client.send(&b"last words"[..]).await.expect("send");
    fixture.inject(&for_peer(&peer, "read=end"));
    write(&mut peer, b"x").await;
    assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
    assert_eq!(read(&mut peer, 10).await, b"last words");
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn a_stalled_accept_leaves_its_clients_in_the_backlog() {
    let mut fixture = Fixture::new().await;
    let id = fixture.inject("accept=stall,times=1");
    let during = vec![dial(fixture.at).await, dial(fixture.at).await];
    until("the stalled call", || fixture.network.stalled(id) == 1).await;
    fixture.test.expect_no_event().await;
    fixture.assert_paused(false).await;
    assert!(fixture.network.release(id));
    fixture.assert_alive(during).await;
    assert_eq!(fixture.network.triggered(id), 1);
}

#[actix_rt::test]
async fn a_stalled_accept_continues_after_its_time() {
    let mut fixture = Fixture::new().await;
    let id = fixture.inject("accept=stall,for=20ms,every=2");
    let during = vec![dial(fixture.at).await, dial(fixture.at).await];
    fixture.assert_alive(during).await;
    // Three accepts, and one that is pending.
    assert!(fixture.network.triggered(id) >= 1);
}

#[actix_rt::test]
async fn a_stalled_read_and_write_continue_when_released() {
    let mut fixture = Fixture::new().await;
    let (client, mut peer) = fixture.accepted().await;
    client.set_paused(false).await.expect("resume");
    let read_rule = fixture.inject(&for_peer(&peer, "read=stall,times=1"));
    let write_rule = fixture.inject(&for_peer(&peer, "write=stall,times=1"));
    write(&mut peer, b"in").await;
    let sends = [&b"first "[..], b"second"].map(|part| client.send(part));
    until("both stalls", || {
        fixture.network.stalled(read_rule) == 1 && fixture.network.stalled(write_rule) == 1
    })
    .await;
    fixture.test.expect_no_event().await;
    let during = dial(fixture.at).await;
    let arrived = expect_accept(&mut fixture.test, &during).await;

    fixture.network.remove(read_rule);
    assert_eq!(fixture.test.received(client.id(), 2).await, b"in");
    fixture.network.release(write_rule);
    for sent in sends {
        within("a send", sent).await.expect("it was sent");
    }
    assert_eq!(read(&mut peer, 12).await, b"first second");
    assert_talks(&mut fixture.test, &client, &mut peer).await;
    let mut during = during;
    assert_talks(&mut fixture.test, &arrived, &mut during).await;
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn a_stalled_connect_or_resolve_is_aborted_or_continues() {
    let mut fixture = Fixture::with_names().await;
    let far = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = far.local_addr().expect("it is bound").port();
    for (text, host) in [
        ("connect=stall", "127.0.0.1"),
        ("resolve=stall", "near.example"),
    ] {
        let tcp = fixture.test.app.tcp.clone();
        let rule = fixture.inject(&format!("{text},times=2"));
        let id = fixture.test.create().await;
        let begin = || tcp.connect(id, host, port.into(), DnsQueryType::Ipv4);
        let attempt = begin();
        until("the stalled call", || fixture.network.stalled(rule) == 1).await;
        within("disconnect", tcp.disconnect(id))
            .await
            .expect("it is aborted");
        assert_eq!(code(text, attempt).await, -3);
        until("its end", || fixture.network.stalled(rule) == 0).await;

        let attempt = begin();
        until("the stalled call", || fixture.network.stalled(rule) == 1).await;
        let during = dial(fixture.at).await;
        fixture.assert_alive(vec![during]).await;
        fixture.network.release(rule);
        within("connect", attempt).await.expect("it continues");
        let (mut peer, _) = far.accept().await.expect("it connected");
        let client = tcp.socket(id).await.expect("it exists");
        assert_talks(&mut fixture.test, &client, &mut peer).await;
    }
}

#[actix_rt::test]
async fn a_name_whose_lookup_fails_is_not_resolved() {
    let mut fixture = Fixture::with_names().await;
    let id = fixture.test.create().await;
    fixture.inject("resolve=EIO,times=1");
    let tcp = fixture.test.app.tcp.clone();
    let connect = || {
        tcp.connect(
            id,
            "near.example",
            fixture.at.port().into(),
            DnsQueryType::Ipv4,
        )
    };
    assert_eq!(code("connect", connect()).await, -105);
    within("connect", connect())
        .await
        .expect("it can connect afterwards");
    fixture.test.accepted().await;
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn short_reads_and_writes_lose_and_reorder_nothing() {
    let mut fixture = Fixture::new().await;
    let bytes = (0..30_000_usize).map(|i| (i ^ (i >> 8)) as u8);
    let large: Vec<u8> = bytes.collect();
    let (client, mut peer) = fixture.accepted().await;
    let rules = [
        fixture.inject(&for_peer(&peer, "read=short,every=2")),
        fixture.inject(&for_peer(&peer, "read=short,bytes=7")),
        fixture.inject(&for_peer(&peer, "write=short,p=0.5")),
        fixture.inject(&for_peer(&peer, "write=short,bytes=7")),
    ];
    client.set_paused(false).await.expect("resume");
    let (mut reader, mut writer) = peer.split();
    let mut echoed = vec![0; large.len()];
    let sending = client.send(Bytes::from(large.clone()));
    let (written, read, received) = tokio::join!(
        writer.write_all(&large),
        reader.read_exact(&mut echoed),
        fixture.test.received(client.id(), large.len()),
    );
    written.expect("the app reads");
    read.expect("the app writes");
    assert!(received == large, "received in another order");
    assert!(echoed == large, "sent in another order");
    within("the send", sending).await.expect("it was sent");
    for rule in rules {
        assert!(fixture.network.triggered(rule) > 1000);
        fixture.network.remove(rule);
    }
    assert_talks(&mut fixture.test, &client, &mut peer).await;
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn errors_of_a_closed_listener_are_not_reported() {
    let fixture = Fixture::new().await;
    let rule = fixture.inject("accept=stall");
    let during = dial(fixture.at).await;
    until("the stalled call", || fixture.network.stalled(rule) == 1).await;
    let server = fixture.test.app.tcp_server.clone();
    server.close(fixture.server).await.expect("close");
    until("its end", || fixture.network.stalled(rule) == 0).await;
    let mut during = during;
    let seen = end(&mut during).await;
    assert_eq!(
        seen,
        Err(io::ErrorKind::ConnectionReset),
        "as any in a backlog"
    );
    let again = TcpListener::bind(fixture.at).await;
    assert!(again.is_ok(), "the port is free: {again:?}");
}

#[actix_rt::test]
async fn a_forward_that_fails_ends_its_connection_and_is_reported() {
    let mut fixture = Fixture::new().await;
    for errno in ["ENOBUFS", "ENOMEM", "EPERM"] {
        let (client, mut peer) = fixture.accepted().await;
        client.set_paused(false).await.expect("resume");
        write(&mut peer, b"one").await;
        assert_eq!(fixture.test.received(client.id(), 3).await, b"one");
        fixture.inject(&for_peer(&peer, &format!("write={errno},times=1")));
        client
            .try_send(&b"nobody waits for its answer"[..])
            .expect("it is accepted");
        let reported = fixture.test.ended(client.id()).await;
        let expected = code_of(errno);
        assert_eq!(reported.code(), expected, "{errno}");
        end(&mut peer).await.expect("it is closed");
    }
    fixture.assert_alive(vec![]).await;
}

/// The code that `docs/faults.md` gives.
fn code_of(errno: &str) -> i32 {
    match errno {
        "ENOBUFS" => -176,
        "ENOMEM" => -13,
        _ => -10,
    }
}
