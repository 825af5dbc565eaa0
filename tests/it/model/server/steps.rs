//! The steps of a server socket: from one state to possible next states.

use chrome_sockets::Error;

use super::super::app::{AppState, Kind};
use super::super::event_log::{Answer, CallId, ObservedEvent};
use super::super::possible_states::{Progress, Seen, Socket, raise};
use super::{Call, Event, Listening, Server, Waiting};

impl Socket for Server {
    type Call = Call;
    type Event = Event;

    fn begin(&mut self) {
        self.progress = Progress::default();
        self.accepted.clear();
        self.dropped.clear();
        self.long_time = false;
        self.cancelled = false;
        self.counts.delivered_before = self.counts.delivered;
    }

    fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn app(&mut self) -> &mut AppState {
        &mut self.app
    }

    fn apply_call(&self, id: CallId, call: &Call, seen: &Seen) -> Vec<Self> {
        let mut state = self.clone();
        let answered = |expected: Result<(), Error>| seen.answered(id, &Answer::Done(expected));
        let listed = match call {
            Call::GetSockets => match seen.answer(id) {
                Some(Answer::Servers(all)) => Some(all),
                _ => return Vec::new(),
            },
            _ => None,
        };
        let fits = match call {
            Call::GetSockets => {
                let mut listed = listed.into_iter().flatten();
                let info = listed.find(|info| info.socket_id.get() == self.id);
                match info {
                    Some(info) => self.open && self.allows_info(info),
                    None => !self.open,
                }
            }
            Call::GetInfo => match seen.answer(id) {
                Some(Answer::Server(Ok(info))) => self.open && self.allows_info(info),
                Some(Answer::Server(Err(error))) => !self.open && *error == Error::SocketNotFound,
                _ => false,
            },
            _ if !self.open => answered(Err(Error::SocketNotFound)),
            Call::Update { persistent, name } => {
                let set = state.set(*persistent, *name);
                answered(set)
            }
            Call::SetPaused(paused) => {
                state.paused = *paused;
                if !paused {
                    state.failed = None;
                    state.backing_off = None;
                }
                state.cancelled |= *paused && answered(Err(Error::EventsInFlight));
                let handled = !paused || seen.seen_before(&self.progress, id, |_| true);
                state.cancelled || (answered(Ok(())) && handled)
            }
            Call::PausedUntilResumed => {
                state.paused = true;
                state.cancelled |= answered(Err(Error::EventsInFlight));
                state.cancelled || answered(Ok(()))
            }
            Call::Listen {
                permitted: false, ..
            } => answered(Err(Error::PermissionDenied)),
            Call::Listen {
                at,
                ipv6_only,
                backlog,
                fault,
                ..
            } => {
                let answers = state.listen(*at, *ipv6_only, *backlog, *fault);
                answers.into_iter().any(answered)
            }
            Call::Mistake(error) => answered(Err(*error)),
            Call::SetPolicy(policy) => {
                state.policy = *policy;
                state.backing_off = None;
                answered(Ok(()))
            }
            Call::Disconnect => {
                state.disconnect();
                answered(Ok(()))
            }
            Call::Close => {
                state.close();
                answered(Ok(()))
            }
        };
        fits.then_some(state).into_iter().collect()
    }

    fn apply_event(&self, event: &Event) -> Option<Self> {
        let mut state = self.clone();
        let has_room = |listening: &Listening| self.room(listening).0;
        let may_be_full = |listening: &Listening| self.room(listening).1;
        // It may listen elsewhere instead: a call of this batch was refused.
        let there = match event {
            Event::Dialled(to, _) | Event::AcceptError(to, _) => self.is_reached_at(*to),
            Event::Refused(to) | Event::NoAcceptError(to) => self.is_reached_at(*to),
            Event::Bound(_) | Event::LongTime => true,
        };
        let here = state.listening.as_mut().filter(|_| there);
        match (event, here) {
            (Event::Bound(at), Some(listening)) => listening.at = *at,
            (Event::Dialled(_, client), Some(listening)) if has_room(listening) => {
                listening.waiting.push_back(Waiting::Client(*client));
            }
            (Event::Refused(_), Some(listening)) if may_be_full(listening) => {}
            (Event::Refused(_) | Event::NoAcceptError(_), None) => {}
            (Event::AcceptError(_, errno), Some(listening)) => {
                listening.waiting.push_back(Waiting::Error(*errno));
            }
            (Event::LongTime, _) => {
                state.long_time = true;
                if let Some(backing_off) = &mut state.backing_off {
                    backing_off.over = true;
                }
            }
            _ => return None,
        }
        Some(state)
    }

    fn next_states(&self, seen: &Seen) -> Vec<Self> {
        let mut state = self.clone();
        if !self.open {
            return Vec::new();
        }
        if self.app.ending != Default::default() {
            if self.app.ends(self.persistent) {
                state.close();
            }
            state.app.ended();
            // The app is suspended some time before sockets that are not persistent are closed.
            let mut states = self.accept_while_suspended();
            states.push(state);
            return states;
        }
        if self.app.suspended {
            return self.accept_while_suspended();
        }
        if !self.app.keeps_event(Kind::AcceptError)
            && let Some((code, attempt)) = state.unreported.pop_front()
        {
            if state.closing && state.unreported.is_empty() {
                state.close();
            }
            let listeners = self.app.listeners(Kind::AcceptError);
            let reported = raise(
                state,
                listeners,
                seen,
                |received| matches!(received, ObservedEvent::AcceptError(c, a) if (*c, *a) == (code, attempt)),
            );
            return reported.into_iter().collect();
        }
        if self.app.listeners(Kind::Accept) == 0 || !self.may_accept() {
            return Vec::new();
        }
        if let Some(client) = state.held.take() {
            return state.report_client(client, seen).into_iter().collect();
        }
        if !self.is_accepting() || !self.has_waiting() {
            return Vec::new();
        }
        let accepted = self.acceptable().filter_map(|turn| {
            let mut state = self.clone();
            match state.accept(turn) {
                Some(client) => state.report_client(client, seen),
                None => Some(state),
            }
        });
        accepted.collect()
    }

    fn is_at_rest(&self, seen: &Seen) -> bool {
        let closed = |conn: &usize| seen.peers.get(conn).is_none_or(|peer| peer.closed);
        let open = |conn: usize| seen.peers.get(&conn).is_none_or(|peer| !peer.closed);
        let held = |conn: usize| {
            let peer = seen.peers.get(&conn);
            peer.is_none_or(|peer| peer.closed == peer.reset_while_unaccepted)
        };
        let mut waiting = self.listening.iter().flat_map(Listening::all);
        let listens = self.at().is_none_or(|at| seen.listening.contains(&at));
        let gives_up = self.cancelled && self.open;
        !self.is_busy()
            && !gives_up
            && listens
            && self.dropped.iter().all(closed)
            && self.held.into_iter().all(|client| held(client.conn))
            && waiting.all(open)
    }

    fn needs_app(&self) -> bool {
        self.open
            && self.app.suspended
            && self.persistent
            && (!self.unreported.is_empty() || (self.may_accept() && self.held.is_some()))
    }
}
