//! The policy for accept errors.

use std::time::Duration;

use crate::invalid_argument::InvalidArgument;
use crate::net_error::AcceptErrorClass;

/// What a server socket does when accepting fails (beyond Chrome), per class of
/// errors. By default it goes on after an error of a single connection, and
/// pauses after every other error, as Chrome does.
///
/// A client that gave up before it was accepted (`ECONNABORTED`) and an
/// interrupted call are no errors: the next connection is accepted, and nothing
/// is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptPolicy {
    /// For an error of a single connection.
    pub connection: AcceptAction,
    /// For an error that says that descriptors or memory are used up.
    pub resources: AcceptAction,
    /// For every other error: the listener itself is broken.
    pub listener: AcceptAction,
}

/// What is done about an accept error. Every error is counted
/// ([`AcceptCounts::failed`](crate::tcp_server::AcceptCounts::failed)), and reported
/// ([`AcceptErrorInfo`](crate::tcp_server::AcceptErrorInfo)) unless the action is
/// [`Continue`](Self::Continue).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum AcceptAction {
    /// The socket is paused until `setPaused(false)`, as in Chrome. Meanwhile
    /// clients wait in the backlog.
    #[default]
    Pause,
    /// The socket waits and then tries again by itself: after `first`, and after
    /// twice as long for every further failure in a row, up to `last`. Meanwhile
    /// clients wait in the backlog, and the socket does not count as paused.
    /// `setPaused(false)` tries at once.
    BackOff {
        /// More than 0.
        first: Duration,
        /// At least `first`.
        last: Duration,
    },
    /// The next connection is accepted and closed at once, with a descriptor that
    /// is held in reserve. So clients learn that they are not served, instead of
    /// waiting. Allowed for `resources` only. If the reserve does not help, because
    /// memory is used up or another thread took the descriptor, the socket backs
    /// off, from 10 ms to 1 s.
    Shed,
    /// The next connection is accepted, and nothing is reported, because there is
    /// nothing for the app to do. Allowed for `connection` only: any other error
    /// would recur forever. After [`MAX_CONNECTION_ERRORS`] in a row the connections
    /// are not the cause, and the action of `listener` is carried out.
    Continue,
    /// The socket is paused, and the actor of
    /// [`Registry::escalate_to`](crate::Registry::escalate_to) decides: see
    /// [`Escalation`](crate::tcp_server::Escalation). A second `onAcceptError` of the
    /// same attempt reports the decision. Without such an actor this is `Pause`.
    Escalate,
    /// The socket is closed and its id becomes invalid once the error is
    /// reported. A suspended app is loaded first.
    Close,
}

/// How many errors of single connections in a row are ignored by
/// [`AcceptAction::Continue`]: 64.
pub const MAX_CONNECTION_ERRORS: u32 = 64;

impl Default for AcceptPolicy {
    fn default() -> Self {
        AcceptPolicy {
            connection: AcceptAction::Continue,
            resources: AcceptAction::Pause,
            listener: AcceptAction::Pause,
        }
    }
}

impl AcceptAction {
    fn check_back_off(
        self,
        zero: InvalidArgument,
        shrinks: InvalidArgument,
    ) -> Result<(), InvalidArgument> {
        match self {
            AcceptAction::BackOff { first, .. } if first.is_zero() => Err(zero),
            AcceptAction::BackOff { first, last } if last < first => Err(shrinks),
            _ => Ok(()),
        }
    }
}

impl AcceptPolicy {
    pub(in crate::tcp_server) fn check(&self) -> Result<(), InvalidArgument> {
        use InvalidArgument::*;
        match self.connection {
            AcceptAction::Shed => return Err(ShedForConnection),
            action => action.check_back_off(ConnectionBackOffZero, ConnectionBackOffShrinks)?,
        }
        match self.resources {
            AcceptAction::Continue => return Err(ContinueForResources),
            action => action.check_back_off(ResourcesBackOffZero, ResourcesBackOffShrinks)?,
        }
        match self.listener {
            AcceptAction::Shed => Err(ShedForListener),
            AcceptAction::Continue => Err(ContinueForListener),
            action => action.check_back_off(ListenerBackOffZero, ListenerBackOffShrinks),
        }
    }

    /// The action for an error that follows `errors_before` others in a row.
    pub(in crate::tcp_server) fn action(
        &self,
        class: AcceptErrorClass,
        errors_before: u32,
    ) -> AcceptAction {
        match class {
            AcceptErrorClass::Connection
                if self.connection == AcceptAction::Continue
                    && errors_before >= MAX_CONNECTION_ERRORS =>
            {
                self.listener
            }
            AcceptErrorClass::Connection => self.connection,
            AcceptErrorClass::Resources => self.resources,
            AcceptErrorClass::Listener => self.listener,
        }
    }

    /// Whether the listener has to hold a descriptor in reserve.
    pub(in crate::tcp_server) fn sheds(&self) -> bool {
        self.resources == AcceptAction::Shed
    }
}

/// How long to wait after the failure number `attempt` in a row, 1 for the first.
pub(in crate::tcp_server) fn back_off(first: Duration, last: Duration, attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    first.saturating_mul(1 << doublings).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_last_and_never_overflow() {
        let delay = |attempt| back_off(SECOND, 5 * SECOND, attempt).as_secs();
        assert_eq!([1, 2, 3, 4, 5].map(delay), [1, 2, 4, 5, 5]);
        assert_eq!(delay(u32::MAX), 5);
        assert_eq!(
            super::back_off(Duration::MAX, Duration::MAX, 9),
            Duration::MAX
        );
    }

    #[test]
    fn policies_that_would_repeat_an_error_forever_are_invalid() {
        let back_off = |first, last| AcceptAction::BackOff { first, last };
        let policy = |connection, resources, listener| AcceptPolicy {
            connection,
            resources,
            listener,
        };
        use AcceptAction::{Close, Continue, Escalate, Pause, Shed};
        let retry = back_off(SECOND, SECOND);
        for good in [
            AcceptPolicy::default(),
            policy(Continue, Shed, Close),
            policy(retry, retry, retry),
            policy(Escalate, Escalate, Escalate),
        ] {
            assert_eq!(good.check(), Ok(()), "{good:?}");
        }
        let (zero, shrinking) = (
            back_off(Duration::ZERO, SECOND),
            back_off(2 * SECOND, SECOND),
        );
        use InvalidArgument::*;
        for (bad, error) in [
            (policy(Shed, Pause, Pause), ShedForConnection),
            (policy(Pause, Pause, Shed), ShedForListener),
            (policy(Pause, Continue, Pause), ContinueForResources),
            (policy(Pause, Pause, Continue), ContinueForListener),
            (policy(zero, Pause, Pause), ConnectionBackOffZero),
            (policy(Pause, zero, Pause), ResourcesBackOffZero),
            (policy(Pause, Pause, zero), ListenerBackOffZero),
            (policy(shrinking, Pause, Pause), ConnectionBackOffShrinks),
            (policy(Pause, shrinking, Pause), ResourcesBackOffShrinks),
            (policy(Pause, Pause, shrinking), ListenerBackOffShrinks),
        ] {
            assert_eq!(bad.check(), Err(error), "{bad:?}");
        }
    }
}
