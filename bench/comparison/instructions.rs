//! Instruction counts of the hot paths: of this crate against a budget, and of tokio and the
//! epoll loop beside it. Times are noisy, but these counts hardly vary with the load of the
//! machine: the server is stopped while the clients prepare a round, so that each round begins
//! with the same input.
//!
//! The server runs under `valgrind --tool=callgrind`, once with few operations and once with
//! many; the difference is the cost of the operations. Only instructions outside the kernel
//! count.
#![expect(clippy::disallowed_types, reason = "the clients are ordinary sockets")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::plan::{HOT_PATHS, HotPath, Mode, Options, Peer};
use crate::process::ProcStats;
use crate::report::table::Style;
use crate::report::{Budget, Counts, Instructions, PathCounts, Profile, TOLERANCE};
use crate::{Result, machine};

/// The budget.
const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

/// Number of counts of each path; the least is used. On a busy machine one connection alone takes more
/// turns, which only adds. With several, counts differ by less than 1 %.
const COUNTS: usize = 2;

/// A server that works for longer without input has failed.
const REST_TIMEOUT: Duration = Duration::from_secs(30);

const MESSAGE: [u8; 64] = [7; 64];

/// The servers whose instructions are counted.
const SERVERS: [Peer; 3] = [Peer::ChromeSockets, Peer::Tokio, Peer::Epoll];

/// Counts the requested paths, and prints them.
pub fn count(options: &Options) -> Result<Instructions> {
    let prefix = options.instructions.as_deref().unwrap_or_default();
    let asked = |path: &&HotPath| path.name.starts_with(prefix);
    let paths: Vec<&HotPath> = HOT_PATHS.iter().filter(asked).collect();
    if paths.is_empty() {
        return Err(format!("no hot path begins with {prefix}").into());
    }
    let mut found = Instructions {
        date: machine::date(),
        profile: machine::profile(),
        compiler: machine::compiler(),
        ..Instructions::default()
    };
    let mut jobs: Vec<Job> = Vec::new();
    for path in &paths {
        for peer in SERVERS {
            let job = Job::of(path, peer);
            let is_asked = options.peers.contains(&peer);
            // Two paths may be compared with the same.
            if is_asked && Mode::named(job.mode).is_some() && !jobs.contains(&job) {
                jobs.push(job);
            }
        }
    }
    let counts = count_all(&jobs)?;
    for path in paths {
        if Mode::named(path.mode).is_none() {
            let why = "this version has no such server".to_owned();
            found.left_out.push((path.name.to_owned(), why));
            continue;
        }
        let of = |peer| {
            let job = Job::of(path, peer);
            let mut done = jobs.iter().zip(&counts);
            done.find(|(it, _)| **it == job)
                .map(|(_, counts)| (peer, *counts))
        };
        found.paths.push(PathCounts {
            name: path.name.to_owned(),
            servers: SERVERS.into_iter().filter_map(of).collect(),
        });
    }
    let budget = budget_of(&found.profile)?;
    println!(
        "Instructions outside the kernel, profile {}\n\n{}",
        found.profile,
        found.table(Style::Terminal, budget.as_ref())
    );
    for (path, why) in &found.left_out {
        println!("left out: {path}: {why}");
    }
    if budget.is_none() {
        println!("not compared: the budget is that of another profile");
    }
    Ok(found)
}

/// The budget, if it is that of this profile.
fn budget_of(profile: &str) -> Result<Option<Budget>> {
    let text = fs::read_to_string(BUDGET)?;
    let budget = Budget::read(&text).map_err(|error| format!("{BUDGET}: {error}"))?;
    Ok((budget.profile == profile).then_some(budget))
}

/// Compares counts with the budget.
///
/// # Errors
/// A path is above its budget or has none.
pub fn check(found: &Instructions) -> Result<()> {
    let Some(budget) = budget_of(&found.profile)? else {
        return Ok(());
    };
    let lines = found.better_lines(&budget);
    if !lines.is_empty() {
        println!(
            "fewer than before, or new: write into bench/instructions.txt\n{}",
            lines.join("\n")
        );
    }
    let mut above = found.above(&budget);
    let new = found.paths.iter().map(|path| path.name.as_str());
    let new = new.filter(|name| budget.of(name).is_none());
    above.extend(new.map(|name| format!("{name}: no line")));
    if above.is_empty() {
        return Ok(());
    }
    Err(format!(
        "over {:.0} % more than bench/instructions.txt allows: {}. Make it cheaper, or say in \
         that file why it is justified",
        TOLERANCE * 100.0,
        above.join("; ")
    )
    .into())
}

/// A server, and what its clients do.
#[derive(Clone, Copy, PartialEq)]
struct Job {
    peer: Peer,
    mode: &'static str,
    connections: usize,
    reconnects: bool,
    rounds: [u64; 2],
}

/// Every job some times, as many at once as there are cores. Returns the least of each.
fn count_all(jobs: &[Job]) -> Result<Vec<Counts>> {
    let next = AtomicUsize::new(0);
    let all = jobs.len() * COUNTS;
    let found = Mutex::new(vec![None::<Counts>; jobs.len()]);
    let work = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= all {
                return Ok(());
            }
            let place = number % jobs.len();
            let job = &jobs[place];
            let counts = job
                .count(number)
                .map_err(|error| format!("{}, {}: {error}", job.peer.name(), job.mode))?;
            let mut found = found.lock().map_err(|_| "another count has failed")?;
            let least = found[place].get_or_insert(counts);
            if counts.instructions < least.instructions {
                *least = counts;
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            let ended = worker.join();
            ended.map_err(|_| "a count has panicked")?
        })
    })?;
    let found = found.into_inner().map_err(|_| "a count has failed")?;
    Ok(found.into_iter().flatten().collect())
}

/// A file that is removed in the end.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Job {
    fn of(path: &HotPath, peer: Peer) -> Self {
        Job {
            peer,
            mode: match peer {
                Peer::ChromeSockets => path.mode,
                _ => path.compared,
            },
            connections: path.connections,
            reconnects: path.reconnects,
            rounds: path.rounds,
        }
    }

    /// The counts of one operation.
    fn count(&self, number: usize) -> Result<Counts> {
        let [few, many] = self.rounds;
        let operations = (many - few) * self.connections as u64;
        let (few, many) = (self.profile(few, number)?, self.profile(many, number)?);
        Ok(few.per_operation(many, operations))
    }

    /// What a server does that serves this many rounds.
    fn profile(&self, rounds: u64, number: usize) -> Result<Profile> {
        let this = std::env::current_exe()?;
        let name = format!("callgrind-{}-{number}", std::process::id());
        let file = Temporary(std::env::temp_dir().join(name));
        let mut server = Command::new("valgrind")
            .args(["--tool=callgrind", "--collect-bus=yes", "--compress-pos=no"])
            .arg(format!("--callgrind-out-file={}", file.0.display()))
            .arg(Path::new(&this))
            .args(["server", self.peer.name(), "none", self.mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("valgrind is needed: {error}"))?;
        let mut port = String::new();
        if let Some(stdout) = server.stdout.take() {
            BufReader::new(stdout).read_line(&mut port)?;
        }
        let served = match port.trim().parse() {
            Ok(port) => self.serve(Pid::from_child(&server), port, rounds),
            Err(_) => Err(format!("no port: {port:?}").into()),
        };
        // Ends the server.
        drop(server.stdin.take());
        let ended = server.wait_with_output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        served.map_err(|error| format!("{error}: {said}"))?;
        let text = fs::read_to_string(&file.0).map_err(|error| format!("{error}: {said}"))?;
        Ok(Profile::read(&text)?)
    }

    fn serve(&self, server: Pid, port: u16, rounds: u64) -> Result<()> {
        let connect = || -> Result<Vec<TcpStream>> {
            let one = |_| {
                let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
                client.set_nodelay(true)?;
                Ok(client)
            };
            (0..self.connections).map(one).collect()
        };
        if self.mode.starts_with("udp") {
            return self.serve_datagrams(server, port, rounds);
        }
        let mut clients = connect()?;
        for round in 0..rounds {
            // With one message at a time there is nothing to batch.
            let stops = self.connections > 1 || self.reconnects;
            if stops {
                stop(server)?;
            }
            if self.reconnects && round > 0 {
                clients = connect()?;
            }
            for client in &mut clients {
                client.write_all(&MESSAGE)?;
            }
            if stops {
                kill_process(server, Signal::CONT)?;
            }
            for client in &mut clients {
                let mut echo = [0; MESSAGE.len()];
                client.read_exact(&mut echo)?;
                if echo != MESSAGE {
                    return Err("wrong echo".into());
                }
            }
        }
        Ok(())
    }
}

impl Job {
    /// A datagram of each client waits when the server continues.
    fn serve_datagrams(&self, server: Pid, port: u16, rounds: u64) -> Result<()> {
        let client = |_| -> Result<UdpSocket> {
            let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            client.connect((Ipv4Addr::LOCALHOST, port))?;
            // A datagram that was lost would end the count.
            client.set_read_timeout(Some(Duration::from_secs(10)))?;
            Ok(client)
        };
        let clients = (0..self.connections).map(client);
        let clients = clients.collect::<Result<Vec<_>>>()?;
        for _ in 0..rounds {
            stop(server)?;
            for client in &clients {
                client.send(&MESSAGE)?;
            }
            kill_process(server, Signal::CONT)?;
            for client in &clients {
                let mut echo = [0; MESSAGE.len()];
                if client.recv(&mut echo)? != MESSAGE.len() || echo != MESSAGE {
                    return Err("wrong echo".into());
                }
            }
        }
        Ok(())
    }
}

/// Stops the server when it has done all that there was to do, and returns when it is stopped.
/// What is left of a round, such as its last turn, would otherwise be done with the next one.
fn stop(server: Pid) -> Result<()> {
    let stats = ProcStats {
        id: server.as_raw_nonzero().get().unsigned_abs(),
    };
    let since = Instant::now();
    while !stats.is_asleep()? {
        if since.elapsed() > REST_TIMEOUT {
            return Err("the server finds no rest".into());
        }
        std::thread::yield_now();
    }
    kill_process(server, Signal::STOP)?;
    match waitpid(Some(server), WaitOptions::UNTRACED)? {
        Some((_, status)) if status.stopped() => Ok(()),
        ended => Err(format!("the server has ended: {ended:?}").into()),
    }
}
