//! The small programs that the documentation shows: what each promises in its
//! first lines.

use std::net::TcpListener;
use std::process::Command;

use super::process::{Ended, Example, Program, binary};

fn run(example: &str, args: &[&str]) -> Ended {
    Program::start(Command::new(binary(example)).args(args)).ended()
}

fn said(ended: &Ended) -> String {
    assert!(ended.status.success(), "{}", ended.stderr);
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

#[test]
fn tcp_client_prints_the_line_that_comes_back() {
    let server = Example::echo();
    let host = server.address.ip().to_string();
    let port = server.address.port().to_string();
    let ended = run("tcp_client", &[&host, &port, "there and back"]);
    assert_eq!(said(&ended), "there and back\n");
    server.ends_well();
}

#[test]
fn tcp_client_says_that_nobody_listens() {
    // A port that was free a moment ago, at an address that no other test has.
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
fn scripted_faults_serves_the_client_that_came_during_the_fault() {
    let said = said(&run("scripted_faults", &[]));
    assert!(
        said.contains("cannot accept: net::ERR_INSUFFICIENT_RESOURCES"),
        "{said}"
    );
    assert!(said.contains("the client got \"welcome\""), "{said}");
}
