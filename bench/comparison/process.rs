//! Servers and loads as processes: started, pinned, and measured from outside.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;
use crate::plan::{Mode, Peer, Workload};
use crate::report::Sample;

/// The cores: the first two that this process may use.
#[derive(Clone, Copy)]
pub struct Cores {
    pub server: usize,
    pub load: usize,
}

impl Cores {
    /// `None` if there is only one core.
    pub fn choose() -> Result<Option<Self>> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let two = cores.next().zip(cores.next());
        Ok(two.map(|(server, load)| Cores { server, load }))
    }
}

/// Pins the calling thread, and those it starts, to one core; does nothing if this is not a
/// number.
pub fn pin_to(core: &str) -> Result<()> {
    let Ok(core) = core.parse::<usize>() else {
        return Ok(());
    };
    let mut set = CpuSet::new();
    if core >= CpuSet::MAX_CPU {
        return Err(format!("no core {core}").into());
    }
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Raises the descriptor limit of this process, and of those that it starts, to the maximum: the
/// usual 1024 are too few for 10,000 connections. Returns how many connections that allows.
pub fn raise_descriptor_limit() -> Result<usize> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit)?;
    let limit = maximum.and_then(|limit| usize::try_from(limit).ok());
    // Some descriptors are needed for other purposes.
    Ok(limit.unwrap_or(usize::MAX).saturating_sub(100))
}

/// Another process, seen through `/proc`.
#[derive(Clone, Copy)]
pub struct ProcStats {
    pub id: u32,
}

impl ProcStats {
    /// CPU time of its threads, in ns. The kernel updates the time of a running thread at each
    /// timer tick, so a difference is off by a few ms at most.
    pub fn cpu_time(self) -> Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = text.split_whitespace().next();
            total += first.ok_or("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(total)
    }

    /// The same time in ticks of 10 ms, outside and inside the kernel: too coarse for a round,
    /// but good enough for a whole run.
    pub fn ticks(self) -> Result<(u64, u64)> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.id))?;
        // The program's name, in parentheses, may contain spaces.
        let rest = text.rsplit(')').next().unwrap_or_default();
        let mut fields = rest.split_whitespace().skip(11);
        let mut next = || fields.next().ok_or("a short stat");
        Ok((next()?.parse()?, next()?.parse()?))
    }

    /// Resident memory in bytes. Not from `statm`, whose counters lag behind by some pages per
    /// core.
    pub fn resident(self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.ok_or("no Rss in smaps_rollup")?.parse::<u64>()? * 1024)
    }

    /// Whether all its threads wait: it has done all that there was to do.
    pub fn is_asleep(self) -> Result<bool> {
        for task in fs::read_dir(format!("/proc/{}/task", self.id))? {
            let text = fs::read_to_string(task?.path().join("stat"))?;
            let rest = text.rsplit(')').next().unwrap_or_default();
            if rest.split_whitespace().next() != Some("S") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Number of open descriptors.
    pub fn descriptors(self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.id))?.count())
    }
}

/// This program in another role; it ends when this is dropped.
struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or("a child without pipes")?;
        Ok(Process {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running server.
pub struct Server {
    pub port: u16,
    process: Process,
}

impl Server {
    pub fn start(peer: Peer, mode: Mode, cores: Option<Cores>) -> Result<Self> {
        let core = name(cores.map(|cores| cores.server));
        let mut process = Process::start(&["server", peer.name(), &core, &mode.name()])?;
        let line = process.line()?;
        match line.trim().parse() {
            Ok(port) => Ok(Server { port, process }),
            Err(_) => Err(format!("the {} server printed no port: {line:?}", peer.name()).into()),
        }
    }

    pub fn stats(&self) -> ProcStats {
        ProcStats {
            id: self.process.child.id(),
        }
    }
}

/// The load of one server; its connections stay open between rounds.
pub struct Load(Process);

impl Load {
    pub fn start(workload: &Workload, server: &Server, cores: Option<Cores>) -> Result<Self> {
        let core = name(cores.map(|cores| cores.load));
        let (port, id) = (server.port.to_string(), server.stats().id.to_string());
        let mut process = Process::start(&["load", workload.key, &port, &id, &core])?;
        let line = process.line()?;
        match line.trim() {
            "ready" => Ok(Load(process)),
            _ => Err("the load could not start".into()),
        }
    }

    /// Warms up for a tenth of this time, and then measures for all of it.
    pub fn round(&mut self, seconds: Duration) -> Result<Sample> {
        writeln!(self.0.stdin, "{}", seconds.as_secs_f64())?;
        self.0.stdin.flush()?;
        let line = self.0.line()?;
        serde_json::from_str(&line).map_err(|_| "the load has failed".into())
    }
}

fn name(core: Option<usize>) -> String {
    core.map_or("none".to_owned(), |core| core.to_string())
}
