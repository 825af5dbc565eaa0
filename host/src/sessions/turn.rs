//! How much of one client is carried out before the others have their turn.

use std::time::Instant;

use crate::limits::{TURN, TURN_TIME};

/// One client's turn: so many messages, or so long.
pub(crate) struct Turn {
    left: u32,
    start: Instant,
}

/// How often the clock is looked at.
const LOOK: u32 = 8;

impl Turn {
    pub(crate) fn new() -> Self {
        Turn {
            left: TURN,
            start: Instant::now(),
        }
    }

    /// Counts a frame or a message; whether it may be carried out now.
    pub(crate) fn goes_on(&mut self) -> bool {
        if self.left % LOOK == 1 && self.start.elapsed() >= TURN_TIME {
            self.left = 0;
        }
        let goes_on = self.left > 0;
        self.left = self.left.saturating_sub(1);
        goes_on
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left == 0
    }
}
