//! Three servers behind HAProxy with the files of `deploy/haproxy`: rolling restarts, handovers, and
//! a killed server, under a load whose answers are checked.

mod load;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::LIMIT;
use support::process::{Example, Program, binary, group};
use support::programs::{has, oldest_node};

use self::load::{Failure, Load, Targets};
use super::client::all_permissions;
use super::{Host, PROGRAM};

/// The names of the servers in the configuration.
const NAMES: [&str; 3] = ["one", "two", "three"];

/// How long a host goes on accepting after SIGTERM. HAProxy looks every 500 ms.
const DRAIN_DELAY: &str = "2";

/// Loopback addresses of one test, so that it can use the ports of the configuration.
#[derive(Clone, Copy)]
struct Addresses([u8; 3]);

impl Addresses {
    /// `test` tells the tests of this process apart, and the process id test runs at the same time.
    fn new(test: u8) -> Self {
        let process = std::process::id();
        Addresses([64 + (process >> 8) as u8 % 64, process as u8, test * 10])
    }

    fn haproxy(self, port: u16) -> SocketAddr {
        (self.ip(0), port).into()
    }

    /// The server of this index.
    fn server(self, server: usize, port: u16) -> SocketAddr {
        (self.ip(server as u8 + 1), port).into()
    }

    /// The address of the load's clients.
    fn clients(self) -> Ipv4Addr {
        self.ip(9)
    }

    fn ip(self, last: u8) -> Ipv4Addr {
        let Addresses([a, b, c]) = self;
        Ipv4Addr::new(127, a, b, c + last)
    }
}

/// A file of `deploy/haproxy`.
fn deployed(name: &str) -> PathBuf {
    super::deploy::deployed("haproxy").join(name)
}

/// HAProxy with the configuration of `deploy`, at the addresses of a test.
struct HaProxy {
    program: Program,
    folder: tempfile::TempDir,
}

impl HaProxy {
    /// `None`: it is not installed. `keep` chooses the lines of the configuration.
    fn start(addresses: Addresses, keep: impl Fn(&str) -> bool) -> Option<Self> {
        if !has("haproxy", "-vv", "HAProxy version") {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let text = fs::read_to_string(deployed("haproxy.cfg")).expect("a configuration");
        // Only root can have these.
        let is_for_root = |line: &str| {
            let line = line.trim_start();
            ["user ", "group ", "chroot "]
                .iter()
                .any(|it| line.starts_with(it))
        };
        let mut text: String = text
            .lines()
            .filter(|line| keep(line) && !is_for_root(line))
            .map(|line| line.to_owned() + "\n")
            .collect();
        let socket = folder.path().join("admin.sock");
        let mut replace = |from: &str, to: &str| {
            assert!(text.contains(from), "the configuration has no {from}");
            text = text.replace(from, to);
        };
        replace("/run/haproxy/admin.sock", socket.to_str().expect("UTF-8"));
        replace("bind 127.0.0.1:", &format!("bind {}:", addresses.ip(0)));
        replace("source 192.0.2.10", &format!("source {}", addresses.ip(0)));
        for server in 0..NAMES.len() {
            let address = format!(" 192.0.2.{}:", server + 1);
            replace(&address, &format!(" {}:", addresses.ip(server as u8 + 1)));
        }
        let path = folder.path().join("haproxy.cfg");
        fs::write(&path, text).expect("a written file");
        // Not in the background.
        let program = Program::start(group("haproxy").arg("-db").arg("-f").arg(path));
        Some(HaProxy { program, folder })
    }

    /// The statistics of the servers of this backend by column.
    fn servers(&mut self, backend: &str, column: &str) -> Vec<String> {
        let connected = UnixStream::connect(self.folder.path().join("admin.sock"));
        let Ok(mut socket) = connected else {
            return Vec::new();
        };
        let mut text = String::new();
        socket.write_all(b"show stat\n").expect("it reads");
        socket.read_to_string(&mut text).expect("text");
        let mut lines = text.lines();
        let header = lines.next().expect("a header");
        let mut columns = header.trim_start_matches("# ").split(',');
        let column = columns.position(|name| name == column).expect("a column");
        let rows = lines.map(|line| line.split(',').collect::<Vec<_>>());
        let rows = rows.filter(|row| row.first() == Some(&backend) && NAMES.contains(&row[1]));
        rows.map(|row| row[column].to_owned()).collect()
    }

    /// The sum of a counter of the servers of this backend.
    fn sum(&mut self, backend: &str, column: &str) -> u64 {
        let values = self.servers(backend, column);
        assert_eq!(values.len(), NAMES.len(), "{backend} {column}");
        let values = values.iter().map(|value| value.parse::<u64>());
        values.map(|value| value.expect("a number")).sum()
    }

    fn wait_for(&mut self, backend: &str, what: &str, holds: impl Fn(&[String]) -> bool) {
        let mut states = Vec::new();
        let ended = poll(|| {
            states = self.servers(backend, "status");
            holds(&states)
        });
        assert!(
            ended,
            "{backend}: {what}, not {states:?}; {}",
            self.program.stderr.so_far()
        );
    }

    fn wait_until_all_up(&mut self, backends: &[&str]) {
        for backend in backends {
            self.wait_for(backend, "all servers should be up", |states| {
                states.len() == NAMES.len() && states.iter().all(|state| state == "UP")
            });
        }
    }
}

/// Polls until the condition holds. `false`: it does not, within [`LIMIT`].
fn poll(mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + LIMIT;
    while !holds() {
        if Instant::now() > until {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// A host, and the app that uses it.
struct Server {
    addresses: Addresses,
    index: usize,
    host: Host,
    app: Program,
    /// How often the app has listened.
    listened: usize,
}

impl Server {
    fn start(addresses: Addresses, index: usize) -> Self {
        let host = Self::start_host(addresses, index);
        let mut app = group(oldest_node().expect("it was there"));
        app.arg(deployed("app.mjs")).args([
            NAMES[index],
            &format!("ws://{}", addresses.server(index, 8787)),
            &addresses.server(index, 7007).to_string(),
        ]);
        app.env("MANIFEST", all_permissions().to_string());
        let mut server = Server {
            addresses,
            index,
            host,
            app: Program::start(&mut app),
            listened: 0,
        };
        server.wait_for_app();
        server
    }

    fn start_host(addresses: Addresses, index: usize) -> Host {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--dev", "--drain-delay", DRAIN_DELAY]);
        let gateway = addresses.server(index, 8787).to_string();
        let metrics = addresses.server(index, 9787).to_string();
        command.args(["--listen", &gateway, "--metrics-listen", &metrics]);
        let haproxy = addresses.ip(0).to_string();
        command.args(["--proxy-from", &haproxy, "--apps-proxy-from", &haproxy]);
        Host(Example::listening(Program::start(&mut command)))
    }

    /// Waits until the app listens at its new host.
    fn wait_for_app(&mut self) {
        self.listened += 1;
        self.app.stdout.lines("listens on", self.listened);
    }

    /// Starts the host again after this end of it.
    fn restart(self, end: impl FnOnce(Host)) -> Self {
        end(self.host);
        let host = Self::start_host(self.addresses, self.index);
        let mut server = Server { host, ..self };
        server.wait_for_app();
        server
    }
}

fn start_all(addresses: Addresses) -> Vec<Server> {
    let servers = 0..NAMES.len();
    servers.map(|it| Server::start(addresses, it)).collect()
}

/// Replaces a server by what it becomes.
fn replace<T>(servers: &mut Vec<T>, index: usize, change: impl FnOnce(T) -> T) {
    let changed = change(servers.remove(index));
    servers.insert(index, changed);
}

/// The answer to a request for the page of the gateway by this name.
fn page_of(gateway: SocketAddr, name: &str) -> String {
    let mut stream = TcpStream::connect(gateway).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let request = format!("GET / HTTP/1.1\r\nHost: {name}:8787\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

const BACKENDS: [&str; 3] = ["web", "apps", "gateway"];

/// What HAProxy counts when a connection was refused or broken.
const ERRORS: [&str; 4] = ["wretr", "wredis", "econ", "eresp"];

#[test]
fn a_rolling_restart_behind_haproxy_fails_no_request() {
    let addresses = Addresses::new(0);
    if oldest_node().is_none() {
        return;
    }
    let Some(mut haproxy) = HaProxy::start(addresses, |_| true) else {
        return;
    };
    let mut servers = start_all(addresses);
    haproxy.wait_until_all_up(&BACKENDS);
    // The gateway has one name, and still rejects those of others.
    for (name, status) in [("sockets.example", "200"), ("rebound.example", "403")] {
        let answer = page_of(addresses.haproxy(8787), name);
        let expected = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&expected), "{name}: {answer}");
    }
    let load = Load::start(Targets {
        web: Some(addresses.haproxy(8080)),
        apps: addresses.haproxy(7007),
        gateway: Some(addresses.haproxy(8787)),
        clients: addresses.clients(),
    });
    load.wait_for_answers_of(&NAMES);
    let knows_client = || {
        let mut hosts = servers.iter_mut().map(|server| &mut server.host.0.program);
        let line = "app page connected from 127.0.0.1";
        hosts.any(|host| host.stderr.so_far().contains(line))
    };
    assert!(
        poll(knows_client),
        "a host should know its client's address"
    );
    for round in 1..=2 {
        for index in 0..servers.len() {
            replace(&mut servers, index, |server| {
                server.restart(|host| {
                    host.0.program.signal(Signal::TERM);
                    host.0.assert_success();
                })
            });
            haproxy.wait_until_all_up(&BACKENDS);
            // It serves again.
            load.wait_for_answers_of(&NAMES);
        }
        // Each host has restarted, so the gateway's client has moved.
        load.wait_for_gateway_clients(round + 1);
    }
    let result = load.stop();
    assert_eq!(result.failures, [], "of {} requests", result.answers);
    assert!(result.answers > 64 * 20, "{}", result.answers);
    // No request was even sent twice: HAProxy knew in time.
    for backend in BACKENDS {
        for counter in ERRORS {
            assert_eq!(haproxy.sum(backend, counter), 0, "{backend} {counter}");
        }
    }
    assert!(
        haproxy.sum("apps", "chkdown") >= 6,
        "it has seen each drain"
    );
}

#[test]
fn a_killed_server_behind_haproxy_ends_only_its_own_connections() {
    let addresses = Addresses::new(1);
    if oldest_node().is_none() {
        return;
    }
    let Some(mut haproxy) = HaProxy::start(addresses, |_| true) else {
        return;
    };
    let mut servers = start_all(addresses);
    haproxy.wait_until_all_up(&BACKENDS);
    let load = Load::start(Targets {
        web: Some(addresses.haproxy(8080)),
        apps: addresses.haproxy(7007),
        gateway: None,
        clients: addresses.clients(),
    });
    load.wait_for_answers_of(&NAMES);
    // From now on no connection ends by itself, so each has a known server.
    let connected = load.keep_connections();
    let killed = connected.iter().filter(|(_, server)| *server == "two");
    let killed: Vec<usize> = killed.map(|(client, _)| *client).collect();
    assert!(!killed.is_empty(), "{connected:?}");
    replace(&mut servers, 1, |server| {
        server.restart(|host| {
            host.0.program.signal(Signal::KILL);
            // It cannot have ended by itself.
            assert!(!host.0.program.ended_within(LIMIT).status.success());
            load.wait_for_ended(killed.len());
            haproxy.wait_for("apps", "the killed server should be down", |states| {
                states.get(1).is_some_and(|state| state.starts_with("DOWN"))
            });
            load.wait_for_answers_of(&["one", "three"]);
        })
    });
    haproxy.wait_until_all_up(&BACKENDS);
    load.end_connections();
    load.wait_for_answers_of(&NAMES);
    let result = load.stop();
    let mut ended = Vec::new();
    for failure in &result.failures {
        match failure {
            Failure::Ended { client, server, .. } => match server.as_deref() {
                Some("two") => ended.push(*client),
                // It came back so soon that the dying process had not closed its listener yet.
                None => assert!(killed.contains(client), "{failure:?}"),
                Some(_) => panic!("{failure:?}"),
            },
            // HAProxy must not repeat a request with effects. All others it has repeated.
            Failure::NoAnswer { method, .. } => assert_eq!(*method, "POST", "{failure:?}"),
            Failure::Wrong(what) => panic!("{what}"),
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, killed, "its own connections, each once");
}

/// An example program that hands its server socket to its successor.
struct PersistentServer {
    program: Program,
    /// The process that serves.
    process: Pid,
    starts: usize,
}

impl PersistentServer {
    fn start(address: SocketAddr) -> Self {
        let mut command = group(binary("persistent_server"));
        let mut program = Program::start(command.arg(address.to_string()));
        let process = Self::newest(&mut program, 1);
        PersistentServer {
            program,
            process,
            starts: 1,
        }
    }

    /// Waits for this many starts. Returns the process of the last one.
    fn newest(program: &mut Program, starts: usize) -> Pid {
        let lines = program.stdout.lines("listening on", starts);
        let pid = lines.last().and_then(|line| line.rsplit(' ').next());
        let pid = pid.and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        pid.expect("a process id")
    }

    /// Hands over, and waits for the end of the old process.
    fn hand_over(&mut self) {
        let old = self.process;
        kill_process(old, Signal::HUP).expect("it runs");
        self.starts += 1;
        self.process = Self::newest(&mut self.program, self.starts);
        let stat = format!("/proc/{}/stat", old.as_raw_nonzero());
        let has_ended = || !fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        assert!(poll(has_ended), "the old process should end");
    }

    fn end(self) {
        kill_process(self.process, Signal::INT).expect("it runs");
        let ended = self.program.ended_within(LIMIT);
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn handovers_behind_haproxy_fail_no_request_and_are_not_seen() {
    let addresses = Addresses::new(2);
    // Without a host there is no /readyz: HAProxy looks whether the port is open. The example reads
    // no PROXY headers.
    let left_out = ["http-check", "httpchk", "send-proxy"];
    let keep = |line: &str| !left_out.iter().any(|it| line.contains(it));
    let Some(mut haproxy) = HaProxy::start(addresses, keep) else {
        return;
    };
    let servers = 0..NAMES.len();
    let mut servers: Vec<_> = servers
        .map(|it| PersistentServer::start(addresses.server(it, 7007)))
        .collect();
    haproxy.wait_until_all_up(&["apps"]);
    let load = Load::start(Targets {
        web: None,
        apps: addresses.haproxy(7007),
        gateway: None,
        clients: addresses.clients(),
    });
    load.wait_for_answers_of(&[load::ECHO]);
    let downs = haproxy.sum("apps", "chkdown");
    for _ in 0..2 {
        for (index, server) in servers.iter_mut().enumerate() {
            server.hand_over();
            // The new process serves.
            let before = haproxy.servers("apps", "stot")[index].clone();
            let served = || haproxy.servers("apps", "stot")[index] != before;
            assert!(poll(served), "{}", NAMES[index]);
        }
    }
    let result = load.stop();
    assert_eq!(result.failures, [], "of {} requests", result.answers);
    for counter in ERRORS {
        assert_eq!(haproxy.sum("apps", counter), 0, "{counter}");
    }
    assert_eq!(haproxy.sum("apps", "chkdown"), downs, "it has seen nothing");
    for server in servers {
        server.end();
    }
}

#[test]
fn haproxy_accepts_the_configuration() {
    if !has("haproxy", "-vv", "HAProxy version") {
        return;
    }
    let mut command = Command::new("haproxy");
    let ended = Program::start(command.arg("-c").arg("-f").arg(deployed("haproxy.cfg"))).ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(!ended.stderr.contains("WARNING"), "{}", ended.stderr);
}
