//! `resume_with`: options and `setPaused(false)` in one call.

use std::time::Duration;

use chrome_sockets::tcp::{ResumeOptions, SocketListeners};
use chrome_sockets::{Error, NetError};
use support::{ListenerEvent, TestApp};
use tokio::sync::mpsc::unbounded_channel;

use super::networks::{OptionRecordingNetwork, OptionSet};
use super::{connected, pair, read, write};

#[actix_rt::test]
async fn what_has_arrived_is_raised_with_the_options_of_resume_with() {
    let (sender, mut set) = unbounded_channel();
    let mut test = TestApp::with_network(OptionRecordingNetwork(sender)).await;
    let (client, mut peer) = connected(&test).await;
    client.set_paused(true).await.expect("it is open");
    write(&mut peer, b"abcdef").await;
    let options = ResumeOptions::new()
        .no_delay(false)
        .keep_alive(true, Some(10))
        .buffer_size(3);
    assert_eq!(client.resume_with(options).await, Ok(()));
    assert_eq!(set.try_recv(), Ok(OptionSet::NoDelay(false)));
    let keep_alive = OptionSet::KeepAlive(Some(Duration::from_secs(10)));
    assert_eq!(set.try_recv(), Ok(keep_alive));
    for data in ["abc", "def"] {
        match test.next().await {
            ListenerEvent::Receive(id, bytes) => {
                assert_eq!((id, &*bytes), (client.id(), data.as_bytes()));
            }
            other => panic!("expected onReceive, not {other:?}"),
        }
    }
    let info = client.get_info().await.expect("it is open");
    assert_eq!((info.buffer_size, info.paused), (Some(3), false));

    // Without options it only resumes.
    client.set_paused(true).await.expect("it is open");
    write(&mut peer, b"gh").await;
    assert_eq!(client.resume_with(ResumeOptions::new()).await, Ok(()));
    assert_eq!(test.received(client.id(), 2).await, b"gh");
    assert!(set.try_recv().is_err(), "no option was set");
    let info = client.get_info().await.expect("it is open");
    assert_eq!(info.buffer_size, Some(3), "the others stay");
}

#[actix_rt::test]
async fn resume_with_answers_the_first_error_and_does_the_rest() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let options = ResumeOptions::new()
        .keep_alive(true, Some(-1))
        .buffer_size(2);
    let answer = client.resume_with(options.clone()).await;
    assert_eq!(answer, Err(NetError::FAILED.into()));
    let info = client.get_info().await.expect("it is open");
    assert_eq!((info.buffer_size, info.paused), (Some(2), false));
    write(&mut peer, b"in").await;
    assert_eq!(test.received(client.id(), 2).await, b"in");
    client.send("out").await.expect("it is open");
    assert_eq!(read(&mut peer, 3).await, b"out");

    // Of a socket that is not connected.
    client.disconnect().await.expect("it is open");
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    let not_connected = client
        .resume_with(ResumeOptions::new().no_delay(true))
        .await;
    assert_eq!(not_connected, Err(NetError::FAILED.into()));
    let info = client.get_info().await.expect("it is open");
    assert!(!info.paused);

    client.close().await.expect("it is open");
    let closed = client.resume_with(options.clone()).await;
    assert_eq!(closed, Err(Error::SocketNotFound));
    client.do_resume_with(options);
}

#[actix_rt::test]
async fn the_listeners_of_resume_with_miss_nothing_and_the_apps_get_nothing() {
    let mut test = TestApp::new().await;
    let mut other = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    write(&mut peer, b"first").await;
    let listeners = SocketListeners::of(&other.listener);
    let options = ResumeOptions::new().listeners(listeners.clone());
    assert_eq!(client.resume_with(options.clone()).await, Ok(()));
    assert_eq!(other.received(client.id(), 5).await, b"first");
    test.expect_no_event().await;

    // A socket that is a stream keeps its data.
    let (client, mut peer) = pair(&mut test).await;
    let mut stream = client.clone().into_stream().await.expect("it is open");
    let refused = client.resume_with(options).await;
    assert_eq!(refused, Err(Error::AlreadyStream));
    write(&mut peer, b"read").await;
    let mut data = [0; 4];
    let reading = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut data);
    support::within("the data", reading)
        .await
        .expect("it is open");
    assert_eq!(&data, b"read");
}
