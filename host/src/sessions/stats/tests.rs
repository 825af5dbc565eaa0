//! Counters, memory and lists.

use crate::sessions::stats::*;

const ALL: PageRange = PageRange {
    from: 0,
    max: usize::MAX,
};

fn counters(received: u64, sent: u64, accepted: u64) -> Counters {
    Counters {
        received,
        sent,
        accepted,
        ..Counters::default()
    }
}

/// A server socket 1 with the connections 1 to 3, and a client socket 4.
fn socket_stats() -> SocketStats {
    let mut socket_stats = SocketStats::default();
    socket_stats.create(Namespace::Server, 1, 0, None);
    for client in 1..=3 {
        socket_stats.count_accepted(1, client);
    }
    socket_stats.create(Namespace::Client, 4, 0, Some(100));
    socket_stats
}

#[test]
fn totals_include_closed_sockets() {
    let mut socket_stats = socket_stats();
    assert_eq!(socket_stats.count_received(1, 10), DEFAULT_BUFFER_SIZE);
    assert_eq!(socket_stats.count_received(4, 5), 100);
    socket_stats.count_sent(2, 7);
    assert_eq!(socket_stats.totals(), counters(15, 7, 3));
    assert_eq!(
        socket_stats.servers(Rank::Name, ALL),
        (1, vec![(1, 3, counters(10, 7, 3))])
    );
    socket_stats.close(Namespace::Client, 1);
    socket_stats.close(Namespace::Client, 4);
    assert_eq!(socket_stats.totals(), counters(15, 7, 3));
    assert_eq!(
        socket_stats.servers(Rank::Name, ALL),
        (1, vec![(1, 2, counters(10, 7, 3))])
    );
    socket_stats.close(Namespace::Server, 1);
    assert_eq!(socket_stats.totals(), counters(15, 7, 3));
    assert_eq!(socket_stats.clients(None, Order::Id, ALL), (2, vec![2, 3]));
    socket_stats.count_sent(4, 1);
    assert_eq!(
        socket_stats.count_received(1, 1),
        0,
        "a closed socket joins no data"
    );
    assert_eq!(
        socket_stats.totals(),
        counters(16, 8, 3),
        "it was closed meanwhile"
    );
}

#[test]
fn a_sync_keeps_the_counters_of_known_sockets() {
    let mut socket_stats = socket_stats();
    socket_stats.count_received(1, 10);
    socket_stats.count_received(2, 20);
    socket_stats.sync([(1, 0), (9, 0)], [(2, 0, Some(50)), (7, 0, None)], []);
    assert_eq!(
        (
            socket_stats.count(Namespace::Server),
            socket_stats.count(Namespace::Client)
        ),
        (2, 2)
    );
    assert_eq!(socket_stats.totals(), counters(30, 0, 3));
    assert_eq!(socket_stats.client_counters(2), counters(20, 0, 0));
    assert_eq!(socket_stats.count_received(2, 1), 50);
    assert_eq!(socket_stats.clients(Some(1), Order::Id, ALL), (1, vec![2]));
    assert_eq!(socket_stats.clients(None, Order::Id, ALL), (1, vec![7]));
    socket_stats.sync([], [], []);
    assert!(socket_stats.is_empty());
    assert_eq!(socket_stats.totals(), counters(31, 0, 3));
}

#[test]
fn a_list_has_the_requested_range_and_order() {
    let mut socket_stats = socket_stats();
    socket_stats.count_received(2, 10);
    socket_stats.count_sent(3, 30);
    let range = |from, max| PageRange { from, max };
    let of_server = |order, range| socket_stats.clients(Some(1), order, range);
    assert_eq!(of_server(Order::Id, range(0, 2)), (3, vec![1, 2]));
    assert_eq!(of_server(Order::Id, range(2, 2)), (3, vec![3]));
    assert_eq!(of_server(Order::Bytes, range(0, 2)), (3, vec![3, 2]));
    assert_eq!(of_server(Order::Bytes, range(9, 2)), (3, vec![]));
    assert_eq!(socket_stats.clients(Some(2), Order::Id, ALL), (0, vec![]));
}

#[test]
fn sockets_count_with_their_names() {
    let mut socket_stats = socket_stats();
    assert_eq!(
        socket_stats.cost(),
        SERVER_COST + CLIENT_COST,
        "accepted sockets do not count"
    );
    socket_stats.update(Namespace::Client, 4, Some(10), None);
    socket_stats.update(Namespace::Client, 1, Some(5), Some(7));
    socket_stats.update(Namespace::Server, 1, Some(2), None);
    assert_eq!(socket_stats.cost(), SERVER_COST + CLIENT_COST + 17);
    assert_eq!(
        (
            socket_stats.count_received(4, 1),
            socket_stats.count_received(1, 1)
        ),
        (100, 7)
    );
    socket_stats.update(Namespace::Client, 4, Some(0), None);
    assert_eq!(socket_stats.cost(), SERVER_COST + CLIENT_COST + 7);
    for (kind, id) in [
        (Namespace::Client, 1),
        (Namespace::Client, 4),
        (Namespace::Client, 4),
        (Namespace::Server, 1),
    ] {
        socket_stats.close(kind, id);
    }
    assert_eq!(socket_stats.cost(), 0);
    socket_stats.sync([(1, 3)], [(7, 4, None)], [(1, 5)]);
    assert_eq!(socket_stats.cost(), SERVER_COST + 2 * CLIENT_COST + 12);
}

#[test]
fn a_part_of_a_list_has_as_many_sockets_as_fit() {
    let mut socket_stats = SocketStats::default();
    for id in 1..=1000 {
        socket_stats.create(Namespace::Client, id, 0, None);
    }
    let ids = socket_stats.ids(Namespace::Client);
    assert_eq!(ids, (1..=1000).collect::<Vec<_>>());
    assert_eq!(
        socket_stats.part_length(Namespace::Client, &ids),
        LIST_PART / MAX_INFO
    );
    socket_stats.update(Namespace::Client, 1, Some(LIST_PART), None);
    assert_eq!(socket_stats.part_length(Namespace::Client, &ids), 1);
    socket_stats.update(Namespace::Client, 1, Some(4096), None);
    let count = socket_stats.part_length(Namespace::Client, &ids);
    assert_eq!(count, 1 + (LIST_PART - MAX_INFO - 6 * 4096) / MAX_INFO);
    assert_eq!(socket_stats.part_length(Namespace::Client, &ids[..3]), 3);
}

#[test]
fn problems_are_counted_and_sorted_by_severity() {
    let mut socket_stats = SocketStats::default();
    (1..=4).for_each(|id| socket_stats.create(Namespace::Server, id, 0, None));
    assert_eq!(socket_stats.problems(), []);
    let failed = BlockReason::AcceptError(chrome_sockets::NetError::INSUFFICIENT_RESOURCES);
    socket_stats.set_blocked_by(2, &[BlockReason::App]);
    socket_stats.set_blocked_by(3, &[BlockReason::Suspended, failed]);
    socket_stats.set_blocked_by(4, &[BlockReason::App]);
    let problems = socket_stats.problems().into_iter();
    let problems: Vec<_> = problems.map(|it| (it.reason, it.servers)).collect();
    let expected = [
        (failed, 1),
        (BlockReason::App, 2),
        (BlockReason::Suspended, 1),
    ];
    assert_eq!(problems, expected);
    let ids = |rank| -> Vec<u64> {
        let (_, listed) = socket_stats.servers(rank, ALL);
        listed.into_iter().map(|(id, ..)| id).collect()
    };
    assert_eq!(ids(Rank::Problems), [3, 2, 4, 1]);
    assert_eq!(ids(Rank::Name), [1, 2, 3, 4]);
    socket_stats.set_blocked_by(3, &[]);
    socket_stats.close(Namespace::Server, 2);
    assert_eq!(socket_stats.problems().len(), 1, "the others have ended");
}

#[test]
fn datagrams_are_counted_by_socket_and_in_the_totals() {
    let mut socket_stats = SocketStats::default();
    socket_stats.create(Namespace::Udp, 1, 3, None);
    socket_stats.create(Namespace::Udp, 2, 0, None);
    assert_eq!(socket_stats.cost(), 2 * CLIENT_COST + 3);
    socket_stats.update(Namespace::Udp, 2, Some(7), None);
    assert_eq!(socket_stats.cost(), 2 * CLIENT_COST + 10);
    socket_stats.count_datagram_received(2, 10);
    socket_stats.count_datagram_sent(2, 0);
    socket_stats.count_datagram_sent(1, 5);
    let of_first = Counters {
        datagrams_sent: 1,
        ..counters(0, 5, 0)
    };
    assert_eq!(socket_stats.udp_socket(1).0, of_first);
    assert_eq!(socket_stats.udp_ids(Order::Id, ALL), (2, vec![1, 2]));
    assert_eq!(socket_stats.udp_ids(Order::Bytes, ALL), (2, vec![2, 1]));
    let totals = Counters {
        datagrams_received: 1,
        datagrams_sent: 2,
        ..counters(10, 5, 0)
    };
    socket_stats.sync([], [], [(1, 0), (3, 0)]);
    assert_eq!(socket_stats.totals(), totals);
    assert_eq!(socket_stats.ids(Namespace::Udp), [1, 3]);
    socket_stats.close(Namespace::Udp, 1);
    socket_stats.close(Namespace::Udp, 3);
    assert!(socket_stats.is_empty() && socket_stats.cost() == 0);
    socket_stats.count_datagram_sent(1, 0);
    let late = Counters {
        datagrams_sent: 3,
        ..totals
    };
    assert_eq!(socket_stats.totals(), late, "it was closed meanwhile");
}
