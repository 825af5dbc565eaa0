//! SIGTERM: servers let their clients finish, for five seconds or until a second signal.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use support::LIMIT;
use support::process::Example;

use super::{dial, echo_line};

const DEADLINE: Duration = Duration::from_secs(5);

fn servers() -> [Example; 2] {
    let persistent = Example::start("persistent_server", &["127.0.0.1:0"]);
    [Example::echo(), persistent]
}

/// Waits until the port is free.
fn is_free(address: SocketAddr) {
    let until = Instant::now() + LIMIT;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < until, "{address} is not free in time");
        thread::yield_now();
    }
}

/// A client of a server that is draining.
fn draining_client(server: &Example) -> TcpStream {
    let client = dial(server.address);
    echo_line(&client, "before");
    server.terminate();
    is_free(server.address);
    echo_line(&client, "meanwhile");
    client
}

#[test]
fn clients_are_served_until_they_end_after_sigterm() {
    for server in servers() {
        let began = Instant::now();
        drop(draining_client(&server));
        server.assert_success();
        assert!(began.elapsed() < DEADLINE, "it ends with its last client");
    }
}

#[test]
fn a_second_signal_ends_clients_at_once() {
    for server in servers() {
        let began = Instant::now();
        let _client = draining_client(&server);
        server.terminate();
        server.assert_success();
        assert!(began.elapsed() < DEADLINE, "it did not wait");
    }
    let began = Instant::now();
    let server = Example::echo();
    let _client = draining_client(&server);
    server.expect_success();
    assert!(began.elapsed() < DEADLINE, "Ctrl-C is a second signal too");
}

#[test]
fn the_deadline_ends_the_remaining_clients() {
    let server = Example::echo();
    let client = dial(server.address);
    echo_line(&client, "before");
    let began = Instant::now();
    server.terminate();
    server.assert_success();
    assert!(began.elapsed() >= DEADLINE, "{:?}", began.elapsed());
    drop(client);
}

#[test]
fn the_other_examples_end_on_sigterm_too() {
    for (example, args) in [
        ("event_page", ["127.0.0.1:0", "2"]),
        ("pause_resume", ["127.0.0.1:0", "1"]),
    ] {
        let began = Instant::now();
        let server = Example::start(example, &args);
        server.terminate();
        server.assert_success();
        assert!(
            began.elapsed() < DEADLINE,
            "{example}: no client was connected"
        );
    }
}
