//! The program `chrome-sockets`, as a process of its own: what its clients get,
//! and what others do not.
#![expect(clippy::panic, reason = "this is how a test fails")]

mod bounds;
mod browser;
mod caretaker;
mod client;
mod coming_in;
mod credit;
mod fuzz_corpus;
mod hostile;
mod installing;
mod javascript;
mod native;
mod returning;

use std::net::SocketAddr;
use std::process::Command;

use support::process::{Example, Program};

/// The program, as cargo has built it for the tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_chrome-sockets");

/// A running gateway.
struct Host(Example);

impl Host {
    /// One to whose clients anything is permitted that they ask for.
    fn dev() -> Self {
        Self::start(&["--dev"])
    }

    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        let program = Program::start(command.args(arguments));
        Host(Example::listening(program))
    }

    fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// What lets somebody look after it, which it says once.
    fn key(&mut self) -> String {
        let line = self.0.program.stdout.line("Admin page: ");
        let key = line.split_once("/#key=").map(|(_, key)| key.to_owned());
        key.expect("a key in the page's address")
    }

    fn expect_success(self) {
        self.0.expect_success();
    }
}
