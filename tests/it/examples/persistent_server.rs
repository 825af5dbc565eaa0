//! `persistent_server`: a restart loses no client, as counted by the clients.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};
use support::LIMIT;
use support::process::{Program, binary};

use super::{dial, echo_line, expect_end};

/// Duration of the restarts, and the time between two.
const DURATION: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(1);

/// Clients at any time, and connections of each per second.
const CLIENTS: u8 = 4;
const RATE: u32 = 80;

/// The processes of one server. The test starts the first; each starts its successor.
struct ServerProcesses {
    first: Program,
    address: SocketAddr,
    pids: Vec<Pid>,
}

impl ServerProcesses {
    fn start() -> Self {
        let mut command = Command::new(binary("persistent_server"));
        let first = Program::start(command.arg("127.0.0.1:0"));
        let mut processes = ServerProcesses {
            first,
            address: (Ipv4Addr::UNSPECIFIED, 0).into(),
            pids: Vec::new(),
        };
        processes.address = processes.wait_for_next();
        processes
    }

    /// Waits until the next process listens.
    fn wait_for_next(&mut self) -> SocketAddr {
        let count = self.pids.len() + 1;
        let lines = self.first.stdout.lines("listening on ", count);
        let (address, pid) = listening(&lines[count - 1]);
        self.pids.push(pid);
        address
    }

    fn current(&self) -> Pid {
        *self.pids.last().expect("there is one")
    }

    /// Has the current process hand over to a new one.
    fn restart(&mut self) {
        kill_process(self.current(), Signal::HUP).expect("it runs");
        assert_eq!(
            self.wait_for_next(),
            self.address,
            "the successor listens there too"
        );
    }
}

impl Drop for ServerProcesses {
    fn drop(&mut self) {
        for pid in &self.pids {
            kill_process_group(*pid);
        }
    }
}

/// The address and the process id of a line `listening on ADDR pid PID`.
pub fn listening(line: &str) -> (SocketAddr, Pid) {
    let words: Vec<&str> = line.split(' ').collect();
    let ["listening", "on", address, "pid", pid] = words[..] else {
        panic!("{line:?} has no address and process id");
    };
    let pid = pid.parse().ok().and_then(Pid::from_raw);
    (
        address.parse().expect("an address"),
        pid.expect("a process id"),
    )
}

/// Whether the process still runs, and is no zombie.
fn is_running(pid: Pid) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline"));
    let command = String::from_utf8_lossy(&command.unwrap_or_default()).into_owned();
    command.contains("persistent_server")
}

/// Kills the process group, if it still runs.
pub fn kill_process_group(pid: Pid) {
    if is_running(pid) {
        // It may have ended already.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn wait_until_ended(pid: Pid) {
    let until = Instant::now() + LIMIT;
    while is_running(pid) {
        assert!(Instant::now() < until, "process {pid} did not end");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A connection from a loopback address of its own, with its own ports: there are more
/// connections than ports of one address outside TIME_WAIT.
fn dial_from(from: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let from = SocketAddr::from(([127, 0, 1, from], 0));
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), LIMIT)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// One client: connects, sends, expects the echo, shuts its side, and expects the end.
fn connect_and_echo(from: u8, number: usize, to: SocketAddr) -> std::io::Result<()> {
    let mut stream = dial_from(from, to)?;
    let word = format!("client {from} visit {number}");
    stream.write_all(word.as_bytes())?;
    let mut echo = vec![0; word.len()];
    stream.read_exact(&mut echo)?;
    assert_eq!(echo, word.as_bytes());
    stream.shutdown(std::net::Shutdown::Write)?;
    assert_eq!(stream.read(&mut [0])?, 0, "nothing but the echo");
    Ok(())
}

#[test]
fn a_restart_every_second_for_a_minute_loses_no_client() {
    let mut processes = ServerProcesses::start();
    let address = processes.address;
    let over = AtomicBool::new(false);
    let visits = AtomicUsize::new(0);
    let mut long: Vec<(TcpStream, usize)> = Vec::new();
    thread::scope(|scope| {
        for from in 1..=CLIENTS {
            let (over, visits) = (&over, &visits);
            scope.spawn(move || {
                for number in 0.. {
                    let began = Instant::now();
                    if over.load(SeqCst) {
                        return;
                    }
                    if let Err(error) = connect_and_echo(from, number, address) {
                        over.store(true, SeqCst);
                        panic!("client {from}, visit {number}: {error}");
                    }
                    visits.fetch_add(1, SeqCst);
                    // Keeps the rate; nothing is waited for.
                    let rest = (Duration::from_secs(1) / RATE).checked_sub(began.elapsed());
                    thread::sleep(rest.unwrap_or_default());
                }
            });
        }
        let began = Instant::now();
        let mut next = began;
        while began.elapsed() < DURATION && !over.load(SeqCst) {
            processes.restart();
            let generation = processes.pids.len();
            // Some clients stay for five restarts; their process stays for them.
            long.retain(|(stream, since)| {
                echo_line(stream, &format!("in generation {generation}"));
                generation - since < 5
            });
            if generation % 10 == 2 {
                long.push((dial_from(100, address).expect("it listens"), generation));
            }
            next += INTERVAL;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        over.store(true, SeqCst);
    });
    let (restarts, visits) = (processes.pids.len() - 1, visits.load(SeqCst));
    println!("{restarts} restarts, {visits} visits");
    assert!(restarts >= 20, "only {restarts} restarts in a minute");
    assert!(visits >= 20 * restarts, "only {visits} visits");
    drop(long);
    for pid in &processes.pids[..restarts] {
        wait_until_ended(*pid);
    }
    echo_line(&dial(address), "proof of life");
}

#[test]
fn the_successor_prints_the_same_address_and_another_process_id() {
    let mut processes = ServerProcesses::start();
    let first = processes.current();
    let client = dial(processes.address);
    echo_line(&client, "before");
    processes.restart();
    assert_ne!(processes.current(), first);
    echo_line(&client, "the old process has its clients still");
    assert!(is_running(first));
    echo_line(&dial(processes.address), "the new one takes new ones");
    drop(client);
    wait_until_ended(first);
    kill_process(processes.current(), Signal::TERM).expect("it runs");
    wait_until_ended(processes.current());
    TcpStream::connect(processes.address).expect_err("the port is free");
}

#[test]
fn a_successor_that_cannot_start_changes_nothing() {
    // A successor that starts and fails: its program exists, but may not open files.
    let folder = std::env::temp_dir().join(format!("persistent-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let copy = folder.join("persistent_server");
    std::fs::copy(binary("persistent_server"), &copy).expect("a copy");
    let mut program = Program::start(Command::new(&copy).arg("127.0.0.1:0"));
    let (address, pid) = listening(&program.stdout.line("listening on "));
    let client = dial(address);
    let broken = folder.join("broken");
    for wrong in [
        "#!/bin/sh\nexit 3\n",
        "#!/bin/sh\necho what >&0; exec sleep 60\n",
    ] {
        std::fs::write(&broken, wrong).expect("a file");
        let mut mode = std::fs::metadata(&copy).expect("it is there").permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
        std::fs::set_permissions(&broken, mode).expect("set_nonblocking");
        std::fs::rename(&broken, &copy).expect("a new version");
        kill_process(pid, Signal::HUP).expect("it runs");
        let count = 1 + usize::from(wrong.contains("what"));
        program
            .stderr
            .lines("not restarted, continuing to serve", count);
        echo_line(&client, "unharmed");
        echo_line(&dial(address), "and it takes new ones");
    }
    std::fs::remove_dir_all(&folder).expect("it was here");
    // The failed successor has ended.
    kill_process(pid, Signal::INT).expect("it runs");
    let ended = program.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    expect_end(&client, "the client");
}

#[test]
fn an_environment_variable_of_another_process_is_ignored() {
    for (variable, value) in [
        ("CHROME_SOCKETS_PREDECESSOR", "1"),
        ("CHROME_SOCKETS_PREDECESSOR", ""),
        ("LISTEN_PID", "1"),
    ] {
        let mut command = Command::new(binary("persistent_server"));
        command.arg("127.0.0.1:0").env(variable, value);
        let mut program = Program::start(command.env("LISTEN_FDS", "3"));
        let (address, _) = listening(&program.stdout.line("listening on "));
        echo_line(&dial(address), "it serves");
    }
}

#[test]
fn an_invalid_predecessor_is_an_error() {
    let pid = std::process::id().to_string();
    let mut command = Command::new(binary("persistent_server"));
    let command = command.env("CHROME_SOCKETS_PREDECESSOR", pid);
    let ended = Program::start(command).ended();
    assert!(!ended.status.success());
    assert!(
        ended.stderr.contains("not a Unix stream socket"),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.is_empty());
}
