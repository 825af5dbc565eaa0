//! The load: closed loops, one message in flight on each connection, every
//! echo checked.
#![expect(
    clippy::disallowed_types,
    reason = "a client is a peer, not the library"
)]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::process::Server;

/// The bytes at each end of a message that are compared: all of a small one,
/// and of a bulk one so few that checking costs nothing beside copying.
const CHECKED: usize = 64;
/// How many connections may be opened before the server has accepted them: a
/// part of its backlog.
const UNACCEPTED: usize = 1000;
/// The load's clients connect to 127.0.0.1 to 127.0.0.100 in turn. A client
/// that closes first keeps its port for a minute (TIME_WAIT), and one
/// destination would run out of the 28,000 ports in a second or two. Ending
/// the connection by a reset (SO_LINGER 0) would keep no port, but then the
/// server's last read is an error instead of an end, which nothing ordinary
/// is.
const DESTINATIONS: usize = 100;
/// An echo that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// What goes on in a round.
#[derive(Clone, Copy)]
pub enum Work {
    /// Echoes of this many bytes on that many connections.
    Echo { bytes: usize, connections: usize },
    /// As many clients at once connect, echo this many bytes and close.
    Churn { bytes: usize, clients: usize },
}

/// What a round has found.
pub struct Sample {
    /// CPU time of the server for one operation, in ns.
    pub cost: f64,
    /// Operations in a second.
    pub rate: f64,
    /// The part of the time in which the server ran.
    pub busy: f64,
}

/// A server and its load, whose connections stay open from round to round.
pub struct Load {
    server: Server,
    work: Work,
    clients: Vec<Client>,
}

impl Load {
    pub async fn new(server: Server, work: Work) -> Result<Self> {
        let clients = match work {
            Work::Echo { connections, .. } => connect_all(server.port, connections).await?,
            Work::Churn { .. } => Vec::new(),
        };
        Ok(Load {
            server,
            work,
            clients,
        })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Runs for a tenth of `seconds` to warm up, then measures for `seconds`.
    pub async fn round(&mut self, seconds: Duration) -> Result<Sample> {
        let tally = Arc::new(Tally::default());
        let tasks = self.start(&tally);
        sleep(seconds / 10).await;

        let (cpu, count, start) = (self.server.cpu_time()?, tally.count(), Instant::now());
        sleep(seconds).await;
        let cpu = self.server.cpu_time()? - cpu;
        let (count, time) = (tally.count() - count, start.elapsed());

        tally.stop.store(true, Relaxed);
        for task in tasks {
            let client = timeout(PATIENCE, task)
                .await
                .map_err(|_| "no echo came")???;
            self.clients.extend(client);
        }
        if count == 0 {
            return Err("not one operation was done".into());
        }
        Ok(Sample {
            cost: cpu as f64 / count as f64,
            rate: count as f64 / time.as_secs_f64(),
            busy: cpu as f64 / time.as_nanos() as f64,
        })
    }

    fn start(&mut self, tally: &Arc<Tally>) -> Vec<JoinHandle<Result<Option<Client>>>> {
        let port = self.server.port;
        match self.work {
            Work::Echo { bytes, .. } => self
                .clients
                .drain(..)
                .map(|client| tokio::spawn(echo(client, bytes, tally.clone())))
                .collect(),
            Work::Churn { bytes, clients } => (0..clients)
                .map(|first| tokio::spawn(churn(port, bytes, first, clients, tally.clone())))
                .collect(),
        }
    }
}

async fn echo(mut client: Client, bytes: usize, tally: Arc<Tally>) -> Result<Option<Client>> {
    let mut message = Message::new(bytes);
    while !tally.stop.load(Relaxed) {
        client.echo(&mut message).await?;
        tally.done.fetch_add(1, Relaxed);
    }
    Ok(Some(client))
}

async fn churn(
    port: u16,
    bytes: usize,
    first: usize,
    step: usize,
    tally: Arc<Tally>,
) -> Result<Option<Client>> {
    let mut message = Message::new(bytes);
    for number in (first..).step_by(step) {
        if tally.stop.load(Relaxed) {
            break;
        }
        let mut client = Client::connect(port, number).await?;
        client.echo(&mut message).await?;
        drop(client);
        tally.done.fetch_add(1, Relaxed);
    }
    Ok(None)
}

/// Opens connections. On return the server has accepted all: it accepts in
/// order, and the last one has been answered.
pub async fn connect_all(port: u16, count: usize) -> Result<Vec<Client>> {
    let mut message = Message::new(CHECKED);
    let mut clients = Vec::with_capacity(count);
    for number in 1..=count {
        let mut client = Client::connect(port, number).await?;
        if number % UNACCEPTED == 0 || number == count {
            client.echo(&mut message).await?;
        }
        clients.push(client);
    }
    Ok(clients)
}

/// One echo on each connection.
pub async fn echo_on_all(clients: &mut [Client]) -> Result<()> {
    let mut message = Message::new(CHECKED);
    for client in clients {
        timeout(PATIENCE, client.echo(&mut message)).await??;
    }
    Ok(())
}

/// What the connections of a round share.
#[derive(Default)]
struct Tally {
    done: AtomicU64,
    stop: AtomicBool,
}

impl Tally {
    fn count(&self) -> u64 {
        self.done.load(Relaxed)
    }
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    /// Marks its next message, so that another's, or its last, is no echo.
    mark: u32,
}

impl Client {
    async fn connect(port: u16, number: usize) -> Result<Self> {
        let host = u8::try_from(1 + number % DESTINATIONS)?;
        let stream = TcpStream::connect((Ipv4Addr::new(127, 0, 0, host), port)).await?;
        stream.set_nodelay(true)?;
        let mark = u32::try_from(number)?.wrapping_mul(0x9E37_79B9);
        Ok(Client { stream, mark })
    }

    async fn echo(&mut self, message: &mut Message) -> Result<()> {
        self.mark = self.mark.wrapping_add(1);
        message.mark(self.mark);
        self.stream.write_all(&message.sent).await?;
        self.stream.read_exact(&mut message.received).await?;
        message.check()
    }
}

/// What is sent, and what comes back.
struct Message {
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Message {
    fn new(bytes: usize) -> Self {
        Message {
            sent: (0..=u8::MAX).cycle().take(bytes).collect(),
            received: vec![0; bytes],
        }
    }

    fn mark(&mut self, mark: u32) {
        let mark = mark.to_be_bytes();
        if let Some(head) = self.sent.first_chunk_mut() {
            *head = mark;
        }
        if let Some(tail) = self.sent.last_chunk_mut() {
            *tail = mark;
        }
    }

    fn check(&self) -> Result<()> {
        let part = CHECKED.min(self.sent.len());
        let tail = self.sent.len() - part;
        if self.sent[..part] == self.received[..part] && self.sent[tail..] == self.received[tail..]
        {
            Ok(())
        } else {
            Err("the echo is not what was sent".into())
        }
    }
}
