//! `echo_server` and `fault_injection` on a faulty network, seen by their clients.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use support::process::{Ended, Example, Program, binary};

use super::{MIB, dial, echo_all, echo_line};

fn echo(rules: &[&str]) -> Example {
    let mut args = vec!["127.0.0.1:0", "--seed", "7"];
    args.extend(rules.iter().flat_map(|rule| ["--inject", rule]));
    Example::start("echo_server", &args)
}

#[test]
fn out_of_descriptors_at_every_50th_accept_loses_none_of_1000_clients() {
    let server = echo(&["accept=EMFILE,every=50"]);
    let first = dial(server.address);
    echo_line(&first, "the first one");
    for i in 1..1000 {
        echo_line(&dial(server.address), &format!("client {i}"));
    }
    echo_line(&first, "is served still");
    // 1000 accepts, and one that is pending.
    let output = server.stop_with_ctrl_c();
    assert_eq!(output, "accept=EMFILE,every=50: triggered 20 of 1021\n");
}

/// Serves `clients` clients while each rule injects several faults: none of them loses data.
fn expect_unnoticed(rules: &[&str], clients: usize) {
    let server = echo(rules);
    let first = dial(server.address);
    echo_line(&first, "the first one");
    for _ in 0..clients {
        assert!(echo_ten_lines(dial(server.address)), "no client loses data");
    }
    echo_all(&dial(server.address), 4 * MIB);
    echo_line(&first, "is served still");
    let output = server.stop_with_ctrl_c();
    for line in output.lines() {
        assert!(injected_count(line) > 1, "{line}");
    }
    assert_eq!(output.lines().count(), rules.len(), "{output}");
}

#[test]
fn clients_do_not_notice_panics_of_any_actor() {
    let rules = [
        "panic=server,every=200",
        "panic=clients,every=1000",
        "panic=registry,every=200",
    ];
    expect_unnoticed(&rules, 500);
}

#[test]
fn clients_do_not_notice_listeners_that_panic_stop_or_are_slow() {
    let rules = [
        "panic=subscriber,every=100",
        "stop=subscriber,every=130",
        "subscriber=stall,for=20ms,every=200",
    ];
    expect_unnoticed(&rules, 100);
}

/// The number of injected faults in a line of the report.
fn injected_count(line: &str) -> u32 {
    let triggered = line.split(": triggered ").nth(1);
    let triggered = triggered.and_then(|it| it.split(' ').next()?.parse().ok());
    triggered.expect(line)
}

/// Sends ten lines and expects their echo. `false`: the connection ended.
fn echo_ten_lines(mut client: TcpStream) -> bool {
    for i in 0..10 {
        let line = format!("line {i}\n");
        let mut echo = vec![0; line.len()];
        let end = client
            .write_all(line.as_bytes())
            .and_then(|()| client.read_exact(&mut echo));
        match end.map_err(|error| error.kind()) {
            Ok(()) => assert_eq!(echo, line.as_bytes()),
            Err(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return false;
            }
            Err(error) => panic!("neither an echo nor an end: {error}"),
        }
    }
    true
}

#[test]
fn a_connection_with_read_errors_echoes_everything_or_ends() {
    let server = echo(&["read=ECONNRESET,p=0.01"]);
    let clients = 300;
    let complete = (0..clients)
        .filter(|_| echo_ten_lines(dial(server.address)))
        .count();
    let output = server.stop_with_ctrl_c();
    let counts = output
        .trim()
        .strip_prefix("read=ECONNRESET,p=0.01: triggered ");
    let triggered = counts.and_then(|counts| counts.split(' ').next()?.parse::<usize>().ok());
    let triggered = triggered.unwrap_or_else(|| panic!("{output:?}"));
    let ended = clients - complete;
    // A connection that breaks after its last line was echoed completely.
    assert!(
        0 < ended && ended <= triggered && triggered < clients,
        "{ended}; {output}"
    );
}

#[test]
fn short_and_stalled_transfers_echo_every_byte() {
    let server = echo(&[
        "write=short,every=7",
        "read=short,bytes=100,every=3",
        "read=EINTR,p=0.1",
        "write=stall,for=10ms,every=40",
        "accept=stall,for=50ms",
    ]);
    echo_all(&dial(server.address), 4 * MIB);
    echo_line(&dial(server.address), "and it goes on");
    let output = server.stop_with_ctrl_c();
    assert_eq!(output.lines().count(), 5, "{output}");
    assert!(!output.contains("triggered 0"), "{output}");
}

fn run_to_end(args: &[&str]) -> Ended {
    let ended = Program::start(Command::new(binary("echo_server")).args(args)).ended();
    assert!(!ended.status.success(), "{args:?} must not report success");
    assert!(ended.stdout.is_empty(), "{args:?}: nothing listens");
    ended
}

#[test]
fn an_invalid_rule_or_seed_is_an_error_with_the_expected_syntax() {
    for (args, words) in [
        (["--inject", "panic"], "write OPERATION=FAULT"),
        (
            ["--inject", "explode=EMFILE"],
            "write one of listen, accept",
        ),
        (
            ["--inject", "accept=EMFILE,every=0"],
            "a whole number from 1",
        ),
        (["--seed", "lucky"], "\"lucky\""),
    ] {
        let stderr = run_to_end(&args).stderr;
        assert!(stderr.contains(words), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    }
    for args in [&["--inject"][..], &["--explode"], &["127.0.0.1:0", "twice"]] {
        assert!(!run_to_end(args).stderr.contains("panicked"), "{args:?}");
    }
}

#[test]
fn fault_injection_greets_or_ends_every_client_with_any_seed() {
    for seed in ["7", "8", "9"] {
        let program = Program::start(Command::new(binary("fault_injection")).arg(seed));
        let ended = program.ended();
        assert!(ended.status.success(), "seed {seed}: {}", ended.stderr);
        let output = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(
            output.contains("accept=EMFILE,every=10: triggered 22 of"),
            "{output}"
        );
        assert!(output.contains("of 200 clients"), "{output}");
    }
}
