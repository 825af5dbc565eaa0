//! Counts and lists, by tables.

use crate::sessions::stats::*;

const ALL: PageRange = PageRange {
    from: 0,
    most: usize::MAX,
};

fn sums(received: u64, sent: u64, accepted: u64) -> Counters {
    Counters {
        received,
        sent,
        accepted,
    }
}

/// A server socket 1 with the clients 1 to 3, and the client 4 of nobody.
fn socket_stats() -> SocketStats {
    let mut socket_stats = SocketStats::default();
    socket_stats.create(Namespace::Server, 1, 0, None);
    for client in 1..=3 {
        socket_stats.accepted(1, client);
    }
    socket_stats.create(Namespace::Client, 4, 0, Some(100));
    socket_stats
}

#[test]
fn what_passed_stays_in_the_sums_when_its_socket_is_closed() {
    let mut socket_stats = socket_stats();
    assert_eq!(socket_stats.received(1, 10), DEFAULT_BUFFER_SIZE);
    assert_eq!(socket_stats.received(4, 5), 100);
    socket_stats.sent(2, 7);
    assert_eq!(socket_stats.sums(), sums(15, 7, 3));
    assert_eq!(
        socket_stats.servers(Rank::Name, ALL),
        (1, vec![(1, 3, sums(10, 7, 3))])
    );
    socket_stats.close(Namespace::Client, 1);
    socket_stats.close(Namespace::Client, 4);
    assert_eq!(socket_stats.sums(), sums(15, 7, 3));
    assert_eq!(
        socket_stats.servers(Rank::Name, ALL),
        (1, vec![(1, 2, sums(10, 7, 3))])
    );
    socket_stats.close(Namespace::Server, 1);
    assert_eq!(socket_stats.sums(), sums(15, 7, 3));
    assert_eq!(socket_stats.clients(None, Order::Id, ALL), (2, vec![2, 3]));
    socket_stats.sent(4, 1);
    assert_eq!(socket_stats.received(1, 1), 0, "nothing is joined to it");
    assert_eq!(
        socket_stats.sums(),
        sums(16, 8, 3),
        "it was closed meanwhile"
    );
}

#[test]
fn sockets_that_have_waited_keep_their_counts_and_the_others_are_closed() {
    let mut socket_stats = socket_stats();
    socket_stats.received(1, 10);
    socket_stats.received(2, 20);
    socket_stats.found([(1, 0), (9, 0)], [(2, 0, Some(50)), (7, 0, None)]);
    assert_eq!(
        (socket_stats.server_count(), socket_stats.client_count()),
        (2, 2)
    );
    assert_eq!(socket_stats.sums(), sums(30, 0, 3));
    assert_eq!(socket_stats.client_sums(2), sums(20, 0, 0));
    assert_eq!(socket_stats.received(2, 1), 50);
    assert_eq!(socket_stats.clients(Some(1), Order::Id, ALL), (1, vec![2]));
    assert_eq!(socket_stats.clients(None, Order::Id, ALL), (1, vec![7]));
    socket_stats.found([], []);
    assert!(socket_stats.is_empty());
    assert_eq!(socket_stats.sums(), sums(31, 0, 3));
}

#[test]
fn a_list_is_as_long_as_was_asked_in_the_order_that_was_asked() {
    let mut socket_stats = socket_stats();
    socket_stats.received(2, 10);
    socket_stats.sent(3, 30);
    let slice = |from, most| PageRange { from, most };
    let of_server = |order, slice| socket_stats.clients(Some(1), order, slice);
    assert_eq!(of_server(Order::Id, slice(0, 2)), (3, vec![1, 2]));
    assert_eq!(of_server(Order::Id, slice(2, 2)), (3, vec![3]));
    assert_eq!(of_server(Order::Bytes, slice(0, 2)), (3, vec![3, 2]));
    assert_eq!(of_server(Order::Bytes, slice(9, 2)), (3, vec![]));
    assert_eq!(socket_stats.clients(Some(2), Order::Id, ALL), (0, vec![]));
}

#[test]
fn sockets_cost_what_they_take_with_their_names() {
    let mut socket_stats = socket_stats();
    assert_eq!(
        socket_stats.cost(),
        SERVER_COST + CLIENT_COST,
        "those that were accepted cost nothing"
    );
    socket_stats.update(Namespace::Client, 4, Some(10), None);
    socket_stats.update(Namespace::Client, 1, Some(5), Some(7));
    socket_stats.update(Namespace::Server, 1, Some(2), None);
    assert_eq!(socket_stats.cost(), SERVER_COST + CLIENT_COST + 17);
    assert_eq!(
        (socket_stats.received(4, 1), socket_stats.received(1, 1)),
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
    socket_stats.found([(1, 3)], [(7, 4, None)]);
    assert_eq!(socket_stats.cost(), SERVER_COST + CLIENT_COST + 7);
}

#[test]
fn a_part_of_a_list_has_as_many_sockets_as_fit_with_their_names() {
    let mut socket_stats = SocketStats::default();
    for id in 1..=1000 {
        socket_stats.create(Namespace::Client, id, 0, None);
    }
    let ids = socket_stats.ids(Namespace::Client);
    assert_eq!(ids, (1..=1000).collect::<Vec<_>>());
    assert_eq!(socket_stats.part(Namespace::Client, &ids), PART / MIN_INFO);
    socket_stats.update(Namespace::Client, 1, Some(PART), None);
    assert_eq!(socket_stats.part(Namespace::Client, &ids), 1);
    socket_stats.update(Namespace::Client, 1, Some(4096), None);
    let count = socket_stats.part(Namespace::Client, &ids);
    assert_eq!(count, 1 + (PART - MIN_INFO - 6 * 4096) / MIN_INFO);
    assert_eq!(socket_stats.part(Namespace::Client, &ids[..3]), 3);
}

#[test]
fn what_keeps_servers_from_accepting_is_counted_and_the_worst_comes_first() {
    let mut socket_stats = SocketStats::default();
    (1..=4).for_each(|id| socket_stats.create(Namespace::Server, id, 0, None));
    assert_eq!(socket_stats.problems(), []);
    let failed = BlockReason::AcceptError(chrome_sockets::NetError::INSUFFICIENT_RESOURCES);
    socket_stats.blocked(2, &[BlockReason::App]);
    socket_stats.blocked(3, &[BlockReason::Suspended, failed]);
    socket_stats.blocked(4, &[BlockReason::App]);
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
    socket_stats.blocked(3, &[]);
    socket_stats.close(Namespace::Server, 2);
    assert_eq!(
        socket_stats.problems().len(),
        1,
        "what is over is no problem"
    );
}
