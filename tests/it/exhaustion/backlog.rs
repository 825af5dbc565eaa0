//! A full backlog.

use super::child_processes::start_connect;
use super::*;

/// A client that reconnects if it gets no answer soon.
fn reconnect_until_served(at: SocketAddr, mut client: TcpStream) -> TcpStream {
    const SOON: Option<Duration> = Some(Duration::from_millis(300));
    let until = Instant::now() + LIMIT;
    loop {
        client.set_nonblocking(false).expect("set_nonblocking");
        client.set_write_timeout(SOON).expect("a limit");
        client.set_read_timeout(SOON).expect("a limit");
        if client.write_all(b"?").is_ok() && outcome(&client) == ClientOutcome::Served {
            return client;
        }
        assert!(Instant::now() < until, "it is not served");
        client = start_connect(at);
    }
}

#[test]
fn a_backlog_of_1_and_a_pause_lose_none_of_100_clients() {
    let _exclusive = exclusive();
    let mut server = ServerProcess::start("default", 1, None);
    let baseline = Baseline::after_first_client(&server.program, server.at);
    server.call("pause");
    let honest_client = HonestClient::new(server.beside);
    let clients = (0..100).map(|_| start_connect(server.at));
    let clients: Vec<TcpStream> = clients.collect();
    // Linux accepts one more than asked. The others retransmit their SYN with back-off, so the
    // last would take minutes.
    eventually("a full backlog", || server.info().backlog == 2);
    assert_eq!(server.info().accepted, 1, "only the first client");
    server.call("resume");
    let (waited, others) = clients.split_at(2);
    for mut client in waited {
        client.set_nonblocking(false).expect("set_nonblocking");
        client.set_read_timeout(Some(LIMIT)).expect("a limit");
        client.write_all(b"?").expect("it was in the backlog");
        assert_eq!(outcome(client), ClientOutcome::Served);
    }
    let served = others.iter().map(|client| {
        let client = client.try_clone().expect("a descriptor");
        reconnect_until_served(server.at, client)
    });
    let served: Vec<TcpStream> = served.collect();
    let info = server.info();
    // Some of the first attempts may have found room, too.
    assert!(info.delivered > 100, "{info:?}");
    assert_eq!((info.refused, info.failed), (0, 0));
    drop(served);
    drop(clients);
    eventually("the last of them", || {
        let info = server.info();
        info.backlog == 0 && info.accepted == info.delivered
    });
    let amid = "a full backlog";
    honest_client.assert_prompt(amid);
    echo_line(&dial(server.at), "proof of life");
    baseline.assert_descriptors_released();
    baseline.assert_growth(SLACK, amid);
    server.expect_success();
}
