//! The states that a socket may be in, narrowed by what was seen.
//!
//! A call is carried out some time after it was made, and a socket accepts, receives and sends
//! some time after it can. So the model of a socket is a set of possible states. A batch of
//! operations adds every order in which things may have happened. What was seen (answers,
//! events, data at peers) removes states. When everything is at rest, only states remain in
//! which nothing is left to do. An empty set means that the real side broke a promise.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use super::app::{ALL_LISTENERS, AppChange, AppState, ListenerMap};
use super::event_log::{Answer, CallId, ObservedEvent};

/// More states than any batch leads to.
const MAX_STATES: usize = 20_000;

/// How far a state has come in the batch.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Progress {
    calls: usize,
    changes: usize,
    events: [usize; ALL_LISTENERS],
}

/// What was seen in this batch.
#[derive(Debug)]
pub struct Seen<'a> {
    pub answers: &'a BTreeMap<CallId, (usize, Answer)>,
    /// Of this socket.
    pub events: &'a [Vec<(usize, ObservedEvent)>; ALL_LISTENERS],
    /// Of this socket's peers, by their connections.
    pub peers: &'a BTreeMap<usize, PeerSeen>,
    /// The `queued_bytes` of the client sockets.
    pub queued: &'a BTreeMap<u64, usize>,
    /// The listening addresses.
    pub listening: &'a [SocketAddr],
}

/// What a peer sees.
#[derive(Clone, Debug)]
pub struct PeerSeen {
    /// The end of the connection.
    pub closed: bool,
    /// The app has no stream of the connection.
    pub released: bool,
    /// The app has reset it, or has closed it with unread input.
    pub reset: bool,
    /// The peer reset the connection before it belonged to a client socket, and nothing is
    /// unread: the accepting socket releases it.
    pub reset_while_unaccepted: bool,
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

    /// The place of the last event of this kind that a state used.
    pub fn last_place(
        &self,
        progress: &Progress,
        which: impl Fn(&ObservedEvent) -> bool,
    ) -> Option<usize> {
        let listeners = progress.events.iter().zip(self.events);
        let used = listeners.flat_map(|(count, events)| &events[..*count]);
        let used = used.filter(|(_, event)| which(event));
        used.map(|(place, _)| *place).max()
    }

    /// The place of the next event of the first of these listeners.
    pub fn next_place(&self, progress: &Progress, listeners: ListenerMap) -> Option<usize> {
        let listener = (0..ALL_LISTENERS).find(|listener| listeners & (1 << listener) != 0)?;
        let (place, _) = self.events[listener].get(progress.events[listener])?;
        Some(*place)
    }

    /// Whether all events that a state used came before the answer to a call.
    pub fn seen_before(
        &self,
        progress: &Progress,
        call: CallId,
        which: impl Fn(&ObservedEvent) -> bool,
    ) -> bool {
        let Some((answered, _)) = self.answers.get(&call) else {
            return false;
        };
        let listeners = progress.events.iter().zip(self.events);
        let mut so_far = listeners.flat_map(|(count, events)| &events[..*count]);
        so_far.all(|(place, events)| place < answered || !which(events))
    }

    /// The next event of all these listeners, if it is the same one and `fits` holds for it;
    /// with the progress after it.
    pub fn sees(
        &self,
        progress: &mut Progress,
        listeners: ListenerMap,
        mut fits: impl FnMut(&ObservedEvent) -> bool,
    ) -> bool {
        for listener in (0..ALL_LISTENERS).filter(|listener| listeners & (1 << listener) != 0) {
            match self.events[listener].get(progress.events[listener]) {
                Some((_, events)) if fits(events) => progress.events[listener] += 1,
                _ => return false,
            }
        }
        true
    }

    /// The next event of the first of these listeners.
    pub fn next(&self, progress: &Progress, listeners: ListenerMap) -> Option<&ObservedEvent> {
        let listener = (0..ALL_LISTENERS).find(|listener| listeners & (1 << listener) != 0)?;
        let (_, events) = self.events[listener].get(progress.events[listener])?;
        Some(events)
    }
}

/// The model of one socket, in one of its possible states.
pub trait Socket: Clone + PartialEq + Debug {
    /// A function of the API.
    type Call: Clone + Debug;
    /// An event outside the API, which happens at once.
    type Event: Clone + Debug;

    /// Begins a batch.
    fn begin(&mut self);
    fn progress(&mut self) -> &mut Progress;
    fn app(&mut self) -> &mut AppState;

    /// A change of its app.
    fn apply_change(&mut self, change: AppChange) {
        self.app().change(change);
    }

    /// The states after a call that answered what it should.
    fn apply_call(&self, id: CallId, call: &Self::Call, seen: &Seen) -> Vec<Self>;

    /// The state after an outside event; `None` if it cannot happen in this state.
    fn apply_event(&self, event: &Self::Event) -> Option<Self>;

    /// The states after one step that the socket may take by itself.
    fn next_states(&self, seen: &Seen) -> Vec<Self>;

    /// Whether nothing is left to do, and the state agrees with what was seen.
    fn is_at_rest(&self, seen: &Seen) -> bool;

    /// Drops what is over, when everything is at rest.
    fn drop_finished(&mut self, _: &Seen) {}

    /// Whether something waits for its suspended app.
    fn needs_app(&self) -> bool;
}

/// One step of a batch, in order.
#[derive(Clone, Debug)]
pub enum Step<S: Socket> {
    Call(CallId, S::Call),
    Change(AppChange),
    Event(S::Event),
}

/// All possible states of a socket.
#[derive(Clone, Debug)]
pub struct Possible<S> {
    states: Vec<S>,
}

impl<S: Socket> Possible<S> {
    pub fn new(states: Vec<S>) -> Self {
        Possible { states }
    }

    /// Keeps only the states for which this holds, if there are any.
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

    /// A state for what all states have in common.
    pub fn representative(&self) -> &S {
        &self.states[0]
    }

    /// The states after a batch, at rest or not.
    fn after(&self, steps: &[Step<S>], seen: &Seen) -> Result<Vec<S>, String> {
        let mut states = self.states.clone();
        for state in &mut states {
            state.begin();
        }
        let (mut calls, mut changes) = (Vec::new(), Vec::new());
        close_over_steps(&mut states, &calls, &changes, seen)?;
        for step in steps {
            match step {
                Step::Call(id, call) => calls.push((*id, call)),
                Step::Change(change) => changes.push(*change),
                Step::Event(event) => {
                    let happened = states.iter().filter_map(|state| state.apply_event(event));
                    states = happened.collect();
                }
            }
            close_over_steps(&mut states, &calls, &changes, seen)?;
        }
        Ok(states)
    }

    /// Whether something waits for the suspended app when everything is carried out.
    pub fn needs_app(&self, steps: &[Step<S>], seen: &Seen) -> Result<bool, String> {
        let states = self.after(steps, seen)?;
        Ok(states.iter().any(|state| state.needs_app()))
    }

    /// The states after a batch, when everything is at rest. If its app is loaded for what waits
    /// (`loads`), nothing waits any more.
    ///
    /// # Errors
    ///
    /// A description of what was seen, if no state allows it.
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
            rested.drop_finished(seen);
            let all_heard = progress.events.iter().zip(seen.events);
            if progress.calls == calls
                && progress.changes == changes
                && all_heard
                    .into_iter()
                    .all(|(count, events)| *count == events.len())
                && state.is_at_rest(seen)
                && !(loads && state.needs_app())
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
        for (listener, events) in seen.events.iter().enumerate() {
            for events in events {
                line(&format!("events of listener {listener}"), events);
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

/// Adds every state that can be reached without outside events.
fn close_over_steps<S: Socket>(
    states: &mut Vec<S>,
    calls: &[(CallId, &S::Call)],
    changes: &[AppChange],
    seen: &Seen,
) -> Result<(), String> {
    let mut next = 0;
    while let Some(state) = states.get(next).cloned() {
        next += 1;
        let progress = state.clone().progress().clone();
        let mut reached = state.next_states(seen);
        if let Some((id, call)) = calls.get(progress.calls) {
            for mut after in state.apply_call(*id, call, seen) {
                after.progress().calls += 1;
                reached.push(after);
            }
        }
        if let Some(change) = changes.get(progress.changes) {
            let mut after = state;
            after.apply_change(*change);
            after.progress().changes += 1;
            reached.push(after);
        }
        for state in reached {
            if !states.contains(&state) {
                states.push(state);
            }
        }
        if states.len() > MAX_STATES {
            return Err(format!("more than {MAX_STATES} possible states"));
        }
    }
    Ok(())
}

/// Raises an event at these listeners: the state after it, if they received it.
pub fn raise<S: Socket>(
    mut state: S,
    listeners: ListenerMap,
    seen: &Seen,
    fits: impl FnMut(&ObservedEvent) -> bool,
) -> Option<S> {
    seen.sees(state.progress(), listeners, fits)
        .then_some(state)
}
