//! Handshakes of `secure` that fail: the code, and the socket is closed.

use chrome_sockets::tcp::{HANDSHAKE_TIMEOUT, SecureOptions};
use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{ClientSocketId, Error, Registry};
use support::{TestApp, code, within};
use tokio::io::AsyncReadExt;

use super::certificates::{Authority, Issued};
use super::{TlsFixture, accept, assert_talks, dialled, read, write};

/// Asserts that a socket is not found, by handle and by id.
async fn assert_gone(test: &TestApp, id: ClientSocketId) {
    let closed = Err(Error::SocketNotFound);
    assert_eq!(test.app.tcp.get_info(id).await, closed);
    let open = test.app.tcp.get_sockets().await.expect("alive");
    assert!(open.iter().all(|info| info.socket_id != id));
}

/// The answer of a handshake with this certificate and name.
async fn code_for(fixture: &mut TlsFixture, host: &str, issued: &Issued) -> i32 {
    let (client, peer) = fixture.dial(host).await;
    let answer = client.secure(SecureOptions::default());
    let sending = client.send(&b"secret"[..]);
    let peers = accept(peer, issued).await;
    let number = code("secure", answer).await;
    assert_eq!(
        code("send", sending).await,
        number,
        "waiting sends fail too"
    );
    assert_gone(&fixture.test, client.id()).await;
    assert!(client.try_send(&b"more"[..]).is_err());
    // With TLS 1.3 the server sees the failure at its first read.
    if let Ok(mut peer) = peers {
        let read = within("the peer's end", peer.read(&mut [0; 1])).await;
        assert!(read.is_err(), "the peer must get an alert: {read:?}");
    }
    number
}

async fn proof_of_life(mut fixture: TlsFixture) {
    fixture.test.expect_no_event().await;
    let (client, mut peer) = fixture.secured().await;
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn certificate_errors_have_chromiums_codes() {
    let mut fixture = TlsFixture::new().await;
    let good = fixture.authority.issue("localhost");
    let other_name = fixture.authority.issue("localhost.example");
    let expired = fixture.authority.issue_with("localhost", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let early = fixture.authority.issue_with("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(3000, 1, 1);
    });
    let for_clients = fixture.authority.issue_with("localhost", |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let unknown = Authority::new().issue("localhost");
    for (what, host, issued, number) in [
        ("another name", "localhost", &other_name, -200),
        ("a name, not an address", "127.0.0.1", &good, -200),
        ("expired", "localhost", &expired, -201),
        ("not valid yet", "localhost", &early, -201),
        ("an unknown authority", "localhost", &unknown, -202),
        (
            "signed by itself",
            "localhost",
            &Issued::self_signed("localhost", false),
            -202,
        ),
        (
            "its own authority",
            "localhost",
            &Issued::self_signed("localhost", true),
            -202,
        ),
        ("for another purpose", "localhost", &for_clients, -207),
    ] {
        assert_eq!(code_for(&mut fixture, host, issued).await, number, "{what}");
    }
    proof_of_life(fixture).await;
}

#[actix_rt::test]
async fn a_peer_that_does_not_speak_tls_is_a_protocol_error() {
    let fixture = TlsFixture::new().await;
    let long = [b'x'; 100_000];
    for said in [&b"HTTP/1.0 400 Bad Request\r\n\r\n"[..], &[0; 2048], &long] {
        let (client, mut peer) = fixture.dial("localhost").await;
        let answer = client.secure(SecureOptions::default());
        read(&mut peer, 1).await;
        // The other side may close before it has written everything.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut peer, said).await;
        assert_eq!(code("secure", answer).await, -107);
        assert_gone(&fixture.test, client.id()).await;
    }
    proof_of_life(fixture).await;
}

#[actix_rt::test]
async fn a_peer_that_aborts_the_handshake_has_closed_or_reset_the_connection() {
    let fixture = TlsFixture::new().await;
    for (reset, number) in [(false, -100), (true, -101)] {
        let (client, mut peer) = fixture.dial("localhost").await;
        let answer = client.secure(SecureOptions::default());
        // Reads all of the ClientHello, because with unread input the close would be a reset.
        let mut header = [0; 5];
        peer.read_exact(&mut header).await.expect("a record");
        let length = u16::from_be_bytes([header[3], header[4]]);
        read(&mut peer, length.into()).await;
        if reset {
            socket2::SockRef::from(&peer)
                .set_linger(Some(std::time::Duration::ZERO))
                .expect("the option is set");
        }
        drop(peer);
        assert_eq!(code("secure", answer).await, number);
        assert_gone(&fixture.test, client.id()).await;
    }
    proof_of_life(fixture).await;
}

#[actix_rt::test]
async fn a_peer_that_ends_in_the_middle_of_its_first_record_has_closed() {
    let fixture = TlsFixture::new().await;
    let (client, mut peer) = fixture.dial("localhost").await;
    let answer = client.secure(SecureOptions::default());
    // The header of a ServerHello without its body, and then the end of the peer's side.
    write(&mut peer, &[22, 3, 3, 0, 100, 2, 0]).await;
    within("the end", tokio::io::AsyncWriteExt::shutdown(&mut peer))
        .await
        .expect("shutdown");
    assert_eq!(code("secure", answer).await, -100);
    assert_gone(&fixture.test, client.id()).await;
    proof_of_life(fixture).await;
}

#[actix_rt::test]
async fn an_end_during_a_handshake_while_resumed_is_reported_like_a_close() {
    let mut fixture = TlsFixture::new().await;
    let (client, peer) = fixture.dial("localhost").await;
    let answer = client.secure(SecureOptions::default());
    client.set_paused(false).await.expect("resume");
    drop(peer);
    let number = code("secure", answer).await;
    assert!([-100, -101].contains(&number), "{number}");
    assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
    assert_gone(&fixture.test, client.id()).await;
    proof_of_life(fixture).await;
}

#[actix_rt::test]
async fn a_host_without_a_valid_certificate_name_is_common_name_invalid() {
    let authority = Authority::new();
    let network = ScriptedNetwork::new();
    network.next_resolve(
        "no_-.name.",
        Ok(vec!["127.0.0.1".parse().expect("an address")]),
    );
    let _peer = network.server("127.0.0.1:443".parse().expect("an address"));
    let registry = Registry::with_network(network).tls_client(authority.client());
    let test = TestApp::on(registry).await;
    let client = dialled(&test, "no_-.name.", 443).await;
    let answer = client.secure(SecureOptions::default());
    assert_eq!(code("secure", answer).await, -200);
    assert_gone(&test, client.id()).await;
}

/// A paused socket on a scripted network with a paused clock, and its peer.
async fn scripted() -> (
    TestApp,
    chrome_sockets::tcp::ClientSocket,
    chrome_sockets::testing::Peer,
) {
    let network = ScriptedNetwork::new();
    let peer = network.server("127.0.0.1:443".parse().expect("an address"));
    let client = Authority::new().client();
    let test = TestApp::on(Registry::with_network(network).tls_client(client)).await;
    let client = dialled(&test, "127.0.0.1", 443).await;
    (test, client, peer)
}

#[actix_rt::test]
async fn a_handshake_with_a_stalled_peer_times_out() {
    let (test, client, peer) = scripted().await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let answer = client.secure(SecureOptions::default());
    let answered = tokio::time::timeout(2 * HANDSHAKE_TIMEOUT, answer).await;
    let error = answered.expect("it answers by itself").expect_err("no TLS");
    assert_eq!(error.net_error().map(|error| error.code()), Some(-7));
    let took = began.elapsed();
    let late = took - HANDSHAKE_TIMEOUT.min(took);
    assert!(
        took >= HANDSHAKE_TIMEOUT && late.as_millis() < 100,
        "{took:?}"
    );
    assert_gone(&test, client.id()).await;
    assert!(peer.received().starts_with(&[22, 3, 1]), "a ClientHello");
    assert!(peer.is_closed(), "the connection is gone too");
}

#[actix_rt::test]
async fn a_handshake_behind_sends_that_the_peer_does_not_read_times_out() {
    let (test, client, peer) = scripted().await;
    peer.limit_writes(3);
    client.try_send(&b"plain"[..]).expect("it is open");
    tokio::time::pause();
    let answer = client.secure(SecureOptions::default());
    let answered = tokio::time::timeout(2 * HANDSHAKE_TIMEOUT, answer).await;
    let error = answered.expect("it answers by itself").expect_err("no TLS");
    assert_eq!(error.net_error().map(|error| error.code()), Some(-7));
    assert_gone(&test, client.id()).await;
    assert_eq!(peer.received(), b"pla", "no handshake before the rest");
    peer.unlimit_writes();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.received(), b"plain", "earlier sends are delivered");
    assert!(peer.is_closed());
}

#[actix_rt::test]
async fn by_default_only_the_systems_authorities_are_trusted() {
    let mut fixture = TlsFixture {
        test: TestApp::new().await,
        authority: Authority::new(),
    };
    let issued = fixture.authority.issue("localhost");
    // On a machine without any authority the first handshake is the same as the second.
    for _ in 0..2 {
        assert_eq!(code_for(&mut fixture, "localhost", &issued).await, -202);
    }
}
