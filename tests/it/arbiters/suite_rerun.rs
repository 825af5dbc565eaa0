//! Runs tests again with several arbiters, and with every connection watched by the arbiter's
//! poller: the recordings and a choice of the other files.

use std::time::Duration;

use support::process::{Program, group};
use support::{ARBITERS, POLLED};

/// Time limit of the whole run, on a busy machine.
const WHOLE_RUN: Duration = Duration::from_secs(10 * 60);

/// Filters of the tests to run. Tests that set the clock of their own thread, that depend on
/// which thread is faster, or that are about processes and event pages are left out.
const FILTERS: [&str; 13] = [
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
    "unread_connections::",
    "udp::",
];

/// With this environment variable set.
fn rerun_with(variable: &str, value: &str) {
    let this = std::env::current_exe().expect("the path of the test binary");
    let mut command = group(this);
    command
        .args(FILTERS)
        .args(["--test-threads", "4"])
        .args(SKIPPED.iter().flat_map(|skipped| ["--skip", *skipped]))
        .env(variable, value)
        .env("RUST_BACKTRACE", "0");
    let ran = Program::start(&mut command).ended_within(WHOLE_RUN);
    let output = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "with {variable}={value}:\n{output}");
    let count = output.matches("... ok").count();
    assert!(count > 150, "only {count} tests were run:\n{output}");
}

/// Tests that pause the clock, which is a different one in another thread, and tests that know
/// the order of steps of one thread. `tls::` only because `handover::` matches `tls::handover`.
const SKIPPED: [&str; 8] = [
    "arbiters::",
    "faults::read_write::a_write_error_answers_every_send_that_waits",
    "redelivery::data::a_connection_is_not_idle",
    "tcp::sending::last_sends_that_the_peer_never_takes_time_out",
    "tcp::fast_path::",
    "tcp::half_close::ends::the_idle_timeout_ends",
    "tcp::half_close::ends::the_send_timeout_resets",
    "tls::",
];

#[test]
fn the_suite_passes_on_two_arbiters() {
    rerun_with(ARBITERS, "2");
}

#[test]
fn the_suite_passes_on_three_arbiters() {
    rerun_with(ARBITERS, "3");
}

#[test]
fn the_suite_passes_with_every_connection_watched_by_the_poller() {
    rerun_with(POLLED, "1");
}
