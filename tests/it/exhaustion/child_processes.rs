//! The child processes of these tests: this binary, started with a role. Parent and child
//! exchange lines.

use std::net::{Shutdown, SocketAddr};
use std::process::ChildStdin;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{
    AcceptAction, AcceptErrorInfo, AcceptInfo, AcceptPolicy, Escalation, SocketInfo,
};
use chrome_sockets::{App, Registry, ServerSocketId};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

/// The environment variable with the role of a child.
const ROLE: &str = "CHROME_SOCKETS_EXHAUSTION_ROLE";

const ENTRY: &str = "exhaustion::child_processes::child_process_entry_point";

/// Starts this binary again with a role.
fn child(role: &str, descriptors: Option<u64>) -> Program {
    let mut command = with_descriptors(descriptors);
    command
        .arg(std::env::current_exe().expect("the path of the test binary"))
        .args([ENTRY, "--exact", "--nocapture"])
        .env(ROLE, role);
    Program::start(&mut command)
}

#[test]
fn child_process_entry_point() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    // The test harness has begun a line.
    println!();
    let words: Vec<&str> = role.split(' ').collect();
    match words[..] {
        ["host", policy, backlog] => {
            let backlog = backlog.parse().expect("a number");
            System::new().block_on(run_server(policy, backlog));
        }
        ["crowd", at, many, connects] => run_crowd(
            at.parse().expect("an address"),
            many.parse().expect("a number"),
            connects == "at-once",
        ),
        _ => panic!("unknown role: {role}"),
    }
}

// An echo server on two addresses. The parent pauses and resumes the first.

struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        info.client().do_set_paused(false);
    }
}

impl Handler<AcceptErrorInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: AcceptErrorInfo, _: &mut Self::Context) {
        let errno = info.errno.unwrap_or(0);
        println!("error {errno} attempt {} {:?}", info.attempt, info.action);
    }
}

impl Handler<ReceiveInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        client.forward(info).expect("its quota");
    }
}

impl Handler<ReceiveErrorInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        info.client().do_close();
    }
}

/// Backs off for three errors in a row, and then pauses.
struct EscalationTarget;

impl Actor for EscalationTarget {
    type Context = Context<Self>;
}

impl Handler<Escalation> for EscalationTarget {
    type Result = MessageResult<Escalation>;

    fn handle(&mut self, asked: Escalation, _: &mut Self::Context) -> Self::Result {
        println!("asked for the {} attempt", asked.attempt);
        MessageResult(match asked.attempt {
            1..=3 => BACK_OFF,
            _ => AcceptAction::Pause,
        })
    }
}

const BACK_OFF: AcceptAction = AcceptAction::BackOff {
    first: Duration::from_millis(10),
    last: Duration::from_millis(50),
};

fn parent_lines() -> UnboundedReceiver<String> {
    let (sender, lines) = unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

async fn listen(app: &App, backlog: Option<i32>, shares: bool) -> (ServerSocketId, SocketAddr) {
    let server = &app.tcp_server;
    let created = server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    let set = server.set_reuse_port(id, shares).await;
    set.expect("it does not listen yet");
    let listening = server.listen(id, "127.0.0.1", 0, backlog).await;
    listening.expect("listen");
    let info = server.get_info(id).await.expect("it exists");
    (id, info.local_addr().expect("it listens"))
}

async fn run_server(policy: &str, backlog: i32) {
    let target = EscalationTarget.start();
    let shares = policy == "shed-shared";
    let registry = Registry::new()
        .escalate_to(target.recipient())
        .arbiters(if shares { 2 } else { 1 })
        .start();
    let app = App::new("host", &registry);
    let echo = Echo.start();
    let server = &app.tcp_server;
    server.on_accept.do_add_listener(echo.clone().recipient());
    let errors = &server.on_accept_error;
    errors.do_add_listener(echo.clone().recipient());
    app.tcp.on_receive.do_add_listener(echo.clone().recipient());
    app.tcp.on_receive_error.do_add_listener(echo.recipient());

    let (id, at) = listen(&app, (backlog > 0).then_some(backlog), shares).await;
    let (_, beside) = listen(&app, None, false).await;
    let resources = match policy {
        "back-off" => BACK_OFF,
        "shed" | "shed-shared" => AcceptAction::Shed,
        "go-on" => AcceptAction::Continue,
        "close" => AcceptAction::Close,
        "escalate" => AcceptAction::Escalate,
        // The default.
        _ => AcceptAction::Pause,
    };
    if resources != AcceptAction::Pause {
        let policy = AcceptPolicy {
            resources,
            ..Default::default()
        };
        let set = server.set_accept_policy(id, policy).await;
        println!("policy {set:?}");
    }
    println!("listening on {at} {beside}");
    let mut lines = parent_lines();
    while let Some(line) = lines.recv().await {
        let (number, call) = line.split_once(' ').expect("a number and a call");
        match call {
            "pause" => server.set_paused(id, true).await.expect("it exists"),
            "resume" => server.set_paused(id, false).await.expect("it exists"),
            _ => {}
        }
        let info = server.get_info(id).await.ok();
        println!(
            "{number}: {}",
            info.map_or("closed".to_owned(), format_info)
        );
    }
}

/// The counts as the child prints them.
fn format_info(info: SocketInfo) -> String {
    let counts = info.counts;
    format!(
        "{} {} {} {} {} {}",
        u64::from(info.paused),
        counts.accepted,
        counts.delivered,
        counts.refused,
        counts.failed,
        info.backlog.unwrap_or(0)
    )
}

/// What a server printed of its first server socket.
#[derive(Clone, Copy, Debug)]
pub struct ServerInfo {
    pub paused: bool,
    pub accepted: u64,
    pub delivered: u64,
    pub refused: u64,
    pub failed: u64,
    pub backlog: u64,
}

/// A child that listens twice: with the policy, and without.
pub struct ServerProcess {
    pub program: Program,
    pub at: SocketAddr,
    pub beside: SocketAddr,
    stdin: ChildStdin,
    calls: usize,
}

impl ServerProcess {
    /// Starts it with a policy for `resources`, a backlog (0: the default), and a limit of
    /// descriptors.
    pub fn start(policy: &str, backlog: i32, descriptors: Option<u64>) -> Self {
        let mut program = child(&format!("host {policy} {backlog}"), descriptors);
        let line = program.stdout.line("listening on ");
        let mut words = line.split(' ').skip(2).map(str::parse);
        let mut address = || words.next().expect("two of them").expect("an address");
        ServerProcess {
            at: address(),
            beside: address(),
            stdin: program.stdin(),
            program,
            calls: 0,
        }
    }

    /// `None`: its first server socket is closed.
    pub fn call(&mut self, call: &str) -> Option<ServerInfo> {
        self.calls += 1;
        let number = self.calls;
        writeln!(self.stdin, "{number} {call}").expect("it is alive");
        // No other line begins with it.
        let line = self.program.stdout.line(&format!("{number}: "));
        let (_, output) = line.split_once(": ").expect("as above");
        if output == "closed" {
            return None;
        }
        let numbers: Vec<u64> = output.split(' ').flat_map(str::parse).collect();
        let [paused, accepted, delivered, refused, failed, backlog] = numbers[..] else {
            panic!("{line:?}");
        };
        Some(ServerInfo {
            paused: paused == 1,
            accepted,
            delivered,
            refused,
            failed,
            backlog,
        })
    }

    pub fn info(&mut self) -> ServerInfo {
        self.call("info").expect("it is not closed")
    }

    /// The child ends when its input ends.
    pub fn expect_success(self) {
        drop(self.stdin);
        let ended = self.program.ended();
        assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    }
}

// Clients that stay silent until told to speak.

/// Unaccepted connections that each thread of a crowd may have: an honest client waits behind
/// them.
const UNACCEPTED: usize = 25;

fn run_crowd(at: SocketAddr, many: usize, at_once: bool) {
    const THREADS: usize = 2;
    lower_priority();
    let role = || -> Vec<TcpStream> {
        let come = |i| match at_once {
            true => start_connect(at),
            false => {
                let client = dial(at);
                if i % UNACCEPTED == 0 {
                    // All earlier ones have been accepted then.
                    echo_line(&client, "is anybody there?");
                }
                client
            }
        };
        (0..many / THREADS).map(come).collect()
    };
    let clients: Vec<TcpStream> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(role)).collect();
        let parts = threads.into_iter().map(|thread| thread.join());
        parts.flat_map(|role| role.expect("connected")).collect()
    });
    println!("all {} are there", clients.len());
    let mut lines = std::io::stdin().lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("speak"));
    echo_once(&clients);
    println!("all were served");
    assert_eq!(lines.next(), None);
    for some in clients.rchunks(BATCH) {
        for client in some {
            client.shutdown(Shutdown::Both).expect("it is connected");
        }
        echo_line(&dial(at), "is anybody there?");
    }
}

/// Starts a connection, which completes when the backlog has room.
pub fn start_connect(at: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a descriptor");
    socket.set_nonblocking(true).expect("set_nonblocking");
    match socket.connect(&at.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => panic!("{error}"),
        _ => socket.into(),
    }
}

/// Clients of a crowd that act at the same time.
const BATCH: usize = 100;

/// Longest time until a client without room in the backlog is served. TCP retransmits its SYN
/// after 1, 3, 7, 15, 31 and 63 seconds; on a busy machine the server accepts only after the
/// first of them.
const SYN_RETRIES: Duration = Duration::from_secs(75);

/// Expects an echo for each client, once it is connected.
fn echo_once(clients: &[TcpStream]) {
    for some in clients.chunks(BATCH) {
        for client in some {
            client.set_nonblocking(false).expect("set_nonblocking");
            client
                .set_write_timeout(Some(SYN_RETRIES))
                .expect("a limit");
            client.set_read_timeout(Some(SYN_RETRIES)).expect("a limit");
            (&*client).write_all(b"?").expect("it is connected");
        }
        for outcome in some.iter().map(outcome) {
            assert_eq!(outcome, ClientOutcome::Served);
        }
    }
}

/// A process with many clients: ten thousand would use up the descriptors of the tests that run
/// beside this one.
pub struct Crowd {
    program: Program,
    stdin: ChildStdin,
}

impl Crowd {
    /// Connects in turn, as the server accepts.
    pub fn connect(at: SocketAddr, many: usize) -> Self {
        Self::start(at, many, "in-turn")
    }

    /// Connects without waiting for room in the backlog.
    pub fn connect_at_once(at: SocketAddr, many: usize) -> Self {
        Self::start(at, many, "at-once")
    }

    fn start(at: SocketAddr, many: usize, connects: &str) -> Self {
        let mut program = child(&format!("crowd {at} {many} {connects}"), None);
        let all = program.line_within(SYN_RETRIES * 2, "are there");
        assert_eq!(all, format!("all {many} are there"));
        let stdin = program.stdin();
        Crowd { program, stdin }
    }

    /// Expects an echo for each client.
    pub fn expect_echoes(&mut self) {
        self.stdin.write_all(b"speak\n").expect("it is alive");
        self.program.line_within(SYN_RETRIES * 2, "all were served");
    }

    /// Resets all at once.
    pub fn reset_all(self) {
        drop(self);
    }

    /// Disconnects some at a time.
    pub fn disconnect_all(self) {
        drop(self.stdin);
        let ended = self.program.ended();
        assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    }
}
