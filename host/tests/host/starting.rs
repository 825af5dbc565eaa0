//! What `serve` checks before it starts.

use std::fs;
use std::process::Command;

use serde_json::json;
use support::process::Program;

use super::client::Client;
use super::connecting::rejection;
use super::{Host, PROGRAM};

/// Starts a host that must fail. Returns its exit code and error output.
fn failed_start(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    let ended = Program::start(command.args(arguments)).ended();
    assert_eq!(ended.stdout, b"", "it does not listen");
    (ended.status.code(), ended.stderr)
}

#[test]
fn an_invalid_manifest_fails_the_start() {
    let folder = std::env::temp_dir().join(format!("chrome-sockets-start-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let good = folder.join("a.json");
    fs::write(&good, r#"{ "sockets": { "tcp": { "connect": "" } } }"#).expect("a written file");
    let bad = folder.join("b.json");
    let text = r#"{ "sockets": { "tcpServer": { "listen": ["*:1", "*:x"] } } }"#;
    fs::write(&bad, text).expect("a written file");
    let fifo = folder.join("c.json");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "a FIFO");
    let place = format!("{}: sockets.tcpServer.listen[1]: ", bad.display());
    let no_file = format!("{}: it is a FIFO", fifo.display());
    for (path, text) in [
        (&folder, &place),
        (&folder, &no_file),
        (&bad, &place),
        (&fifo, &no_file),
        (&folder.join("none.json"), &"No such file".to_owned()),
        (&"/dev/zero".into(), &"it is a device".to_owned()),
    ] {
        let (code, stderr) = failed_start(&["--manifest", path.to_str().expect("UTF-8")]);
        assert_eq!(code, Some(2), "{}: {stderr}", path.display());
        assert!(stderr.contains(text.as_str()), "{stderr}");
    }
    // A manifest that becomes invalid later affects only its app.
    fs::remove_file(&fifo).expect("an existing file");
    fs::remove_file(&bad).expect("an existing file");
    let host = Host::start(&["--manifest", folder.to_str().expect("UTF-8")]);
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "a FIFO");
    actix_rt::System::new().block_on(async {
        assert_eq!(
            rejection(&host, json!({ "app": "c" })).await,
            "bad-manifest"
        );
        let other = Client::try_connect(&host, json!({ "app": "a" })).await;
        other.expect("another app connects");
    });
    host.expect_success();
    fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn a_start_without_permissions_prints_a_warning() {
    let mut closed = Host::start(&[]);
    let line = closed.0.program.stdout.line("--manifest");
    assert!(line.contains("neither listen nor connect"), "{line}");
    closed.expect_success();
    let mut open = Host::dev();
    open.key();
    assert!(!open.0.program.stdout.so_far().contains("neither listen"));
    open.expect_success();
}

#[test]
fn a_port_in_use_is_reported_with_its_address() {
    let host = Host::dev();
    let address = host.address().to_string();
    let mut command = Command::new(PROGRAM);
    let second = command.args(["serve", "--dev", "--listen", &address]);
    let ended = Program::start(second).ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let text = format!("{address} is in use");
    assert!(ended.stderr.contains(&text), "{}", ended.stderr);
    host.expect_success();
}
