//! The load: closed loops with one operation in flight on each connection, and every echo
//! checked. One thread around one `epoll_wait`, so that it costs less than the servers.

mod connection;
mod engine;

use std::io::{BufRead, Write};
use std::time::Duration;

pub use connection::{Connection, Messages};
use engine::Engine;

use crate::Result;
use crate::plan::WORKLOADS;
use crate::process::{ProcStats, pin_to};

/// Runs a round for each line of stdin, which has its seconds, and prints a line of JSON for
/// each round. Ends with stdin.
pub fn run(workload: &str, port: &str, server: &str, core: &str) -> Result<()> {
    pin_to(core)?;
    let known = WORKLOADS.iter().find(|known| known.key == workload);
    let workload = known.ok_or(format!("unknown workload {workload}"))?;
    let server = ProcStats {
        id: server.parse()?,
    };
    let mut engine = Engine::new(workload.kind, port.parse()?)?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let seconds = Duration::try_from_secs_f64(line?.trim().parse()?)?;
        let sample = engine.round(seconds, server)?;
        let mut stdout = std::io::stdout().lock();
        serde_json::to_writer(&mut stdout, &sample)?;
        writeln!(stdout)?;
        stdout.flush()?;
    }
    Ok(())
}
