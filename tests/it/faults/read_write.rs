//! Reads, writes and options fail.

use super::*;

#[actix_rt::test]
async fn each_read_error_is_reported_after_the_data_before_it() {
    let mut fixture = Fixture::new().await;
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    for (errno, expected) in [
        (libc::ECONNRESET, -100),
        (libc::ETIMEDOUT, -7),
        (libc::EHOSTUNREACH, -109),
        (libc::ECONNABORTED, -103),
        (libc::ENOBUFS, -176),
        (libc::ENOMEM, -13),
        (libc::EIO, -2),
    ] {
        let (client, peer) = fixture.accepted().await;
        let before = pattern(100_000);
        peer.send(&before);
        peer.read_error(errno);
        let (arrived, during) = fixture.accepted().await;
        client.set_paused(false).await.expect("resume");
        let received = fixture.test.received(client.id(), before.len()).await;
        assert_eq!(received, before, "before errno {errno}");
        let end = fixture.test.ended(client.id()).await;
        assert_eq!(end.code(), expected, "errno {errno}");

        let info = client.get_info().await.expect("the id stays valid");
        assert!(!info.connected && info.paused, "{info:?}");
        assert!(peer.is_closed(), "the connection is not kept");
        assert_eq!(code("send", client.send(&b"late"[..])).await, -15);

        // The socket can connect again.
        let peer = fixture.network.server(far);
        let again = connect(&fixture.test, client.id(), "192.0.2.1", 80);
        within("connect", again).await.expect("connect");
        assert_talks(&mut fixture.test, &client, &peer).await;
        assert_talks(&mut fixture.test, &arrived, &during).await;
        fixture.assert_alive(vec![]).await;
    }
}

#[actix_rt::test]
async fn each_write_error_fails_this_and_later_sends_and_earlier_input_is_still_read() {
    let mut fixture = Fixture::new().await;
    for (errno, expected) in [
        (libc::EPIPE, -101),
        (libc::ECONNRESET, -101),
        (libc::ETIMEDOUT, -7),
        (libc::EHOSTUNREACH, -109),
        (libc::ENOBUFS, -176),
    ] {
        let (client, peer) = fixture.accepted().await;
        peer.send("came before");
        peer.write_error(errno);
        for round in 0..3 {
            let call = format!("send {round} after errno {errno}");
            let by_id = fixture.test.app.tcp.send(client.id(), &b"lost"[..]);
            assert_eq!(code(&call, by_id).await, expected, "{call}");
            let by_handle = client.send(&b"lost"[..]);
            assert_eq!(code(&call, by_handle).await, expected, "{call}");
        }
        assert_eq!(peer.received(), b"", "errno {errno}");
        let (arrived, during) = fixture.accepted().await;

        client.set_paused(false).await.expect("resume");
        let received = fixture.test.received(client.id(), 11).await;
        assert_eq!(received, b"came before", "errno {errno}");
        peer.send("and after");
        let received = fixture.test.received(client.id(), 9).await;
        assert_eq!(received, b"and after", "errno {errno}");
        peer.shutdown();
        let end = fixture.test.ended(client.id()).await;
        assert_eq!(end, NetError::CONNECTION_CLOSED);
        assert_talks(&mut fixture.test, &arrived, &during).await;
        fixture.assert_alive(vec![]).await;
    }
}

#[actix_rt::test]
async fn a_write_error_answers_every_send_that_waits() {
    let mut fixture = Fixture::new().await;
    for (errno, expected) in [(libc::EPIPE, -101), (libc::ETIMEDOUT, -7)] {
        let (client, peer) = fixture.accepted().await;
        peer.limit_writes(6);
        let whole = client.send(&b"whole"[..]);
        let waiting: Vec<_> = (0..100).map(|_| client.send(&b"never"[..])).collect();
        within("the first send", whole)
            .await
            .expect("it was accepted");
        peer.write_error(errno);
        for answer in waiting {
            assert_eq!(code("send", answer).await, expected, "errno {errno}");
        }
        assert_eq!(peer.received(), b"wholen", "errno {errno}");
        fixture.assert_alive(vec![]).await;
    }
}

#[actix_rt::test]
async fn one_byte_per_call_keeps_order_in_both_directions() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.accepted().await;
    let large = pattern(50_000);
    peer.short_writes(1);
    peer.short_reads(1);
    peer.send(&large);
    client.set_paused(false).await.expect("resume");
    // Three sends without awaiting, one of them empty.
    let sends = [&large[..20_000], &[], &large[20_000..]];
    let answers = sends.map(|part| client.send(Bytes::copy_from_slice(part)));
    for (answer, part) in answers.into_iter().zip(sends) {
        let sent = within("a send", answer).await.expect("send");
        assert_eq!(sent.bytes_sent, part.len());
    }
    assert!(peer.received() == large, "sent in another order");
    let received = fixture.test.received(client.id(), large.len()).await;
    assert!(received == large, "received in another order");
    assert_talks(&mut fixture.test, &client, &peer).await;
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn sends_to_a_stalled_peer_are_delivered_after_close() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.accepted().await;
    let data = pattern(100_000);
    peer.limit_writes(10);
    let answers: Vec<_> = data
        .chunks(1000)
        .map(|part| client.send(Bytes::copy_from_slice(part)))
        .collect();
    let during = fixture.dial();
    within("close", client.close()).await.expect("close");
    let closed = fixture.test.app.tcp.get_info(client.id()).await;
    assert_eq!(closed, Err(Error::SocketNotFound));
    assert!(!peer.is_closed(), "the queue has not left");
    assert_eq!(peer.received(), &data[..10]);

    // The peer reads again, but not at once.
    for limit in [1, 1000, 50_000] {
        let before = peer.received().len();
        peer.limit_writes(limit);
        let next = || peer.received().len() == before + limit;
        until("the next part", next).await;
        assert!(!peer.is_closed());
    }
    peer.unlimit_writes();
    until("the end of the connection", || peer.is_closed()).await;
    assert!(peer.received() == data, "other data than was sent");
    for answer in answers {
        let sent = within("the answer to a send", answer).await;
        assert_eq!(sent.map(|sent| sent.bytes_sent), Ok(1000));
    }
    fixture.assert_alive(vec![during]).await;
}

#[actix_rt::test]
async fn sends_to_a_stalled_peer_are_delivered_after_disconnect_while_the_socket_has_another_connection()
 {
    let mut fixture = Fixture::new().await;
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    let (id, stalled) = fixture.connected(far).await;
    let client = fixture.test.app.tcp.socket(id).await.expect("it exists");
    stalled.limit_writes(0);
    let sending = client.send(&b"for the first"[..]);
    client.disconnect().await.expect("disconnect");
    assert_eq!(
        fixture.test.ended(id).await,
        NetError::CONNECTION_CLOSED,
        "it was receiving"
    );
    let peer = fixture.network.server(far);
    let again = connect(&fixture.test, id, "192.0.2.1", 80);
    within("connect", again).await.expect("connect");
    assert_talks(&mut fixture.test, &client, &peer).await;

    stalled.unlimit_writes();
    until("the end of the first", || stalled.is_closed()).await;
    assert_eq!(stalled.received(), b"for the first");
    within("the send", sending).await.expect("it was sent");
    assert_eq!(peer.received(), b"to the peer", "nothing of the first's");
    assert_talks(&mut fixture.test, &client, &peer).await;
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn each_option_error_is_failed_and_the_connection_continues() {
    let mut fixture = Fixture::new().await;
    let (client, peer) = fixture.accepted().await;
    for errno in [
        libc::EINVAL,
        libc::ENOPROTOOPT,
        libc::EPERM,
        libc::ENOBUFS,
        libc::ECONNRESET,
    ] {
        peer.option_error(errno);
        assert_eq!(code("setNoDelay", client.set_no_delay(true)).await, -2);
        assert_eq!(peer.nodelay(), None, "errno {errno}");
        peer.option_error(errno);
        let keep_alive = client.set_keep_alive(true, Some(7));
        assert_eq!(code("setKeepAlive", keep_alive).await, -2);
        assert_eq!(peer.keepalive(), None, "errno {errno}");
        assert_talks(&mut fixture.test, &client, &peer).await;
    }
    client.set_no_delay(true).await.expect("nothing fails it");
    assert_eq!(peer.nodelay(), Some(true));
    fixture.assert_alive(vec![]).await;
}

#[actix_rt::test]
async fn interrupted_reads_and_writes_are_retried() {
    let mut fixture = Fixture::new().await;
    for errno in [libc::EINTR, libc::EAGAIN] {
        let (client, peer) = fixture.accepted().await;
        client.set_paused(false).await.expect("resume");
        for round in 0..100 {
            peer.read_error(errno);
            peer.send("in");
            peer.write_error(errno);
            let sends = [client.send(&b"o"[..]), client.send(&b"ut"[..])];
            for sent in sends {
                let sent = within("a send", sent).await;
                assert!(sent.is_ok(), "round {round}, errno {errno}: {sent:?}");
            }
            assert_eq!(fixture.test.received(client.id(), 2).await, b"in");
        }
        assert_eq!(peer.received(), b"out".repeat(100));

        // Sends that remain after the end are not lost either.
        peer.limit_writes(1);
        let last = client.send(&b"the last"[..]);
        client.set_paused(true).await.expect("pause");
        within("close", client.close()).await.expect("close");
        peer.write_error(errno);
        peer.unlimit_writes();
        within("the last send", last).await.expect("it leaves");
        until("the end", || peer.is_closed()).await;
        assert!(peer.received().ends_with(b"the last"), "errno {errno}");
        fixture.assert_alive(vec![]).await;
    }
}
