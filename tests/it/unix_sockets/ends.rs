//! How connections end. The kernel has no reset for Unix sockets: a close with unread input shows the
//! peer an error in place of the end.

use std::io::ErrorKind;

use chrome_sockets::tcp::SocketProperties;

use super::*;

#[actix_rt::test]
async fn half_close_works_in_both_directions() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    let (client, mut peer) = pair(&mut test, &folder.path()).await;
    let half_open = SocketProperties {
        allow_half_open: Some(true),
        ..Default::default()
    };
    client.update(half_open).await.expect("update");
    write(&mut peer, b"a request").await;
    peer.shutdown().await.expect("shut");
    assert_eq!(test.received(client.id(), 9).await, b"a request");
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    assert!(client.get_info().await.expect("info").half_closed);
    let answer = pattern(LARGE);
    let sent = client.send(answer.clone());
    let shut = client.shutdown_write();
    assert!(read_to_end(&mut peer).await == answer, "other bytes came");
    sent.await.expect("sent");
    shut.await.expect("shut");

    let (client, mut peer) = pair(&mut test, &folder.path()).await;
    client.send("a request").await.expect("sent");
    client.shutdown_write().await.expect("shut");
    assert_eq!(read_to_end(&mut peer).await, b"a request");
    write(&mut peer, b"an answer").await;
    assert_eq!(test.received(client.id(), 9).await, b"an answer");
}

#[actix_rt::test]
async fn a_close_with_unread_input_delivers_everything_and_an_orderly_end() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    let (client, mut peer) = pair(&mut test, &folder.path()).await;
    client.set_paused(true).await.expect("paused");
    write(&mut peer, b"input that nobody reads").await;
    let data = pattern(LARGE);
    let sent = client.send(data.clone());
    client.close().await.expect("close");
    write(&mut peer, b"and more").await;
    // `read_to_end` fails at an error in place of the end.
    assert!(read_to_end(&mut peer).await == data, "other bytes came");
    sent.await.expect("sent");
}

#[actix_rt::test]
async fn a_shutdown_does_not_wait_for_a_peer_that_reads_later() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    let (client, mut peer) = pair(&mut test, &folder.path()).await;
    client.send("the last words").await.expect("sent");
    client.close().await.expect("close");
    // The kernel has everything, so nothing can be lost any more.
    let ended = test.registry.send(chrome_sockets::Shutdown);
    let ended = actix_rt::time::timeout(std::time::Duration::from_secs(5), ended).await;
    ended
        .expect("in time")
        .expect("it runs")
        .expect("shut down");
    assert_eq!(read_to_end(&mut peer).await, b"the last words");
}

#[actix_rt::test]
async fn a_peer_that_closes_with_unread_input_ends_the_connection() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    let (client, mut peer) = pair(&mut test, &folder.path()).await;
    client.send("nobody reads this").await.expect("sent");
    write(&mut peer, b"the last words").await;
    drop(peer);
    // What it has sent is read first. The error is reported as TCP's reset is.
    assert_eq!(test.received(client.id(), 14).await, b"the last words");
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    assert!(client.send("late").await.is_err());
}

#[actix_rt::test]
async fn after_a_reset_the_peer_reads_what_was_sent_and_then_an_end_or_an_error() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    for unread in [false, true] {
        let (client, mut peer) = pair(&mut test, &folder.path()).await;
        client.send("sent").await.expect("sent");
        client.set_paused(true).await.expect("paused");
        if unread {
            write(&mut peer, b"input").await;
        }
        client.reset().await.expect("reset");
        assert_eq!(read(&mut peer, 4).await, b"sent");
        let end = within("the end", peer.read(&mut [0; 1])).await;
        match unread {
            false => assert_eq!(end.expect("an end"), 0),
            true => assert_eq!(
                end.expect_err("an error").kind(),
                ErrorKind::ConnectionReset
            ),
        }
        assert!(!client.get_info().await.expect("info").connected);
    }
    expect_service(&mut test, &folder.path()).await;
}

#[actix_rt::test]
async fn a_peer_that_vanishes_is_noticed_while_the_socket_is_paused_and_sends() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    let (client, peer) = pair(&mut test, &folder.path()).await;
    client.set_paused(true).await.expect("paused");
    let sent = client.send(pattern(LARGE));
    drop(peer);
    let error = within("the answer", sent)
        .await
        .expect_err("the peer is gone");
    assert_eq!(error, NetError::CONNECTION_RESET.into());
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
}
