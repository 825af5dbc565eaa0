//! What a server socket does about an accept error.

use std::time::Duration;

use crate::net_error::{AcceptErrorClass, NetError};

/// What a server socket does when accepting fails (beyond Chrome), for each
/// class of errors. By default it goes on after an error of one connection,
/// and pauses, as Chrome does, for every other.
///
/// A client that gave up before it was accepted (`ECONNABORTED`), and an
/// interrupted call, are no errors: the next one is accepted, untold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptPolicy {
    /// For an error that belongs to the one connection.
    pub connection: AcceptAction,
    /// For one that says that descriptors or memory are used up.
    pub resources: AcceptAction,
    /// For every other: the listener itself is broken.
    pub listener: AcceptAction,
}

/// What is done about an accept error. It is always counted
/// ([`AcceptCounts::failed`](crate::tcp_server::AcceptCounts::failed)), and told
/// ([`AcceptErrorInfo`](crate::tcp_server::AcceptErrorInfo)) unless the socket goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum AcceptAction {
    /// The socket is paused until `setPaused(false)`, as in Chrome. Clients
    /// wait in the backlog.
    #[default]
    Pause,
    /// The socket rests and tries again by itself: after `first`, and after
    /// twice as long for every failure that follows, up to `last`. It is not
    /// paused meanwhile, as Chrome has the word. Clients wait in the backlog;
    /// `setPaused(false)` tries at once.
    BackOff {
        /// More than 0.
        first: Duration,
        /// At least `first`.
        last: Duration,
    },
    /// The next connection is accepted and closed at once, by a descriptor
    /// that is held in reserve: so clients learn that they are not served,
    /// instead of waiting for it. For `resources` alone. Where a descriptor
    /// does not help, because memory is used up or another thread was quicker,
    /// the socket backs off, from 10 ms to 1 s.
    Shed,
    /// The next connection is accepted, and nothing is told: there is nothing
    /// for the app to do. For `connection` alone: any other error would come
    /// again without end. After [`UNLUCKY_ACCEPTS`] in a row it is not the
    /// connections: what `listener` says is done.
    GoOn,
    /// The socket is paused, and who stands above the app decides what else is
    /// done, which `onAcceptError` then tells of the same attempt: see
    /// [`Escalation`](crate::tcp_server::Escalation). Where nobody does, it is `Pause`.
    Escalate,
    /// The socket is closed, and its id is gone, when the error has been told:
    /// that waits for an app that is suspended.
    Close,
}

/// How many connections in a row may fail before they are accepted.
pub const UNLUCKY_ACCEPTS: u32 = 64;

impl Default for AcceptPolicy {
    fn default() -> Self {
        AcceptPolicy {
            connection: AcceptAction::GoOn,
            resources: AcceptAction::Pause,
            listener: AcceptAction::Pause,
        }
    }
}

impl AcceptPolicy {
    pub(in crate::tcp_server) fn check(&self) -> Result<(), NetError> {
        let AcceptPolicy {
            connection,
            resources,
            listener,
        } = self;
        for (action, may_shed, may_go_on) in [
            (connection, false, true),
            (resources, true, false),
            (listener, false, false),
        ] {
            let fits = match action {
                AcceptAction::Pause | AcceptAction::Close | AcceptAction::Escalate => true,
                AcceptAction::BackOff { first, last } => !first.is_zero() && first <= last,
                AcceptAction::Shed => may_shed,
                AcceptAction::GoOn => may_go_on,
            };
            if !fits {
                return Err(NetError::INVALID_ARGUMENT);
            }
        }
        Ok(())
    }

    /// What is done about the error that comes after so many in a row.
    pub(in crate::tcp_server) fn action(
        &self,
        class: AcceptErrorClass,
        before: u32,
    ) -> AcceptAction {
        match class {
            AcceptErrorClass::Connection
                if self.connection == AcceptAction::GoOn && before >= UNLUCKY_ACCEPTS =>
            {
                self.listener
            }
            AcceptErrorClass::Connection => self.connection,
            AcceptErrorClass::Resources => self.resources,
            AcceptErrorClass::Listener => self.listener,
        }
    }

    pub(in crate::tcp_server) fn sheds(&self) -> bool {
        self.resources == AcceptAction::Shed
    }
}

/// How long the rest lasts after this many failures in a row, at least one.
pub(in crate::tcp_server) fn back_off(first: Duration, last: Duration, attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    first.saturating_mul(1 << doublings).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rests_double_up_to_the_last_and_never_overflow() {
        let rest = |attempt| back_off(SECOND, 5 * SECOND, attempt).as_secs();
        assert_eq!([1, 2, 3, 4, 5].map(rest), [1, 2, 4, 5, 5]);
        assert_eq!(rest(u32::MAX), 5);
        assert_eq!(
            super::back_off(Duration::MAX, Duration::MAX, 9),
            Duration::MAX
        );
    }

    #[test]
    fn what_could_not_end_is_no_policy() {
        let back_off = |first, last| AcceptAction::BackOff { first, last };
        let policy = |connection, resources, listener| AcceptPolicy {
            connection,
            resources,
            listener,
        };
        use AcceptAction::{Close, Escalate, GoOn, Pause, Shed};
        let retry = back_off(SECOND, SECOND);
        for good in [
            AcceptPolicy::default(),
            policy(GoOn, Shed, Close),
            policy(retry, retry, retry),
            policy(Escalate, Escalate, Escalate),
        ] {
            assert_eq!(good.check(), Ok(()), "{good:?}");
        }
        for bad in [
            policy(Shed, Pause, Pause),
            policy(Pause, Pause, Shed),
            policy(Pause, GoOn, Pause),
            policy(Pause, Pause, GoOn),
            policy(back_off(Duration::ZERO, SECOND), Pause, Pause),
            policy(Pause, back_off(2 * SECOND, SECOND), Pause),
        ] {
            assert_eq!(bad.check(), Err(NetError::INVALID_ARGUMENT), "{bad:?}");
        }
    }
}
