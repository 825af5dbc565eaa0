//! What is tested with one arbiter, with several: the recordings, and what
//! stands for the other promises.

use std::time::Duration;

use support::ARBITERS;
use support::process::{Program, group};

/// How long all of it may take on a machine that is busy.
const WHOLE_RUN: Duration = Duration::from_secs(10 * 60);

/// What is run again. Left out is what sets the clock of the test's own
/// thread or knows which of two threads is faster, and what is about processes
/// and pages rather than sockets.
const AGAIN: [&str; 11] = [
    "chrome_traces::",
    "tcp::",
    "tcp_server::",
    "pause::",
    "ordering::",
    "redelivery::data::",
    "redelivery::random_panics::",
    "faults::",
    "handover::",
    "lifecycle::connection_storm::",
    "policy::shared_limits::",
];

fn again_on(arbiters: usize) {
    let this = std::env::current_exe().expect("this program");
    let mut command = group(this);
    command
        .args(AGAIN)
        .args(["--test-threads", "4"])
        .args(SKIPPED.iter().flat_map(|skipped| ["--skip", *skipped]))
        .env(ARBITERS, arbiters.to_string())
        .env("RUST_BACKTRACE", "0");
    let ran = Program::start(&mut command).ended_within(WHOLE_RUN);
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "with {arbiters} arbiters:\n{said}");
    let count = said.matches("... ok").count();
    assert!(count > 150, "only {count} tests were run:\n{said}");
}

/// Those that pause the clock, which is another one in another thread, and
/// those that know what one thread does before it does the next thing.
const SKIPPED: [&str; 6] = [
    "arbiters::",
    "faults::read_write::a_write_error_answers_every_send_that_waits",
    "redelivery::data::a_connection_is_not_idle",
    "tcp::sending::last_sends_that_the_peer_never_takes_time_out",
    "tcp::fast_path::",
    "tls::",
];

#[test]
fn the_suite_passes_on_two_arbiters() {
    again_on(2);
}

#[test]
fn the_suite_passes_on_three_arbiters() {
    again_on(3);
}
