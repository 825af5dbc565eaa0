//! Decides when the end of a connection may be reported, if handlers make their last calls in other
//! threads.

use std::num::NonZeroU64;

/// The progress of reporting a connection's end.
///
/// A handler may send, and release its credit afterwards. When the actor sees that all events are
/// handled, that send is in the command queue or has been carried out. The report disconnects the
/// socket, so such calls have to be carried out first. They are if the command queue has no call,
/// or if it was emptied since: the actor polls the socket behind the calls that it took out. Calls
/// by id are in the registry's mailbox first. If the app makes such calls, the registry is asked to
/// forward them, and its answer arrives in the command queue.
#[derive(Default)]
pub(in crate::tcp) struct Ending {
    /// Which emptying of the command queue is the next one after all events were first seen handled.
    next_dequeue: Option<NonZeroU64>,
    forwarding: Forwarding,
}

/// Whether the registry has forwarded the calls by id that it had received after an event of this
/// number.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Forwarding {
    #[default]
    NotRequested,
    Requested(u64),
    Done(u64),
}

/// The calls that may precede the report of the end.
#[derive(Clone, Copy)]
pub(in crate::tcp) struct CallsAhead {
    /// How often the command queue has been emptied.
    pub(in crate::tcp) dequeues: u64,
    /// Whether the actor has calls that it has not carried out.
    pub(in crate::tcp) has_unexecuted: bool,
    /// Whether the command queue has calls.
    pub(in crate::tcp) has_queued: bool,
}

impl Ending {
    /// Whether the calls that handlers made are carried out, now that all events are handled. If
    /// not, the socket has to be polled again.
    pub(in crate::tcp) fn calls_are_done(&mut self, ahead: CallsAhead) -> bool {
        if !ahead.has_unexecuted && !ahead.has_queued {
            return true;
        }
        let next = NonZeroU64::MIN.saturating_add(ahead.dequeues);
        let next = *self.next_dequeue.get_or_insert(next);
        !ahead.has_unexecuted && next.get() <= ahead.dequeues
    }

    /// Whether the registry has forwarded the calls by id of the handlers of all events up to
    /// `last`.
    pub(in crate::tcp) fn are_calls_forwarded(&self, last: u64) -> bool {
        self.forwarding == Forwarding::Done(last)
    }

    /// Notes that the registry is asked. `false` if it was asked already.
    pub(in crate::tcp) fn request_forwarding(&mut self, last: u64) -> bool {
        match self.forwarding {
            Forwarding::Requested(asked) | Forwarding::Done(asked) if asked == last => false,
            _ => {
                self.forwarding = Forwarding::Requested(last);
                true
            }
        }
    }

    /// The registry has forwarded the calls that it was asked about after the event `last`.
    pub(in crate::tcp) fn forwarding_done(&mut self, last: u64) {
        if self.forwarding == Forwarding::Requested(last) {
            self.forwarding = Forwarding::Done(last);
        }
    }

    /// An event was raised, so handlers may call again.
    pub(in crate::tcp) fn reset(&mut self) {
        *self = Ending::default();
    }
}
