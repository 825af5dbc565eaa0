//! A secured connection behaves like any other connection.

use chrome_sockets::tcp::{self, SecureOptions};
use futures::FutureExt;
use support::{QUIET, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{TlsFixture, accept, assert_talks, expect_clean_end, pattern, read, write};

/// More than the kernel buffers for a peer that does not read.
const LARGE: usize = 8 * 1024 * 1024;

#[actix_rt::test]
async fn data_goes_both_ways() {
    let mut fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.secured().await;
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn megabytes_are_echoed_byte_for_byte() {
    let mut fixture = TlsFixture::new().await;
    let (client, peer) = fixture.secured().await;
    let properties = tcp::SocketProperties {
        buffer_size: Some(65536),
        ..Default::default()
    };
    client.update(properties).await.expect("update");
    client.set_paused(false).await.expect("resume");
    let echo = actix_rt::spawn(async move {
        let (mut from, mut to) = tokio::io::split(peer);
        tokio::io::copy(&mut from, &mut to).await
    });
    let data = pattern(LARGE);
    // Chunks larger and smaller than a record, and empty ones.
    let mut rest = data.clone();
    let mut answers = Vec::new();
    for length in [1, 70_000, 0, 16_384, 16_385, 3].into_iter().cycle() {
        let piece = rest.split_to(rest.len().min(length));
        answers.push(client.send(piece));
        if rest.is_empty() {
            break;
        }
    }
    let back = fixture.test.received(client.id(), LARGE).await;
    assert!(back == data, "other bytes came back");
    let mut sent = 0;
    for answer in answers {
        sent += answer.await.expect("send").bytes_sent;
    }
    assert_eq!(sent, LARGE);
    client.close().await.expect("close");
    let copied = within("the peer's end", echo).await.expect("it echoes");
    assert_eq!(copied.expect("a clean end"), LARGE as u64);
}

#[actix_rt::test]
async fn sends_before_secure_are_plain_and_later_ones_encrypted() {
    let mut fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.dial("localhost").await;
    let issued = fixture.authority.issue("localhost");
    // More than the kernel buffers, so it waits.
    let plain = pattern(LARGE);
    let before = client.send(plain.clone());
    let secured = client.secure(SecureOptions::default());
    let after = client.send(&b"secret"[..]);
    let empty = client.send(&b""[..]);
    assert!(read(&mut peer, LARGE).await == plain, "it must leave first");
    let mut peer = accept(peer, &issued).await.expect("a ClientHello is next");
    assert_eq!(read(&mut peer, 6).await, b"secret");
    assert_eq!(before.await.expect("send").bytes_sent, LARGE);
    secured.await.expect("secure");
    assert_eq!(after.await.expect("send").bytes_sent, 6);
    assert_eq!(empty.await.expect("send").bytes_sent, 0);
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_send_is_answered_when_the_os_has_all_of_it() {
    let fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.secured().await;
    let data = pattern(LARGE);
    let mut answer = client.send(data.clone());
    actix_rt::time::sleep(QUIET).await;
    assert_eq!((&mut answer).now_or_never(), None, "the peer reads nothing");
    assert!(read(&mut peer, LARGE).await == data, "other bytes came");
    let sent = within("the answer", answer).await.expect("send");
    assert_eq!(sent.bytes_sent, LARGE);
}

#[actix_rt::test]
async fn close_and_disconnect_send_close_notify() {
    let fixture = TlsFixture::new().await;
    for close in [true, false] {
        let (client, mut peer) = fixture.secured().await;
        // Earlier sends are still delivered, although the peer does not read yet.
        let data = pattern(LARGE);
        client.try_send(data.clone()).expect("it is open");
        match close {
            true => client.close().await.expect("close"),
            false => client.disconnect().await.expect("disconnect"),
        }
        assert!(read(&mut peer, LARGE).await == data, "other bytes came");
        expect_clean_end(&mut peer).await;
    }
}

#[actix_rt::test]
async fn an_end_is_reported_after_all_data_with_or_without_close_notify() {
    let mut fixture = TlsFixture::new().await;
    for meant in [true, false] {
        let (client, mut peer) = fixture.secured().await;
        write(&mut peer, b"the last words").await;
        if meant {
            peer.shutdown().await.expect("close_notify");
        }
        drop(peer);
        client.set_paused(false).await.expect("resume");
        let last = fixture.test.received(client.id(), 14).await;
        assert_eq!(last, b"the last words");
        assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
        let info = client.get_info().await.expect("it exists");
        assert!(!info.connected && info.paused, "{info:?}");
    }
}

#[actix_rt::test]
async fn an_invalid_record_ends_the_connection_with_its_code() {
    let mut fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.secured().await;
    write(&mut peer, b"good").await;
    let (wire, _) = peer.get_mut();
    write(wire, b"this is no record of TLS").await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(fixture.test.received(client.id(), 4).await, b"good");
    assert_eq!(fixture.test.ended(client.id()).await.code(), -107);
    // The peer receives an alert.
    let error = within("an alert", peer.read(&mut [0; 1])).await;
    assert!(error.is_err(), "{error:?}");
}

#[actix_rt::test]
async fn a_paused_secured_socket_is_not_read() {
    let mut fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.secured().await;
    client.set_paused(false).await.expect("resume");
    write(&mut peer, b"one").await;
    assert_eq!(fixture.test.received(client.id(), 3).await, b"one");
    client.set_paused(true).await.expect("pause");
    write(&mut peer, b"two").await;
    fixture.test.expect_no_event().await;
    client.set_paused(false).await.expect("resume");
    assert_eq!(fixture.test.received(client.id(), 3).await, b"two");
}

#[actix_rt::test]
async fn get_info_reports_the_same_addresses_before_and_after_secure() {
    let fixture = TlsFixture::new().await;
    let (client, peer) = fixture.dial("localhost").await;
    let before = client.get_info().await.expect("it exists");
    let answer = client.secure(SecureOptions::default());
    assert_eq!(client.get_info().await, Ok(before.clone()), "meanwhile");
    let issued = fixture.authority.issue("localhost");
    let _peer = accept(peer, &issued).await.expect("the handshake");
    answer.await.expect("secure");
    let mut after = client.get_info().await.expect("it exists");
    assert!(after.tls.take().is_some(), "only this differs");
    assert_eq!(after, before);
    client.set_no_delay(true).await.expect("the option is set");
    client
        .set_keep_alive(true, Some(60))
        .await
        .expect("another");
}

#[actix_rt::test]
async fn a_certificate_for_an_ip_address_is_verified_by_the_address() {
    let mut fixture = TlsFixture::new().await;
    let (client, peer) = fixture.dial("127.0.0.1").await;
    let answer = client.secure(SecureOptions::default());
    let issued = fixture.authority.issue("127.0.0.1");
    let mut peer = accept(peer, &issued).await.expect("the handshake");
    answer.await.expect("secure");
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn reset_of_an_encrypted_connection_announces_no_end() {
    let mut fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.secured().await;
    client.set_paused(false).await.expect("resume");
    client.reset().await.expect("reset");
    assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
    let read = within("the reset", peer.read(&mut [0; 1])).await;
    let kind = read.map_err(|error| error.kind());
    assert_eq!(kind, Err(std::io::ErrorKind::ConnectionReset));
}
