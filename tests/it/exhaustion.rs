//! Servers that are really out of something: descriptors, memory, room in the
//! backlog; or that have more clients, of a worse kind, than they should.
//!
//! Each is a process of its own, watched from here: it stays up, its memory is
//! bounded, an honest client is served within a second throughout, and in the
//! end it has the descriptors that it began with.
#![expect(clippy::panic, reason = "this is how a test fails")]

mod backlog;
mod child_processes;
mod memory;
mod policies;
mod resets;
mod silent_clients;
mod slow_clients;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setpriority_process};

use crate::examples::{dial, echo_line};
use support::LIMIT;
use support::process::{Example, Program, binary};

use child_processes::ServerProcess;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// How long an honest client may wait, on a machine that has time for it.
const SECOND: Duration = Duration::from_secs(1);

/// How many more turns of the machine than a bare echo a server's takes: it is
/// another process, it accepts first, and what keeps the machine busy is random.
const TURNS: u32 = 4;

/// What a server may grow by for nobody in particular: buffers and tables that
/// it keeps for the next.
const SLACK: usize = 16 * MIB;

/// One storm at a time: each is to have the machine that it was measured on.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program that may have so many descriptors, or as many as this machine
/// allows.
fn with_descriptors(most: Option<u64>) -> Command {
    let most = most.or(getrlimit(Resource::Nofile).maximum);
    let most = most.map_or("unlimited".to_owned(), |most| most.to_string());
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &most]);
    command
}

/// `echo_server`, with these arguments.
fn echo_server(args: &[&str]) -> Example {
    let mut command = with_descriptors(None);
    command
        .arg(binary("echo_server"))
        .arg("127.0.0.1:0")
        .args(args);
    Example::listening(Program::start(&mut command))
}

/// This thread, and those that it starts, come after all others: on a busy
/// machine, too, the server is to be kept from its work by what the clients
/// do, and not by the work that they have with it.
fn lower_priority() {
    setpriority_process(None, 19).expect("that is always allowed");
}

/// Looks until it is so.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < until, "{what} did not come in time");
        // Looking costs the server time, too.
        thread::sleep(Duration::from_millis(1));
    }
}

/// What a process had before anything happened to it.
struct Baseline {
    process: u32,
    descriptors: usize,
    resident: usize,
}

impl Baseline {
    /// A server that has served somebody, and nobody is left.
    fn after_first_client(program: &Program, at: SocketAddr) -> Self {
        let process = program.id();
        let before = descriptors(process);
        echo_line(&dial(at), "the first");
        eventually("the end of the first", || descriptors(process) == before);
        Baseline {
            process,
            descriptors: before,
            resident: status(process, "VmRSS:"),
        }
    }

    /// How many descriptors it has beyond those of the beginning.
    fn extra_descriptors(&self) -> usize {
        descriptors(self.process).saturating_sub(self.descriptors)
    }

    /// The most that was ever resident must be below this growth.
    fn assert_growth(&self, most: usize, what: &str) {
        let grown = status(self.process, "VmHWM:").saturating_sub(self.resident);
        println!("{what}: grown by {} KiB", grown / KIB);
        assert!(grown <= most, "{what}: grown by {} KiB", grown / KIB);
    }

    /// Nobody is left, and nothing of them.
    fn assert_descriptors_released(&self) {
        eventually("the last of the descriptors", || {
            descriptors(self.process) == self.descriptors
        });
    }
}

/// How many a process has open.
fn descriptors(process: u32) -> usize {
    let open = std::fs::read_dir(format!("/proc/{process}/fd"));
    open.expect("the server has ended").count()
}

/// A number of `/proc/PID/status`, in bytes.
fn status(process: u32, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the server has ended");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: usize = kib.and_then(|kib| kib.parse().ok()).expect("a number");
    kib * KIB
}

/// A client that comes every few milliseconds, on a thread of its own, for an
/// echo on the connection that it has, and one on a new one.
struct HonestClient {
    stop: Sender<()>,
    thread: JoinHandle<RoundTrips>,
}

struct RoundTrips {
    count: usize,
    longest: Duration,
    /// The longest that a bare thread took for its echo meanwhile: so long the
    /// machine lets everybody wait.
    longest_bare: Duration,
}

/// A connection to a thread of this process that echoes.
fn bare_echo() -> TcpStream {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("it listens");
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("it comes");
        let mut bytes = [0; 64];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            client.write_all(&bytes[..count]).expect("it reads");
        }
    });
    dial(at)
}

impl HonestClient {
    fn new(at: SocketAddr) -> Self {
        Self::start(at, true)
    }

    /// One that has no new connections: there is no descriptor for them.
    fn on_one_connection(at: SocketAddr) -> Self {
        Self::start(at, false)
    }

    fn start(at: SocketAddr, makes_new: bool) -> Self {
        const PACE: Duration = Duration::from_millis(20);
        let old = dial(at);
        echo_line(&old, "before it all");
        let bare = bare_echo();
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            let (mut longest, mut longest_bare) = (Duration::ZERO, Duration::ZERO);
            for round in 0.. {
                let began = Instant::now();
                echo_line(&bare, "for comparison");
                longest_bare = longest_bare.max(began.elapsed());
                let began = Instant::now();
                echo_line(&old, "on the old connection");
                longest = longest.max(began.elapsed());
                if makes_new {
                    let began = Instant::now();
                    echo_line(&dial(at), "on a new one");
                    longest = longest.max(began.elapsed());
                }
                if stopped.recv_timeout(PACE) != Err(RecvTimeoutError::Timeout) {
                    return RoundTrips {
                        count: round + 1,
                        longest,
                        longest_bare,
                    };
                }
            }
            unreachable!("there always is another round")
        });
        HonestClient { stop, thread }
    }

    fn assert_prompt(self, amid: &str) {
        drop(self.stop);
        let RoundTrips {
            count,
            longest,
            longest_bare,
        } = self.thread.join().expect("it is served");
        let most = SECOND + longest_bare * TURNS;
        println!("{amid}: the longest of {count} times took {longest:?}, of {most:?}");
        assert!(
            longest <= most,
            "{amid}: once it took {longest:?} of {most:?}"
        );
    }
}

/// A client with the smallest buffers that its machine gives it: it is slow from
/// the first bytes on, and costs the kernel little.
fn small_buffer_client(at: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a descriptor");
    socket.set_recv_buffer_size(1).expect("an option");
    socket.set_send_buffer_size(1).expect("an option");
    socket.connect(&at.into()).expect("it listens");
    socket.set_nonblocking(true).expect("a mode");
    socket.into()
}

/// What has come of a client that has said one byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ClientOutcome {
    Served,
    Closed,
    Waiting,
}

/// What comes of it before its time-out; at once, if it is non-blocking.
fn outcome(mut client: &TcpStream) -> ClientOutcome {
    match client.read(&mut [0]) {
        Ok(1) => ClientOutcome::Served,
        Ok(_) => ClientOutcome::Closed,
        Err(error) => match error.kind() {
            ErrorKind::ConnectionReset => ClientOutcome::Closed,
            ErrorKind::WouldBlock => ClientOutcome::Waiting,
            _ => panic!("neither served nor closed: {error}"),
        },
    }
}

/// What has come of it by now.
fn outcome_now(client: &TcpStream) -> ClientOutcome {
    client.set_nonblocking(true).expect("a mode");
    let outcome = outcome(client);
    client.set_nonblocking(false).expect("a mode");
    outcome
}

/// One that has said its byte.
fn send_probe(at: SocketAddr) -> TcpStream {
    let mut client = dial(at);
    client.write_all(b"?").expect("it is connected");
    client
}
