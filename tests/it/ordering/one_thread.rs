//! All in one arbiter.

use super::*;

#[actix_rt::test]
async fn ten_thousand_sends_by_id_arrive_in_order_and_complete() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let tcp = test.app.tcp.clone();
    let answers = (0..SENDS).map(|number| tcp.send(client.id(), message(number)));
    let answers = answers.collect();
    assert_all_sent(&mut peer, answers).await;
    assert_alive(&mut test, &client).await;
}

#[actix_rt::test]
async fn ten_thousand_sends_by_handle_arrive_in_order_and_complete() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let answers = (0..SENDS).map(|number| client.send(message(number)));
    let answers = answers.collect();
    assert_all_sent(&mut peer, answers).await;
    assert_alive(&mut test, &client).await;
}

#[actix_rt::test]
async fn ten_thousand_sends_without_awaiting_arrive_in_order_and_complete() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    for number in 0..SENDS {
        match number % 2 {
            0 => drop(client.send(message(number))),
            _ => client.try_send(message(number)).expect("it is connected"),
        }
    }
    assert_all_arrive(&mut peer).await;
    for number in 0..SENDS {
        drop(test.app.tcp.send(client.id(), message(number)));
    }
    assert_all_arrive(&mut peer).await;
    peer.write_all(b"alive").await.expect("write");
    assert_alive(&mut test, &client).await;
}

#[actix_rt::test]
async fn ten_thousand_messages_to_the_registry_arrive_in_order_and_complete() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let (registry, app) = (&test.registry, &test.app);
    let answers =
        (0..SENDS).map(|number| send_request(registry, app, client.id(), message(number)));
    let answers = answers.collect();
    assert_all_sent(&mut peer, answers).await;
    assert_alive(&mut test, &client).await;
}

#[actix_rt::test]
async fn calls_by_id_and_by_handle_keep_order_if_answers_are_awaited_between_them() {
    let mut test = TestApp::new().await;
    let (client, mut peer) = pair(&mut test).await;
    let sending = async {
        for start in (0..SENDS).step_by(100) {
            let sends: Vec<Answer<_>> = (start..start + 100)
                .map(|number| match start % 200 {
                    0 => test.app.tcp.send(client.id(), message(number)),
                    _ => client.send(message(number)),
                })
                .collect();
            for sent in within("the answers", join_all(sends)).await {
                sent.expect("send");
            }
        }
    };
    tokio::join!(sending, assert_all_arrive(&mut peer));
    peer.write_all(b"alive").await.expect("write");
    assert_alive(&mut test, &client).await;
}

#[actix_rt::test]
async fn calls_that_end_a_connection_are_carried_out_after_earlier_sends() {
    let mut test = TestApp::new().await;
    let (by_id, mut peer) = pair(&mut test).await;
    let tcp = test.app.tcp.clone();
    for number in 0..SENDS {
        drop(tcp.send(by_id.id(), message(number)));
    }
    let closing = tcp.close(by_id.id());
    let late = tcp.send(by_id.id(), &b"late"[..]);
    assert_all_arrive(&mut peer).await;
    assert_eq!(within("close", closing).await, Ok(()));
    let late = within("the late send", late).await;
    assert_eq!(late, Err(Error::SocketNotFound));
    let end = within("the end", peer.read(&mut [0])).await;
    assert_eq!(end.expect("a clean end"), 0);

    let (by_handle, mut peer) = pair(&mut test).await;
    for number in 0..SENDS {
        drop(by_handle.send(message(number)));
    }
    let ending = by_handle.disconnect();
    let late = by_handle.send(&b"late"[..]);
    assert_all_arrive(&mut peer).await;
    assert_eq!(within("disconnect", ending).await, Ok(()));
    let late = within("the late send", late).await;
    assert_eq!(late, Err(NetError::SOCKET_NOT_CONNECTED.into()));
    let end = within("the end", peer.read(&mut [0])).await;
    assert_eq!(end.expect("a clean end"), 0);
}
