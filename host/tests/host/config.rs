//! The configuration file of `serve`, its flags for limits, and its log.

use std::fs;
use std::path::Path;
use std::process::Command;

use futures::SinkExt;
use serde_json::{Value, json};
use support::process::{Ended, Program};
use support::within;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::client::{Client, all_permissions, close_code, dial, frame, next, request};
use super::{Host, PROGRAM};

/// A file with this text, in a folder of its own.
pub fn config(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("host.toml");
    fs::write(&path, text).expect("a written file");
    let path = path.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

fn run(arguments: &[&str]) -> Ended {
    let mut command = Command::new(PROGRAM);
    command.env_remove("CHROME_SOCKETS_TOKEN");
    Program::start(command.arg("serve").args(arguments)).ended()
}

/// The exit code and the error output of checking a file.
fn check(text: &str) -> (Option<i32>, String, String) {
    let (_folder, path) = config(text);
    let ended = run(&["--config", &path, "--check-config"]);
    (ended.status.code(), ended.stderr, path)
}

/// The flags of `serve` with their help.
pub fn flags() -> Vec<(String, String)> {
    let help = run(&["--help"]).stdout;
    let help = String::from_utf8(help).expect("UTF-8");
    let mut flags: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        let text = line.trim_start();
        let text = text.strip_prefix("-h, ").unwrap_or(text);
        match text.strip_prefix("--") {
            Some(flag) => {
                let name = flag.split([' ', '[', '=']).next().unwrap_or(flag);
                flags.push((name.to_owned(), String::new()));
            }
            None => {
                if let Some((_, help)) = flags.last_mut() {
                    *help += " ";
                    *help += text;
                }
            }
        }
    }
    flags
}

/// The least and the greatest value in a help text.
pub fn range(help: &str) -> Option<(u64, u64)> {
    let words: Vec<&str> = help.split([' ', '.']).filter(|it| !it.is_empty()).collect();
    let ranges = words.windows(3).filter(|it| it[1] == "to");
    let mut ranges = ranges.filter_map(|it| Some((it[0].parse().ok()?, it[2].parse().ok()?)));
    ranges.next()
}

#[test]
fn every_flag_can_stand_in_the_file() {
    let manifest = tempfile::NamedTempFile::new().expect("a file");
    fs::write(manifest.path(), r#"{ "sockets": {} }"#).expect("a written file");
    let mut text = String::new();
    let mut names = Vec::new();
    for (name, help) in flags() {
        let value = match &*name {
            "config" | "check-config" | "help" => continue,
            "listen" => r#""127.0.0.1:0""#.to_owned(),
            "manifest" => format!("{:?}", manifest.path()),
            "dev" | "any-origin" | "until-stdin-ends" => "true".to_owned(),
            "origin" => r#"["https://a.example", "https://b.example=app-a,app-b"]"#.to_owned(),
            "proxy-from" | "apps-proxy-from" => r#"["10.0.0.0/8", "::1"]"#.to_owned(),
            "token" => r#""a \"secret\" = --token""#.to_owned(),
            "log-format" => r#""json""#.to_owned(),
            "metrics-listen" => "9787".to_owned(),
            _ => range(&help).expect("a range in the help").0.to_string(),
        };
        text += &format!("{name} = {value}\n");
        names.push(name);
    }
    assert!(names.len() > 15, "{names:?}");
    let (code, stderr, _) = check(&text);
    assert_eq!((code, &*stderr), (Some(0), ""), "{text}");
    // None of them is ignored.
    for name in names {
        let wrong = format!("{name} = 1.5\n");
        let (code, stderr, path) = check(&wrong);
        assert_eq!(code, Some(1), "{wrong}");
        let place = format!("chrome-sockets: {path}:1: {name}: ");
        assert!(stderr.starts_with(&place), "{stderr}");
    }
}

#[test]
fn errors_in_the_file_name_the_file_the_line_and_the_key() {
    for (text, line, expected) in [
        (
            "\n# a comment\nlisten-on = 1",
            3,
            "listen-on: there is no such key",
        ),
        ("dev = true\nlisten = \"x\"", 2, "listen: invalid value 'x'"),
        ("listen = 8787", 1, "listen: invalid value '8787'"),
        ("dev = \"yes\"", 1, "dev: true or false is expected"),
        ("dev = [true]", 1, "dev: true or false is expected"),
        ("max-clients = 0", 1, "max-clients: invalid value '0'"),
        ("max-clients = -1", 1, "max-clients: invalid value '-1'"),
        (
            "max-clients = 99999999999999999999",
            1,
            "max-clients: invalid value",
        ),
        (
            "max-clients = [1, 2]",
            1,
            "max-clients: a text or an integer is expected",
        ),
        (
            "listen = { port = 1 }",
            1,
            "listen: a text or an integer is expected",
        ),
        (
            "[listen]\nport = 1",
            1,
            "listen: a text or an integer is expected",
        ),
        (
            "\norigin = [\n \"https://a\",\n 7 ]",
            2,
            "origin: invalid value '7'",
        ),
        (
            "origin = [[\"https://a\"]]",
            1,
            "origin: a text, or a list of texts",
        ),
        ("log-format = \"xml\"", 1, "log-format: invalid value 'xml'"),
        ("token = \"\"", 1, "token: a value is required"),
        (
            "config = \"other.toml\"",
            1,
            "config: only the command line",
        ),
        (
            "check-config = true",
            1,
            "check-config: only the command line",
        ),
        ("help = true", 1, "help: there is no such key"),
        ("dev = true\ndev = true", 2, "duplicate key"),
        ("dev = true\nlisten = ", 2, ""),
        ("dev = true\n=", 2, ""),
        (
            "\"a\\u001b[2J\" = 1",
            1,
            "a\\u{1b}[2J: there is no such key",
        ),
    ] {
        let (code, stderr, path) = check(text);
        assert_eq!(code, Some(1), "{text:?}");
        let place = format!("chrome-sockets: {path}:{line}: ");
        assert!(stderr.starts_with(&place), "{text:?}: {stderr}");
        assert!(
            stderr[place.len()..].starts_with(expected),
            "{text:?}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    let (_, stderr, path) = check("z = 1\nmax-calls = 1\na = 1");
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 3, "all errors, in order: {stderr}");
    for (number, line) in lines.iter().enumerate() {
        assert!(
            line.contains(&format!("{path}:{}: ", number + 1)),
            "{stderr}"
        );
    }
}

#[test]
fn a_file_that_is_no_regular_file_is_an_error() {
    let long = tempfile::NamedTempFile::new().expect("a file");
    fs::write(long.path(), "#".repeat(2 << 20)).expect("a written file");
    let not_text = tempfile::NamedTempFile::new().expect("a file");
    fs::write(not_text.path(), b"\xff").expect("a written file");
    for (path, text) in [
        (Path::new("/none.toml"), "No such file"),
        (Path::new("/dev/zero"), "it is a device"),
        (&std::env::temp_dir(), "it is a folder"),
        (long.path(), "it is longer than"),
        (not_text.path(), "UTF-8"),
    ] {
        let path = path.to_str().expect("UTF-8");
        let ended = run(&["--config", path, "--check-config"]);
        assert_eq!(ended.status.code(), Some(1), "{path}");
        assert!(
            ended.stderr.contains(&format!("{path}: ")),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains(text), "{}", ended.stderr);
        let ended = run(&["--config", path]);
        assert_eq!(ended.status.code(), Some(2), "{path}");
    }
}

#[test]
fn a_check_reads_manifests_and_what_depends_on_several_keys() {
    let manifest = tempfile::NamedTempFile::new().expect("a file");
    let bad = r#"{ "sockets": { "tcp": { "connect": "*:x" } } }"#;
    fs::write(manifest.path(), bad).expect("a written file");
    let manifest = format!("manifest = {:?}", manifest.path());
    for (text, expected) in [
        (&*manifest, "sockets.tcp.connect"),
        ("any-origin = true", "any-origin needs a token"),
        ("listen = \"0.0.0.0:0\"", "set a token"),
        (
            "max-connections = 10",
            "max-clients is 192, but max-connections only 10",
        ),
    ] {
        let (code, stderr, _) = check(text);
        assert_eq!(code, Some(1), "{text}");
        assert!(stderr.contains(expected), "{text}: {stderr}");
        let (_folder, path) = config(text);
        let ended = run(&["--config", &path]);
        assert_eq!(ended.status.code(), Some(2), "{text}: {}", ended.stderr);
        assert_eq!(ended.stdout, b"", "it does not listen");
    }
    let (_folder, path) = config("dev = true\ntoken = \"secret\"");
    let ended = run(&["--config", &path, "--check-config"]);
    assert!(ended.status.success(), "{}", ended.stderr);
    let stdout = String::from_utf8_lossy(&ended.stdout);
    assert!(
        stdout.contains(&format!("{path}: the configuration is valid")),
        "{stdout}"
    );
    assert!(
        stdout.contains("every user of this machine can read it"),
        "{stdout}"
    );
    assert!(!stdout.contains("secret"), "{stdout}");
}

/// The limits of the welcome.
async fn limits(host: &Host) -> Value {
    let client = Client::try_connect(host, json!({ "app": "limits" })).await;
    client.expect("a welcome").welcome["limits"].clone()
}

#[actix_rt::test]
async fn the_command_line_wins_over_the_file() {
    let text = "window = 512\nmax-calls = 100\ndev = true\nmax-frame = 0x200\n\
                origin = [\"https://a.example\"]\nlisten = \"127.0.0.9:0\"";
    let (_folder, path) = config(text);
    let mut host = Host::start(&["--config", &path, "--window", "1024", "--dev=false"]);
    // `Host::start` passes `--listen`.
    assert_eq!(host.address().ip().to_string(), "127.0.0.1");
    let limits = limits(&host).await;
    assert_eq!(limits["window"], 1024 * 1024);
    assert_eq!(limits["calls"], 100, "from the file");
    assert_eq!(limits["frame"], 512 * 1024, "from the file");
    assert_eq!(limits["data"], 256 * 1024);
    let line = host.0.program.stdout.line("--manifest");
    assert!(line.contains("neither listen nor connect"), "{line}");
    host.expect_success();
}

#[test]
fn each_limit_has_a_range_that_its_help_tells() {
    let mut count = 0;
    for (name, help) in flags() {
        let Some((least, most)) = range(&help) else {
            continue;
        };
        count += 1;
        let flag = format!("--{name}");
        let connections = ["--max-connections", "65536"];
        // Each client is a connection.
        let clients = ["--max-clients", "1"];
        let others: &[&str] = match &*name {
            "max-connections" => &clients,
            _ => &connections,
        };
        for (value, is_valid) in [
            (least.to_string(), true),
            (most.to_string(), true),
            ((most + 1).to_string(), false),
            (
                least
                    .checked_sub(1)
                    .map_or("-1".to_owned(), |it| it.to_string()),
                false,
            ),
            (String::new(), false),
            ("1e3".to_owned(), false),
        ] {
            let given = format!("{flag}={value}");
            let ended = run(&[&["--check-config", &given], others].concat());
            assert_eq!(
                ended.status.success(),
                is_valid,
                "{given}: {}",
                ended.stderr
            );
            assert!(is_valid || ended.stderr.contains(&flag), "{}", ended.stderr);
        }
    }
    assert!(count >= 12, "{count} flags with a range");
}

#[actix_rt::test]
async fn limits_of_a_client_are_enforced_as_given() {
    let limits = [
        "--dev",
        "--max-clients=2",
        "--max-frame=256",
        "--max-sockets=20",
        "--max-calls=16",
        "--write-quota=1",
    ];
    let host = Host::start(&limits);
    let mut client = Client::connect(&host, "a").await;
    assert_eq!(client.welcome["limits"]["sockets"], 20);
    assert_eq!(client.welcome["limits"]["quota"], 1 << 20);
    for _ in 0..20 {
        client.call("tcp.create", json!([])).await;
    }
    let one_more = client.call("tcp.create", json!([])).await;
    assert_eq!(one_more, json!(["error", 21, "Too many sockets"]));
    let data = vec![b'x'; 128 * 1024];
    let (server, port) = client.listening_server(json!({})).await;
    let mut peer = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a listener");
    let accepted = client.event("tcpServer.onAccept").await;
    assert_eq!(accepted[1], server);
    // 12 MiB are more than the kernel holds while the peer does not read.
    let mut last = 0;
    for _ in 0..96 {
        last = client
            .start_call("tcp.send", json!([accepted[2]]), &data)
            .await;
    }
    let answer = client.answer(last).await;
    assert_eq!(answer[2], "Exceeded write quota.", "{answer}");
    let mut first = [0; 4];
    within("data", peer.read_exact(&mut first))
        .await
        .expect("data");
    let second = Client::connect(&host, "b").await;
    let busy = Client::try_connect(&host, json!({ "app": "c" })).await;
    let busy = busy.err().expect("a rejection");
    assert_eq!(busy["close"]["code"], "busy", "{busy}");
    second.disconnect();
    // A larger frame closes the connection.
    let large = Message::Binary(vec![0; 256 * 1024 + 1].into());
    let _ = client.socket.send(large).await;
    let last = within("the last frame", async {
        loop {
            let frame = next(&mut client.socket).await.expect("a frame");
            if !frame["close"].is_null() {
                return frame;
            }
        }
    });
    assert_eq!(last.await["close"]["code"], "bad-frame");
    // So do more calls than may be unanswered: a pause waits until events are acknowledged.
    let mut eager = within("a free place", connect_again(&host)).await;
    eager.listen(&["tcpServer.onAccept"]).await;
    let (server, port) = eager.listening_server(json!({})).await;
    eager.acknowledges = false;
    let peer = TcpStream::connect(("127.0.0.1", port)).await;
    let _peer = peer.expect("a listener");
    eager.event("tcpServer.onAccept").await;
    let pause = |id| json!([id, "tcpServer.setPaused", server, true]);
    let pauses: Vec<_> = (100..117).map(pause).collect();
    eager.send(json!({ "messages": pauses })).await;
    assert_eq!(close_code(&mut eager.socket).await, "overrun");
    host.expect_success();
}

/// Connects as `b` as soon as there is a place.
async fn connect_again(host: &Host) -> Client {
    loop {
        let hello = json!({ "app": "b", "manifest": all_permissions() });
        if let Ok(client) = Client::try_connect(host, hello).await {
            return client;
        }
    }
}

#[actix_rt::test]
async fn timeouts_of_clients_are_those_given() {
    let host = Host::start(&["--dev", "--handshake-timeout=1", "--idle-timeout=3"]);
    // No request, and no hello.
    let mut silent = TcpStream::connect(host.address())
        .await
        .expect("a listener");
    let mut rest = Vec::new();
    let closed = within("a close", silent.read_to_end(&mut rest)).await;
    assert!(closed.is_ok() || !rest.is_empty(), "{closed:?}");
    let mut socket = dial(host.address(), request(host.address()))
        .await
        .expect("a handshake");
    assert_eq!(close_code(&mut socket).await, "bad-hello");
    // A client that never reads, and so answers no ping.
    let idle = TcpStream::connect(host.address())
        .await
        .expect("a listener");
    let client = tokio_tungstenite::client_async(request(host.address()), idle);
    let (mut idle, _) = client.await.expect("a handshake");
    let hello = json!({ "hello": { "protocol": [1], "app": "idle" } });
    idle.send(frame(&hello, &[]))
        .await
        .expect("an open connection");
    let mut host = host;
    let line = within("the end of the client", async {
        host.0.program.stderr.line("too-slow")
    });
    assert!(line.await.contains("app idle"));
    host.expect_success();
}

#[actix_rt::test]
async fn a_json_log_has_an_object_a_line_and_escapes_hostile_text() {
    let arguments = ["--dev", "--log-format", "json", "--token", "secret"];
    let mut host = Host::start(&arguments);
    let mut socket = dial(host.address(), request(host.address()))
        .await
        .expect("a handshake");
    assert_eq!(close_code(&mut socket).await, "forbidden");
    let hostile = "\u{1b}[2J\"}\n{\"level\":\"ERROR\"} \u{202e}";
    let mut request = request(host.address());
    let protocols = "chrome-sockets, chrome-sockets.token.c2VjcmV0";
    let protocols = protocols.parse().expect("a header");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocols);
    let hello = json!({ "app": "a", "client": hostile });
    let client = Client::try_connect_with(host.address(), request, hello).await;
    client.expect("a welcome").disconnect();
    host.0.program.stderr.line("disconnected");
    let log = host.0.program.stderr.so_far();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(lines.len() >= 3, "{log}");
    for line in &lines {
        let keys: Vec<_> = line.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["level", "message", "target", "time"]);
        assert_ne!(line["level"], "ERROR");
        let time = line["time"].as_str().expect("a text");
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    }
    assert!(
        !log.contains('\u{1b}') && !log.contains('\u{202e}'),
        "{log:?}"
    );
    assert!(!log.contains("secret"), "{log}");
    host.expect_success();
}
