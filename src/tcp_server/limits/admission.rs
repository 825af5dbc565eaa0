//! Where connections come in: past the limits of the server socket, of its app
//! and of the registry.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context as TaskContext;

use actix_rt::time::{Instant, Sleep, sleep_until};

use crate::connections::{ConnectionCounter, ConnectionGuard};
use crate::events::redelivery::EventQueue;
use crate::net_error::NetError;
use crate::sync::AtomicWaker;
use crate::tcp_server::limits::limiter::{Limiter, Reached};
use crate::tcp_server::{AtLimit, LimitKind, LimitScope, Limits};

/// A server socket's way in.
pub(in crate::tcp_server) struct Admission {
    /// The server socket's own, the app's, the registry's.
    turnstiles: [Arc<Limiter>; 3],
    /// Where it stands in line.
    stands: [bool; 3],
    /// Who stands there.
    waker: Arc<AtomicWaker>,
    /// Which one has held it up in this turn.
    held_up_at: Option<usize>,
    opens: Option<Pin<Box<Sleep>>>,
    pub(in crate::tcp_server) event_queue: EventQueue<(SocketAddr, LimitKind)>,
}

impl Admission {
    pub(in crate::tcp_server) fn new([app, registry]: [Arc<Limiter>; 2]) -> Self {
        let counter = Arc::new(ConnectionCounter::with_parent(app.counter()));
        let own = Arc::new(Limiter::new(LimitScope::Socket, counter));
        Admission {
            turnstiles: [own, app, registry],
            stands: [false; 3],
            waker: Arc::default(),
            held_up_at: None,
            opens: None,
            event_queue: EventQueue::default(),
        }
    }

    fn own(&self) -> &Limiter {
        &self.turnstiles[0]
    }

    /// What was accepted here and is open.
    pub(in crate::tcp_server) fn counter(&self) -> &Arc<ConnectionCounter> {
        self.own().counter()
    }

    pub(in crate::tcp_server) fn set(&self, limits: Limits) -> Result<(), NetError> {
        self.own().set(limits)
    }

    pub(in crate::tcp_server) fn limits(&self) -> Limits {
        self.own().limits()
    }

    /// The limits that have connections wait in the backlog.
    pub(in crate::tcp_server) fn full(&self) -> Vec<LimitKind> {
        let reached = self.turnstiles.iter().flat_map(|it| it.reached());
        let mut full: Vec<_> = reached.collect();
        if full
            .first()
            .is_some_and(|first| first.then != AtLimit::Queue)
        {
            return Vec::new();
        }
        full.retain(|it| it.then == AtLimit::Queue);
        full.into_iter().map(|it| it.limit).collect()
    }

    fn first_reached(&self) -> Option<Reached> {
        self.turnstiles.iter().find_map(|it| it.reached().next())
    }

    /// Whether connections have to wait; `cx` is woken when they have not.
    pub(in crate::tcp_server) fn poll_capacity(&mut self, cx: &mut TaskContext<'_>) -> bool {
        for at in 0..self.turnstiles.len() {
            let limiter = &self.turnstiles[at];
            match limiter.reached().next() {
                Some(Reached { then, .. }) if then != AtLimit::Queue => return false,
                None if !limiter.queues() || limiter.counter.wait_queue.is_first(&self.waker) => {}
                _ => {
                    self.enqueue(at, cx);
                    return true;
                }
            }
        }
        false
    }

    /// Waits here for its turn. The first is woken when there is room, the
    /// others when they are first.
    fn enqueue(&mut self, at: usize, cx: &mut TaskContext<'_>) {
        self.held_up_at = Some(at);
        self.waker.register(cx.waker());
        let limiter = &self.turnstiles[at];
        let line = &limiter.counter.wait_queue;
        if !std::mem::replace(&mut self.stands[at], true) {
            line.enqueue(&self.waker);
        }
        if !line.is_first(&self.waker) {
            return;
        }
        // There may be room since just before: another turn.
        let opens = match line.recheck(|| limiter.reached().next()) {
            None => Some(Instant::now()),
            Some(reached) => reached.opens,
        };
        if let Some(at) = opens {
            let mut opens = Box::pin(sleep_until(at));
            if opens.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.opens = Some(opens);
        }
    }

    /// The clock that it slept by is gone with its thread.
    pub(in crate::tcp_server) fn forget_clock(&mut self) {
        self.opens = None;
        self.event_queue.reset_hold_back();
    }

    /// How many events were dropped, as too many listeners had panicked.
    pub(in crate::tcp_server) fn dropped_events(&self) -> u64 {
        self.event_queue.dropped()
    }

    /// A turn is over. Where it was this one's and it had no use for it, it is
    /// the next one's. Where it stands in line still, it is woken when it is the
    /// first: the wake that this turn came by has used up its waker.
    pub(in crate::tcp_server) fn end_turn(&mut self, cx: &TaskContext<'_>) {
        if self.stands.contains(&true) {
            self.waker.register(cx.waker());
        }
        let held_up_at = self.held_up_at.take();
        self.yield_turn(held_up_at);
    }

    fn yield_turn(&mut self, but_for: Option<usize>) {
        for at in 0..self.turnstiles.len() {
            let line = &self.turnstiles[at].counter.wait_queue;
            if self.stands[at] && but_for != Some(at) && line.is_first(&self.waker) {
                self.leave_line(at);
            }
        }
    }

    fn leave_line(&mut self, at: usize) {
        self.stands[at] = false;
        let limiter = &self.turnstiles[at];
        limiter.counter.wait_queue.remove(&self.waker);
        let is_full = |it: Reached| it.then == AtLimit::Queue && it.opens.is_none();
        // At a rate the next one waits for the time.
        if !limiter.reached().next().is_some_and(is_full) {
            limiter.counter.wait_queue.wake_first();
        }
    }

    /// Waits nowhere, as long as it has no turn.
    pub(in crate::tcp_server) fn leave_lines(&mut self) {
        for at in 0..self.turnstiles.len() {
            if self.stands[at] {
                self.leave_line(at);
            }
        }
    }

    /// Why this connection, which has been accepted, is refused.
    pub(in crate::tcp_server) fn refuses(&self, peer: IpAddr) -> Option<(LimitKind, AtLimit)> {
        let reached = self.first_reached().map(|it| (it.limit, it.then));
        reached
            // It has been accepted, so it cannot wait.
            .filter(|(_, then)| *then != AtLimit::Queue)
            .or_else(|| self.turnstiles.iter().find_map(|it| it.reached_by(peer)))
    }

    /// Lets one in that has been accepted.
    pub(in crate::tcp_server) fn admit(&mut self, peer: IpAddr) -> ConnectionGuard {
        let counted = [0, 1, 2].map(|at: usize| self.turnstiles[at].count());
        let connection_guard = ConnectionGuard::accepted(self.counter().clone(), peer, counted);
        // Others that wait have their turn before this one's next.
        self.yield_turn(None);
        connection_guard
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.leave_lines();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use futures::task::{ArcWake, waker};

    use super::*;
    use crate::tcp_server::{Limit, RateLimit};

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl ArcWake for Wakes {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, SeqCst);
        }
    }

    /// A server socket that is only a gate.
    struct Comer {
        admission: Admission,
        wakes: Arc<Wakes>,
    }

    impl Comer {
        fn wakes(&self) -> usize {
            self.wakes.0.load(SeqCst)
        }

        /// A turn with so many connections in the backlog.
        fn turn(&mut self, waiting: usize) -> Vec<ConnectionGuard> {
            let waker = waker(self.wakes.clone());
            let mut cx = TaskContext::from_waker(&waker);
            let mut counter = Vec::new();
            while counter.len() < waiting && !self.admission.poll_capacity(&mut cx) {
                counter.push(self.admission.admit(PEER));
            }
            self.admission.end_turn(&cx);
            counter
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

    /// So many server sockets of one registry with these limits.
    fn comers(limits: Limits, count: usize) -> (Arc<Limiter>, Vec<Comer>) {
        let registry = Arc::new(Limiter::new(LimitScope::Registry, Arc::default()));
        registry.set(limits).expect("limits that mean something");
        let of_app = Arc::new(ConnectionCounter::with_parent(registry.counter()));
        let app = Arc::new(Limiter::new(LimitScope::App, of_app));
        let comer = || Comer {
            admission: Admission::new([app.clone(), registry.clone()]),
            wakes: Arc::default(),
        };
        let comers = (0..count).map(|_| comer()).collect();
        (registry, comers)
    }

    fn all_wakes(comers: &[Comer]) -> usize {
        comers.iter().map(Comer::wakes).sum()
    }

    #[test]
    fn one_place_wakes_one_of_a_thousand_in_the_order_of_the_line() {
        let (_, mut comers) = comers(queue(1), 1000);
        let mut counter = comers[0].turn(2);
        assert_eq!(counter.len(), 1);
        for comer in &mut comers[1..] {
            assert!(comer.turn(2).is_empty());
        }
        assert_eq!(all_wakes(&comers), 0);
        for turn in 1..=3000 {
            counter.clear();
            assert_eq!(all_wakes(&comers), turn, "one more");
            // The first to wait was the first.
            let next = (turn - 1) % 1000;
            assert_eq!(comers[next].wakes(), turn.div_ceil(1000), "its turn");
            counter = comers[next].turn(2);
            assert_eq!(counter.len(), 1, "and then behind the others");
        }
    }

    #[test]
    fn a_place_that_the_first_has_no_use_for_is_the_nexts() {
        let (_, mut comers) = comers(queue(1), 5);
        let counter = comers[0].turn(1);
        for comer in &mut comers[1..] {
            comer.turn(1);
        }
        drop(counter);
        // Its connection has gone, it was closed, it is left alone for a while.
        assert!(comers[1].turn(0).is_empty());
        assert_eq!(comers[2].wakes(), 1);
        drop(comers.remove(2));
        assert_eq!(comers[2].wakes(), 1);
        comers[2].admission.leave_lines();
        assert_eq!(comers[3].wakes(), 1);
        // Nobody else takes it before.
        assert!(comers[0].turn(1).is_empty());
        assert_eq!(comers[3].turn(1).len(), 1);
    }

    #[test]
    fn one_that_stands_in_two_lines_is_woken_for_the_second_after_a_turn_for_the_first() {
        let (registry, mut comers) = comers(queue(1), 3);
        let app = comers[0].admission.turnstiles[1].clone();
        let first = comers[0].turn(1);
        // Both behind the registry's limit, the last one behind the app's too.
        assert!(comers[1].turn(1).is_empty());
        assert!(comers[2].turn(1).is_empty());
        app.set(queue(1)).expect("limits that mean something");
        assert!(comers[2].turn(1).is_empty());
        // The app's limit is gone, but it is paused just then: a turn in which
        // it takes nothing.
        app.set(Limits::default())
            .expect("limits that mean something");
        let wakes = comers[2].wakes();
        assert!(wakes > 0, "it was the first of the app's line");
        assert!(comers[2].turn(0).is_empty());
        // The one before it in the registry's line has no use for its place.
        drop(first);
        assert_eq!(comers[1].wakes(), 1);
        assert!(comers[1].turn(0).is_empty());
        assert_eq!(comers[2].wakes(), wakes + 1, "its turn");
        assert_eq!(comers[2].turn(1).len(), 1);
        drop(registry);
    }

    #[test]
    fn a_limit_that_is_raised_or_taken_away_lets_all_in_one_after_the_other() {
        for limits in [queue(100), Limits::default()] {
            let (registry, mut comers) = comers(queue(1), 100);
            let mut counter = comers[0].turn(1);
            for comer in &mut comers[1..] {
                comer.turn(1);
            }
            registry.set(limits).expect("limits that mean something");
            for comer in &mut comers[1..] {
                assert_eq!(comer.wakes(), 1);
                counter.extend(comer.turn(1));
            }
            assert_eq!((counter.len(), all_wakes(&comers)), (100, 99));
        }
    }

    #[actix_rt::test]
    async fn at_a_rate_only_the_first_waits_for_the_time() {
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
        let (_, mut comers) = comers(limits, 1000);
        let mut open = comers[0].turn(2);
        assert_eq!(open.len(), 1);
        for comer in &mut comers[1..] {
            assert!(comer.turn(2).is_empty());
        }
        for next in [0, 1, 2, 3] {
            tokio::time::sleep(Duration::from_millis(1010)).await;
            assert_eq!(comers[next].wakes(), 1);
            open.extend(comers[next].turn(2));
            assert_eq!(open.len(), next + 2);
            // The next one is woken to look at the clock.
            assert_eq!(comers[next + 1].wakes(), 1);
            assert!(comers[next + 1].turn(2).is_empty());
            comers[next + 1].wakes.0.store(0, SeqCst);
            assert_eq!(all_wakes(&comers), next + 1);
        }
    }
}
