//! Peers that send and never read.

use support::Echo;

use super::*;

#[actix_rt::test]
async fn peers_that_never_read_do_not_delay_an_honest_one() {
    let network = ScriptedNetwork::new();
    let test = TestApp::with_network(network.clone()).await;
    let (_, at) = test.listen().await;
    let echo = Echo.start();
    let received = test.listener.clone();
    let (server, tcp) = (&test.app.tcp_server, &test.app.tcp);
    server
        .on_accept
        .do_remove_listener(received.clone().recipient());
    tcp.on_receive.do_remove_listener(received.recipient());
    server.on_accept.do_add_listener(echo.clone().recipient());
    tcp.on_receive.do_add_listener(echo.recipient());

    // More than the 64 windows that all sockets of an app may have unhandled.
    let non_reading: Vec<_> = (0..100)
        .map(|_| {
            let peer = network.client(at).expect("it listens");
            peer.limit_writes(0);
            peer.send(vec![0xdf; 2 * tcp::WINDOW]);
            peer
        })
        .collect();
    let honest = network.client(at).expect("it listens");
    for round in 1..=100 {
        honest.send([round; 100]);
        let all = usize::from(round) * 100;
        until("its echo", || honest.received().len() == all).await;
    }
    // What these peers sent arrives when they read.
    for peer in &non_reading {
        peer.unlimit_writes();
        until("all of its echo", || {
            peer.received().len() == 2 * tcp::WINDOW
        })
        .await;
    }
}
