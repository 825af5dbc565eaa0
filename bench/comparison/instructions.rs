//! Instruction counts of the hot paths of this crate, against a budget. Times are noisy, but
//! this count hardly varies with the load of the machine: the server is stopped while the
//! clients prepare a round, so that each round begins with the same input.
//!
//! The server runs under `valgrind --tool=callgrind`, once with few operations and once with
//! many; the difference is the cost of the operations. Only instructions outside the kernel
//! count.
#![expect(clippy::disallowed_types, reason = "the clients are ordinary sockets")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::Result;

/// The budget.
const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

/// Tolerance above the budget, in per cent.
const TOLERANCE: u64 = 3;

/// Number of counts of each path; the least is used. On a busy machine the same work takes more
/// turns, which only adds.
const COUNTS: usize = 3;

const MESSAGE: [u8; 64] = [7; 64];

/// A hot path: what one round of clients does, and how many operations that is.
struct HotPath {
    name: &'static str,
    peer: &'static str,
    /// What the server does.
    mode: &'static str,
    connections: usize,
    reconnects: bool,
    rounds: [u64; 2],
}

const PATHS: [HotPath; 6] = [
    HotPath {
        name: "echo-64",
        peer: "chrome-sockets",
        mode: "echo",
        connections: 64,
        reconnects: false,
        rounds: [100, 600],
    },
    HotPath {
        name: "echo-1",
        peer: "chrome-sockets",
        mode: "echo",
        connections: 1,
        reconnects: false,
        rounds: [1000, 9000],
    },
    HotPath {
        name: "accept-echo-close",
        peer: "chrome-sockets",
        mode: "echo",
        connections: 1,
        reconnects: true,
        rounds: [300, 1800],
    },
    HotPath {
        name: "stream-64",
        peer: "chrome-sockets",
        mode: "stream",
        connections: 64,
        reconnects: false,
        rounds: [100, 600],
    },
    HotPath {
        name: "udp-64",
        peer: "chrome-sockets",
        mode: "udp",
        connections: 64,
        reconnects: false,
        rounds: [100, 600],
    },
    HotPath {
        name: "udp-64 of tokio",
        peer: "tokio",
        mode: "udp",
        connections: 64,
        reconnects: false,
        rounds: [100, 600],
    },
];

/// Counts every path whose name begins with `prefix`, and compares it with its budget.
///
/// # Errors
/// A path is above its budget or has none, or valgrind is missing.
pub fn check(prefix: &str) -> Result<()> {
    let text = fs::read_to_string(BUDGET)?;
    let budget = budget(&text)?;
    let mut too_many = Vec::new();
    for path in PATHS.iter().filter(|path| path.name.starts_with(prefix)) {
        let counts: Vec<u64> = (0..COUNTS).map(|_| path.count()).collect::<Result<_>>()?;
        let count = counts.into_iter().min().unwrap_or(u64::MAX);
        if path.peer != "chrome-sockets" {
            println!("{:<20}{count:>7} instructions, to compare", path.name);
            continue;
        }
        let allowed = budget.iter().find(|(name, _)| *name == path.name);
        let Some((_, allowed)) = allowed else {
            return Err(format!("{BUDGET} has no line for {}: {count}", path.name).into());
        };
        let change = (count as f64 / *allowed as f64 - 1.0) * 100.0;
        println!(
            "{:<20}{count:>7} instructions, budget {allowed} ({change:+.1} %)",
            path.name
        );
        if count * 100 > allowed * (100 + TOLERANCE) {
            too_many.push(path.name);
        } else if count * 100 < allowed * (100 - TOLERANCE) {
            println!("    fewer than before: write {count} into bench/instructions.txt");
        }
    }
    match too_many.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "over {TOLERANCE} % more instructions than bench/instructions.txt allows: {}. \
             Make it cheaper, or say in that file why it is justified",
            too_many.join(", ")
        )
        .into()),
    }
}

/// The lines `name count` of a budget; `#` begins a comment.
fn budget(text: &str) -> Result<Vec<(&str, u64)>> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let lines = lines.map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, count) = line
                .split_once(char::is_whitespace)
                .ok_or(format!("no count in {line:?}"))?;
            let count = count.trim().parse::<u64>();
            Ok((name, count.map_err(|error| format!("{line:?}: {error}"))?))
        })
        .collect()
}

impl HotPath {
    /// Instructions of one operation.
    fn count(&self) -> Result<u64> {
        let [few, many] = self.rounds;
        let operations = (many - few) * self.connections as u64;
        let all = self.total(many)?.saturating_sub(self.total(few)?);
        Ok(all / operations)
    }

    /// Instructions of a server that has served this many rounds.
    fn total(&self, rounds: u64) -> Result<u64> {
        let this = std::env::current_exe()?;
        let mut server = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(Path::new(&this))
            .args(["server", self.peer, "none", self.mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("valgrind is needed: {error}"))?;
        let mut port = String::new();
        if let Some(stdout) = server.stdout.take() {
            BufReader::new(stdout).read_line(&mut port)?;
        }
        let served = self.serve(Pid::from_child(&server), port.trim().parse()?, rounds);
        // Ends the server.
        drop(server.stdin.take());
        let ended = server.wait_with_output()?;
        served?;
        let said = String::from_utf8_lossy(&ended.stderr);
        let collected = said
            .split_once("Collected : ")
            .and_then(|(_, count)| count.split_whitespace().next()?.parse().ok());
        collected.ok_or_else(|| format!("no count from callgrind: {said}").into())
    }

    fn serve(&self, server: Pid, port: u16, rounds: u64) -> Result<()> {
        let connect = || -> Result<Vec<TcpStream>> {
            let one = |_| {
                let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
                client.set_nodelay(true)?;
                Ok(client)
            };
            (0..self.connections).map(one).collect()
        };
        if self.mode == "udp" {
            return self.serve_datagrams(server, port, rounds);
        }
        let mut clients = connect()?;
        for round in 0..rounds {
            // With one message at a time there is nothing to batch.
            let stops = self.connections > 1 || self.reconnects;
            if stops {
                stop(server)?;
            }
            if self.reconnects && round > 0 {
                clients = connect()?;
            }
            for client in &mut clients {
                client.write_all(&MESSAGE)?;
            }
            if stops {
                kill_process(server, Signal::CONT)?;
            }
            for client in &mut clients {
                let mut echo = [0; MESSAGE.len()];
                client.read_exact(&mut echo)?;
                if echo != MESSAGE {
                    return Err("wrong echo".into());
                }
            }
        }
        Ok(())
    }
}

impl HotPath {
    /// A datagram of each client waits when the server continues.
    fn serve_datagrams(&self, server: Pid, port: u16, rounds: u64) -> Result<()> {
        let client = |_| -> Result<UdpSocket> {
            let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            client.connect((Ipv4Addr::LOCALHOST, port))?;
            // A datagram that was lost would end the count.
            client.set_read_timeout(Some(Duration::from_secs(10)))?;
            Ok(client)
        };
        let clients = (0..self.connections).map(client);
        let clients = clients.collect::<Result<Vec<_>>>()?;
        for _ in 0..rounds {
            stop(server)?;
            for client in &clients {
                client.send(&MESSAGE)?;
            }
            kill_process(server, Signal::CONT)?;
            for client in &clients {
                let mut echo = [0; MESSAGE.len()];
                if client.recv(&mut echo)? != MESSAGE.len() || echo != MESSAGE {
                    return Err("wrong echo".into());
                }
            }
        }
        Ok(())
    }
}

/// Stops the server, and returns when it is stopped.
fn stop(server: Pid) -> Result<()> {
    kill_process(server, Signal::STOP)?;
    match waitpid(Some(server), WaitOptions::UNTRACED)? {
        Some((_, status)) if status.stopped() => Ok(()),
        ended => Err(format!("the server has ended: {ended:?}").into()),
    }
}
