//! A program as a child process: what it says is waited for with a limit, and
//! it never outlives its test.

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

use crate::LIMIT;

/// How long a program may take from its start to its end.
const WHOLE_RUN: Duration = Duration::from_secs(60);

/// Where cargo has put the example.
pub fn binary(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test binary");
    let target = test.ancestors().nth(2).expect("target/PROFILE/deps/it");
    let path = target
        .join("examples")
        .join(format!("{example}{EXE_SUFFIX}"));
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --examples`, or `cargo test --workspace` without a \
         choice of targets, which does that",
        path.display()
    );
    path
}

/// What a program writes into one pipe.
pub struct Output {
    name: &'static str,
    chunks: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Output {
    fn of(name: &'static str, pipe: Option<impl Read + Send + 'static>) -> Self {
        let mut pipe = pipe.expect("it is piped");
        let (sender, chunks) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                // A test that is over reads no more; the pipe must be
                // drained all the same, or the program might wait forever.
                let _ = sender.send(buffer[..length].to_vec());
            }
        });
        Output {
            name,
            chunks,
            seen: Vec::new(),
        }
    }

    /// Takes in what comes next. `false`: nothing will, the pipe is closed.
    fn more(&mut self, what: &str, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        match self.chunks.recv_timeout(left) {
            Ok(chunk) => self.seen.extend(chunk),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => panic!(
                "{what} did not come in time; {} so far: {}",
                self.name,
                self.text()
            ),
        }
        true
    }

    /// Everything that has come up to now.
    pub fn so_far(&mut self) -> String {
        self.seen.extend(self.chunks.try_iter().flatten());
        self.text()
    }

    /// Everything that was waited for.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Waits for the first word, or the end. `false`: it ended without one.
    pub fn wait_for_output(&mut self) -> bool {
        !self.seen.is_empty() || self.more("any word", Instant::now() + LIMIT)
    }

    /// Waits for the next words. `false`: it ended without any.
    pub fn wait_for_more(&mut self) -> bool {
        self.more("more words", Instant::now() + LIMIT)
    }

    /// Waits for a whole line with these words in it.
    pub fn line(&mut self, words: &str) -> String {
        self.line_within(LIMIT, words)
    }

    /// Waits no longer than this for a whole line with these words in it.
    pub fn line_within(&mut self, limit: Duration, words: &str) -> String {
        match self.find_line(limit, words) {
            Some(line) => line,
            None => panic!("{} ended without {words:?}: {}", self.name, self.text()),
        }
    }

    /// `None`: it ended without one.
    fn find_line(&mut self, limit: Duration, words: &str) -> Option<String> {
        let until = Instant::now() + limit;
        loop {
            let text = self.text();
            let mut whole = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
            if let Some(line) = whole.find(|line| line.contains(words)) {
                return Some(line.trim_end().to_owned());
            }
            if !self.more(&format!("a line with {words:?}"), until) {
                return None;
            }
        }
    }

    /// Waits until this has been said so many times.
    pub fn times(&mut self, words: &str, times: usize) {
        let until = Instant::now() + LIMIT;
        while self.text().matches(words).count() < times {
            let what = format!("{words:?} for the {times}th time");
            assert!(self.more(&what, until), "{} ended before {what}", self.name);
        }
    }

    /// Waits for this many whole lines with these words in them.
    pub fn lines(&mut self, words: &str, count: usize) -> Vec<String> {
        let until = Instant::now() + LIMIT;
        loop {
            let text = self.text();
            let whole = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
            let lines: Vec<&str> = whole.filter(|line| line.contains(words)).collect();
            if lines.len() >= count {
                return lines
                    .iter()
                    .map(|line| line.trim_end().to_owned())
                    .collect();
            }
            if !self.more(&format!("line {count} with {words:?}"), until) {
                panic!(
                    "{} ended before line {count} with {words:?}: {text}",
                    self.name
                );
            }
        }
    }

    /// Waits for this many bytes.
    pub fn bytes(&mut self, length: usize) -> &[u8] {
        let until = Instant::now() + LIMIT;
        while self.seen.len() < length {
            let what = format!("byte {length} after {}", self.seen.len());
            if !self.more(&what, until) {
                panic!("{} ended before {what}", self.name);
            }
        }
        &self.seen
    }

    /// Waits for the end, which is that of the program, and is everything.
    fn all(&mut self, limit: Duration) -> &[u8] {
        let until = Instant::now() + limit;
        while self.more("the end of the program", until) {}
        &self.seen
    }
}

/// A running program; dropping it kills it.
pub struct Program {
    child: Child,
    /// It was waited for, and its number may be another one's.
    is_reaped: bool,
    pub stdout: Output,
    pub stderr: Output,
}

/// How a program ended and what it had said.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Program {
    /// Waits no longer than this for a whole line on its standard output with these words in
    /// it; if it ends without one, tells what it had to say about that.
    pub fn line_within(&mut self, limit: Duration, words: &str) -> String {
        if let Some(line) = self.stdout.find_line(limit, words) {
            return line;
        }
        let until = Instant::now() + LIMIT;
        while self.stderr.more("its end", until) {}
        let (said, why) = (self.stdout.text(), self.stderr.text());
        panic!("it ended without {words:?}: {said}{why}")
    }

    /// `None`: this machine does not have it.
    pub fn try_start(command: &mut Command) -> Option<Self> {
        let command = command
            // What the programs print is what they print by default.
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("{command:?} did not start: {error}"),
        };
        Some(Program {
            stdout: Output::of("stdout", child.stdout.take()),
            stderr: Output::of("stderr", child.stderr.take()),
            child,
            is_reaped: false,
        })
    }

    pub fn start(command: &mut Command) -> Self {
        Self::try_start(command).unwrap_or_else(|| panic!("{command:?} is not installed"))
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// What happens meanwhile comes upon the program all at once.
    pub fn while_stopped<T>(&self, act: impl FnOnce() -> T) -> T {
        self.signal(Signal::STOP);
        let result = act();
        self.signal(Signal::CONT);
        result
    }

    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("it is piped")
    }

    /// Gives the program its whole input at once.
    pub fn feed(&mut self, input: &'static [u8]) {
        let mut stdin = self.stdin();
        // It may read no further than it writes, so this cannot be waited for.
        thread::spawn(move || {
            let _ = stdin.write_all(input);
        });
    }

    /// Waits for its end.
    pub fn ended(self) -> Ended {
        self.ended_within(WHOLE_RUN)
    }

    /// Waits no longer than this for its end, which is that of its whole
    /// [`group`] too.
    pub fn ended_within(mut self, limit: Duration) -> Ended {
        let stdout = self.stdout.all(limit).to_vec();
        self.stderr.all(limit);
        // Both pipes are closed, so it has ended or is about to. Its number is
        // its group's until it was waited for.
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = waitid(WaitId::Pid(Pid::from_child(&self.child)), ended);
        self.kill_group();
        let status = self.child.wait().expect("it is this process's child");
        self.is_reaped = true;
        Ended {
            status,
            stdout,
            stderr: self.stderr.text(),
        }
    }
}

impl Program {
    /// Those that it has started, if it was to lead a [`group`]. There is none
    /// of this number else.
    fn kill_group(&self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill_group();
        }
        // After its end, both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that starts others, which end with it, whoever of them hangs: it
/// leads a group of processes.
pub fn group(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.process_group(0);
    command
}

/// A running example that listens.
pub struct Example {
    pub program: Program,
    pub address: SocketAddr,
}

impl Example {
    pub fn start(name: &str, args: &[&str]) -> Self {
        Self::listening(Program::start(Command::new(binary(name)).args(args)))
    }

    /// `echo_server` on a port of the OS's choice.
    pub fn echo() -> Self {
        Self::start("echo_server", &["127.0.0.1:0"])
    }

    /// Waits for the line that says where.
    pub fn listening(mut program: Program) -> Self {
        let line = program.stdout.line("listening on ");
        let address = line
            .strip_prefix("listening on ")
            // What follows it is the example's own.
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no address in {line:?}"));
        Example { program, address }
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.program.signal(Signal::TERM);
    }

    /// Waits for its end, which must be a good one.
    pub fn assert_success(self) {
        let ended = self.program.ended_within(LIMIT);
        assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
        assert!(
            assert_only_injected_panics(&ended.stderr),
            "{}",
            ended.stderr
        );
    }

    /// Ctrl-C: it must end, say nothing bad, and report success.
    pub fn expect_success(self) {
        self.stop_with_ctrl_c();
    }

    /// The same, and what it said after it had said where it listens.
    pub fn stop_with_ctrl_c(self) -> String {
        self.program.signal(Signal::INT);
        let ended = self.program.ended_within(LIMIT);
        assert!(
            ended.status.success(),
            "after Ctrl-C: {}; stderr: {}",
            ended.status,
            ended.stderr
        );
        assert!(
            assert_only_injected_panics(&ended.stderr),
            "{}",
            ended.stderr
        );
        let said = String::from_utf8_lossy(&ended.stdout);
        let listening = said.split_once('\n');
        listening.map_or("", |(_, rest)| rest).to_owned()
    }
}

/// Whether each panic that it speaks of is one that a rule asked for.
fn assert_only_injected_panics(stderr: &str) -> bool {
    let mut lines = stderr.lines();
    // What it was stands in the line after.
    while let Some(line) = lines.next() {
        if line.contains("panicked at")
            && !lines.next().is_some_and(|it| it.starts_with("injected: "))
        {
            return false;
        }
    }
    true
}

#[test]
fn child_processes_of_a_program_do_not_outlive_it() {
    for ends_by_itself in [true, false] {
        let wait = if ends_by_itself { "" } else { "; wait" };
        // Its child has no pipe, and would stay for an hour.
        let script = format!("sleep 3600 >&- 2>&- <&- & echo $!{wait}");
        let mut program = Program::start(group("sh").args(["-c", &script]));
        let child = program.stdout.line("");
        match ends_by_itself {
            true => drop(program.ended()),
            false => drop(program),
        }
        let until = Instant::now() + LIMIT;
        while is_running(&child) {
            assert!(Instant::now() < until, "{child} runs on");
            thread::yield_now();
        }
    }
}

#[cfg(test)]
/// Whether there is a process of this number that has not ended.
fn is_running(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
