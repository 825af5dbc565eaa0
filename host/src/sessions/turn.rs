//! Limits how much of one client is processed before other clients and sockets run.

use std::time::Instant;

use crate::limits::{TURN_STEPS, TURN_TIME};

/// One client's turn: a number of frames and messages, and a time.
pub(crate) struct Turn {
    steps_left: u32,
    start: Instant,
}

/// The steps between two readings of the clock, which costs as much as a small message.
const CLOCK_INTERVAL: u32 = 8;

impl Turn {
    pub(crate) fn new() -> Self {
        Turn {
            steps_left: TURN_STEPS,
            start: Instant::now(),
        }
    }

    /// Counts a frame or a message. Returns whether to process it in this turn.
    pub(crate) fn try_step(&mut self) -> bool {
        if self.steps_left % CLOCK_INTERVAL == 1 && self.start.elapsed() >= TURN_TIME {
            self.steps_left = 0;
        }
        let has_steps = self.steps_left > 0;
        self.steps_left = self.steps_left.saturating_sub(1);
        has_steps
    }

    pub(crate) fn is_over(&self) -> bool {
        self.steps_left == 0
    }
}
