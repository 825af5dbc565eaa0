//! When the end of a connection may be told, though its handlers' last calls
//! come from another thread.

/// How far the row is with telling the end of its connection.
///
/// A handler may send, and give its credit back afterwards: then its send is
/// in the inbox, or has left, before the row sees that everything was handled.
/// The end disconnects the socket, so it is told after those calls were carried
/// out. That is the case when the inbox has no call, or when it has been emptied
/// since: the row is looked at behind all that was in it. Calls by id are in
/// the registry's mailbox first: if the app makes such calls, the registry is
/// asked to have passed them on, and says so by way of the inbox.
#[derive(Default)]
pub(in crate::tcp) struct Ending {
    /// How often the inbox had been emptied when everything was seen handled.
    handled_at: Option<u64>,
    /// After which event the registry was asked, and whether it has answered.
    forwarding: Option<(u64, bool)>,
}

/// What may stand between a handler's end and the end of its connection.
#[derive(Clone, Copy)]
pub(in crate::tcp) struct CallsAhead {
    /// How often the inbox has been emptied.
    pub(in crate::tcp) dequeues: u64,
    /// Whether the actor has taken calls that it has not carried out.
    pub(in crate::tcp) has_unexecuted: bool,
    /// Whether there are calls in the inbox.
    pub(in crate::tcp) has_queued: bool,
}

impl Ending {
    /// Every event is handled: whether the calls before that were carried out.
    /// If not, the row is to be looked at again.
    pub(in crate::tcp) fn calls_are_done(&mut self, ahead: CallsAhead) -> bool {
        if !ahead.has_unexecuted && !ahead.has_queued {
            return true;
        }
        let handled_at = *self.handled_at.get_or_insert(ahead.dequeues);
        !ahead.has_unexecuted && handled_at < ahead.dequeues
    }

    /// Whether the registry has forwarded the calls by id that handlers of the event `last`, and
    /// of those before it, made.
    pub(in crate::tcp) fn are_calls_forwarded(&self, last: u64) -> bool {
        self.forwarding == Some((last, true))
    }

    /// `true` if the caller has to ask the registry now; `false` if it was asked already.
    pub(in crate::tcp) fn request_forwarding(&mut self, last: u64) -> bool {
        let is_new = self.forwarding.is_none_or(|(asked, _)| asked != last);
        if is_new {
            self.forwarding = Some((last, false));
        }
        is_new
    }

    /// The registry's answer to the question that was asked after the event `last`.
    pub(in crate::tcp) fn forwarding_done(&mut self, last: u64) {
        if self.forwarding == Some((last, false)) {
            self.forwarding = Some((last, true));
        }
    }

    /// An event was raised: handlers may call again.
    pub(in crate::tcp) fn reset(&mut self) {
        *self = Ending::default();
    }
}
