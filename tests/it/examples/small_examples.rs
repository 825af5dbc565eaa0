//! The short examples: each does what its first lines promise.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use support::process::{Ended, Example, Program, binary};

use super::dial;

fn run(example: &str, args: &[&str]) -> Ended {
    Program::start(Command::new(binary(example)).args(args)).ended()
}

fn output(ended: &Ended) -> String {
    assert!(ended.status.success(), "{}", ended.stderr);
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

#[test]
fn tcp_client_prints_the_line_that_comes_back() {
    let server = Example::echo();
    let host = server.address.ip().to_string();
    let port = server.address.port().to_string();
    let ended = run("tcp_client", &[&host, &port, "there and back"]);
    assert_eq!(output(&ended), "there and back\n");
    server.expect_success();
}

#[test]
fn tcp_client_reports_a_refused_connection() {
    // A port that was free a moment ago, at an address that no other test uses.
    let listener = TcpListener::bind("127.0.0.7:0").expect("an address of this machine");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let port = address.port().to_string();
    let ended = run("tcp_client", &["127.0.0.7", &port]);
    assert!(!ended.status.success());
    assert!(
        ended.stderr.contains(&address.to_string()),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("CONNECTION_REFUSED"),
        "{}",
        ended.stderr
    );
}

#[test]
fn multicore_echo_echoes_on_all_its_arbiters() {
    let echo = Example::start("multicore_echo", &["127.0.0.1:0", "3"]);
    let mut clients: Vec<_> = (0..9).map(|_| dial(echo.address)).collect();
    for client in &mut clients {
        client.write_all(b"echo").expect("write");
    }
    for client in &mut clients {
        let mut data = [0; 4];
        client.read_exact(&mut data).expect("read");
        assert_eq!(&data, b"echo");
    }
    echo.expect_success();
}

#[test]
fn scripted_faults_serves_the_client_that_came_during_the_fault() {
    let text = output(&run("scripted_faults", &[]));
    assert!(
        text.contains("cannot accept: net::ERR_INSUFFICIENT_RESOURCES"),
        "{text}"
    );
    assert!(text.contains("the client got \"welcome\""), "{text}");
}

#[test]
fn event_page_is_suspended_when_idle_and_loaded_by_the_next_client() {
    let mut example = Example::start("event_page", &["127.0.0.1:0", "0.2"]);
    for load in 1..=3 {
        let text = format!("load {load}\n");
        if load > 1 {
            let before = example.program.stdout.so_far();
            assert!(!before.contains(&text), "no client has connected: {before}");
        }
        let mut all = String::new();
        let mut client = dial(example.address);
        client.read_to_string(&mut all).expect("it is closed");
        assert_eq!(all, format!("client 1 since load {load}\n"));
        let line = "suspended after 1 clients\n";
        example.program.stdout.times(line, load);
    }
    example.expect_success();
}

#[test]
fn event_page_names_the_invalid_argument() {
    for (args, words) in [
        (&["nowhere"][..], "\"nowhere\" is not an address"),
        (
            &["127.0.0.1:0", "soon"],
            "\"soon\" is not a number of seconds",
        ),
        (&["127.0.0.1:0", "-1"], "\"-1\" is not a number of seconds"),
    ] {
        let ended = run("event_page", args);
        assert!(!ended.status.success());
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}
