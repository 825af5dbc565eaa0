//! Tests the program `chrome-sockets` as a process.
#![expect(
    clippy::disallowed_types,
    reason = "the peers of a test are ordinary sockets"
)]
#![expect(clippy::panic, reason = "this is how a test fails")]

mod admin;
mod bounds;
mod browser;
mod client;
mod config;
mod connecting;
mod credit;
mod deploy;
mod fuzz_corpus;
mod haproxy;
mod hostile;
mod install;
mod javascript;
mod monitoring;
mod native;
mod packages;
mod proxies;
mod reconnecting;
mod service;
mod set_tls;
mod starting;
mod systemd;
mod udp;

use std::net::SocketAddr;
use std::process::Command;

use support::process::{Example, Program};

/// The path of the program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_chrome-sockets");

/// A running gateway.
struct Host(Example);

impl Host {
    /// A gateway that accepts the manifests of its clients.
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

    /// The admin key, which the program prints at its start.
    fn key(&mut self) -> String {
        let line = self.0.program.stdout.line("Admin page: ");
        let key = line.split_once("/#key=").map(|(_, key)| key.to_owned());
        key.expect("a key in the page's address")
    }

    fn expect_success(self) {
        self.0.expect_success();
    }
}
