//! The files of `deploy`: units of systemd, an example of a configuration, shell completions and
//! manual pages.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use chrome_sockets_host::cli::Arguments;
use clap::CommandFactory;
use clap_complete::Shell;
use support::process::{Ended, Program};
use support::programs::has;
use tokio::net::TcpStream;

use super::PROGRAM;
use super::client::{dial, request};
use super::config::{config, flags, range};
use super::monitoring::get;

/// A path in `deploy`.
pub fn deployed(name: &str) -> PathBuf {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    host.parent()
        .expect("the repository")
        .join("deploy")
        .join(name)
}

fn run(program: &str, arguments: &[&str], files: &[PathBuf]) -> Ended {
    Program::start(Command::new(program).args(arguments).args(files)).ended()
}

pub const UNITS: [&str; 3] = [
    "chrome-sockets.service",
    "chrome-sockets.socket",
    "chrome-sockets-metrics.socket",
];

#[test]
fn systemd_accepts_the_units() {
    if !has("systemd-analyze", "--help", "verify") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let units = UNITS.map(|name| {
        let unit = fs::read_to_string(deployed("systemd").join(name)).expect("a unit");
        let path = folder.path().join(name);
        // systemd looks for the program.
        fs::write(&path, unit.replace("/usr/bin/chrome-sockets", PROGRAM)).expect("a written file");
        path
    });
    let ended = run("systemd-analyze", &["verify", "--man=no"], &units);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
}

#[test]
fn the_service_is_exposed_to_little() {
    if !has("systemd-analyze", "--help", "--offline") {
        return;
    }
    let unit = deployed("systemd/chrome-sockets.service");
    // In tenths: at most 2.0.
    let arguments = ["security", "--offline=true", "--threshold=20"];
    let ended = run("systemd-analyze", &arguments, &[unit]);
    let report = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{report}{}", ended.stderr);
    let level = report
        .lines()
        .find(|line| line.contains("Overall exposure level"));
    let level = level.and_then(|line| line.split(": ").nth(1)?.split(' ').next()?.parse().ok());
    let level: f64 = level.unwrap_or_else(|| panic!("no level: {report}"));
    assert!(level <= 2.0, "{report}");
    // Without it the host could not ask what a peer has acknowledged.
    let text = fs::read_to_string(deployed("systemd/chrome-sockets.service")).expect("a unit");
    assert!(text.contains("RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK"));
}

#[test]
fn the_example_of_a_configuration_is_valid() {
    let path = deployed("host.toml");
    let check = |path: &str| run(PROGRAM, &["serve", "--check-config", "--config", path], &[]);
    let ended = check(path.to_str().expect("UTF-8"));
    assert!(ended.status.success(), "{}", ended.stderr);
    // So is what it has in comments. The manifests exist on other machines only.
    let text = fs::read_to_string(&path).expect("a file");
    let keys = text
        .lines()
        .filter(|line| line.contains(" = ") && !line.contains("manifest"));
    let keys: Vec<&str> = keys.map(|line| line.trim_start_matches("# ")).collect();
    assert!(keys.len() > 6, "{keys:?}");
    let (_folder, all) = config(&keys.join("\n"));
    let ended = check(&all);
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[test]
fn the_document_has_each_flag_with_its_default_and_range() {
    let document = deployed("../docs/host.md");
    let document = fs::read_to_string(document).expect("a document");
    for (name, help) in flags() {
        // The document is not about who may use the host.
        let is_access = [
            "help",
            "listen",
            "manifest",
            "dev",
            "origin",
            "any-origin",
            "token",
        ];
        let row = document
            .lines()
            .find(|line| line.starts_with(&format!("| `--{name}` |")));
        match (range(&help), row) {
            (Some((least, most)), Some(row)) => {
                let default = help.split("[default: ").nth(1).expect("a default");
                let default = default.split(']').next().expect("an end");
                assert!(
                    row.contains(&format!(" | {default}")),
                    "{name} {default}: {row}"
                );
                assert!(
                    row.contains(&format!("| {least} to {most} |")),
                    "{name}: {row}"
                );
            }
            _ => {
                let is_named = document.contains(&format!("`--{name}"));
                assert!(is_named || is_access.contains(&&*name), "{name}");
            }
        }
    }
}

/// A free port at an address that no other test uses.
fn free_address(last: u8) -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::new(127, 0, 17, last), 0)).expect("a port");
    free.local_addr().expect("it is bound")
}

#[actix_rt::test]
async fn systemd_passes_the_listeners_of_the_gateway_and_of_the_metrics() {
    const ACTIVATE: &str = "systemd-socket-activate";
    if !has(ACTIVATE, "--help", "--fdname") {
        return;
    }
    let (gateway, metrics) = (free_address(1), free_address(2));
    let mut command = Command::new(ACTIVATE);
    command.args([
        "--fdname=metrics:gateway",
        &format!("--listen={metrics}"),
        &format!("--listen={gateway}"),
    ]);
    // The addresses of the command line are not used.
    command.args([PROGRAM, "serve", "--dev", "--listen", "127.0.17.3:1"]);
    let mut program = Program::start(&mut command);
    program.stderr.lines("Listening on", 2);
    // The first connection starts the host, and is not lost.
    let first = TcpStream::connect(gateway).await.expect("a listener");
    let line = program.stdout.line("listening on ");
    assert_eq!(line, format!("listening on {gateway}"));
    let handshake = tokio_tungstenite::client_async(request(gateway), first);
    handshake.await.expect("a handshake");
    assert_eq!(get(metrics, "/readyz").await.0, 200);
    dial(gateway, request(gateway)).await.expect("a handshake");
}

#[test]
fn one_listener_of_each_kind_can_be_passed() {
    const ACTIVATE: &str = "systemd-socket-activate";
    if !has(ACTIVATE, "--help", "--fdname") {
        return;
    }
    let (one, other) = (free_address(4), free_address(5));
    let mut command = Command::new(ACTIVATE);
    let listen = [one, other].map(|address| format!("--listen={address}"));
    command.args(listen).args([PROGRAM, "serve", "--dev"]);
    let mut program = Program::start(&mut command);
    program.stderr.lines("Listening on", 2);
    let _first = std::net::TcpStream::connect(one).expect("a listener");
    program.stderr.line("systemd passed several listeners");
}

/// The generated files, by their paths in `deploy`.
fn generated() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (shell, name) in [
        (Shell::Bash, "chrome-sockets.bash"),
        (Shell::Fish, "chrome-sockets.fish"),
        (Shell::Zsh, "_chrome-sockets"),
    ] {
        let mut text = Vec::new();
        let mut command = Arguments::command();
        clap_complete::generate(shell, &mut command, "chrome-sockets", &mut text);
        let text = String::from_utf8(text).expect("UTF-8");
        // clap_complete 4.6 replaces a hyphen in the name of the program in two ways, so that its
        // bash completions know no subcommand (clap-rs/clap#6421).
        let text = text.replace("chrome__subcmd__sockets", "chrome__sockets");
        files.insert(format!("completions/{name}"), text.into_bytes());
    }
    let folder = tempfile::tempdir().expect("a folder");
    clap_mangen::generate_to(Arguments::command(), folder.path()).expect("pages");
    for page in fs::read_dir(folder.path()).expect("a folder") {
        let page = page.expect("a page");
        let name = page.file_name().into_string().expect("UTF-8");
        files.insert(
            format!("man/{name}"),
            fs::read(page.path()).expect("a page"),
        );
    }
    files
}

#[test]
fn completions_and_manual_pages_are_up_to_date() {
    let files = generated();
    assert!(files.len() >= 8, "{:?}", files.keys());
    if std::env::var_os("UPDATE_DEPLOY").is_some() {
        for (name, text) in &files {
            fs::write(deployed(name), text).expect("a written file");
        }
    }
    for (name, text) in &files {
        let is_same = fs::read(deployed(name)).is_ok_and(|kept| kept == *text);
        assert!(
            is_same && text.len() > 200,
            "deploy/{name} is old: run this test with UPDATE_DEPLOY=1 and commit deploy"
        );
    }
    for folder in ["completions", "man"] {
        for kept in fs::read_dir(deployed(folder)).expect("a folder") {
            let name = kept.expect("a file").file_name();
            let name = format!("{folder}/{}", name.to_string_lossy());
            assert!(
                files.contains_key(&name),
                "deploy/{name} is no longer generated"
            );
        }
    }
    // Each flag of the service is in all of them.
    let page = String::from_utf8_lossy(&files["man/chrome-sockets-serve.1"]).replace('\\', "");
    let bash = String::from_utf8_lossy(&files["completions/chrome-sockets.bash"]);
    for (name, _) in flags() {
        let flag = format!("--{name}");
        assert!(page.contains(&flag) && bash.contains(&flag), "{flag}");
    }
}

#[test]
fn bash_loads_the_completions() {
    let file = deployed("completions/chrome-sockets.bash");
    let script = r#"source "$0" && COMP_WORDS=(chrome-sockets serve --max-cl) COMP_CWORD=2 &&
        _chrome__sockets chrome-sockets --max-cl serve && echo "${COMPREPLY[@]}""#;
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", script]).arg(file);
    let Some(program) = Program::try_start(&mut command) else {
        support::programs::left_out("bash is not installed");
        return;
    };
    let ended = program.ended();
    let completed = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(completed.trim(), "--max-clients", "{}", ended.stderr);
}
