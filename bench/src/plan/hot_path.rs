//! The hot paths whose instructions are counted, and their targets.

/// A hot path: what one round of clients does, and how many rounds are counted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct HotPath {
    /// Its name on the command line, in the budget and in tables.
    pub name: &'static str,
    /// What the server on this crate does.
    pub mode: &'static str,
    /// What the servers do with which it is compared.
    pub compared: &'static str,
    /// Clients, each with one message of 64 bytes in a round.
    pub connections: usize,
    /// Whether each message has a connection of its own.
    pub reconnects: bool,
    /// The server runs once with each of these numbers of rounds; the difference is the cost.
    pub rounds: [u64; 2],
    pub targets: PathTargets,
}

/// The targets of a hot path.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct PathTargets {
    /// The most instructions, as a ratio to tokio's without its zeroing.
    pub to_tokio: Option<f64>,
    /// The most locked instructions of an operation.
    pub locked: Option<f64>,
}

const NONE: PathTargets = PathTargets {
    to_tokio: None,
    locked: None,
};

/// All hot paths, in the order of the tables.
pub const HOT_PATHS: [HotPath; 8] = [
    HotPath {
        name: "echo-64",
        mode: "echo",
        compared: "echo",
        connections: 64,
        reconnects: false,
        rounds: [100, 600],
        targets: PathTargets {
            to_tokio: Some(1.45),
            locked: Some(12.0),
        },
    },
    HotPath {
        name: "echo-64-batches",
        mode: "batches",
        compared: "echo",
        connections: 64,
        reconnects: false,
        rounds: [100, 600],
        targets: PathTargets {
            to_tokio: Some(0.95),
            locked: Some(12.0),
        },
    },
    HotPath {
        name: "echo-1",
        mode: "echo",
        compared: "echo",
        connections: 1,
        reconnects: false,
        rounds: [1000, 9000],
        targets: NONE,
    },
    HotPath {
        name: "accept-echo-close",
        mode: "echo",
        compared: "echo",
        connections: 1,
        reconnects: true,
        rounds: [300, 1800],
        targets: NONE,
    },
    HotPath {
        name: "accept-64-at-once",
        mode: "echo",
        compared: "echo",
        connections: 64,
        reconnects: true,
        rounds: [10, 60],
        targets: PathTargets {
            to_tokio: Some(1.3),
            locked: None,
        },
    },
    HotPath {
        name: "stream-64",
        mode: "stream",
        // In tokio a stream is the plain echo.
        compared: "echo",
        connections: 64,
        reconnects: false,
        rounds: [100, 600],
        targets: NONE,
    },
    HotPath {
        name: "udp-64",
        mode: "udp",
        compared: "udp",
        connections: 64,
        reconnects: false,
        rounds: [100, 600],
        targets: NONE,
    },
    HotPath {
        name: "udp-64-batches",
        mode: "udp-batches",
        compared: "udp",
        connections: 64,
        reconnects: false,
        rounds: [100, 600],
        targets: NONE,
    },
];
