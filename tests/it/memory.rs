//! Memory does not grow with a slow listener, a fast peer or many waiting connections.
//!
//! Each scenario runs in a child process, whose resident memory is only the app's: the peers run
//! in the parent. A test starts its own binary again with its own name and, in an environment
//! variable, the role of the child. Parent and child exchange lines.
#![expect(clippy::panic, reason = "tests fail by panics")]

mod connections;
mod datagrams;
mod handshakes;
mod pauses;
mod slow_listener;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{self, ClientSocket, ReceiveInfo};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{Answer, App, Error, Registry, ServerSocketId};
use futures::FutureExt;
use support::{LIMIT, within};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The environment variable with the role of a child.
const ROLE: &str = "CHROME_SOCKETS_MEMORY_ROLE";

/// Prefix of lines for the other process.
const MARK: &str = "memory: ";

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The bytes from `start` on of a peer's data, without equal neighbours or repeated chunks.
fn pattern(start: usize, length: usize) -> Vec<u8> {
    let bytes = (start..start + length).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8);
    bytes.collect()
}

// The parent: starts a child, plays its peers, and checks its result.

/// The child process whose memory is measured.
struct MeasuredProcess {
    role: String,
    child: Child,
    lines: mpsc::Receiver<String>,
    received: Vec<String>,
    at: SocketAddr,
}

impl MeasuredProcess {
    /// Starts a child with the role `role` of the test `name` (its path below this module), and
    /// waits until it listens.
    fn start(name: &str, role: &str) -> Self {
        let program = std::env::current_exe().expect("the path of the test binary");
        let mut child = Command::new(program)
            .args([&format!("memory::{name}"), "--exact", "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts again");
        let (sender, lines) = mpsc::channel();
        let pipes: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("the stream is piped")),
            Box::new(child.stderr.take().expect("the stream is piped")),
        ];
        for pipe in pipes {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        let mut process = MeasuredProcess {
            role: role.to_owned(),
            child,
            lines,
            received: Vec::new(),
            at: SocketAddr::from(([0; 4], 0)),
        };
        let address = process.wait_for("listening on ");
        process.at = address.parse().expect("an address");
        process
    }

    fn send_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("the stream is piped");
        if writeln!(stdin, "{MARK}{line}").is_err() {
            panic!("the child is gone:\n{}", self.all_heard());
        }
    }

    /// Waits for a line with this prefix, and returns the rest of it.
    fn wait_for(&mut self, start: &str) -> String {
        // The child has its own limits, and reports what did not happen.
        let until = Instant::now() + LIMIT + SLEEP;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.received.push(line.clone());
                    // The test harness may have begun the line.
                    let output = line.split_once(MARK).map(|(_, output)| output);
                    if let Some(rest) = output.and_then(|output| output.strip_prefix(start)) {
                        return rest.to_owned();
                    }
                }
                Err(error) => panic!("no {start:?} ({error}) from:\n{}", self.all_heard()),
            }
        }
    }

    /// Waits for the result of the child.
    fn finish(mut self) {
        self.send_line("finish");
        drop(self.child.stdin.take());
        let grown = self.wait_for("done");
        let status = self.child.wait().expect("the process is a child");
        assert!(status.success(), "{status}:\n{}", self.all_heard());
        println!("{}: grown by{grown}", self.role);
    }

    fn all_heard(&mut self) -> String {
        self.received.extend(self.lines.try_iter());
        self.received.join("\n")
    }
}

impl Drop for MeasuredProcess {
    fn drop(&mut self) {
        // The child has ended, unless this test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A peer of the child, without Nagle's algorithm.
fn connect(at: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect_timeout(&at, LIMIT).expect("connect");
    peer.set_nodelay(true).expect("the option is set");
    peer.set_read_timeout(Some(LIMIT))
        .expect("the option is set");
    peer
}

/// Writes as fast as possible until the end of the connection, or `most` times; returns the
/// number of writes.
fn write_fast(peer: &TcpStream, piece: &[u8], most: usize) -> usize {
    let mut writes = 0;
    while writes < most && (&mut &*peer).write_all(piece).is_ok() {
        writes += 1;
    }
    writes
}

// The child: the app, and its memory.

/// The role of a child process.
fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Resident memory in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux reports it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: usize = kib.and_then(|kib| kib.parse().ok()).expect("a number");
    kib * KIB
}

/// The app of a child, and lines from its parent.
struct ChildApp {
    app: App,
    server: ServerSocketId,
    lines: UnboundedReceiver<String>,
}

impl ChildApp {
    async fn start(registry: Registry) -> Self {
        let app = App::new("measured", &registry.start());
        let server = &app.tcp_server;
        let created = server.create(Default::default()).await;
        let id = created.expect("create").socket_id;
        let (sender, lines) = unbounded_channel();
        thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix(MARK) {
                    let _ = sender.send(line.to_owned());
                }
            }
        });
        ChildApp {
            server: id,
            app,
            lines,
        }
    }

    async fn listen(&self, backlog: i32) {
        let server = &self.app.tcp_server;
        let listening = server.listen(self.server, "127.0.0.1", 0, Some(backlog));
        listening.await.expect("listen");
        let info = server.get_info(self.server).await.expect("it exists");
        let address = info.local_addr().expect("it listens");
        self.send_line(&format!("listening on {address}"));
    }

    fn send_line(&self, line: &str) {
        println!("{MARK}{line}");
    }

    async fn wait_for(&mut self, line: &str) {
        let received = within("a line of the parent", self.lines.recv()).await;
        assert_eq!(received.as_deref(), Some(line));
    }

    async fn add_accept_listener(&self, listener: impl Into<Recipient<AcceptInfo>>) {
        let adding = &self.app.tcp_server.on_accept;
        adding.add_listener(listener.into()).await.expect("added");
    }

    async fn add_receive_listener(&self, listener: impl Into<Recipient<ReceiveInfo>>) {
        let adding = &self.app.tcp.on_receive;
        adding.add_listener(listener.into()).await.expect("added");
    }

    async fn pause(&self, paused: bool) {
        let answer = self.app.tcp_server.set_paused(self.server, paused).await;
        answer.expect("alive");
    }

    /// Waits until this many clients have been resumed.
    async fn all_resumed(&self, clients: usize) {
        let sockets = self.app.tcp.get_sockets().await.expect("alive");
        assert_eq!(sockets.len(), clients);
        assert!(sockets.iter().all(|socket| !socket.paused));
    }

    /// Reports success.
    async fn report_success(mut self, grown: &str) {
        self.wait_for("finish").await;
        self.send_line(&format!("done {grown}"));
    }
}

/// The largest growth beyond `before` until `over`. Memory can only be polled.
async fn growth_until(what: &str, before: usize, mut over: impl FnMut() -> bool) -> usize {
    let mut ticks = actix_rt::time::interval(Duration::from_millis(5));
    let mut peak = before;
    within(what, async {
        while !over() {
            ticks.tick().await;
            peak = peak.max(resident());
        }
    })
    .await;
    peak - before
}

fn run_child(role: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(role);
}

fn format_kib(bytes: usize) -> String {
    format!("{} KiB", bytes / KIB)
}

/// How long the slow listener sleeps in its handler.
const SLEEP: Duration = Duration::from_secs(10);
