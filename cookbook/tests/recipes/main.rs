//! Runs each recipe of docs/cookbook.md as a program, with peers that are not of this project.

mod beside_actix_web;
mod chat;
mod http;
mod lines;
mod plain_tokio;
mod proxy;
mod starttls;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use support::LIMIT;
use support::process::{Example, Program};

/// Starts a recipe on a port of the OS's choice.
macro_rules! recipe {
    ($name:literal $(, $argument:expr)*) => {{
        let mut command = ::std::process::Command::new(env!(concat!("CARGO_BIN_EXE_", $name)));
        let program = ::support::process::Program::start(command$(.arg($argument))*);
        ::support::process::Example::listening(program)
    }};
}
pub(crate) use recipe;

const ANY_PORT: &str = "127.0.0.1:0";

/// A Python script, with the port of a recipe as its argument.
fn python(script: &str, port: u16) -> Program {
    Program::start(Command::new("python3").args(["-c", script, &port.to_string()]))
}

/// The standard output of a Python script that succeeds.
fn python_prints(script: &str, port: u16) -> String {
    let ended = python(script, port).ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    String::from_utf8(ended.stdout).expect("text")
}

/// `nc -N`, which ends its side at the end of its input, and prints what it receives.
fn nc(address: SocketAddr, input: &'static str) -> String {
    let port = address.port().to_string();
    let mut nc = Program::start(Command::new("nc").args(["-N", "127.0.0.1", &port]));
    nc.feed(input.as_bytes());
    let ended = nc.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    String::from_utf8(ended.stdout).expect("text")
}

fn assert_echoes(recipe: &Example) {
    assert_eq!(nc(recipe.address, "through nc\n"), "through nc\n");
}

/// Ends a recipe by SIGTERM. It must succeed.
fn terminate(recipe: Example) {
    recipe.terminate();
    recipe.assert_success();
}

/// Waits until the port of a recipe that was told to end is free, so that its drain has begun.
fn until_refused(address: SocketAddr) {
    let port = address.port().to_string();
    let until = Instant::now() + LIMIT;
    loop {
        let mut nc = Command::new("nc");
        let tried = Program::start(nc.args(["-z", "127.0.0.1", &port])).ended();
        if !tried.status.success() {
            return;
        }
        assert!(Instant::now() < until, "it still listens");
    }
}
