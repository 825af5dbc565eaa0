//! The load: closed loops, one operation in flight on each connection, every
//! echo checked. One thread around one `epoll_wait`, so that it costs less
//! than the servers do.

mod connection;
mod engine;

use std::io::{BufRead, Write};
use std::time::Duration;

pub use connection::{Connection, Talk};
use engine::Engine;

use crate::Result;
use crate::plan::WORKLOADS;
use crate::process::{Watched, pin_to};

/// A round for each line of stdin, which says how many seconds; a line of JSON
/// for each round. Ends with stdin.
pub fn run(workload: &str, port: &str, server: &str, core: &str) -> Result<()> {
    pin_to(core)?;
    let known = WORKLOADS.iter().find(|known| known.key == workload);
    let workload = known.ok_or(format!("no workload is called {workload}"))?;
    let server = Watched {
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
