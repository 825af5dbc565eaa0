//! Streams of encrypted connections.

use super::*;

#[actix_rt::test]
async fn a_client_of_an_encrypted_server_socket_becomes_a_stream() {
    let mut fixture = TlsFixture::new().await;
    let issued = fixture.authority.issue("localhost");
    let (_, at) = fixture.serve(issued.server()).await;
    let peer = connect(at, &fixture.authority);
    let (peer, client) = futures::future::join(peer, fixture.test.accepted()).await;
    let mut peer = peer.expect("the handshake");
    let stream = client.into_stream().await.expect("it is connected");
    let echoing = actix_rt::spawn(async move {
        let (mut reads, mut writes) = tokio::io::split(stream);
        tokio::io::copy(&mut reads, &mut writes).await?;
        writes.shutdown().await
    });
    for _ in 0..3 {
        write(&mut peer, &pattern(100_000)).await;
        assert!(read(&mut peer, 100_000).await == pattern(100_000));
    }
    within("the peer's shutdown", peer.shutdown())
        .await
        .expect("shutdown");
    expect_clean_end(&mut peer).await;
    let echoed = within("the echo's end", echoing).await.expect("no panic");
    echoed.expect("both sides have ended");
    fixture.test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_stream_starts_tls_if_it_has_read_everything() {
    for is_read in [true, false] {
        let fixture = TlsFixture::new().await;
        let (client, mut peer) = fixture.dial("localhost").await;
        let mut stream = client.into_stream().await.expect("it is connected");
        write(&mut peer, b"ready\ninjected").await;
        let length = if is_read { 14 } else { 6 };
        read(&mut stream, length).await;
        // The answer waits for data that was not read, which the call does not.
        stream.socket().do_set_paused(true);
        let securing = stream.socket().secure(SecureOptions::default());
        if !is_read {
            let refused = within("the answer", securing).await;
            assert!(refused.is_err(), "unencrypted data is unread");
            continue;
        }
        let issued = fixture.authority.issue("localhost");
        let mut peer = accept(peer, &issued).await.expect("the peer's handshake");
        within("the handshake", securing).await.expect("secure");
        stream.socket().set_paused(false).await.expect("it is open");
        write(&mut peer, b"secret").await;
        assert_eq!(read(&mut stream, 6).await, b"secret");
        write(&mut stream, b"answer").await;
        assert_eq!(read(&mut peer, 6).await, b"answer");
        drop(stream);
        expect_clean_end(&mut peer).await;
    }
}
