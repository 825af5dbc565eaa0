//! The servers that are compared.

use serde::{Deserialize, Serialize};

use super::Kind;

/// A server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// This crate.
    ChromeSockets,
    /// The same with two arbiters, on the same one core.
    #[serde(rename = "chrome-sockets-2")]
    ChromeSockets2,
    /// The same with one arbiter, and a listener that receives the events of a turn at once.
    ChromeSocketsBatches,
    /// A plain current-thread runtime with a task per connection: the reference of all ratios.
    Tokio,
    /// actix-server with one worker.
    ActixServer,
    /// An actor per connection: `StreamHandler` and `FramedWrite`.
    ActixActors,
    /// Node's `net`.
    Node,
    /// A loop around `epoll_wait`, with nothing in between: the lower bound.
    Epoll,
}

impl Peer {
    pub const ALL: [Peer; 8] = [
        Peer::ChromeSockets,
        Peer::ChromeSockets2,
        Peer::ChromeSocketsBatches,
        Peer::Tokio,
        Peer::ActixServer,
        Peer::ActixActors,
        Peer::Node,
        Peer::Epoll,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Peer::ChromeSockets => "chrome-sockets",
            Peer::ChromeSockets2 => "chrome-sockets-2",
            Peer::ChromeSocketsBatches => "chrome-sockets-batches",
            Peer::Tokio => "tokio",
            Peer::ActixServer => "actix-server",
            Peer::ActixActors => "actix-actors",
            Peer::Node => "node",
            Peer::Epoll => "epoll",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }

    /// Why it does not take part in a workload; `None` if it does.
    pub fn left_out(self, kind: Kind) -> Option<&'static str> {
        use Peer::*;
        match (kind, self) {
            (
                Kind::Echo {
                    connections: 16.., ..
                }
                | Kind::Churn { .. },
                ChromeSockets2,
            ) => None,
            (
                Kind::Echo {
                    bytes: 64,
                    connections: 64..,
                },
                ChromeSocketsBatches,
            ) => match Mode::batches() {
                Some(_) => None,
                None => Some("not in this version"),
            },
            (Kind::Udp { .. }, ChromeSockets | ChromeSocketsBatches | Tokio | Epoll) => None,
            (_, ChromeSocketsBatches) => Some("batches pay where a turn has many events"),
            (Kind::Udp { .. }, _) => Some("has no server of datagrams here"),
            (Kind::Stream { .. }, ChromeSockets | Tokio) => None,
            (Kind::Stream { .. }, _) => Some("no other than in the plain echo"),
            (_, ChromeSockets2) => Some("nothing to divide between two arbiters here"),
            (Kind::Pause, Tokio | ActixServer | ActixActors) => {
                Some("has no pause: it pauses by not reading")
            }
            (Kind::Subscribers { .. }, Epoll) => Some("has no subscribers"),
            (Kind::Subscribers { .. } | Kind::FanOut { .. }, ActixServer) => {
                Some("would be the same broadcast channel as tokio's")
            }
            _ => None,
        }
    }
}

/// What a server does with its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Echoes, with this many listening sockets.
    Echo { listeners: usize },
    /// Echoes; a message has all that a turn received.
    Batches,
    /// Echoes by a task for each connection, on a stream.
    Stream,
    /// An echo of datagrams.
    Udp,
    /// The same; a message has all that a turn received.
    UdpBatches,
    /// Answers each MiB with one byte.
    Receive,
    /// Answers each byte with one MiB.
    Send,
    /// Closes accepted connections without reading.
    Accept,
    /// Pauses and resumes the connection before each echo.
    Pause,
    /// Passes data to each of [`SUBSCRIBERS`](Self::SUBSCRIBERS); the last one echoes.
    Subscribers,
    /// Sends received data to all connections.
    FanOut,
}

impl Mode {
    /// Subscribers of one connection.
    pub const SUBSCRIBERS: usize = 8;

    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Echo { .. } | Kind::Churn { .. } | Kind::Idle { .. } => {
                Mode::Echo { listeners: 1 }
            }
            Kind::Listeners { count } => Mode::Echo { listeners: count },
            Kind::Stream { .. } => Mode::Stream,
            Kind::Udp { .. } => Mode::Udp,
            Kind::Receive { .. } => Mode::Receive,
            Kind::Send { .. } => Mode::Send,
            Kind::Accept { .. } => Mode::Accept,
            Kind::Pause => Mode::Pause,
            Kind::Subscribers { .. } => Mode::Subscribers,
            Kind::FanOut { .. } => Mode::FanOut,
        }
    }

    pub fn name(self) -> String {
        match self {
            Mode::Echo { listeners: 1 } => "echo".to_owned(),
            Mode::Echo { listeners } => format!("echo:{listeners}"),
            Mode::Batches => "batches".to_owned(),
            Mode::Stream => "stream".to_owned(),
            Mode::Udp => "udp".to_owned(),
            Mode::UdpBatches => "udp-batches".to_owned(),
            Mode::Receive => "receive".to_owned(),
            Mode::Send => "send".to_owned(),
            Mode::Accept => "accept".to_owned(),
            Mode::Pause => "pause".to_owned(),
            Mode::Subscribers => "subscribers".to_owned(),
            Mode::FanOut => "fan-out".to_owned(),
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "echo" => Mode::Echo { listeners: 1 },
            "batches" => Mode::Batches,
            "stream" => Mode::Stream,
            "udp" => Mode::Udp,
            "udp-batches" => Mode::UdpBatches,
            "receive" => Mode::Receive,
            "send" => Mode::Send,
            "accept" => Mode::Accept,
            "pause" => Mode::Pause,
            "subscribers" => Mode::Subscribers,
            "fan-out" => Mode::FanOut,
            _ => Mode::Echo {
                listeners: name.strip_prefix("echo:")?.parse().ok()?,
            },
        })
    }

    /// The echo whose listener receives the events of a turn at once.
    pub fn batches() -> Option<Self> {
        Self::named("batches")
    }

    /// Number of listening sockets.
    pub fn listeners(self) -> usize {
        match self {
            Mode::Echo { listeners } => listeners,
            _ => 1,
        }
    }
}
