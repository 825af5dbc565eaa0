//! `persistent_server` under a service manager: socket activation by systemd and by a test
//! double, and the descriptor store.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{ChildStdin, Command};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use support::process::{Program, binary};
use support::programs::has;

use super::persistent_server::{kill_process_group, listening};
use super::{dial, echo_line};

struct ServiceManager {
    program: Program,
    orders: ChildStdin,
    starts: usize,
    service: Option<Pid>,
}

/// The manager is killed, so it cannot end its service itself.
impl Drop for ServiceManager {
    fn drop(&mut self) {
        if let Some(service) = self.service {
            kill_process_group(service);
        }
    }
}

impl ServiceManager {
    fn new(listen: &str) -> Option<Self> {
        Self::with_store_size(listen, None)
    }

    /// Sets how many descriptors the store holds.
    fn with_store_size(listen: &str, room: Option<&str>) -> Option<Self> {
        if !has("python3", "--version", "Python 3") {
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/examples/manager.py");
        let mut command = Command::new("python3");
        let server = binary("persistent_server");
        command
            .args([script, listen])
            .arg(server)
            .arg("127.0.0.1:0");
        if let Some(room) = room {
            command.env("FDSTORE", room);
        }
        let mut program = Program::start(&mut command);
        Some(ServiceManager {
            orders: program.stdin(),
            program,
            starts: 0,
            service: None,
        })
    }

    fn command(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("it reads");
    }

    /// Starts the service and returns its address.
    fn start(&mut self) -> SocketAddr {
        self.command("start");
        self.starts += 1;
        let stdout = &mut self.program.stdout;
        let lines = stdout.lines("listening on ", self.starts);
        let (address, pid) = listening(&lines[self.starts - 1]);
        self.service = Some(pid);
        address
    }

    fn stop(&mut self) {
        self.command("stop");
        let stopped = self.program.stdout.lines("stopped", self.starts);
        assert_eq!(stopped[self.starts - 1], "stopped 0");
    }

    /// Limits the service to `free` more descriptors.
    fn limit_descriptors(&self, free: u64) {
        let service = self.service.expect("it was started");
        let number = service.as_raw_nonzero();
        let open = std::fs::read_dir(format!("/proc/{number}/fd")).expect("it runs");
        let numbers = open.map(|it| it.expect("a descriptor").file_name());
        let numbers = numbers.map(|it| it.to_string_lossy().parse().expect("a number"));
        let open: Vec<u64> = numbers.collect();
        let is_free = |number: &u64| !open.contains(number);
        let most = (0..).filter(is_free).nth(free as usize);
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        prlimit(Some(service), Resource::Nofile, limit).expect("it is lower");
    }

    fn stored(&mut self, count: usize) -> String {
        self.command("store");
        let lines = self.program.stdout.lines("store", count);
        lines[count - 1].clone()
    }
}

#[test]
fn the_descriptor_store_keeps_clients_that_connect_between_two_processes() {
    let Some(mut manager) = ServiceManager::new("--no-listen") else {
        return;
    };
    let address = manager.start();
    for round in 1..=3 {
        echo_line(&dial(address), "before");
        manager.stop();
        let stored = manager.stored(2 * round - 1);
        assert!(stored.contains("chrome-sockets-state"), "{stored}");
        assert!(stored.contains("chrome-sockets-server-1"), "{stored}");
        let between = dial(address);
        (&between).write_all(b"between\n").expect("there is room");
        assert_eq!(manager.start(), address, "round {round}");
        let mut echo = [0; 8];
        (&between).read_exact(&mut echo).expect("it is served");
        assert_eq!(&echo, b"between\n");
        echo_line(&dial(address), "after");
        // The service closed and removed it.
        assert_eq!(manager.stored(2 * round), "store");
    }
}

#[test]
fn partly_stored_sockets_are_removed_before_the_next_start() {
    let Some(mut manager) = ServiceManager::new("--no-listen") else {
        return;
    };
    manager.start();
    // Room for the listener's duplicate, the records, and one message at a time: the last
    // message needs a pipe and cannot be sent.
    manager.limit_descriptors(3);
    manager.stop();
    let stderr = &mut manager.program.stderr;
    let line = stderr.line("the sockets are not stored");
    assert!(line.contains("giving descriptors to systemd"), "{line}");
    manager.command("taken");
    let taken = manager.program.stdout.line("taken");
    assert!(taken.contains("chrome-sockets-state"), "{taken}");
    assert_eq!(manager.stored(1), "store");
    // The next start begins with an empty store.
    let address = manager.start();
    echo_line(&dial(address), "as ever");
}

#[test]
fn storing_replaces_what_was_stored_and_waits_for_confirmation() {
    let Some(mut manager) = ServiceManager::new("--no-listen") else {
        return;
    };
    let address = manager.start();
    manager.command("plant chrome-sockets-state");
    manager.command("plant chrome-sockets-server-1");
    manager.stop();
    let stored = manager.stored(1);
    assert_eq!(stored, "store chrome-sockets-server-1:chrome-sockets-state");
    manager.command("taken");
    let taken = manager.program.stdout.line("taken");
    let names = "chrome-sockets-server-1:chrome-sockets-state:barrier";
    assert_eq!(taken, format!("taken {names}"));
    assert_eq!(manager.start(), address);
    echo_line(&dial(address), "as ever");
}

#[test]
fn nothing_is_stored_if_the_store_is_too_small_for_all() {
    let Some(mut manager) = ServiceManager::with_store_size("--no-listen", Some("1")) else {
        return;
    };
    manager.start();
    manager.stop();
    let stderr = &mut manager.program.stderr;
    let line = stderr.line("the sockets are not stored");
    assert!(line.contains("2 descriptors must be stored"), "{line}");
    manager.command("taken");
    assert_eq!(manager.program.stdout.line("taken"), "taken");

    let mut manager =
        ServiceManager::with_store_size("--no-listen", Some("2")).expect("it was there");
    let address = manager.start();
    manager.stop();
    assert_eq!(manager.start(), address, "there is room for both");
}

#[test]
fn descriptors_passed_to_another_process_are_ignored() {
    let mut command = Command::new(binary("persistent_server"));
    command.arg("127.0.0.1:0");
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let mut program = Program::start(&mut command);
    let (address, _) = listening(&program.stdout.line("listening on "));
    echo_line(&dial(address), "a port of its own");
}

#[test]
fn a_listener_of_a_socket_unit_is_adopted_once_and_kept() {
    let Some(mut manager) = ServiceManager::new("--listen") else {
        return;
    };
    let line = manager.program.stdout.line("activated at ");
    let address: SocketAddr = line["activated at ".len()..].parse().expect("an address");
    let early = dial(address);
    assert_eq!(manager.start(), address, "not its argument");
    echo_line(&early, "it came before the service");
    manager.stop();
    let between = dial(address);
    // The listener now comes both from the unit and from the store.
    assert_eq!(manager.start(), address);
    echo_line(&between, "between");
    for i in 0..10 {
        echo_line(&dial(address), &format!("one socket accepts: {i}"));
    }
}

#[test]
fn systemd_socket_activate_passes_a_listener_with_a_name() {
    const PROGRAM: &str = "systemd-socket-activate";
    if !has(PROGRAM, "--help", "--fdname") {
        return;
    }
    // A free port at an address that no other test uses.
    let free = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 77), 0)).expect("a port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let mut command = Command::new(PROGRAM);
    let arguments = ["--fdname=web", &format!("--listen={address}")];
    let mut program = Program::start(command.args(arguments).arg(binary("persistent_server")));
    program.stderr.line("Listening on");
    // The first connection starts the service.
    let client = dial(address);
    let line = program.stdout.line("listening on ");
    assert!(line.contains(&address.to_string()), "{line}");
    echo_line(&client, "it was not lost");
    echo_line(&dial(address), "nor is the next");
}

#[test]
fn descriptors_that_were_not_passed_are_ignored() {
    for (count, words) in [
        ("2", "descriptor 3 was not passed"),
        ("65536", "descriptor 3 was not passed"),
        ("65537", "LISTEN_FDS is not a number"),
        ("-1", "LISTEN_FDS is not a number"),
        ("99999999999", "LISTEN_FDS is not a number"),
    ] {
        let mut command = Command::new("sh");
        let script = r#"LISTEN_PID=$$ exec "$0" 127.0.0.1:0"#;
        command
            .args(["-c", script])
            .arg(binary("persistent_server"));
        let ended = Program::start(command.env("LISTEN_FDS", count)).ended();
        assert!(!ended.status.success());
        assert!(ended.stderr.contains(words), "{count}: {}", ended.stderr);
    }
}

#[test]
fn a_descriptor_that_is_not_a_listener_is_an_error() {
    let mut command = Command::new("sh");
    let script = r#"LISTEN_PID=$$ exec "$0" 127.0.0.1:0 3</dev/null"#;
    command
        .args(["-c", script])
        .arg(binary("persistent_server"));
    let ended = Program::start(command.env("LISTEN_FDS", "1")).ended();
    assert!(!ended.status.success());
    let words = "the descriptor is not a TCP or Unix stream socket";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
}
