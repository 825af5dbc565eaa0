//! A server as a process of its own: started, pinned, measured from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;
use crate::servers::Kind;

/// Where things run: the first two cores that this process may use.
pub struct Cores {
    pub server: usize,
    pub load: usize,
}

impl Cores {
    /// `None` where there is only one core.
    pub fn choose() -> Result<Option<Self>> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let two = cores.next().zip(cores.next());
        Ok(two.map(|(server, load)| Cores { server, load }))
    }
}

/// Keeps the calling thread, and those it starts, on one core.
pub fn pin_to(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Lets this process, and the servers, which inherit it, have as many
/// descriptors as they may: the usual 1024 are too few for 1000 connections to
/// each server. Returns how many connections that leaves room for.
pub fn raise_descriptor_limit() -> Result<usize> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit)?;
    let limit = maximum.and_then(|limit| usize::try_from(limit).ok());
    // Some are for other things.
    Ok(limit.unwrap_or(usize::MAX).saturating_sub(100))
}

/// A running server; it ends when this is dropped.
pub struct Server {
    pub kind: Kind,
    pub port: u16,
    child: Child,
}

impl Server {
    /// Starts this very program in its other role.
    pub fn start(kind: Kind, cores: Option<&Cores>) -> Result<Self> {
        let core = cores.map_or("any".to_owned(), |cores| cores.server.to_string());
        let mut child = Command::new(std::env::current_exe()?)
            .args(["server", kind.name(), &core])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match line.trim().parse() {
            Ok(port) => Ok(Server { kind, port, child }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("the {} server said no port but {line:?}", kind.name()).into())
            }
        }
    }

    /// The CPU time that its threads have used, in ns. The kernel brings a
    /// running thread's up to date at each timer tick, so a difference is a
    /// few ms wrong at most.
    pub fn cpu_time(&self) -> Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = text.split_whitespace().next();
            total += first.ok_or("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(total)
    }

    /// Its resident memory, in bytes. Not from `statm`, whose counters lag
    /// behind by some pages a core.
    pub fn resident(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.ok_or("no Rss in smaps_rollup")?.parse::<u64>()? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its stdin ends it.
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!("the {} server: {error}", self.kind.name());
        }
    }
}
