//! Counts and lists, by tables.

use super::*;

const ALL: Slice = Slice {
    from: 0,
    most: usize::MAX,
};

fn sums(received: u64, sent: u64, accepted: u64) -> Sums {
    Sums {
        received,
        sent,
        accepted,
    }
}

/// A server socket 1 with the clients 1 to 3, and the client 4 of nobody.
fn books() -> Books {
    let mut books = Books::default();
    books.create_server(1);
    for client in 1..=3 {
        books.accepted(1, client);
    }
    books.create(4, Some(100));
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
    books.close(1);
    books.close(4);
    assert_eq!(books.sums(), sums(15, 7, 3));
    assert_eq!(
        books.servers(Rank::Name, ALL),
        (1, vec![(1, 2, sums(10, 7, 3))])
    );
    books.close_server(1);
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
    books.found([1, 9], [(2, Some(50)), (7, None)]);
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
    let slice = |from, most| Slice { from, most };
    let of_server = |order, slice| books.clients(Some(1), order, slice);
    assert_eq!(of_server(Order::Id, slice(0, 2)), (3, vec![1, 2]));
    assert_eq!(of_server(Order::Id, slice(2, 2)), (3, vec![3]));
    assert_eq!(of_server(Order::Bytes, slice(0, 2)), (3, vec![3, 2]));
    assert_eq!(of_server(Order::Bytes, slice(9, 2)), (3, vec![]));
    assert_eq!(books.clients(Some(2), Order::Id, ALL), (0, vec![]));
}

#[test]
fn what_keeps_servers_from_accepting_is_counted_and_the_worst_comes_first() {
    let mut books = Books::default();
    (1..=4).for_each(|id| books.create_server(id));
    assert_eq!(books.problems(), []);
    let failed = HeldUpBy::AcceptError(crate::net_error::NetError::INSUFFICIENT_RESOURCES);
    books.blocked(2, &[HeldUpBy::App]);
    books.blocked(3, &[HeldUpBy::Suspended, failed]);
    books.blocked(4, &[HeldUpBy::App]);
    let problems = books.problems().into_iter();
    let problems: Vec<_> = problems.map(|it| (it.reason, it.servers)).collect();
    let expected = [(failed, 1), (HeldUpBy::App, 2), (HeldUpBy::Suspended, 1)];
    assert_eq!(problems, expected);
    let ids = |rank| -> Vec<u64> {
        let (_, listed) = books.servers(rank, ALL);
        listed.into_iter().map(|(id, ..)| id).collect()
    };
    assert_eq!(ids(Rank::Problems), [3, 2, 4, 1]);
    assert_eq!(ids(Rank::Name), [1, 2, 3, 4]);
    books.blocked(3, &[]);
    books.close_server(2);
    assert_eq!(books.problems().len(), 1, "what is over is no problem");
}
