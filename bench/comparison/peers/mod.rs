//! The servers, each in a process of its own.
#![expect(
    clippy::disallowed_types,
    reason = "these servers are what the library is compared with"
)]

mod actix_actors;
mod actix_server;
mod chrome_sockets;
mod epoll;
mod node;
mod tokio_tasks;
mod udp;

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;

use bytes::Bytes;

use crate::Result;
use crate::plan::{Mode, Peer};
use crate::process::{pin_to, raise_descriptor_limit};

/// All of 127.0.0.0/8, for a load that needs several addresses.
const ADDRESS: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// Enough for every connection that the load opens without waiting.
const BACKLOG: u16 = 4096;
const MIB: usize = 1024 * 1024;
/// The answer to a MiB.
const RECEIVED: &[u8] = b".";

/// Data of bulk sends.
static PAYLOAD: LazyLock<Bytes> = LazyLock::new(|| (0..=u8::MAX).cycle().take(MIB).collect());

/// Serves until stdin ends; prints the (first) port in one line.
pub fn run(peer: &str, core: &str, mode: &str) -> Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let peer = Peer::named(peer).ok_or(format!("no server is called {peer}"))?;
    let mode = Mode::named(mode).ok_or(format!("no server does {mode}"))?;
    pin_to(core)?;
    raise_descriptor_limit()?;
    if peer == Peer::Node {
        return node::run(mode);
    }
    std::thread::spawn(|| {
        // Nothing is written to it: this returns when the parent has ended.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    match mode {
        Mode::Udp => return run_udp(peer, peer == Peer::ChromeSocketsBatches),
        Mode::UdpBatches => return run_udp(peer, true),
        _ => {}
    }
    match peer {
        Peer::ChromeSockets => chrome_sockets::run(mode, 1),
        Peer::ChromeSockets2 => chrome_sockets::run(mode, 2),
        Peer::ChromeSocketsBatches => {
            chrome_sockets::run(Mode::batches().ok_or_else(|| not_compared(mode))?, 1)
        }
        Peer::Tokio => tokio_tasks::run(mode),
        Peer::ActixServer => actix_server::run(mode),
        Peer::ActixActors => actix_actors::run(mode),
        Peer::Epoll => epoll::run(mode),
        Peer::Node => Ok(()),
    }
}

fn run_udp(peer: Peer, in_batches: bool) -> Result<()> {
    match peer {
        Peer::ChromeSockets | Peer::ChromeSocketsBatches => {
            actix::System::new().block_on(udp::chrome_sockets(in_batches))
        }
        Peer::Tokio => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build()?.block_on(udp::tokio())
        }
        Peer::Epoll => udp::epoll(),
        _ => Err(not_compared(Mode::Udp)),
    }
}

/// Non-blocking listening sockets, for all servers but the two that make their own.
fn listen(count: usize) -> Result<Vec<TcpListener>> {
    let one = || -> Result<TcpListener> {
        let listener = TcpListener::bind((ADDRESS, 0))?;
        // Called again for a longer backlog.
        rustix::net::listen(&listener, BACKLOG.into())?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listeners = (0..count).map(|_| one()).collect::<Result<Vec<_>>>()?;
    if let Some(first) = listeners.first() {
        println!("{}", first.local_addr()?.port());
    }
    Ok(listeners)
}

/// Counts whole MiBs that were not answered.
#[derive(Default)]
struct MibCounter(usize);

impl MibCounter {
    /// Adds this many bytes.
    fn add(&mut self, bytes: usize) -> usize {
        self.0 += bytes;
        let whole = self.0 / MIB;
        self.0 %= MIB;
        whole
    }
}

fn not_compared(mode: Mode) -> crate::Failure {
    format!("this server has no part in {}", mode.name()).into()
}
