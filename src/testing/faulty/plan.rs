//! The rules as they are now: which call strikes which, and what they did.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{BoxFuture, Shared};
use parking_lot::{Mutex, MutexGuard};
use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

use crate::testing::faulty::errno::Errno;
use crate::testing::faulty::rule::{Call, Fault, Operation, Rule};
use crate::testing::faulty::text;

/// How many strikes are remembered; of more, the latest.
pub const STRIKES_KEPT: usize = 10_000;

/// A rule that was injected. No other rule of its network ever has this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
#[display("rule {_0}")]
pub struct RuleId(u64);

/// What a rule did so far. Displayed as
/// `accept=EMFILE,every=50: struck 20 of 1021`.
#[derive(Clone, Debug, PartialEq, derive_more::Display)]
#[display("{rule}: struck {struck} of {asked}")]
pub struct RuleReport {
    /// Which one.
    pub id: RuleId,
    /// What it says.
    pub rule: Rule,
    /// How many calls came that it is about, and that no rule before it had
    /// struck.
    pub asked: u64,
    /// How many of them failed by it.
    pub struck: u64,
}

/// A call that failed by a rule. Displayed as `#50 accept=EMFILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// By which rule.
    pub rule: RuleId,
    /// The so-manyth call that this rule was asked for.
    pub asked: u64,
    /// What failed.
    pub operation: Operation,
    /// How.
    pub fault: Fault,
    /// Where it listens, or, of a connection, who accepted it.
    pub listener: Option<SocketAddr>,
    /// The far end, where it is known.
    pub peer: Option<SocketAddr>,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} ", self.asked)?;
        text::begin(f, self.operation, self.fault)?;
        if let Some(listener) = self.listener {
            write!(f, " at {listener}")?;
        }
        match self.peer {
            Some(peer) => write!(f, " with {peer}"),
            None => Ok(()),
        }
    }
}

/// What a call is to do.
pub(super) enum Effect {
    Error(Errno),
    Stall(BoxFuture<'static, ()>),
    Short(usize),
    Reset,
    End,
    Stop,
    EndArbiter,
}

/// How far an operation, from its beginning to its answer, has been compared
/// with the rules: a rule is asked about it once, be it polled ever so often,
/// and one that is injected while it waits is asked when it is polled next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    below: u64,
}

#[derive(Debug)]
pub(super) struct Plan {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seed: u64,
    /// In the order in which they were injected, which is that of their ids.
    rules: Vec<Active>,
    next: u64,
    strikes: VecDeque<Strike>,
}

#[derive(Debug)]
struct Active {
    report: RuleReport,
    /// Its own, so that what it strikes depends on no other rule.
    random: Pcg32,
    gate: Gate,
}

/// What a stall waits for.
#[derive(Debug)]
struct Gate {
    /// That it is gone is the signal.
    _release: oneshot::Sender<()>,
    released: Shared<oneshot::Receiver<()>>,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        Plan {
            state: Mutex::new(State {
                seed,
                rules: Vec::new(),
                next: 0,
                strikes: VecDeque::new(),
            }),
        }
    }

    pub(super) fn inject(&self, rule: Rule) -> RuleId {
        let mut state = self.state();
        let id = RuleId(state.next);
        let random = Pcg32::new(state.seed, id.0);
        state.next += 1;
        state.rules.push(Active {
            report: RuleReport {
                id,
                rule,
                asked: 0,
                struck: 0,
            },
            random,
            gate: Gate::new(),
        });
        id
    }

    pub(super) fn remove(&self, id: RuleId) -> Option<RuleReport> {
        let removed = {
            let mut state = self.state();
            let at = state.rules.iter().position(|rule| rule.report.id == id)?;
            state.rules.remove(at)
        };
        // Its stalls are woken here, where nothing is locked.
        Some(removed.report)
    }

    pub(super) fn clear(&self) -> Vec<RuleReport> {
        let removed = mem::take(&mut self.state().rules);
        removed.into_iter().map(|rule| rule.report).collect()
    }

    pub(super) fn release(&self, id: RuleId) -> bool {
        let gate = {
            let mut state = self.state();
            let mut rules = state.rules.iter_mut();
            let rule = rules.find(|rule| rule.report.id == id);
            rule.map(|rule| mem::replace(&mut rule.gate, Gate::new()))
        };
        gate.is_some()
    }

    pub(super) fn report(&self) -> Vec<RuleReport> {
        let state = self.state();
        state.rules.iter().map(|rule| rule.report.clone()).collect()
    }

    pub(super) fn report_of(&self, id: RuleId) -> Option<RuleReport> {
        let state = self.state();
        let mut rules = state.rules.iter();
        let rule = rules.find(|rule| rule.report.id == id)?;
        Some(rule.report.clone())
    }

    /// How many operations wait until this rule lets them go on.
    pub(super) fn stalled(&self, id: RuleId) -> usize {
        let state = self.state();
        let mut rules = state.rules.iter();
        let rule = rules.find(|rule| rule.report.id == id);
        rule.map_or(0, |rule| rule.gate.waiting())
    }

    pub(super) fn strikes(&self) -> Vec<Strike> {
        self.state().strikes.iter().cloned().collect()
    }

    /// What the first rule says that strikes this call.
    pub(super) fn ask(&self, call: &Call, asked: &mut Asked) -> Option<Effect> {
        let mut state = self.state();
        let State {
            rules,
            strikes,
            next,
            ..
        } = &mut *state;
        let new = rules.partition_point(|rule| rule.report.id.0 < asked.below);
        asked.below = *next;
        let mut about = rules[new..]
            .iter_mut()
            .filter(|active| active.report.rule.is_about(call));
        let struck = about.find_map(|active| active.strikes().then_some(active))?;
        let strike = Strike {
            rule: struck.report.id,
            asked: struck.report.asked,
            operation: call.operation,
            fault: struck.report.rule.fault,
            listener: call.listener,
            peer: call.peer,
        };
        log::debug!("injected: {strike}");
        if strikes.len() == STRIKES_KEPT {
            strikes.pop_front();
        }
        strikes.push_back(strike.clone());
        let fault = struck.report.rule.fault;
        let effect = match fault {
            Fault::Panic => {
                // What follows is another operation.
                *asked = Asked::default();
                drop(state);
                #[expect(clippy::panic, reason = "this is the fault")]
                {
                    panic!("injected: {strike}");
                }
            }
            Fault::Stop => Effect::Stop,
            Fault::EndArbiter => Effect::EndArbiter,
            Fault::Error(errno) => Effect::Error(errno),
            Fault::Stall(time) => Effect::Stall(struck.gate.wait(time)),
            Fault::Short(bytes) => Effect::Short(bytes.get()),
            Fault::Reset => Effect::Reset,
            Fault::End => Effect::End,
        };
        Some(effect)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panics elsewhere must not hide its message behind this.
        self.state.lock()
    }
}

impl Active {
    fn strikes(&mut self) -> bool {
        let RuleReport {
            rule,
            asked,
            struck,
            ..
        } = &mut self.report;
        *asked += 1;
        let late = asked.saturating_sub(rule.after);
        if late == 0 || !late.is_multiple_of(rule.every) {
            return false;
        }
        if rule.times.is_some_and(|times| *struck >= times) {
            return false;
        }
        if rule.probability < 1.0 && fraction(&mut self.random) >= rule.probability {
            return false;
        }
        *struck += 1;
        true
    }
}

/// From 0 up to, but not, 1: each of the 2^53 that a float tells apart there is
/// as likely as the others.
fn fraction(random: &mut Pcg32) -> f64 {
    const BITS: u32 = f64::MANTISSA_DIGITS;
    (random.next_u64() >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
}

impl Gate {
    fn new() -> Self {
        let (release, released) = oneshot::channel();
        Gate {
            _release: release,
            released: released.shared(),
        }
    }

    fn wait(&self, time: Option<Duration>) -> BoxFuture<'static, ()> {
        let released = self.released.clone();
        match time {
            Some(time) => tokio::time::timeout(time, released).map(drop).boxed(),
            None => released.map(drop).boxed(),
        }
    }

    fn waiting(&self) -> usize {
        // One count is the gate's own.
        let holders = self.released.strong_count();
        holders.map_or(0, |holders| holders - 1)
    }
}
