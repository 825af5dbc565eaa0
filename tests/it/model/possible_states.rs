//! What a socket may have done, judged by what was seen of it.
//!
//! A call is carried out some time after it was made, and what a socket does by
//! itself (accepting, receiving, sending) it does some time after it can. So
//! the model of a socket is a set of states, all that it may be in. A batch of
//! operations without a pause between them makes the set grow by every order
//! in which things may have happened; what was seen (answers, events, what
//! peers got) makes it shrink. When everything has come to rest, only states
//! remain in which nothing is left to do. None: the real side has done what it
//! may not do.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use super::app::{AppChange, AppState, Kind, LISTENERS, ListenerMap};
use super::event_log::{Answer, CallId, ObservedEvent};

/// More than ever come of the batches that are made.
const MOST: usize = 20_000;

/// How far a state has come in the batch.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Progress {
    calls: usize,
    changes: usize,
    heard: [usize; LISTENERS],
}

/// What was seen in this batch.
#[derive(Debug)]
pub struct Seen<'a> {
    pub answers: &'a BTreeMap<CallId, (usize, Answer)>,
    /// Of this socket.
    pub heard: &'a [Vec<(usize, ObservedEvent)>; LISTENERS],
    /// Of this socket's peers, by their connections.
    pub peers: &'a BTreeMap<usize, PeerSeen>,
    /// The addresses that are listened on.
    pub listening: &'a [SocketAddr],
    /// The peers of client sockets that were heard of, as far as they were
    /// asked for.
    pub accepted: &'a BTreeMap<u64, SocketAddr>,
}

/// What a peer finds at its end.
#[derive(Clone, Debug)]
pub struct PeerSeen {
    /// It finds the end.
    pub closed: bool,
    /// No stream of the app is at the other end.
    pub released: bool,
    /// It has reset the connection before that was a client socket's, and
    /// nothing is unread: who accepts it lets it go.
    pub is_let_go: bool,
    pub received: Vec<u8>,
    pub no_delay: Option<bool>,
    pub keep_alive: Option<Option<Duration>>,
}

impl Seen<'_> {
    /// Whether a call has answered this.
    pub fn answered(&self, call: CallId, expected: &Answer) -> bool {
        matches!(self.answers.get(&call), Some((_, answer)) if answer == expected)
    }

    pub fn answer(&self, call: CallId) -> Option<&Answer> {
        self.answers.get(&call).map(|(_, answer)| answer)
    }

    /// Whether all of these that a state has heard came before the answer to a
    /// call.
    pub fn heard_before(
        &self,
        progress: &Progress,
        call: CallId,
        which: impl Fn(&ObservedEvent) -> bool,
    ) -> bool {
        let Some((answered, _)) = self.answers.get(&call) else {
            return false;
        };
        let listeners = progress.heard.iter().zip(self.heard);
        let mut so_far = listeners.flat_map(|(count, heard)| &heard[..*count]);
        so_far.all(|(place, heard)| place < answered || !which(heard))
    }

    /// The next event of all these ears, if it is the same one for which
    /// `fits` holds; and on.
    pub fn hears(
        &self,
        progress: &mut Progress,
        listeners: ListenerMap,
        mut fits: impl FnMut(&ObservedEvent) -> bool,
    ) -> bool {
        for listener in (0..LISTENERS).filter(|listener| listeners & (1 << listener) != 0) {
            match self.heard[listener].get(progress.heard[listener]) {
                Some((_, heard)) if fits(heard) => progress.heard[listener] += 1,
                _ => return false,
            }
        }
        true
    }

    /// The next event of the first of these ears.
    pub fn next(&self, progress: &Progress, listeners: ListenerMap) -> Option<&ObservedEvent> {
        let listener = (0..LISTENERS).find(|listener| listeners & (1 << listener) != 0)?;
        let (_, heard) = self.heard[listener].get(progress.heard[listener])?;
        Some(heard)
    }
}

/// The model of one socket, in one of its possible states.
pub trait Socket: Clone + PartialEq + Debug {
    /// A function of the API.
    type Call: Clone + Debug;
    /// What the world does to it, at once.
    type Event: Clone + Debug;

    /// A batch begins.
    fn begin(&mut self);
    fn progress(&mut self) -> &mut Progress;
    fn app(&mut self) -> &mut AppState;

    /// The states after a call, as far as it answered what it should.
    fn carry_out(&self, id: CallId, call: &Self::Call, seen: &Seen) -> Vec<Self>;

    /// The state after an event of the world, unless that cannot happen in it.
    fn happens(&self, event: &Self::Event) -> Option<Self>;

    /// The states after one step that it may take by itself.
    fn moves(&self, seen: &Seen) -> Vec<Self>;

    /// Whether it has nothing left to do, and is what was seen.
    fn rests(&self, seen: &Seen) -> bool;

    /// Forgets what is over, when all rests.
    fn forget(&mut self, _: &Seen) {}

    /// Whether something waits for its app, which is suspended.
    fn wants_app(&self) -> bool;
}

/// One step of a batch, in the order in which they were made.
#[derive(Clone, Debug)]
pub enum Step<S: Socket> {
    Call(CallId, S::Call),
    Change(AppChange),
    Event(S::Event),
}

/// All states that a socket may be in.
#[derive(Clone, Debug)]
pub struct Possible<S> {
    states: Vec<S>,
}

impl<S: Socket> Possible<S> {
    pub fn new(states: Vec<S>) -> Self {
        Possible { states }
    }

    /// Only such states are possible after all, if there are any.
    pub fn prefer(&mut self, is: impl Fn(&S) -> bool) {
        if self.any(&is) {
            self.states.retain(is);
        }
    }

    pub fn any(&self, is: impl Fn(&S) -> bool) -> bool {
        self.states.iter().any(is)
    }

    pub fn all(&self, is: impl Fn(&S) -> bool) -> bool {
        self.states.iter().all(is)
    }

    /// What all states have in common, here.
    pub fn one(&self) -> &S {
        &self.states[0]
    }

    /// What may come of a batch, whether or not it has come to rest.
    fn after(&self, steps: &[Step<S>], seen: &Seen) -> Result<Vec<S>, String> {
        let mut states = self.states.clone();
        for state in &mut states {
            state.begin();
        }
        let (mut calls, mut changes) = (Vec::new(), Vec::new());
        close(&mut states, &calls, &changes, seen)?;
        for step in steps {
            match step {
                Step::Call(id, call) => calls.push((*id, call)),
                Step::Change(change) => changes.push(*change),
                Step::Event(event) => {
                    let happened = states.iter().filter_map(|state| state.happens(event));
                    states = happened.collect();
                }
            }
            close(&mut states, &calls, &changes, seen)?;
        }
        Ok(states)
    }

    /// Whether something waits for the suspended app when all is carried out.
    pub fn wants_app(&self, steps: &[Step<S>], seen: &Seen) -> Result<bool, String> {
        let states = self.after(steps, seen)?;
        Ok(states.iter().any(|state| state.wants_app()))
    }

    /// The states after a batch, when all has come to rest. If its app is
    /// loaded for what waits (`loads`), nothing waits for that.
    ///
    /// # Errors
    /// What happened, if it cannot have.
    pub fn settle(&self, steps: &[Step<S>], loads: bool, seen: &Seen) -> Result<Self, String> {
        let reached = self.after(steps, seen)?;
        let (calls, changes) = steps.iter().fold((0, 0), |(a, b), step| match step {
            Step::Call(..) => (a + 1, b),
            Step::Change(_) => (a, b + 1),
            Step::Event(_) => (a, b),
        });
        let mut states: Vec<S> = Vec::new();
        for state in &reached {
            let mut rested = state.clone();
            let progress = std::mem::take(rested.progress());
            rested.forget(seen);
            let all_heard = progress.heard.iter().zip(seen.heard);
            if progress.calls == calls
                && progress.changes == changes
                && all_heard
                    .into_iter()
                    .all(|(count, heard)| *count == heard.len())
                && state.rests(seen)
                && !(loads && state.wants_app())
                && !states.contains(&rested)
            {
                states.push(rested);
            }
        }
        if states.is_empty() {
            return Err(self.explain(steps, seen, &reached));
        }
        Ok(Possible { states })
    }

    fn explain(&self, steps: &[Step<S>], seen: &Seen, reached: &[S]) -> String {
        let mut text = String::new();
        let mut line = |what: &str, value: &dyn Debug| {
            let _ = writeln!(text, "{what}: {value:?}");
        };
        for state in self.states.iter().take(4) {
            line("before, possibly", state);
        }
        for step in steps {
            line("step", step);
            if let Step::Call(id, _) = step {
                line("    answered", &seen.answers.get(id));
            }
        }
        for (listener, heard) in seen.heard.iter().enumerate() {
            for heard in heard {
                line(&format!("heard by {listener}"), heard);
            }
        }
        for (conn, peer) in seen.peers {
            line(
                &format!("peer {conn}"),
                &format!("closed {}, received {}", peer.closed, peer.received.len()),
            );
        }
        for state in reached.iter().rev().take(3) {
            line("so far the model could follow", state);
        }
        text.replace(&"x".repeat(100), "")
    }
}

/// Adds every state that can be reached without the world's doing.
fn close<S: Socket>(
    states: &mut Vec<S>,
    calls: &[(CallId, &S::Call)],
    changes: &[AppChange],
    seen: &Seen,
) -> Result<(), String> {
    let mut next = 0;
    while let Some(state) = states.get(next).cloned() {
        next += 1;
        let progress = state.clone().progress().clone();
        let mut reached = state.moves(seen);
        if let Some((id, call)) = calls.get(progress.calls) {
            for mut after in state.carry_out(*id, call, seen) {
                after.progress().calls += 1;
                reached.push(after);
            }
        }
        if let Some(change) = changes.get(progress.changes) {
            let mut after = state;
            after.app().change(*change);
            after.progress().changes += 1;
            reached.push(after);
        }
        for state in reached {
            if !states.contains(&state) {
                states.push(state);
            }
        }
        if states.len() > MOST {
            return Err(format!("more than {MOST} possible states"));
        }
    }
    Ok(())
}

/// Raises an event for those who listen: the state after it, if they heard it.
pub fn raise<S: Socket>(
    mut state: S,
    kind: Kind,
    seen: &Seen,
    fits: impl FnMut(&ObservedEvent) -> bool,
) -> Option<S> {
    let listeners = state.app().ears(kind);
    seen.hears(state.progress(), listeners, fits)
        .then_some(state)
}
