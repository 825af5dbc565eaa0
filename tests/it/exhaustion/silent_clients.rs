//! Ten thousand clients that connect and send nothing.

use super::child_processes::Crowd;
use super::*;

const MANY: usize = 10_000;

/// Memory of an idle connection, as tested in `memory`.
const IDLE: usize = 4 * KIB;

#[test]
fn ten_thousand_silent_clients_do_not_delay_an_honest_one() {
    let _exclusive = exclusive();
    let server = echo_server(&[]);
    let baseline = Baseline::after_first_client(&server.program, server.address);
    let honest_client = HonestClient::new(server.address);
    let mut crowd = Crowd::connect(server.address, MANY);
    eventually("all of them", || baseline.extra_descriptors() >= MANY);
    let amid = "10,000 silent clients";
    baseline.assert_growth(MANY * IDLE + SLACK, amid);
    // The silent clients are still served.
    crowd.expect_echoes();
    crowd.disconnect_all();
    honest_client.assert_prompt(amid);
    baseline.assert_descriptors_released();
    echo_line(&dial(server.address), "proof of life");
    server.expect_success();
}

#[test]
fn ten_thousand_silent_clients_of_a_paused_server_cost_no_memory_and_none_is_lost() {
    let _exclusive = exclusive();
    let mut server = ServerProcess::start("default", 0, None);
    let baseline = Baseline::after_first_client(&server.program, server.at);
    server.call("pause");
    let honest_client = HonestClient::new(server.beside);
    let mut crowd = Crowd::connect_at_once(server.at, MANY);
    // As many as the machine's backlog holds; the others retransmit their SYN.
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let most: u64 = most
        .expect("Linux reports it")
        .trim()
        .parse()
        .expect("a number");
    let most = most.min(4096) + 1;
    eventually("a full backlog", || server.info().backlog == most);
    assert_eq!(server.info().accepted, 1, "only the first client");
    let amid = "10,000 clients of a paused server";
    baseline.assert_growth(SLACK, amid);
    server.call("resume");
    crowd.expect_echoes();
    let all = u64::try_from(MANY).expect("it fits the type") + 1;
    let info = server.info();
    assert_eq!((info.accepted, info.delivered), (all, all));
    assert_eq!((info.refused, info.failed), (0, 0));
    baseline.assert_growth(MANY * IDLE + SLACK, amid);
    crowd.disconnect_all();
    honest_client.assert_prompt(amid);
    echo_line(&dial(server.at), "proof of life");
    baseline.assert_descriptors_released();
    server.expect_success();
}
