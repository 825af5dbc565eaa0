//! Ten thousand clients that connect and say nothing.

use super::child_processes::Crowd;
use super::*;

const MANY: usize = 10_000;

/// What an idle connection may cost, as `memory` has it.
const IDLE: usize = 4 * KIB;

#[test]
fn ten_thousand_silent_clients_do_not_delay_an_honest_one() {
    let _alone = alone();
    let server = echo_server(&[]);
    let watched = Watched::after_the_first(&server.program, server.address);
    let honest = Honest::new(server.address);
    let mut crowd = Crowd::comes(server.address, MANY);
    eventually("all of them", || watched.more_descriptors() >= MANY);
    let amid = "10,000 silent clients";
    watched.has_grown_at_most(MANY * IDLE + SLACK, amid);
    // They were only silent, not forgotten.
    crowd.speaks();
    crowd.leaves();
    honest.was_served_within_a_second_each_time(amid);
    watched.has_the_descriptors_of_the_beginning();
    echo_line(&dial(server.address), "proof of life");
    server.ends_well();
}

#[test]
fn ten_thousand_silent_clients_of_a_paused_server_cost_no_memory_and_none_is_lost() {
    let _alone = alone();
    let mut host = Host::start("default", 0, None);
    let watched = Watched::after_the_first(&host.program, host.at);
    host.call("pause");
    let honest = Honest::new(host.beside);
    let mut crowd = Crowd::comes_at_once(host.at, MANY);
    // As many as the machine lets wait; the others' TCP knocks on.
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let most: u64 = most.expect("Linux tells").trim().parse().expect("a number");
    let most = most.min(4096) + 1;
    eventually("a full backlog", || host.info().backlog == most);
    assert_eq!(host.info().accepted, 1, "nobody but the first");
    let amid = "10,000 clients of a paused server";
    watched.has_grown_at_most(SLACK, amid);
    host.call("resume");
    crowd.speaks();
    let all = u64::try_from(MANY).expect("few") + 1;
    let info = host.info();
    assert_eq!((info.accepted, info.delivered), (all, all));
    assert_eq!((info.refused, info.failed), (0, 0));
    watched.has_grown_at_most(MANY * IDLE + SLACK, amid);
    crowd.leaves();
    honest.was_served_within_a_second_each_time(amid);
    echo_line(&dial(host.at), "proof of life");
    watched.has_the_descriptors_of_the_beginning();
    host.ends_well();
}
