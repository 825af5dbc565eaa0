//! `echo_server`: start, echo and end.

use std::io::{Read, Write};
use std::process::Command;
use std::thread;

use support::process::{Ended, Example, Program, binary};

use super::{MIB, dial, echo_all, echo_line, expect_end};

/// Runs it until it ends by itself.
fn run_to_end(args: &[&str]) -> Ended {
    let ended = Program::start(Command::new(binary("echo_server")).args(args)).ended();
    assert!(!ended.status.success(), "{args:?} must not report success");
    assert!(
        ended.stdout.is_empty(),
        "{args:?}: nothing listens, so stdout must be empty"
    );
    ended
}

#[test]
fn it_prints_its_address_and_echoes() {
    let server = Example::echo();
    assert_eq!(server.address.ip().to_string(), "127.0.0.1");
    assert_ne!(server.address.port(), 0, "the OS chose a port");
    let client = dial(server.address);
    echo_line(&client, "hello");
    echo_line(&client, "");
    echo_line(&dial(server.address), "hello from another");
    server.expect_success();
}

#[test]
fn the_default_address_is_the_documented_one() {
    let text = include_str!("../../../examples/echo_server.rs");
    let docs: Vec<&str> = text.lines().filter(|l| l.starts_with("//!")).collect();
    assert!(docs.join("\n").contains("`127.0.0.1:7007`"), "{docs:?}");

    let mut program = Program::start(&mut Command::new(binary("echo_server")));
    // Another program may have the port, which the message then says.
    let line = if program.stdout.wait_for_output() {
        program.stdout.line("listening on ")
    } else {
        program.stderr.line("cannot listen on ")
    };
    assert!(line.contains(" on 127.0.0.1:7007"), "{line}");
}

#[test]
fn an_invalid_address_is_an_error_that_names_it() {
    for address in [
        "nonsense",
        "127.0.0.1",
        "127.0.0.1:70000",
        "localhost:80",
        "",
    ] {
        let stderr = run_to_end(&[address]).stderr;
        assert!(stderr.contains(address), "{address:?}: {stderr}");
        assert!(stderr.contains("127.0.0.1:7007"), "an example: {stderr}");
        assert!(!stderr.contains("panicked"), "{address:?}: {stderr}");
    }
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let server = Example::echo();
    let client = dial(server.address);
    let address = server.address.to_string();

    let stderr = run_to_end(&[&address]).stderr;
    assert!(stderr.contains(&address), "{stderr}");
    assert!(stderr.contains("ADDRESS_IN_USE"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");

    echo_line(&client, "the first one is unharmed");
    echo_line(&dial(server.address), "and takes new clients");
}

#[test]
fn ctrl_c_directly_after_listen_ends_it_cleanly() {
    // Repeated, because a race would show only sometimes.
    for _ in 0..20 {
        Example::echo().expect_success();
    }
}

#[test]
fn ctrl_c_closes_every_client() {
    let server = Example::echo();
    let idle = dial(server.address);
    let active = dial(server.address);
    echo_line(&active, "before");
    // A client that sends and does not read fills both directions.
    let non_reading = dial(server.address);
    non_reading.set_nonblocking(true).expect("set_nonblocking");
    while (&non_reading).write(&[b'x'; 64 * 1024]).is_ok() {}

    server.expect_success();
    expect_end(&idle, "the idle client");
    expect_end(&active, "the active client");
    non_reading.set_nonblocking(false).expect("set_nonblocking");
    // Data in flight may still arrive, and then the end: EOF or reset.
    let mut buffer = vec![0; MIB];
    while let Ok(1..) = (&non_reading).read(&mut buffer) {}
    let end = (&non_reading)
        .read(&mut buffer)
        .map_err(|error| error.kind());
    assert!(
        !matches!(end, Ok(1..) | Err(std::io::ErrorKind::WouldBlock)),
        "the client that does not read: {end:?}"
    );
}

#[test]
fn the_port_is_free_at_once_after_ctrl_c() {
    // No other test uses this address, so none can get the port in between.
    let mut server = Example::start("echo_server", &["127.0.0.7:0"]);
    let address = server.address;
    for round in 0..3 {
        // The server closes first, so TIME_WAIT holds its port.
        let client = dial(address);
        echo_line(&client, &format!("round {round}"));
        server.expect_success();
        server = Example::start("echo_server", &[&address.to_string()]);
        assert_eq!(server.address, address);
    }
    echo_line(&dial(address), "the last one listens too");
}

#[test]
fn all_of_64_mib_comes_back_and_then_the_end() {
    let server = Example::echo();
    echo_all(&dial(server.address), 64 * MIB);
    echo_line(&dial(server.address), "and it goes on");
    server.expect_success();
}

#[test]
fn many_small_lines_come_back_singly_and_pipelined() {
    let server = Example::echo();
    let client = dial(server.address);
    client.set_nodelay(true).expect("the option is set");
    for i in 0..1000 {
        echo_line(&client, &format!("line {i}"));
    }

    // Each line in a write of its own, without waiting for an echo.
    let lines: Vec<String> = (0..10_000).map(|i| format!("{i:07}\r\n")).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for line in &lines {
                (&client).write_all(line.as_bytes()).expect("it reads on");
            }
        });
        for line in &lines {
            super::expect(&client, line.as_bytes(), line);
        }
    });
}
