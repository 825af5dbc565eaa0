//! Servers that run out of descriptors, memory or backlog, or that have many hostile clients.
//!
//! Each server is a process of its own. It must stay up with bounded memory, serve an honest
//! client within a second throughout, and in the end have as many descriptors as at the start.
#![expect(clippy::panic, reason = "tests fail by panics")]

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

use child_processes::ServerProcess;
use rustix::process::{Resource, getrlimit, setpriority_process};
use support::LIMIT;
use support::process::{Example, Program, binary};

use crate::examples::{dial, echo_line};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Longest time that an honest client may wait, on an idle machine.
const PROMPT: Duration = Duration::from_secs(1);

/// How many scheduling delays of a bare echo a server's echo may add: it is another process, it
/// accepts first, and the load of the machine is random.
const SCHEDULING_DELAYS: u32 = 4;

/// Growth that is not due to a client: buffers and tables that the server keeps for reuse.
const SLACK: usize = 16 * MIB;

/// The descriptors of an arbiter's poller, which it keeps as long as it has any connection.
const POLLER: usize = 2;

/// One load test at a time, so that each has the machine for itself.
fn exclusive() -> MutexGuard<'static, ()> {
    static EXCLUSIVE: Mutex<()> = Mutex::new(());
    EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program with this limit of descriptors, or with the machine's maximum.
fn with_descriptors(most: Option<u64>) -> Command {
    let most = most.or(getrlimit(Resource::Nofile).maximum);
    let most = most.map_or("unlimited".to_owned(), |most| most.to_string());
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &most]);
    command
}

/// `echo_server` with these arguments.
fn echo_server(args: &[&str]) -> Example {
    let mut command = with_descriptors(None);
    command
        .arg(binary("echo_server"))
        .arg("127.0.0.1:0")
        .args(args);
    Example::listening(Program::start(&mut command))
}

/// Lowers the priority of this thread and of those that it starts: the clients' own CPU time
/// must not slow the server on a busy machine.
fn lower_priority() {
    setpriority_process(None, 19).expect("that is always allowed");
}

/// Polls until the condition holds.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < until, "{what} did not come in time");
        // Polling costs the server CPU time too.
        thread::sleep(Duration::from_millis(1));
    }
}

/// What a process used before the load.
struct Baseline {
    process: u32,
    descriptors: usize,
    resident: usize,
}

impl Baseline {
    /// Measured after the server has served one client, which has left.
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

    /// Number of descriptors beyond the baseline.
    fn extra_descriptors(&self) -> usize {
        descriptors(self.process).saturating_sub(self.descriptors)
    }

    /// Fails if the peak of resident memory exceeds the baseline by more than `most`.
    fn assert_growth(&self, most: usize, what: &str) {
        let grown = status(self.process, "VmHWM:").saturating_sub(self.resident);
        println!("{what}: grown by {} KiB", grown / KIB);
        assert!(grown <= most, "{what}: grown by {} KiB", grown / KIB);
    }

    /// Waits until the server has as many descriptors as before the load.
    fn assert_descriptors_released(&self) {
        eventually("the last of the descriptors", || {
            self.extra_descriptors() <= POLLER
        });
    }
}

/// Number of open descriptors of a process.
fn descriptors(process: u32) -> usize {
    let open = std::fs::read_dir(format!("/proc/{process}/fd"));
    open.expect("the server has ended").count()
}

/// A field of `/proc/PID/status`, in bytes.
fn status(process: u32, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the server has ended");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: usize = kib.and_then(|kib| kib.parse().ok()).expect("a number");
    kib * KIB
}

/// A client in a thread of its own that every few milliseconds asks for an echo on its
/// connection, and for one on a new connection.
struct HonestClient {
    stop: Sender<()>,
    thread: JoinHandle<RoundTrips>,
}

struct RoundTrips {
    count: usize,
    longest: Duration,
    /// The longest time of an echo by a bare thread in the meantime: the delay of the machine
    /// itself.
    longest_bare: Duration,
}

/// A connection to an echoing thread of this process.
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

    /// A client that makes no new connections, because there is no descriptor for them.
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
            unreachable!("the loop does not end")
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
        let most = PROMPT + longest_bare * SCHEDULING_DELAYS;
        println!("{amid}: the longest of {count} times took {longest:?}, of {most:?}");
        assert!(
            longest <= most,
            "{amid}: once it took {longest:?} of {most:?}"
        );
    }
}

/// A client with the smallest possible buffers: it is slow from the first bytes, and costs the
/// kernel little.
fn small_buffer_client(at: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a descriptor");
    socket.set_recv_buffer_size(1).expect("the option is set");
    socket.set_send_buffer_size(1).expect("the option is set");
    socket.connect(&at.into()).expect("it listens");
    socket.set_nonblocking(true).expect("set_nonblocking");
    socket.into()
}

/// What happened to a client that has sent one byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ClientOutcome {
    Served,
    Closed,
    Waiting,
}

/// Waits up to the client's read timeout; does not wait if it is non-blocking.
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

/// What has happened so far.
fn outcome_now(client: &TcpStream) -> ClientOutcome {
    client.set_nonblocking(true).expect("set_nonblocking");
    let outcome = outcome(client);
    client.set_nonblocking(false).expect("set_nonblocking");
    outcome
}

/// A client that has sent one byte.
fn send_probe(at: SocketAddr) -> TcpStream {
    let mut client = dial(at);
    client.write_all(b"?").expect("it is connected");
    client
}
