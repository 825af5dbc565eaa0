//! Streams of an app that is suspended.

use super::*;

#[actix_rt::test]
async fn a_suspension_ends_the_streams_of_sockets_that_it_closes() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    put(&mut stream, b"written").await;
    within("the suspension", test.app.suspend())
        .await
        .expect("suspend");
    let error = read_error(&mut stream).await;
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    assert!(error.to_string().contains("suspended"), "{error}");
    let error = stream.write(b"late").await.expect_err("it has ended");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    assert_eq!(read_to_end(&mut peer).await, b"written");
}

#[actix_rt::test]
async fn a_persistent_socket_loses_its_stream_and_no_data() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let client = stream.socket().clone();
    client.update(persistent()).await.expect("update");
    write(&mut peer, b"read, unread").await;
    assert_eq!(get(&mut stream, 6).await, b"read, ");
    // It waits for what is not read, as for events that listeners hold.
    let suspended = within("the suspension", test.app.suspend()).await;
    assert_eq!(suspended, Err(Error::EventsInFlight));
    let error = read_error(&mut stream).await;
    assert!(error.to_string().contains("suspended"), "{error}");
    drop(stream);
    write(&mut peer, b", later").await;
    test.app.resume().await.expect("resume");
    support::subscribe(&test.app, &test.listener)
        .await
        .expect("it runs");
    assert_eq!(test.received(client.id(), 13).await, b"unread, later");
    client.send("alive").await.expect("it is open");
    assert_eq!(read(&mut peer, 5).await, b"alive");
}
