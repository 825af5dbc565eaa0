//! Programs as child processes: waits for their output have a time limit, and no program
//! outlives its test.

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

/// Time limit of a program from start to end.
const WHOLE_RUN: Duration = Duration::from_secs(60);

/// The path of a built example.
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

/// The output of a program through one pipe.
pub struct Output {
    name: &'static str,
    chunks: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Output {
    fn of(name: &'static str, pipe: Option<impl Read + Send + 'static>) -> Self {
        let mut pipe = pipe.expect("the stream is piped");
        let (sender, chunks) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                // The receiver is gone when the test has ended; the pipe must be drained
                // nevertheless, or the program might block forever.
                let _ = sender.send(buffer[..length].to_vec());
            }
        });
        Output {
            name,
            chunks,
            seen: Vec::new(),
        }
    }

    /// Reads more output. `false`: the pipe is closed.
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

    /// All output so far.
    pub fn so_far(&mut self) -> String {
        self.seen.extend(self.chunks.try_iter().flatten());
        self.text()
    }

    /// All output that was waited for.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Waits for any output, or the end. `false`: it ended without output.
    pub fn wait_for_output(&mut self) -> bool {
        !self.seen.is_empty() || self.more("output", Instant::now() + LIMIT)
    }

    /// Waits for more output. `false`: it ended without more.
    pub fn wait_for_more(&mut self) -> bool {
        self.more("more output", Instant::now() + LIMIT)
    }

    /// Waits for a complete line that contains these words.
    pub fn line(&mut self, words: &str) -> String {
        self.line_within(LIMIT, words)
    }

    /// Waits no longer than `limit` for a complete line that contains these words.
    pub fn line_within(&mut self, limit: Duration, words: &str) -> String {
        match self.find_line(limit, words) {
            Some(line) => line,
            None => panic!("{} ended without {words:?}: {}", self.name, self.text()),
        }
    }

    /// `None`: it ended without such a line.
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

    /// Waits until these words occurred `times` times.
    pub fn times(&mut self, words: &str, times: usize) {
        let until = Instant::now() + LIMIT;
        while self.text().matches(words).count() < times {
            let what = format!("{words:?} for the {times}th time");
            assert!(self.more(&what, until), "{} ended before {what}", self.name);
        }
    }

    /// Waits for this many complete lines that contain these words.
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

    /// Waits for the end of the program, and returns all of its output.
    fn all(&mut self, limit: Duration) -> &[u8] {
        let until = Instant::now() + limit;
        while self.more("the end of the program", until) {}
        &self.seen
    }
}

/// A running program; dropping it kills it.
pub struct Program {
    child: Child,
    /// It was waited for, so its process id may belong to another process.
    is_reaped: bool,
    pub stdout: Output,
    pub stderr: Output,
}

/// The status and the output of a program that ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Program {
    /// Waits no longer than `limit` for a complete line of standard output that contains these
    /// words. If the program ends without one, the failure shows its standard error.
    pub fn line_within(&mut self, limit: Duration, words: &str) -> String {
        if let Some(line) = self.stdout.find_line(limit, words) {
            return line;
        }
        let until = Instant::now() + LIMIT;
        while self.stderr.more("its end", until) {}
        let (stdout_text, why) = (self.stdout.text(), self.stderr.text());
        panic!("it ended without {words:?}: {stdout_text}{why}")
    }

    /// `None`: the program is not installed.
    pub fn try_start(command: &mut Command) -> Option<Self> {
        let command = command
            // The tests expect the default log level.
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

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Stops the program while `act` runs, so that it sees all effects at once.
    pub fn while_stopped<T>(&self, act: impl FnOnce() -> T) -> T {
        self.signal(Signal::STOP);
        let result = act();
        self.signal(Signal::CONT);
        result
    }

    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("the stream is piped")
    }

    /// Writes the whole input, and closes it.
    pub fn feed(&mut self, input: &'static [u8]) {
        let mut stdin = self.stdin();
        // In a thread, because the program may read only as fast as its output is read.
        thread::spawn(move || {
            let _ = stdin.write_all(input);
        });
    }

    /// Waits for its end.
    pub fn ended(self) -> Ended {
        self.ended_within(WHOLE_RUN)
    }

    /// Waits no longer than `limit` for its end, and the end of its [`group`].
    pub fn ended_within(mut self, limit: Duration) -> Ended {
        let stdout = self.stdout.all(limit).to_vec();
        self.stderr.all(limit);
        // Both pipes are closed, so it has ended or is about to. Its process id names its group
        // until it was waited for.
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
    /// Kills the processes that it started, if it leads a [`group`]. The group id is not reused
    /// before.
    fn kill_group(&self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill_group();
        }
        // No-ops after its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that leads a process group, so that all processes that it starts end with it.
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

    /// Waits for the line with its address.
    pub fn listening(mut program: Program) -> Self {
        let line = program.stdout.line("listening on ");
        let address = line
            .strip_prefix("listening on ")
            // The rest of the line depends on the example.
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no address in {line:?}"));
        Example { program, address }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.program.signal(Signal::TERM);
    }

    /// Waits for its end, which must be successful.
    pub fn assert_success(self) {
        let ended = self.program.ended_within(LIMIT);
        assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
        assert!(has_only_injected_panics(&ended.stderr), "{}", ended.stderr);
    }

    /// Ends it with Ctrl-C: it must exit successfully, and each of its panics must be injected.
    pub fn expect_success(self) {
        self.stop_with_ctrl_c();
    }

    /// The same; returns the output after the line with its address.
    pub fn stop_with_ctrl_c(self) -> String {
        self.program.signal(Signal::INT);
        let ended = self.program.ended_within(LIMIT);
        assert!(
            ended.status.success(),
            "after Ctrl-C: {}; stderr: {}",
            ended.status,
            ended.stderr
        );
        assert!(has_only_injected_panics(&ended.stderr), "{}", ended.stderr);
        let stdout_text = String::from_utf8_lossy(&ended.stdout);
        let listening = stdout_text.split_once('\n');
        listening.map_or("", |(_, rest)| rest).to_owned()
    }
}

/// Whether each panic in this output was injected by a rule.
fn has_only_injected_panics(stderr: &str) -> bool {
    let mut lines = stderr.lines();
    // The next line has the panic message.
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
        // The child has no pipe, and would run for an hour.
        let script = format!("sleep 3600 >&- 2>&- <&- & echo $!{wait}");
        let mut program = Program::start(group("sh").args(["-c", &script]));
        let child = program.stdout.line("");
        match ends_by_itself {
            true => drop(program.ended()),
            false => drop(program),
        }
        let until = Instant::now() + LIMIT;
        while is_running(&child) {
            assert!(Instant::now() < until, "{child} still runs");
            thread::yield_now();
        }
    }
}

#[cfg(test)]
/// Whether a process with this id runs and is no zombie.
fn is_running(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
