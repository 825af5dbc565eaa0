//! Machine and versions of a run.

use std::fs;
use std::process::Command;

use jiff::{Timestamp, Unit};

use crate::plan::{Options, profile_of};
use crate::report::{About, Version};

/// The crates that matter, with their locked versions.
const CRATES: [&str; 6] = [
    "chrome-sockets",
    "actix",
    "actix-rt",
    "actix-server",
    "tokio",
    "mio",
];

pub fn about(options: &Options, pinned: bool) -> About {
    let mut versions: Vec<Version> = CRATES.into_iter().filter_map(locked_version).collect();
    versions.insert(
        0,
        Version {
            name: "rustc".to_owned(),
            version: compiler(),
        },
    );
    About {
        date: date(),
        profile: profile(),
        command: options.command.clone(),
        rounds: options.rounds,
        round_seconds: options.seconds.as_secs_f64(),
        optimised: !cfg!(debug_assertions),
        processor: processor(),
        cores: std::thread::available_parallelism().map_or(1, Into::into),
        pinned,
        kernel: read("/proc/sys/kernel/osrelease"),
        load_before: first_number(&read("/proc/loadavg")),
        versions,
        missing: Vec::new(),
        left_out: Vec::new(),
    }
}

/// The time, in UTC.
pub fn date() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}

/// Cargo's profile of this program, and so of every server in it.
pub fn profile() -> String {
    std::env::current_exe().map_or_else(|_| "unknown".to_owned(), |this| profile_of(&this))
}

pub fn compiler() -> String {
    let version = command_output("rustc", "--version");
    version.trim_start_matches("rustc ").to_owned()
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let model = lines.find(|(name, _)| name.trim() == "model name");
    model
        .map_or("unknown", |(_, model)| model.trim())
        .to_owned()
}

fn locked_version(name: &str) -> Option<Version> {
    let lock = include_str!("../../Cargo.lock");
    let entry = lock
        .split_once(&format!("name = \"{name}\"\nversion = \""))?
        .1;
    Some(Version {
        name: name.to_owned(),
        version: entry.split('"').next()?.to_owned(),
    })
}

fn command_output(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

fn read(file: &str) -> String {
    fs::read_to_string(file)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn first_number(text: &str) -> f64 {
    let number = text.split_whitespace().next();
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}
