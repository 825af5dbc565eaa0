//! The workloads and their targets.

use super::Peer;

/// The kind of a workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Echoes of this many bytes on this many connections, one in flight on each.
    Echo { bytes: usize, connections: usize },
    /// The same by a task for each connection, which reads and writes a stream.
    Stream { bytes: usize, connections: usize },
    /// Echoes of datagrams of this many bytes by this many clients, one in flight from each.
    Udp { bytes: usize, clients: usize },
    /// One MiB to the server, which answers with a byte.
    Receive { connections: usize },
    /// A byte to the server, which answers with one MiB.
    Send { connections: usize },
    /// This many clients at once connect, have 64 B echoed and close.
    Churn { clients: usize },
    /// This many clients at once connect, and the server closes without reading.
    Accept { clients: usize },
    /// An echo of 64 B on one connection, between a pause and a resume.
    Pause,
    /// An echo of 64 B after all subscribers of a connection received it.
    Subscribers { connections: usize },
    /// One message of this many bytes to this many connections.
    FanOut { bytes: usize, connections: usize },
    /// Memory of idle connections.
    Idle { connections: usize },
    /// Memory of listening sockets.
    Listeners { count: usize },
}

impl Kind {
    /// Whether it measures memory instead of time.
    pub fn is_memory(self) -> bool {
        matches!(self, Kind::Idle { .. } | Kind::Listeners { .. })
    }

    /// Descriptors that a server needs at once, except for a few.
    pub fn descriptors(self) -> usize {
        match self {
            Kind::Echo { connections, .. }
            | Kind::Stream { connections, .. }
            | Kind::Receive { connections }
            | Kind::Send { connections }
            | Kind::Subscribers { connections }
            | Kind::FanOut { connections, .. }
            | Kind::Idle { connections } => connections,
            Kind::Udp { clients, .. } => clients,
            Kind::Churn { clients } | Kind::Accept { clients } => 2 * clients,
            Kind::Pause => 1,
            Kind::Listeners { count } => count,
        }
    }

    /// The name of one operation.
    pub fn unit(self) -> &'static str {
        match self {
            Kind::Echo { .. } | Kind::Stream { .. } | Kind::Udp { .. } => "echo",
            Kind::Receive { .. } | Kind::Send { .. } => "MiB",
            Kind::Churn { .. } | Kind::Idle { .. } => "connection",
            Kind::Accept { .. } => "accept",
            Kind::Pause => "pause, resume and echo",
            Kind::Subscribers { .. } => "echo heard by 8",
            Kind::FanOut { .. } => "fan-out",
            Kind::Listeners { .. } => "server socket",
        }
    }
}

/// A workload with its targets.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name on the command line and in files.
    pub key: &'static str,
    /// Its name in tables.
    pub name: &'static str,
    pub kind: Kind,
    pub targets: &'static [Target],
}

/// A target of this crate.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Target {
    /// With one arbiter or with two.
    pub of: Peer,
    pub measure: Measure,
    pub bound: Bound,
}

/// The measure of a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// CPU time of the server for an operation.
    Cpu,
    /// The 99th percentile of the duration of an operation.
    P99,
    /// Resident memory of each connection or socket.
    Memory,
}

/// The upper limit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// As a ratio to this peer, the median over the rounds.
    Times(f64, Peer),
    /// In bytes.
    Bytes(f64),
}

const fn cpu(times: f64, peer: Peer) -> Target {
    Target {
        of: Peer::ChromeSockets,
        measure: Measure::Cpu,
        bound: Bound::Times(times, peer),
    }
}

const fn bytes(most: f64) -> Target {
    Target {
        of: Peer::ChromeSockets,
        measure: Measure::Memory,
        bound: Bound::Bytes(most),
    }
}

const P99: Target = Target {
    of: Peer::ChromeSockets,
    measure: Measure::P99,
    bound: Bound::Times(1.05, Peer::Tokio),
};
/// Where a server does little besides its system calls.
const BULK: Target = cpu(1.05, Peer::Epoll);
/// Two arbiters compared with one.
const TWO: Target = Target {
    of: Peer::ChromeSockets2,
    measure: Measure::Cpu,
    bound: Bound::Times(1.1, Peer::ChromeSockets),
};
const BULK_NODE: Target = cpu(0.30, Peer::Node);

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

const fn echo(bytes: usize, connections: usize) -> Kind {
    Kind::Echo { bytes, connections }
}

const fn workload(
    key: &'static str,
    name: &'static str,
    kind: Kind,
    targets: &'static [Target],
) -> Workload {
    Workload {
        key,
        name,
        kind,
        targets,
    }
}

/// All workloads, in the order of the tables.
pub const WORKLOADS: [Workload; 17] = [
    workload(
        "echo-64-1",
        "echo 64 B × 1",
        echo(64, 1),
        &[cpu(1.02, Peer::Tokio), P99],
    ),
    workload(
        "echo-64-64",
        "echo 64 B × 64",
        echo(64, 64),
        &[cpu(0.96, Peer::Tokio), cpu(0.65, Peer::Node), P99, TWO],
    ),
    workload(
        "echo-64-1000",
        "echo 64 B × 1000",
        echo(64, 1000),
        &[cpu(0.91, Peer::Tokio), cpu(0.65, Peer::Node), P99, TWO],
    ),
    workload(
        "echo-64-10000",
        "echo 64 B × 10,000",
        echo(64, 10_000),
        &[cpu(0.92, Peer::Tokio), P99, TWO],
    ),
    workload(
        "stream",
        "stream, echo 64 B × 64",
        Kind::Stream {
            bytes: 64,
            connections: 64,
        },
        &[cpu(1.15, Peer::Tokio), P99],
    ),
    workload(
        "udp",
        "datagrams, echo 64 B × 64",
        Kind::Udp {
            bytes: 64,
            clients: 64,
        },
        &[cpu(1.00, Peer::Tokio), P99],
    ),
    workload(
        "echo-64k-16",
        "echo 64 KiB × 16",
        echo(64 * KIB, 16),
        &[BULK, BULK_NODE, P99, TWO],
    ),
    workload(
        "echo-1m-4",
        "echo 1 MiB × 4",
        echo(MIB, 4),
        &[BULK, BULK_NODE, P99],
    ),
    workload(
        "receive",
        "receive 1 MiB × 4",
        Kind::Receive { connections: 4 },
        &[BULK, BULK_NODE, P99],
    ),
    workload(
        "send",
        "send 1 MiB × 4",
        Kind::Send { connections: 4 },
        &[BULK, BULK_NODE, P99],
    ),
    workload(
        "churn",
        "accept, echo, close × 32",
        Kind::Churn { clients: 32 },
        &[cpu(0.98, Peer::Tokio), BULK_NODE, P99, TWO],
    ),
    workload(
        "accept",
        "accept only, paused × 32",
        Kind::Accept { clients: 32 },
        &[cpu(0.98, Peer::Tokio), P99],
    ),
    workload("pause", "pause, resume, echo × 1", Kind::Pause, &[]),
    workload(
        "subscribers",
        "8 subscribers, echo × 1",
        Kind::Subscribers { connections: 1 },
        &[P99],
    ),
    workload(
        "fan-out",
        "fan-out of 1 KiB × 1000",
        Kind::FanOut {
            bytes: KIB,
            connections: 1000,
        },
        &[P99],
    ),
    workload(
        "idle",
        "15,000 idle connections",
        Kind::Idle {
            connections: 15_000,
        },
        &[bytes(832.0)],
    ),
    workload(
        "listeners",
        "1000 server sockets",
        Kind::Listeners { count: 1000 },
        &[bytes(2048.0)],
    ),
];
