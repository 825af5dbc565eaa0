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
fn books() -> SocketStats {
    let mut books = SocketStats::default();
    books.create(Namespace::Server, 1, 0, None);
    for client in 1..=3 {
        books.accepted(1, client);
    }
    books.create(Namespace::Client, 4, 0, Some(100));
    books
}

#[test]
fn what_passed_stays_in_the_sums_when_its_socket_is_closed() {
    let mut books = books();
    assert_eq!(books.received(1, 10), DEFAULT_BUFFER_SIZE);
    assert_eq!(books.received(4, 5), 100);
    books.sent(2, 7);
    assert_eq!(books.sums(), sums(15, 7, 3));
    assert_eq!(
        books.servers(Rank::Name, ALL),
        (1, vec![(1, 3, sums(10, 7, 3))])
    );
    books.close(Namespace::Client, 1);
    books.close(Namespace::Client, 4);
    assert_eq!(books.sums(), sums(15, 7, 3));
    assert_eq!(
        books.servers(Rank::Name, ALL),
        (1, vec![(1, 2, sums(10, 7, 3))])
    );
    books.close(Namespace::Server, 1);
    assert_eq!(books.sums(), sums(15, 7, 3));
    assert_eq!(books.clients(None, Order::Id, ALL), (2, vec![2, 3]));
    books.sent(4, 1);
    assert_eq!(books.received(1, 1), 0, "nothing is joined to it");
    assert_eq!(books.sums(), sums(16, 8, 3), "it was closed meanwhile");
}

#[test]
fn sockets_that_have_waited_keep_their_counts_and_the_others_are_closed() {
    let mut books = books();
    books.received(1, 10);
    books.received(2, 20);
    books.found([(1, 0), (9, 0)], [(2, 0, Some(50)), (7, 0, None)]);
    assert_eq!((books.server_count(), books.client_count()), (2, 2));
    assert_eq!(books.sums(), sums(30, 0, 3));
    assert_eq!(books.client_sums(2), sums(20, 0, 0));
    assert_eq!(books.received(2, 1), 50);
    assert_eq!(books.clients(Some(1), Order::Id, ALL), (1, vec![2]));
    assert_eq!(books.clients(None, Order::Id, ALL), (1, vec![7]));
    books.found([], []);
    assert!(books.is_empty());
    assert_eq!(books.sums(), sums(31, 0, 3));
}

#[test]
fn a_list_is_as_long_as_was_asked_in_the_order_that_was_asked() {
    let mut books = books();
    books.received(2, 10);
    books.sent(3, 30);
    let slice = |from, most| PageRange { from, most };
    let of_server = |order, slice| books.clients(Some(1), order, slice);
    assert_eq!(of_server(Order::Id, slice(0, 2)), (3, vec![1, 2]));
    assert_eq!(of_server(Order::Id, slice(2, 2)), (3, vec![3]));
    assert_eq!(of_server(Order::Bytes, slice(0, 2)), (3, vec![3, 2]));
    assert_eq!(of_server(Order::Bytes, slice(9, 2)), (3, vec![]));
    assert_eq!(books.clients(Some(2), Order::Id, ALL), (0, vec![]));
}

#[test]
fn sockets_cost_what_they_take_with_their_names() {
    let mut books = books();
    assert_eq!(
        books.cost(),
        SERVER_COST + CLIENT_COST,
        "those that were accepted cost nothing"
    );
    books.update(Namespace::Client, 4, Some(10), None);
    books.update(Namespace::Client, 1, Some(5), Some(7));
    books.update(Namespace::Server, 1, Some(2), None);
    assert_eq!(books.cost(), SERVER_COST + CLIENT_COST + 17);
    assert_eq!((books.received(4, 1), books.received(1, 1)), (100, 7));
    books.update(Namespace::Client, 4, Some(0), None);
    assert_eq!(books.cost(), SERVER_COST + CLIENT_COST + 7);
    for (kind, id) in [
        (Namespace::Client, 1),
        (Namespace::Client, 4),
        (Namespace::Client, 4),
        (Namespace::Server, 1),
    ] {
        books.close(kind, id);
    }
    assert_eq!(books.cost(), 0);
    books.found([(1, 3)], [(7, 4, None)]);
    assert_eq!(books.cost(), SERVER_COST + CLIENT_COST + 7);
}

#[test]
fn a_part_of_a_list_has_as_many_sockets_as_fit_with_their_names() {
    let mut books = SocketStats::default();
    for id in 1..=1000 {
        books.create(Namespace::Client, id, 0, None);
    }
    let ids = books.ids(Namespace::Client);
    assert_eq!(ids, (1..=1000).collect::<Vec<_>>());
    assert_eq!(books.part(Namespace::Client, &ids), PART / MIN_INFO);
    books.update(Namespace::Client, 1, Some(PART), None);
    assert_eq!(books.part(Namespace::Client, &ids), 1);
    books.update(Namespace::Client, 1, Some(4096), None);
    let count = books.part(Namespace::Client, &ids);
    assert_eq!(count, 1 + (PART - MIN_INFO - 6 * 4096) / MIN_INFO);
    assert_eq!(books.part(Namespace::Client, &ids[..3]), 3);
}

#[test]
fn what_keeps_servers_from_accepting_is_counted_and_the_worst_comes_first() {
    let mut books = SocketStats::default();
    (1..=4).for_each(|id| books.create(Namespace::Server, id, 0, None));
    assert_eq!(books.problems(), []);
    let failed = BlockReason::AcceptError(chrome_sockets::NetError::INSUFFICIENT_RESOURCES);
    books.blocked(2, &[BlockReason::App]);
    books.blocked(3, &[BlockReason::Suspended, failed]);
    books.blocked(4, &[BlockReason::App]);
    let problems = books.problems().into_iter();
    let problems: Vec<_> = problems.map(|it| (it.reason, it.servers)).collect();
    let expected = [
        (failed, 1),
        (BlockReason::App, 2),
        (BlockReason::Suspended, 1),
    ];
    assert_eq!(problems, expected);
    let ids = |rank| -> Vec<u64> {
        let (_, listed) = books.servers(rank, ALL);
        listed.into_iter().map(|(id, ..)| id).collect()
    };
    assert_eq!(ids(Rank::Problems), [3, 2, 4, 1]);
    assert_eq!(ids(Rank::Name), [1, 2, 3, 4]);
    books.blocked(3, &[]);
    books.close(Namespace::Server, 2);
    assert_eq!(books.problems().len(), 1, "what is over is no problem");
}
