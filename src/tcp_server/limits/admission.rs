//! Admission of connections: the limits of the server socket, of its app and of the registry.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use actix_rt::time::{Instant, Sleep, sleep_until};

use crate::address::Address;
use crate::connections::{ConnectionCounter, ConnectionGuard, PeerKey};
use crate::events::redelivery::EventQueue;
use crate::ids::ServerSocketId;
use crate::invalid_argument::InvalidArgument;
use crate::sync::AtomicWaker;
use crate::tcp_server::limits::limiter::{Limiter, Reached};
use crate::tcp_server::{AtLimit, LimitKind, LimitScope, Limits};

/// Decides whether a server socket may accept a connection, and waits for its
/// turn if connections have to queue.
///
/// A limiter may be shared, so it has a queue of the server sockets that wait
/// at it. Only the first is woken when there is room; it accepts one connection
/// and lets the next one have its turn.
pub(in crate::tcp_server) struct Admission {
    /// The server socket's own, the app's, the registry's.
    limiters: [Arc<Limiter>; 3],
    /// In which limiters' queues this server socket is.
    is_queued: [bool; 3],
    /// Its entry in these queues.
    waker: Arc<AtomicWaker>,
    /// The limiter at which this turn has to wait.
    blocked_at: Option<usize>,
    /// Wakes the server socket when a rate limit allows one more connection.
    rate_timer: Option<Pin<Box<Sleep>>>,
    /// `onRefused` events.
    pub(in crate::tcp_server) event_queue: EventQueue<(Address, LimitKind)>,
}

impl Admission {
    pub(in crate::tcp_server) fn new([app, registry]: [Arc<Limiter>; 2]) -> Self {
        let counter = Arc::new(ConnectionCounter::with_parent(app.counter()));
        let own = Arc::new(Limiter::new(LimitScope::Socket, counter));
        Admission {
            limiters: [own, app, registry],
            is_queued: [false; 3],
            waker: Arc::default(),
            blocked_at: None,
            rate_timer: None,
            event_queue: EventQueue::default(),
        }
    }

    /// The server socket's own, the app's, the registry's.
    pub(in crate::tcp_server) fn limiters(&self) -> &[Arc<Limiter>; 3] {
        &self.limiters
    }

    /// Counts the connections of this server socket.
    pub(in crate::tcp_server) fn counter(&self) -> &Arc<ConnectionCounter> {
        self.limiters[0].counter()
    }

    pub(in crate::tcp_server) fn set(&self, limits: Limits) -> Result<(), InvalidArgument> {
        self.limiters[0].set(limits)
    }

    /// The server socket's own limits.
    pub(in crate::tcp_server) fn limits(&self) -> Limits {
        self.limiters[0].limits()
    }

    /// Whether a connection has to be compared with any limit. Usually it has not.
    #[inline]
    fn is_limited(&self) -> bool {
        self.limiters.iter().any(|it| it.is_limited())
    }

    /// The limits that are reached. The first decides what becomes of a connection.
    fn reached(&self) -> impl Iterator<Item = Reached> {
        self.limiters.iter().flat_map(|it| it.reached())
    }

    /// The limits that keep connections in the backlog.
    pub(in crate::tcp_server) fn blocking_limits(&self) -> Vec<LimitKind> {
        let mut reached = self.reached().peekable();
        let first = reached.peek();
        // If the first one closes connections, none waits for those behind it.
        if first.is_none_or(|first| first.then != AtLimit::Queue) {
            return Vec::new();
        }
        let blocking = reached.filter(|it| it.then == AtLimit::Queue);
        blocking.map(|it| it.limit).collect()
    }

    /// `Ready` if a connection may be accepted, be it to refuse it. Otherwise
    /// `cx` is woken when it is this server socket's turn and there is room.
    #[inline]
    pub(in crate::tcp_server) fn poll_capacity(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        match self.is_limited() {
            true => self.poll_limits(cx),
            false => Poll::Ready(()),
        }
    }

    fn poll_limits(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        for index in 0..self.limiters.len() {
            let limiter = &self.limiters[index];
            match limiter.reached().next() {
                // It is accepted and then closed by `refusal`, so it waits at
                // none of the other limits either.
                Some(Reached { then, .. }) if then != AtLimit::Queue => return Poll::Ready(()),
                // There is room, and no other server socket waits for it. Where no
                // limit queues, those that still wait queue for a former limit.
                None if !limiter.may_queue()
                    || limiter.counter().wait_queue.is_first(&self.waker) => {}
                // It is full here, or others come first: each gets its turn.
                _ => {
                    self.enqueue(index, cx);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    /// Waits in this limiter's queue. The first is woken when there is room, the
    /// others when they are first.
    fn enqueue(&mut self, index: usize, cx: &mut TaskContext<'_>) {
        self.blocked_at = Some(index);
        self.waker.register(cx.waker());
        let limiter = &self.limiters[index];
        let queue = &limiter.counter().wait_queue;
        if !std::mem::replace(&mut self.is_queued[index], true) {
            queue.enqueue(&self.waker);
        }
        if !queue.is_first(&self.waker) {
            return;
        }
        // A connection may have ended since `poll_capacity` looked, when this
        // server socket was not in the queue and could not be woken.
        let allowed_at = match queue.recheck(|| limiter.reached().next()) {
            None => Some(Instant::now()),
            Some(reached) => reached.allowed_at,
        };
        // Time opens a rate limit, and nothing else would wake the first.
        if let Some(at) = allowed_at {
            let mut timer = Box::pin(sleep_until(at));
            if timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.rate_timer = Some(timer);
        }
    }

    /// Drops the timers, which belong to a thread that has ended.
    pub(in crate::tcp_server) fn reset_timers(&mut self) {
        self.rate_timer = None;
        self.event_queue.reset_hold_back();
    }

    /// Ends a turn of the accept loop. Where this server socket was first and had
    /// no use for its place, the next one gets it.
    pub(in crate::tcp_server) fn end_turn(&mut self, cx: &TaskContext<'_>) {
        // The wake-up that began this turn has used up the waker.
        if self.is_queued != [false; 3] {
            self.waker.register(cx.waker());
        }
        let blocked_at = self.blocked_at.take();
        self.yield_turn(blocked_at);
    }

    /// Leaves the queues in which this server socket is first, except the one at
    /// which it still waits.
    fn yield_turn(&mut self, except: Option<usize>) {
        if self.is_queued == [false; 3] {
            return;
        }
        for index in 0..self.limiters.len() {
            let queue = &self.limiters[index].counter().wait_queue;
            if self.is_queued[index] && except != Some(index) && queue.is_first(&self.waker) {
                self.dequeue(index);
            }
        }
    }

    fn dequeue(&mut self, index: usize) {
        self.is_queued[index] = false;
        let limiter = &self.limiters[index];
        let queue = &limiter.counter().wait_queue;
        queue.remove(&self.waker);
        // At a full limit the end of a connection wakes the next one. At a rate
        // limit the next one is woken now, because it has to start its timer.
        let is_full = |it: Reached| it.then == AtLimit::Queue && it.allowed_at.is_none();
        if !limiter.reached().next().is_some_and(is_full) {
            queue.wake_first();
        }
    }

    /// Leaves all queues.
    pub(in crate::tcp_server) fn dequeue_all(&mut self) {
        for index in 0..self.limiters.len() {
            if self.is_queued[index] {
                self.dequeue(index);
            }
        }
    }

    /// Why a connection that was just accepted is refused, if it is. `client`: its
    /// peer, unless a PROXY header will name the client.
    pub(in crate::tcp_server) fn refusal(
        &self,
        client: Option<PeerKey>,
    ) -> Option<(LimitKind, AtLimit)> {
        if !self.is_limited() {
            return None;
        }
        match self.reached().next() {
            Some(it) if it.then != AtLimit::Queue => Some((it.limit, it.then)),
            // An accepted connection can no longer wait in the backlog.
            _ => self.refusal_of_client(client?),
        }
    }

    /// Why a connection of this client is refused, whatever other clients have.
    pub(in crate::tcp_server) fn refusal_of_client(
        &self,
        client: PeerKey,
    ) -> Option<(LimitKind, AtLimit)> {
        self.limiters.iter().find_map(|it| it.reached_by(client))
    }

    pub(in crate::tcp_server) fn record_refusal(
        &mut self,
        socket: ServerSocketId,
        peer: Address,
        limit: LimitKind,
    ) {
        log::debug!("server socket {socket}: refused {peer}: {limit:?}");
        self.event_queue.push((peer, limit));
    }

    /// Which limiters have to count a connection for its client.
    pub(in crate::tcp_server) fn counts_per_peer(&self) -> [bool; 3] {
        self.limiters.each_ref().map(|it| it.counts_per_peer())
    }

    /// Counts a connection that was accepted and not refused. `client` as in
    /// [`refusal`](Self::refusal).
    pub(in crate::tcp_server) fn admit(&mut self, client: Option<PeerKey>) -> ConnectionGuard {
        let counted_for_peer = match self.is_limited() {
            true => self.limiters.each_ref().map(|it| it.count_accepted()),
            false => [false; 3],
        };
        let counter = self.counter().clone();
        let guard = match client {
            Some(client) => ConnectionGuard::accepted(counter, client, counted_for_peer),
            None => ConnectionGuard::accepted(counter, PeerKey::NONE, [false; 3]),
        };
        // The other server sockets in the queues come before the next connection.
        self.yield_turn(None);
        guard
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.dequeue_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sync::tests::WakeCounter;
    use crate::tcp_server::{Limit, RateLimit};

    const PEER: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// A server socket of which only the admission exists.
    struct TestSocket {
        admission: Admission,
        wakes: Arc<WakeCounter>,
    }

    impl TestSocket {
        fn wakes(&self) -> usize {
            self.wakes.count()
        }

        /// A turn with `waiting` connections in the backlog.
        fn turn(&mut self, waiting: usize) -> Vec<ConnectionGuard> {
            self.wakes.clone().with(|cx| {
                let mut guards = Vec::new();
                while guards.len() < waiting && self.admission.poll_capacity(cx).is_ready() {
                    guards.push(self.admission.admit(Some(PEER.into())));
                }
                self.admission.end_turn(cx);
                guards
            })
        }
    }

    fn queue(most: usize) -> Limits {
        Limits {
            connections: Some(Limit {
                most,
                then: AtLimit::Queue,
            }),
            ..Limits::default()
        }
    }

    /// `count` server sockets of one registry with these limits.
    fn sockets(limits: Limits, count: usize) -> (Arc<Limiter>, Vec<TestSocket>) {
        let registry = Arc::new(Limiter::new(LimitScope::Registry, Arc::default()));
        registry.set(limits).expect("valid limits");
        let app_counter = Arc::new(ConnectionCounter::with_parent(registry.counter()));
        let app = Arc::new(Limiter::new(LimitScope::App, app_counter));
        let socket = || TestSocket {
            admission: Admission::new([app.clone(), registry.clone()]),
            wakes: Arc::default(),
        };
        let sockets = (0..count).map(|_| socket()).collect();
        (registry, sockets)
    }

    fn all_wakes(sockets: &[TestSocket]) -> usize {
        sockets.iter().map(TestSocket::wakes).sum()
    }

    #[test]
    fn one_free_place_wakes_one_of_a_thousand_sockets_in_queue_order() {
        let (_, mut sockets) = sockets(queue(1), 1000);
        let mut guards = sockets[0].turn(2);
        assert_eq!(guards.len(), 1);
        for socket in &mut sockets[1..] {
            assert!(socket.turn(2).is_empty());
        }
        assert_eq!(all_wakes(&sockets), 0);
        for turn in 1..=3000 {
            guards.clear();
            assert_eq!(all_wakes(&sockets), turn, "one wake-up a turn");
            // The queue is in the order of arrival.
            let next = (turn - 1) % 1000;
            assert_eq!(sockets[next].wakes(), turn.div_ceil(1000), "its turn");
            guards = sockets[next].turn(2);
            assert_eq!(guards.len(), 1, "then it queues behind the others");
        }
    }

    #[test]
    fn a_place_that_the_first_socket_does_not_use_goes_to_the_next() {
        let (_, mut sockets) = sockets(queue(1), 5);
        let guards = sockets[0].turn(1);
        for socket in &mut sockets[1..] {
            socket.turn(1);
        }
        drop(guards);
        // The first has no connection, the second is closed, the third is frozen.
        assert!(sockets[1].turn(0).is_empty());
        assert_eq!(sockets[2].wakes(), 1);
        drop(sockets.remove(2));
        assert_eq!(sockets[2].wakes(), 1);
        sockets[2].admission.dequeue_all();
        assert_eq!(sockets[3].wakes(), 1);
        // No other socket takes the place before.
        assert!(sockets[0].turn(1).is_empty());
        assert_eq!(sockets[3].turn(1).len(), 1);
    }

    #[test]
    fn a_socket_in_two_queues_is_woken_by_the_second_after_a_turn_for_the_first() {
        let (registry, mut sockets) = sockets(queue(1), 3);
        let app = sockets[0].admission.limiters[1].clone();
        let first = sockets[0].turn(1);
        // Both queue at the registry's limit, the last one then at the app's too.
        assert!(sockets[1].turn(1).is_empty());
        assert!(sockets[2].turn(1).is_empty());
        app.set(queue(1)).expect("valid limits");
        assert!(sockets[2].turn(1).is_empty());
        // The app's limit is removed, and the socket has a turn in which it
        // accepts nothing.
        app.set(Limits::default()).expect("valid limits");
        let wakes = sockets[2].wakes();
        assert!(wakes > 0, "it was first in the app's queue");
        assert!(sockets[2].turn(0).is_empty());
        // The socket before it in the registry's queue does not use its place.
        drop(first);
        assert_eq!(sockets[1].wakes(), 1);
        assert!(sockets[1].turn(0).is_empty());
        assert_eq!(sockets[2].wakes(), wakes + 1, "its turn");
        assert_eq!(sockets[2].turn(1).len(), 1);
        drop(registry);
    }

    #[test]
    fn raising_or_removing_a_limit_wakes_all_sockets_one_after_the_other() {
        for limits in [queue(100), Limits::default()] {
            let (registry, mut sockets) = sockets(queue(1), 100);
            let mut guards = sockets[0].turn(1);
            for socket in &mut sockets[1..] {
                socket.turn(1);
            }
            registry.set(limits).expect("valid limits");
            for socket in &mut sockets[1..] {
                assert_eq!(socket.wakes(), 1);
                guards.extend(socket.turn(1));
            }
            assert_eq!((guards.len(), all_wakes(&sockets)), (100, 99));
        }
    }

    #[actix_rt::test]
    async fn at_a_rate_limit_only_the_first_socket_has_a_timer() {
        tokio::time::pause();
        let rate = RateLimit {
            most: 1,
            per: Duration::from_secs(1),
            then: AtLimit::Queue,
        };
        let limits = Limits {
            rate: Some(rate),
            ..Limits::default()
        };
        let (_, mut sockets) = sockets(limits, 1000);
        let mut open = sockets[0].turn(2);
        assert_eq!(open.len(), 1);
        for socket in &mut sockets[1..] {
            assert!(socket.turn(2).is_empty());
        }
        for next in [0, 1, 2, 3] {
            tokio::time::sleep(Duration::from_millis(1010)).await;
            assert_eq!(sockets[next].wakes(), 1);
            open.extend(sockets[next].turn(2));
            assert_eq!(open.len(), next + 2);
            // The next one is woken to start its timer.
            assert_eq!(sockets[next + 1].wakes(), 1);
            assert!(sockets[next + 1].turn(2).is_empty());
            sockets[next + 1].wakes.reset();
            assert_eq!(all_wakes(&sockets), next + 1);
        }
    }
}
