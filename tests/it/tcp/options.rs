//! `setKeepAlive` and `setNoDelay`.

use std::time::Duration;

use chrome_sockets::ClientSocketId;
use support::{TestApp, code};
use tokio::sync::mpsc::unbounded_channel;

use super::networks::{OptionRecordingNetwork, OptionSet};
use super::{connected, pair};

async fn assert_not_connected(test: &TestApp, id: ClientSocketId) {
    let tcp = &test.app.tcp;
    for on in [true, false] {
        let keep_alive = tcp.set_keep_alive(id, on, Some(10));
        assert_eq!(code("setKeepAlive", keep_alive).await, -2);
        let no_delay = tcp.set_no_delay(id, on);
        assert_eq!(code("setNoDelay", no_delay).await, -2);
    }
}

#[actix_rt::test]
async fn options_are_set_on_accepted_and_on_connected_sockets() {
    let mut test = TestApp::new().await;
    let tcp = test.app.tcp.clone();
    let (accepted, _accepted_peer) = pair(&mut test).await;
    let (connected, _connected_peer) = connected(&test).await;
    for id in [accepted.id(), connected.id()] {
        for delay in [None, Some(0), Some(10)] {
            for enable in [true, false] {
                let set = tcp.set_keep_alive(id, enable, delay).await;
                assert_eq!(set, Ok(()), "{enable} {delay:?}");
            }
        }
        for no_delay in [true, true, false] {
            assert_eq!(tcp.set_no_delay(id, no_delay).await, Ok(()));
        }
    }
}

#[actix_rt::test]
async fn options_reach_the_connection_unchanged() {
    let (sender, mut set) = unbounded_channel();
    let test = TestApp::with_network(OptionRecordingNetwork(sender)).await;
    let (client, _peer) = connected(&test).await;
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    for (enable, delay, expected) in [
        (true, Some(10), seconds(10)),
        (true, Some(0), seconds(0)),
        (true, None, seconds(0)),
        (false, Some(10), None),
        (false, None, None),
    ] {
        let answer = client.set_keep_alive(enable, delay).await;
        assert_eq!(answer, Ok(()), "{enable} {delay:?}");
        assert_eq!(set.try_recv(), Ok(OptionSet::KeepAlive(expected)));
    }
    for no_delay in [true, false] {
        client.set_no_delay(no_delay).await.expect("setNoDelay");
        assert_eq!(set.try_recv(), Ok(OptionSet::NoDelay(no_delay)));
    }
}

#[actix_rt::test]
async fn a_negative_delay_fails_and_so_does_one_that_the_os_refuses() {
    let mut test = TestApp::new().await;
    let (client, _peer) = pair(&mut test).await;
    for delay in [-1, i32::MIN, i32::MAX] {
        let answer = client.set_keep_alive(true, Some(delay));
        assert_eq!(code("setKeepAlive", answer).await, -2, "{delay}");
    }
    for enable in [true, false] {
        let answer = client.set_keep_alive(enable, Some(-1));
        assert_eq!(code("setKeepAlive", answer).await, -2, "{enable}");
    }
    let info = client.get_info().await.expect("it exists");
    assert!(info.connected, "a refused option ends no connection");
}

#[actix_rt::test]
async fn options_fail_on_a_socket_that_is_not_connected() {
    let mut test = TestApp::new().await;
    let never = test.create().await;
    assert_not_connected(&test, never).await;
    let (client, peer) = pair(&mut test).await;
    client.disconnect().await.expect("disconnect");
    assert_not_connected(&test, client.id()).await;
    drop(peer);

    let (client, peer) = pair(&mut test).await;
    client.set_paused(false).await.expect("resume");
    drop(peer);
    test.ended(client.id()).await;
    assert_not_connected(&test, client.id()).await;
}
