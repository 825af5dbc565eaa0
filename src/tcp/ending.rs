//! When the end of a connection may be told, though its handlers' last calls
//! come from another thread.

/// How far the row is with telling the end of its connection.
///
/// A handler may send, and give its credit back afterwards: then its send is
/// in the inbox, or has left, before the row sees that everything was handled.
/// The end disconnects the socket, so it is told after those calls were carried
/// out. That is the case when the inbox has no call, or when it has been emptied
/// since: the row is looked at behind all that was in it.
#[derive(Default)]
pub(super) struct Ending {
    /// How often the inbox had been emptied when everything was seen handled.
    handled_at: Option<u64>,
}

/// What may stand between a handler's end and the end of its connection.
#[derive(Clone, Copy)]
pub(super) struct CallsAhead {
    /// How often the inbox has been emptied.
    pub(super) takes: u64,
    /// Whether the actor has taken calls that it has not carried out.
    pub(super) in_hand: bool,
    /// Whether there are calls in the inbox.
    pub(super) in_inbox: bool,
}

impl Ending {
    /// Every event is handled: whether the calls before that were carried out.
    /// If not, the row is to be looked at again.
    pub(super) fn is_due(&mut self, ahead: CallsAhead) -> bool {
        if !ahead.in_hand && !ahead.in_inbox {
            return true;
        }
        let handled_at = *self.handled_at.get_or_insert(ahead.takes);
        !ahead.in_hand && handled_at < ahead.takes
    }

    /// An event was raised: handlers may call again.
    pub(super) fn begin_anew(&mut self) {
        *self = Ending::default();
    }
}
