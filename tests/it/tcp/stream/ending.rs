//! How a stream ends its socket, and what ends a stream.

use std::time::Duration;

use chrome_sockets::{Registry, Shutdown};

use super::*;

/// The socket of a dropped stream is gone.
async fn expect_closed(client: &ClientSocket) {
    within("the socket's end", async {
        while client.get_info().await.is_ok() {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.get_info().await.err(), Some(Error::SocketNotFound));
}

#[actix_rt::test]
async fn a_dropped_stream_closes_its_socket_and_what_was_written_arrives() {
    let mut test = TestApp::new().await;
    let (mut stream, mut peer) = stream(&mut test).await;
    let client = stream.socket().clone();
    let data = pattern(LARGE);
    let sent = data.clone();
    let writing = actix_rt::spawn(async move {
        stream.write_all(&sent).await.expect("it is open");
    });
    assert!(read_to_end(&mut peer).await == data, "other bytes came");
    writing.await.expect("no panic");
    expect_closed(&client).await;
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn unread_input_of_a_dropped_stream_does_not_destroy_what_was_written() {
    let mut test = TestApp::new().await;
    for is_read in [false, true] {
        let (mut stream, mut peer) = stream(&mut test).await;
        write(&mut peer, &pattern(300_000)).await;
        if is_read {
            get(&mut stream, 1).await;
        }
        put(&mut stream, &pattern(100_000)).await;
        drop(stream);
        let answer = read_to_end(&mut peer).await;
        assert!(answer == pattern(100_000), "{} bytes came", answer.len());
    }
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn a_panic_of_the_task_that_owns_a_stream_ends_only_that_connection() {
    let mut test = TestApp::new().await;
    let (mut other, mut other_peer) = stream(&mut test).await;
    let (mut panicking, mut peer) = stream(&mut test).await;
    let client = panicking.socket().clone();
    let task = actix_rt::spawn(async move {
        get(&mut panicking, 3).await;
        panic!("as the test wants");
    });
    write(&mut peer, b"now, and unread").await;
    assert!(task.await.is_err_and(|error| error.is_panic()));
    assert_eq!(read_to_end(&mut peer).await, b"");
    expect_closed(&client).await;
    write(&mut other_peer, b"alive").await;
    assert_eq!(get(&mut other, 5).await, b"alive");
    test.expect_no_event().await;
    expect_service(&mut test).await;
}

#[actix_rt::test]
async fn a_handle_that_ends_the_socket_ends_the_stream_with_an_error_after_all_data() {
    type End = fn(&ClientSocket);
    let ends: [End; 3] = [
        |client| client.do_close(),
        |client| client.do_disconnect(),
        |client| drop(client.reset()),
    ];
    let mut test = TestApp::new().await;
    for (end, paused) in ends.iter().flat_map(|end| [(end, false), (end, true)]) {
        let (mut stream, mut peer) = stream(&mut test).await;
        write(&mut peer, b"data").await;
        assert_eq!(get(&mut stream, 1).await, b"d");
        let client = stream.socket().clone();
        if paused {
            client.do_set_paused(true);
        }
        end(&client);
        assert_eq!(get(&mut stream, 3).await, b"ata");
        for _ in 0..2 {
            let error = read_error(&mut stream).await;
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{error:?}");
        }
        let error = stream.write(b"late").await.expect_err("it has ended");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{error:?}");
        drop(stream);
        expect_closed(&client).await;
    }
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn readers_and_writers_that_wait_are_woken_when_the_socket_is_closed() {
    let mut test = TestApp::new().await;
    let (stream, _peer) = stream(&mut test).await;
    let client = stream.socket().clone();
    let (mut reads, mut writes) = tokio::io::split(stream);
    let reading = actix_rt::spawn(async move { reads.read(&mut [0]).await });
    let writing = actix_rt::spawn(async move { writes.write_all(&vec![0; 4 * LARGE]).await });
    actix_rt::task::yield_now().await;
    client.close().await.expect("it is open");
    let read = within("the read's end", reading).await.expect("no panic");
    assert_eq!(
        read.expect_err("closed").kind(),
        io::ErrorKind::ConnectionAborted
    );
    let written = within("the write's end", writing).await.expect("no panic");
    // The end of the queue is a failed send, or the end of the socket.
    assert_eq!(
        written.expect_err("closed").kind(),
        io::ErrorKind::ConnectionAborted
    );
}

#[actix_rt::test]
async fn the_end_of_the_registry_ends_its_streams() {
    for shutdown in [false, true] {
        let mut test = TestApp::on(Registry::new()).await;
        let (mut stream, mut peer) = stream(&mut test).await;
        write(&mut peer, b"data").await;
        assert_eq!(get(&mut stream, 1).await, b"d");
        match shutdown {
            true => test
                .registry
                .send(Shutdown)
                .await
                .expect("it runs")
                .expect("shutdown"),
            false => drop(test),
        }
        assert_eq!(get(&mut stream, 3).await, b"ata");
        let error = read_error(&mut stream).await;
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        let written = stream.write_all(b"late").await.and(stream.flush().await);
        assert!(written.is_err() || stream.write(b"late").await.is_err());
        let again = stream.socket().clone().into_stream().await;
        assert!(matches!(
            again.err(),
            Some(Error::Stopped | Error::SocketNotFound)
        ));
    }
}

#[actix_rt::test]
async fn a_stream_counts_for_a_drain_until_it_is_dropped() {
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let mut peer = crate::tcp_server::dial(at).await;
    let mut stream = into_stream(test.accepted().await).await;
    let mut drained = test.app.tcp_server.drain(server, support::LIMIT);
    let early = actix_rt::time::timeout(support::QUIET, &mut drained).await;
    assert!(early.is_err(), "the stream is open");
    write(&mut peer, b"last").await;
    assert_eq!(get(&mut stream, 4).await, b"last");
    put(&mut stream, b"answer").await;
    drop(stream);
    assert_eq!(read_to_end(&mut peer).await, b"answer");
    let drained = within("the drain", drained).await.expect("it exists");
    assert_eq!((drained.finished, drained.forced.len()), (1, 0));
}

#[actix_rt::test]
async fn the_deadline_of_a_drain_ends_streams_with_an_error_paused_or_not() {
    for paused in [false, true] {
        let mut test = TestApp::new().await;
        let (server, at) = test.listen().await;
        let mut peer = crate::tcp_server::dial(at).await;
        let mut stream = into_stream(test.accepted().await).await;
        write(&mut peer, b"data").await;
        assert_eq!(get(&mut stream, 4).await, b"data");
        stream
            .socket()
            .set_paused(paused)
            .await
            .expect("it is open");
        let drained = test.app.tcp_server.drain(server, Duration::from_millis(50));
        let drained = within("the drain", drained).await.expect("it exists");
        assert_eq!((drained.finished, drained.forced.len()), (0, 1));
        let error = read_error(&mut stream).await;
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{error:?}");
        assert_eq!(net_error(&error), Some(NetError::ABORTED));
        assert!(stream.write(b"late").await.is_err());
        test.expect_no_event().await;
    }
}
