//! `pause_resume`: LIMIT clients are served, the others wait.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use support::process::{Example, Program, binary};
use support::{LIMIT, QUIET};

use super::{dial, echo_line, expect};

fn expect_welcome(client: &TcpStream, number: usize) {
    let words = format!("you are client {number}\n");
    expect(client, words.as_bytes(), &words);
}

fn expect_nothing(client: &TcpStream) {
    client.set_read_timeout(Some(QUIET)).expect("a limit");
    let received = client.peek(&mut [0; 1]).map_err(|error| error.kind());
    assert!(
        matches!(received, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        "a client beyond the limit must wait, not {received:?}"
    );
    client.set_read_timeout(Some(LIMIT)).expect("a limit");
}

#[test]
fn the_third_client_waits_until_one_of_two_leaves() {
    let mut server = Example::start("pause_resume", &["127.0.0.1:0", "2"]);
    let first = dial(server.address);
    expect_welcome(&first, 1);
    let second = dial(server.address);
    expect_welcome(&second, 2);
    server.program.stdout.line("2 of 2 clients served, paused");

    // The printed pause is in force after this echo.
    echo_line(&first, "served");

    let third = dial(server.address);
    expect_nothing(&third);
    echo_line(&first, "still served");
    echo_line(&second, "served too");
    expect_nothing(&third);
    let output = server.program.stdout.so_far();
    let reported = output.matches("2 of 2 clients served").count();
    assert_eq!(
        reported, 1,
        "the third waits in the backlog, not accepted: {output}"
    );

    drop(first);
    expect_welcome(&third, 3);
    echo_line(&third, "let in");
    echo_line(&second, "not disturbed");
    server.expect_success();
}

#[test]
fn many_clients_at_once_are_served_two_at_a_time() {
    const CLIENTS: usize = 20;
    let server = Example::start("pause_resume", &["127.0.0.1:0", "2"]);
    let waiting: Vec<TcpStream> = server
        .program
        .while_stopped(|| (0..CLIENTS).map(|_| dial(server.address)).collect());
    for (i, client) in waiting.iter().enumerate() {
        expect_welcome(client, i + 1);
        echo_line(client, "my turn");
        for outside in waiting.iter().skip(i + 2) {
            outside.set_nonblocking(true).expect("set_nonblocking");
            let received = outside.peek(&mut [0; 1]).map_err(|error| error.kind());
            assert_eq!(
                received,
                Err(ErrorKind::WouldBlock),
                "beside client {}",
                i + 1
            );
            outside.set_nonblocking(false).expect("set_nonblocking");
        }
        client.shutdown(Shutdown::Both).expect("it is connected");
    }
    // All have left, so new clients are accepted.
    let last = dial(server.address);
    expect_welcome(&last, CLIENTS + 1);
    server.expect_success();
}

#[test]
fn ctrl_c_ends_it_cleanly_with_served_and_waiting_clients() {
    let server = Example::start("pause_resume", &["127.0.0.1:0", "1"]);
    let served = dial(server.address);
    expect_welcome(&served, 1);
    let outside = dial(server.address);
    expect_nothing(&outside);
    server.expect_success();
    super::expect_end(&served, "the served client");
}

#[test]
fn ctrl_c_directly_after_listen_ends_it_cleanly() {
    for _ in 0..20 {
        Example::start("pause_resume", &["127.0.0.1:0"]).expect_success();
    }
}

#[test]
fn invalid_arguments_are_errors_that_name_the_valid_ones() {
    for (args, words) in [
        (["nonsense", "2"], "ADDR is"),
        (["127.0.0.1:0", "many"], "LIMIT is"),
    ] {
        let ended = Program::start(Command::new(binary("pause_resume")).args(args)).ended();
        assert!(!ended.status.success(), "{args:?}");
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}
