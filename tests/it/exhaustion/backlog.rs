//! A backlog that is full.

use super::children::{begin_to_connect, speak};
use super::*;

#[test]
fn a_backlog_of_1_and_a_pause_lose_none_of_100_clients() {
    let _alone = alone();
    let mut host = Host::start("default", 1, None);
    let watched = Watched::after_the_first(&host.program, host.at);
    host.call("pause");
    let honest = Honest::new(host.beside);
    // One after the other, and so do they knock again later: if all did in the
    // same moment, a backlog of 1 would be full again each time.
    let (_never, pace) = channel::<()>();
    let clients: Vec<TcpStream> = (0..100)
        .map(|_| {
            let _ = pace.recv_timeout(Duration::from_millis(10));
            begin_to_connect(host.at)
        })
        .collect();
    // Linux lets one more in than it is asked to; the others' TCP knocks on.
    eventually("a full backlog", || host.info().backlog == 2);
    assert_eq!(host.info().accepted, 1, "nobody but the first");
    host.call("resume");
    speak(&clients);
    let info = host.info();
    assert_eq!((info.accepted, info.delivered), (101, 101));
    assert_eq!((info.refused, info.failed, info.backlog), (0, 0, 0));
    drop(clients);
    let amid = "a full backlog";
    honest.was_served_within_a_second_each_time(amid);
    echo_line(&dial(host.at), "proof of life");
    watched.has_the_descriptors_of_the_beginning();
    watched.has_grown_at_most(SLACK, amid);
    host.ends_well();
}
