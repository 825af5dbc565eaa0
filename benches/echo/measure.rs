//! What is measured, and in which order.

use std::time::Duration;

use crate::load::{Load, Sample, Work, connect_all, echo_on_all};
use crate::process::{Cores, Server, raise_descriptor_limit};
use crate::report::{Memory, Pair, Report, Timing};
use crate::servers::Kind;
use crate::{Options, Result};

/// How many connections are idle at once, where the descriptors allow it.
const IDLE: usize = 10_000;
/// The most memory that one of them may take: the smallest buffer that a
/// server with a buffer for each would have.
const IDLE_TARGET: u64 = 4096;
const IDLE_NAME: &str = "idle connection";

/// A workload, and the most that it may cost in times of plain tokio's.
struct Workload {
    name: &'static str,
    work: Work,
    target: Option<f64>,
}

const fn echo(connections: usize, bytes: usize) -> Work {
    Work::Echo { bytes, connections }
}

const WARM_UP: Work = Work::Churn {
    bytes: 64,
    clients: 32,
};

const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "64 B on 1 connection",
        work: echo(1, 64),
        target: None,
    },
    Workload {
        name: "64 B on 64",
        work: echo(64, 64),
        target: Some(1.05),
    },
    Workload {
        name: "64 B on 1000",
        work: echo(1000, 64),
        target: Some(1.0),
    },
    Workload {
        name: "64 KiB on 16",
        work: echo(16, 64 * 1024),
        target: Some(0.7),
    },
    Workload {
        name: "accept, 64 B, close; 32 at once",
        work: WARM_UP,
        target: None,
    },
];

/// Everything whose name has `options.only` in it.
pub async fn all(options: &Options, cores: Option<&Cores>) -> Result<Report> {
    let connections = raise_descriptor_limit()?;
    let mut report = Report {
        pinned: cores.is_some(),
        ..Report::default()
    };
    for workload in &WORKLOADS {
        if workload.name.contains(&options.only) {
            report.timings.push(timing(workload, options, cores).await?);
        }
    }
    if IDLE_NAME.contains(&options.only) {
        report.memory = memory(IDLE.min(connections), cores).await?;
    }
    if report.timings.is_empty() && report.memory.is_empty() {
        return Err(format!("nothing is called {:?}", options.only).into());
    }
    Ok(report)
}

async fn timing(workload: &Workload, options: &Options, cores: Option<&Cores>) -> Result<Timing> {
    let mut tokio = Load::new(Server::start(Kind::Tokio, cores)?, workload.work).await?;
    let mut ours = Load::new(Server::start(Kind::ChromeSockets, cores)?, workload.work).await?;
    let mut pairs = Vec::new();
    for round in 1..=options.rounds {
        // Who comes first changes, so that a machine which gets slower or
        // faster meanwhile favours neither.
        let pair = if round % 2 == 0 {
            let tokio = tokio.round(options.seconds).await?;
            let ours = ours.round(options.seconds).await?;
            Pair { tokio, ours }
        } else {
            let ours = ours.round(options.seconds).await?;
            let tokio = tokio.round(options.seconds).await?;
            Pair { tokio, ours }
        };
        eprintln!(
            "{}: round {round} of {}: {}; {}",
            workload.name,
            options.rounds,
            progress(Kind::Tokio, &pair.tokio),
            progress(Kind::ChromeSockets, &pair.ours),
        );
        pairs.push(pair);
    }
    Ok(Timing {
        name: workload.name,
        target: workload.target,
        pairs,
    })
}

/// A server that is not nearly always busy waits for a load that is too slow,
/// or shares its core with a stranger.
fn progress(kind: Kind, sample: &Sample) -> String {
    let busy = sample.busy * 100.0;
    format!("{} {:.0} ns, {busy:.0} % busy", kind.name(), sample.cost)
}

/// Each kind of server in turn, and each in a new process, whose memory is not
/// yet full of what other work has left.
async fn memory(count: usize, cores: Option<&Cores>) -> Result<Vec<Memory>> {
    let tokio = idle(Kind::Tokio, count, cores).await?;
    let ours = idle(Kind::ChromeSockets, count, cores).await?;
    let row = |name, of: fn(&Idle) -> u64| Memory {
        name,
        connections: count,
        tokio: of(&tokio),
        ours: of(&ours),
        target: IDLE_TARGET,
    };
    Ok(vec![
        row("before its first byte", |idle| idle.new),
        row("after an echo of 64 B", |idle| idle.used),
    ])
}

/// Bytes for a connection.
struct Idle {
    new: u64,
    used: u64,
}

async fn idle(kind: Kind, count: usize, cores: Option<&Cores>) -> Result<Idle> {
    eprintln!("{IDLE_NAME}: {count} of {}", kind.name());
    let mut load = Load::new(Server::start(kind, cores)?, WARM_UP).await?;
    load.round(Duration::from_millis(100)).await?;
    let server = load.server();
    let before = server.resident()?;
    let each = |now: u64| now.saturating_sub(before) / count as u64;
    let mut clients = connect_all(server.port, count).await?;
    let new = each(server.resident()?);
    echo_on_all(&mut clients).await?;
    let used = each(server.resident()?);
    Ok(Idle { new, used })
}
