//! The injected rules: which call triggers which, and what they did so far.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use std::{fmt, mem};

use actix::Arbiter;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

use crate::testing::faulty::rule::{CallSite, Fault, Operation, Rule};
use crate::testing::faulty::text;
use crate::testing::latch::Latch;

/// How many injected faults a network remembers; older ones are dropped.
pub const MAX_INJECTED_FAULTS: usize = 10_000;

/// The id of an injected rule, unique in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
#[display("rule {_0}")]
pub struct RuleId(u64);

/// What a rule did so far. Displayed as
/// `accept=EMFILE,every=50: triggered 20 of 1021`.
#[derive(Clone, Debug, PartialEq, derive_more::Display)]
#[display("{rule}: triggered {triggered} of {evaluated}")]
pub struct RuleReport {
    /// Its id.
    pub id: RuleId,
    /// The rule.
    pub rule: Rule,
    /// How many calls matched its operation and addresses, and were not failed by an
    /// earlier rule.
    pub evaluated: u64,
    /// How many of these calls it failed.
    pub triggered: u64,
}

/// A call that a rule failed. Displayed as `#50 accept=EMFILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedFault {
    /// The rule.
    pub rule: RuleId,
    /// The number of the call among those that the rule evaluated, from 1.
    pub number: u64,
    /// The operation that failed.
    pub operation: Operation,
    /// How it failed.
    pub fault: Fault,
    /// The address of the listener, also of the one that accepted the connection.
    pub listener: Option<SocketAddr>,
    /// The address of the peer, if it is known.
    pub peer: Option<SocketAddr>,
}

impl fmt::Display for InjectedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} ", self.number)?;
        text::write_fault(f, self.operation, self.fault)?;
        if let Some(listener) = self.listener {
            write!(f, " at {listener}")?;
        }
        match self.peer {
            Some(peer) => write!(f, " with {peer}"),
            None => Ok(()),
        }
    }
}

/// What a rule does to a call.
pub(super) enum Effect {
    Stall(BoxFuture<'static, ()>),
    /// Neither a stall nor a panic.
    Fail(Fault),
}

/// Which rules a call has evaluated. A call evaluates each rule once, however often it is polled;
/// a rule that is injected while it waits is evaluated at its next poll.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RuleCursor {
    /// Rules with lower ids were evaluated.
    next: u64,
}

#[derive(Debug)]
pub(super) struct RuleSet {
    seed: u64,
    state: Mutex<RuleSetState>,
}

#[derive(Debug, Default)]
struct RuleSetState {
    /// In the order of their ids.
    rules: Vec<ActiveRule>,
    next_id: u64,
    faults: VecDeque<InjectedFault>,
}

#[derive(Debug)]
struct ActiveRule {
    report: RuleReport,
    /// Each rule has its own, so that no rule changes which calls another one fails.
    random: Pcg32,
    /// Stalled calls wait until it is dropped.
    stall: Latch,
}

impl RuleSet {
    pub(super) fn new(seed: u64) -> Self {
        RuleSet {
            seed,
            state: Mutex::default(),
        }
    }

    pub(super) fn inject(&self, rule: Rule) -> RuleId {
        let mut state = self.state.lock();
        let id = RuleId(state.next_id);
        state.next_id += 1;
        state.rules.push(ActiveRule {
            report: RuleReport {
                id,
                rule,
                evaluated: 0,
                triggered: 0,
            },
            random: Pcg32::new(self.seed, id.0),
            stall: Latch::new(),
        });
        id
    }

    pub(super) fn remove(&self, id: RuleId) -> Option<RuleReport> {
        let removed = {
            let mut state = self.state.lock();
            let index = state.rules.iter().position(|rule| rule.report.id == id)?;
            state.rules.remove(index)
        };
        // Moving the report out drops the rule's stall, which wakes tasks: not under the lock.
        Some(removed.report)
    }

    pub(super) fn clear(&self) -> Vec<RuleReport> {
        let removed = mem::take(&mut self.state.lock().rules);
        removed.into_iter().map(|rule| rule.report).collect()
    }

    pub(super) fn release(&self, id: RuleId) -> bool {
        // The old stall is dropped, and wakes tasks, after the lock is released.
        let stall = self.with_rule(id, |rule| mem::replace(&mut rule.stall, Latch::new()));
        stall.is_some()
    }

    pub(super) fn report(&self) -> Vec<RuleReport> {
        let state = self.state.lock();
        state.rules.iter().map(|rule| rule.report.clone()).collect()
    }

    pub(super) fn report_of(&self, id: RuleId) -> Option<RuleReport> {
        self.with_rule(id, |rule| rule.report.clone())
    }

    /// How many calls this rule stalls now.
    pub(super) fn stalled(&self, id: RuleId) -> usize {
        self.with_rule(id, |rule| rule.stall.waiting()).unwrap_or(0)
    }

    pub(super) fn injected_faults(&self) -> Vec<InjectedFault> {
        self.state.lock().faults.iter().cloned().collect()
    }

    fn with_rule<R>(&self, id: RuleId, work: impl FnOnce(&mut ActiveRule) -> R) -> Option<R> {
        let mut state = self.state.lock();
        let mut rules = state.rules.iter_mut();
        rules.find(|rule| rule.report.id == id).map(work)
    }

    /// The effect of the first rule that triggers for this call.
    pub(super) fn evaluate(&self, site: &CallSite, cursor: &mut RuleCursor) -> Option<Effect> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let rules = &mut state.rules;
        let new = rules.partition_point(|rule| rule.report.id.0 < cursor.next);
        cursor.next = state.next_id;
        let mut matching = rules[new..]
            .iter_mut()
            .filter(|rule| rule.report.rule.matches(site));
        let triggered = matching.find_map(|rule| rule.triggers().then_some(rule))?;
        let fault = triggered.report.rule.fault;
        let injected = InjectedFault {
            rule: triggered.report.id,
            number: triggered.report.evaluated,
            operation: site.operation,
            fault,
            listener: site.listener,
            peer: site.peer,
        };
        log::debug!("injected: {injected}");
        if state.faults.len() == MAX_INJECTED_FAULTS {
            state.faults.pop_front();
        }
        state.faults.push_back(injected.clone());
        Some(match fault {
            Fault::Panic => {
                // The caller may catch the panic and use the cursor for its next call.
                *cursor = RuleCursor::default();
                drop(guard);
                #[expect(clippy::panic, reason = "this is the fault")]
                {
                    panic!("injected: {injected}");
                }
            }
            Fault::Stall(time) => Effect::Stall(stall(&triggered.stall, time)),
            fault => Effect::Fail(fault),
        })
    }
}

impl ActiveRule {
    /// Counts a call, and decides whether it fails.
    fn triggers(&mut self) -> bool {
        let RuleReport {
            rule,
            evaluated,
            triggered,
            ..
        } = &mut self.report;
        *evaluated += 1;
        let counted = evaluated.saturating_sub(rule.after);
        let triggers = counted > 0
            && counted.is_multiple_of(rule.every)
            && rule.times.is_none_or(|times| *triggered < times)
            // A certain rule takes no random number.
            && (rule.probability >= 1.0 || fraction(&mut self.random) < rule.probability);
        *triggered += u64::from(triggers);
        triggers
    }
}

/// A random number from 0 up to, but not including, 1. Each of the 2^53 that an `f64` can
/// represent at equal distances is equally likely.
fn fraction(random: &mut Pcg32) -> f64 {
    const BITS: u32 = f64::MANTISSA_DIGITS;
    (random.next_u64() >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
}

fn stall(latch: &Latch, time: Option<Duration>) -> BoxFuture<'static, ()> {
    let released = latch.released();
    match time {
        Some(time) => tokio::time::timeout(time, released).map(drop).boxed(),
        None => released.boxed(),
    }
}

/// Carries out [`Fault::EndArbiter`]; does nothing outside an arbiter.
pub(super) fn stop_current_arbiter() {
    if let Some(arbiter) = Arbiter::try_current() {
        arbiter.stop();
    }
}
