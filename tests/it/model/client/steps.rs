//! The steps of a client socket: from one state to possible next states.

use std::time::Duration;

use chrome_sockets::Error;

use super::super::app::{AppChange, AppState};
use super::super::connection::Connection;
use super::super::event_log::{Answer, CallId};
use super::super::possible_states::{Progress, Seen, Socket};
use super::super::server::net;
use super::{Call, Client, Ends, Event, Link, is_data};

impl Socket for Client {
    type Call = Call;
    type Event = Event;

    fn begin(&mut self) {
        self.progress = Progress::default();
        self.cancelled = false;
        self.others_until = 0;
    }

    fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn app(&mut self) -> &mut AppState {
        &mut self.app
    }

    fn apply_change(&mut self, change: AppChange) {
        self.app.change(change);
        if let (AppChange::Died(listener), Some(own)) = (change, &mut self.own) {
            own.died(listener);
        }
    }

    fn apply_call(&self, id: CallId, call: &Call, seen: &Seen) -> Vec<Self> {
        let mut state = self.clone();
        let answered = |expected: Result<(), Error>| seen.answered(id, &Answer::Done(expected));
        let set = |works: bool| answered(if works { Ok(()) } else { Err(net(-2)) });
        let fits = match call {
            Call::GetSockets => {
                let Some(Answer::Clients(listed)) = seen.answer(id) else {
                    return Vec::new();
                };
                let mut listed = listed.iter();
                match listed.find(|info| info.socket_id.get() == self.id) {
                    Some(info) => self.open && self.allows_info(info),
                    None => !self.open,
                }
            }
            Call::GetInfo => match seen.answer(id) {
                Some(Answer::Client(Ok(info))) => self.open && self.allows_info(info),
                Some(Answer::Client(Err(error))) => !self.open && *error == Error::SocketNotFound,
                _ => false,
            },
            Call::Send(_) if !self.open => {
                seen.answered(id, &Answer::Sent(Err(Error::SocketNotFound)))
            }
            _ if !self.open => answered(Err(Error::SocketNotFound)),
            Call::Update(properties) => {
                let set = state.set(properties);
                answered(set)
            }
            Call::SetPaused(paused) => {
                state.paused = *paused;
                state.cancelled |= *paused && answered(Err(Error::EventsInFlight));
                let handled = !paused || seen.seen_before(&self.progress, id, is_data);
                state.cancelled || (answered(Ok(())) && handled)
            }
            Call::PausedUntilResumed => {
                state.paused = true;
                state.cancelled |= answered(Err(Error::EventsInFlight));
                state.cancelled || answered(Ok(()))
            }
            Call::SetKeepAlive { enable, delay } => {
                let seconds = u64::try_from(delay.unwrap_or(0));
                set(match (&mut state.link, seconds) {
                    (Link::Connected(connection), Ok(seconds)) => {
                        connection.set_keep_alive(enable.then(|| Duration::from_secs(seconds)))
                    }
                    _ => false,
                })
            }
            Call::SetNoDelay(no_delay) => set(match &mut state.link {
                Link::Connected(connection) => connection.set_no_delay(*no_delay),
                _ => false,
            }),
            Call::Connect(target) if !target.permitted => answered(Err(Error::PermissionDenied)),
            Call::Connect(target) => {
                let errors = self.connect(target);
                let begun = matches!(self.link, Link::None).then(|| {
                    // Even if only the connect itself checks the arguments.
                    let mut begun = self.clone();
                    begun.link = Link::Connecting(id, target.clone());
                    begun
                });
                let refused = errors.iter().any(|error| answered(Err(*error)));
                return refused.then_some(state).into_iter().chain(begun).collect();
            }
            Call::Send(bytes) if self.exceeds_limit(*bytes) => {
                seen.answered(id, &Answer::Sent(Err(Error::SendQueueFull)))
            }
            Call::Send(bytes) => {
                let answer = match &mut state.link {
                    Link::Connected(connection) => connection.send(id, *bytes),
                    _ => Some(Err(net(-15))),
                };
                answer.is_none_or(|answer| seen.answered(id, &Answer::Sent(answer)))
            }
            Call::ShutdownWrite => {
                let answer = match &mut state.link {
                    Link::Connected(connection) => connection.shutdown_write(id),
                    _ => Some(Err(net(-15))),
                };
                answer.is_none_or(answered)
            }
            Call::SetListeners(own) => {
                state.set_listeners(*own, seen);
                answered(Ok(()))
            }
            Call::Mistake(error) => answered(Err(*error)),
            Call::Disconnect | Call::Reset | Call::Close => {
                state.open = !matches!(call, Call::Close);
                let how = match call {
                    Call::Reset => Ends::Reset,
                    _ => Ends::Orderly,
                };
                return if answered(Ok(())) {
                    state.end(how, seen)
                } else {
                    Vec::new()
                };
            }
        };
        fits.then_some(state).into_iter().collect()
    }

    fn apply_event(&self, event: &Event) -> Option<Self> {
        let mut state = self.clone();
        match event {
            Event::Peer(number, act) => {
                let connections = state.connections_mut();
                for connection in connections.filter(|c| c.number == *number) {
                    connection.apply_event(act);
                }
            }
            Event::Release(attempt) => {
                if let Link::Connecting(_, target) = &mut state.link
                    && target.held == Some(*attempt)
                {
                    target.held = None;
                }
            }
            Event::LongTime => {
                let left = state.leaving.iter_mut().chain(&mut state.closed);
                left.for_each(|connection| connection.overdue = true);
                if let Link::Connecting(_, target) = &mut state.link {
                    target.is_timed_out |= target.has_timeout;
                }
            }
        }
        Some(state)
    }

    fn next_states(&self, seen: &Seen) -> Vec<Self> {
        let all = [
            self.end_with_app(seen),
            self.report_waiting_end(seen),
            self.end_unheard(seen),
            self.report_level(seen),
            self.read(seen),
            self.observe_gone(seen),
            self.take_if_over(seen),
            self.complete_connect(seen),
            self.write(seen),
            self.write_last(seen),
        ];
        all.into_iter().flatten().collect()
    }

    fn is_at_rest(&self, seen: &Seen) -> bool {
        let waiting = match &self.link {
            Link::None => true,
            Link::Connecting(call, _) => seen.answer(*call).is_none(),
            Link::Connected(connection) => connection.is_consistent(seen),
        };
        let queued = seen.queued.get(&self.id);
        let gives_up = self.cancelled && self.open;
        let tells_again = self.unreported.is_some() && self.can_report_waiting_end();
        waiting
            && queued.is_none_or(|queued| *queued == self.queued_bytes())
            && !gives_up
            && !self.is_busy()
            && !tells_again
            && self
                .leaving
                .iter()
                .all(|connection| connection.is_consistent(seen))
            && self
                .closed
                .iter()
                .all(|connection| connection.is_closed(seen))
    }

    fn drop_finished(&mut self, seen: &Seen) {
        let is_open = |number| seen.peers.get(&number).is_some_and(|peer| !peer.released);
        self.closed.retain(|connection| is_open(connection.number));
    }

    fn needs_app(&self) -> bool {
        let connection = self.connection();
        let may_read = |c: &Connection| !c.half_closed && (c.end.is_some() || c.may_read());
        let has_end = self.unreported.is_some() && self.is_of_this_connection();
        self.open
            && self.app.suspended
            && self.persistent
            && (has_end || (!self.paused && connection.is_some_and(may_read)))
    }
}
