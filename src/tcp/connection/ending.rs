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
    passed: Option<(u64, bool)>,
}

/// Whether the registry has passed on the calls by id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tcp) enum Passed {
    /// It has not been asked.
    Unasked,
    Asked,
    Yes,
}

/// What may stand between a handler's end and the end of its connection.
#[derive(Clone, Copy)]
pub(in crate::tcp) struct CallsAhead {
    /// How often the inbox has been emptied.
    pub(in crate::tcp) takes: u64,
    /// Whether the actor has taken calls that it has not carried out.
    pub(in crate::tcp) in_hand: bool,
    /// Whether there are calls in the inbox.
    pub(in crate::tcp) in_inbox: bool,
}

impl Ending {
    /// Every event is handled: whether the calls before that were carried out.
    /// If not, the row is to be looked at again.
    pub(in crate::tcp) fn is_due(&mut self, ahead: CallsAhead) -> bool {
        if !ahead.in_hand && !ahead.in_inbox {
            return true;
        }
        let handled_at = *self.handled_at.get_or_insert(ahead.takes);
        !ahead.in_hand && handled_at < ahead.takes
    }

    /// As far as the calls of handlers are concerned that have heard this event,
    /// which is the last.
    pub(in crate::tcp) fn passed(&self, last: u64) -> Passed {
        match self.passed {
            Some((asked, true)) if asked == last => Passed::Yes,
            Some((asked, false)) if asked == last => Passed::Asked,
            _ => Passed::Unasked,
        }
    }

    pub(in crate::tcp) fn ask(&mut self, last: u64) {
        self.passed = Some((last, false));
    }

    /// The registry answers what it was asked after this event.
    pub(in crate::tcp) fn answered(&mut self, last: u64) {
        if self.passed(last) == Passed::Asked {
            self.passed = Some((last, true));
        }
    }

    /// An event was raised: handlers may call again.
    pub(in crate::tcp) fn next_epoch(&mut self) {
        *self = Ending::default();
    }
}
