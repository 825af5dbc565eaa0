//! Clients that connect and reset at once.

use super::*;

/// Closes with a reset.
fn reset(client: TcpStream) {
    let socket = socket2::SockRef::from(&client);
    socket
        .set_linger(Some(Duration::ZERO))
        .expect("the option is set");
}

/// Thousands of such clients, from several threads; some send data first.
pub fn reset_many(at: SocketAddr, threads: usize, each: usize) {
    /// Unaccepted connections of each thread: the honest client needs room in the backlog too,
    /// or TCP retries only after a second.
    const UNACCEPTED: usize = 25;
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                lower_priority();
                for i in 0..each {
                    let client = dial(at);
                    if i % UNACCEPTED == 0 {
                        echo_line(&client, "is anybody there?");
                    } else if i % 3 == 0 {
                        let _ = (&client).write(&[0xdf; 3000]);
                    }
                    reset(client);
                }
            });
        }
    });
}

#[test]
fn ten_thousand_resets_do_not_delay_an_honest_client() {
    let _exclusive = exclusive();
    let server = echo_server(&[]);
    let baseline = Baseline::after_first_client(&server.program, server.address);
    let honest_client = HonestClient::new(server.address);
    reset_many(server.address, 2, 5_000);
    let amid = "10,000 resets";
    honest_client.assert_prompt(amid);
    echo_line(&dial(server.address), "proof of life");
    baseline.assert_descriptors_released();
    baseline.assert_growth(SLACK, amid);
    server.expect_success();
}

#[test]
fn clients_that_reset_in_the_backlog_are_reported_and_leave_nothing_behind() {
    const MANY: u64 = 2_000;
    let _exclusive = exclusive();
    let mut server = ServerProcess::start("default", 0, None);
    let baseline = Baseline::after_first_client(&server.program, server.at);
    server.call("pause");
    let honest_client = HonestClient::new(server.beside);
    let at = server.at;
    (0..MANY).for_each(|_| reset(send_probe(at)));
    assert_eq!(server.info().backlog, MANY, "Linux keeps them there");
    server.call("resume");
    eventually("all of them", || server.info().delivered == MANY + 1);
    let info = server.info();
    assert_eq!((info.accepted, info.refused, info.failed), (MANY + 1, 0, 0));
    let amid = "2,000 that were gone already";
    honest_client.assert_prompt(amid);
    echo_line(&dial(at), "proof of life");
    baseline.assert_descriptors_released();
    baseline.assert_growth(SLACK, amid);
    server.expect_success();
}
