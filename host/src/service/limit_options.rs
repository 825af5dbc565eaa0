//! The flags for the limits on clients. Each help text ends with the range of its value.

use std::time::Duration;

use clap::{Args, value_parser};

use crate::limits::Limits;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const DEFAULT: Limits = Limits::DEFAULT;

/// The limits on clients.
#[derive(Args, Clone, Copy, PartialEq, Eq, Debug)]
#[command(next_help_heading = "Limits")]
pub struct LimitOptions {
    /// The most connections of the gateway, including those that are not clients yet. One address
    /// can use three quarters of them, and one page a quarter. 1 to 65536.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT.connections)]
    #[arg(value_parser = Range(1, 65_536))]
    pub max_connections: usize,

    /// The most clients: connections that are an app. One address can use three quarters of them,
    /// and one page a quarter. Not more than --max-connections. 1 to 65536.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT.clients)]
    #[arg(value_parser = Range(1, 65_536))]
    pub max_clients: usize,

    /// The largest frame of the protocol in KiB. One tcp.send carries half of it. 256 to 16384.
    #[arg(long, value_name = "KIB", default_value_t = DEFAULT.frame / KIB)]
    #[arg(value_parser = Range(256, 16_384))]
    pub max_frame: usize,

    /// The unacknowledged frames beyond which messages collect into full frames. 2 to 1024.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT.frames)]
    #[arg(value_parser = value_parser!(u64).range(2..=1024))]
    pub frames_in_flight: u64,

    /// The received data that one client may leave unacknowledged, in KiB. One socket can use a
    /// quarter of it. 256 to 1048576.
    #[arg(long, value_name = "KIB", default_value_t = DEFAULT.window / KIB)]
    #[arg(value_parser = Range(256, 1_048_576))]
    pub window: usize,

    /// The send data that one client may queue, in MiB. 1 to 65536.
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT.write_quota / MIB)]
    #[arg(value_parser = Range(1, 65_536))]
    pub write_quota: usize,

    /// The send data that all clients together may queue, in MiB. Each client can always queue
    /// 1 MiB. 0 to 1048576.
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT.send_budget / MIB)]
    #[arg(value_parser = Range(0, 1_048_576))]
    pub send_budget: usize,

    /// The memory that all clients may use beyond their own shares, in MiB: incomplete frames,
    /// unread messages, and sockets with their names. 1 to 1048576.
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT.memory / MIB)]
    #[arg(value_parser = Range(1, 1_048_576))]
    pub shared_memory: usize,

    /// The calls of one client that may be unanswered, without sends. 16 to 1048576.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT.calls)]
    #[arg(value_parser = Range(16, 1_048_576))]
    pub max_calls: usize,

    /// The sockets of one client in each namespace. 1 to 1048576.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT.sockets)]
    #[arg(value_parser = Range(1, 1_048_576))]
    pub max_sockets: usize,

    /// How long a request and the first frame of a client may take, in seconds. 1 to 600.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT.handshake_timeout.as_secs())]
    #[arg(value_parser = value_parser!(u64).range(1..=600))]
    pub handshake_timeout: u64,

    /// How long a client may send nothing, and may take to read one frame, in seconds. The host
    /// sends a ping every third of it. 3 to 86400.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT.idle_timeout.as_secs())]
    #[arg(value_parser = value_parser!(u64).range(3..=86_400))]
    pub idle_timeout: u64,
}

impl LimitOptions {
    /// The limits in bytes.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            clients: self.max_clients,
            frame: self.max_frame * KIB,
            frames: self.frames_in_flight,
            window: self.window * KIB,
            write_quota: self.write_quota * MIB,
            send_budget: self.send_budget * MIB,
            memory: self.shared_memory * MIB,
            calls: self.max_calls,
            sockets: self.max_sockets,
            handshake_timeout: Duration::from_secs(self.handshake_timeout),
            idle_timeout: Duration::from_secs(self.idle_timeout),
        }
    }
}

/// The least and the greatest value of a flag. Clap has ranges for integers of fixed size only.
#[derive(Clone, Copy)]
struct Range(u64, u64);

impl clap::builder::TypedValueParser for Range {
    type Value = usize;

    fn parse_ref(
        &self,
        command: &clap::Command,
        flag: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<usize, clap::Error> {
        let parser = value_parser!(u64).range(self.0..=self.1);
        let number = parser.parse_ref(command, flag, value)?;
        // Only a machine with a small address space has numbers that do not fit.
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    }
}
