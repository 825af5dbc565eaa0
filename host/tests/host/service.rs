//! Reloads, drains, and the service manager.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::process::{Example, Program};
use support::programs::left_out;
use support::{LIMIT, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Client, EVENTS, close_code, next};
use super::connecting::rejection;
use super::monitoring::{get, monitored};
use super::{Host, PROGRAM};

/// A folder with a configuration file and the manifests of apps.
struct Files(tempfile::TempDir);

impl Files {
    fn new(config: &str) -> Self {
        let files = Files(tempfile::tempdir().expect("a folder"));
        fs::create_dir(files.path("apps")).expect("a folder");
        files.write("host.toml", config);
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a written file");
    }

    /// Lets an app listen and connect at these patterns.
    fn permit(&self, app: &str, listen: &str, connect: &str) {
        let manifest = json!({ "sockets": {
            "tcpServer": { "listen": listen }, "tcp": { "connect": connect },
        } });
        self.write(&format!("apps/{app}.json"), &manifest.to_string());
    }

    /// A host with these files.
    fn host(&self) -> Host {
        Host::start(&[
            "--config",
            &self.path("host.toml"),
            "--manifest",
            &self.path("apps"),
        ])
    }
}

impl Host {
    fn signal(&self, signal: Signal) {
        self.0.program.signal(signal);
    }

    /// Reloads, and waits for this line in the log.
    fn reload(&mut self, words: &str, times: usize) {
        self.signal(Signal::HUP);
        self.0.program.stderr.lines(words, times);
    }
}

const RELOADED: &str = "were read again";

async fn connect(host: &Host, app: &str) -> Client {
    let client = Client::try_connect(host, json!({ "app": app })).await;
    let mut client = client.unwrap_or_else(|reason| panic!("{app}: {reason}"));
    client.listen(&EVENTS).await;
    client
}

/// Listens at a port of loopback that the OS chooses. Returns the result.
async fn listen(client: &mut Client) -> Value {
    let created = client.call("tcpServer.create", json!([])).await;
    let socket = &created[2]["socketId"];
    let result = client
        .call("tcpServer.listen", json!([socket, "127.0.0.1", 0]))
        .await;
    result[0].clone()
}

/// A connection through an app: the peer's end, and the app's socket.
struct Connection(TcpStream, Value);

impl Connection {
    async fn open(client: &mut Client) -> Self {
        let (_, port) = client.listening_server(json!({})).await;
        let peer = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("a listener");
        let accepted = client.event("tcpServer.onAccept").await;
        client
            .call("tcp.setPaused", json!([accepted[2], false]))
            .await;
        Connection(peer, accepted[2].clone())
    }

    /// Sends in both directions.
    async fn assert_works(&mut self, client: &mut Client) {
        self.0.write_all(b"ping").await.expect("an open connection");
        assert_eq!(client.event("tcp.onReceive").await[2], "ping");
        let sent = client
            .start_call("tcp.send", json!([self.1]), b"pong")
            .await;
        client.answer(sent).await;
        let mut pong = [0; 4];
        let read = within("data", self.0.read_exact(&mut pong)).await;
        read.expect("an open connection");
        assert_eq!(&pong, b"pong");
    }

    async fn assert_ends(mut self) {
        let mut rest = Vec::new();
        // At the deadline a connection may be reset.
        let _ = within("its end", self.0.read_to_end(&mut rest)).await;
    }
}

#[actix_rt::test]
async fn a_reload_changes_permissions_and_limits_and_keeps_connections() {
    let files = Files::new("window = 512\nmax-clients = 2\n");
    files.permit("a", "127.0.0.1", "");
    files.permit("b", "127.0.0.2", "");
    files.permit("c", "", "");
    let mut host = files.host();
    let mut a = connect(&host, "a").await;
    let mut b = connect(&host, "b").await;
    let mut connection = Connection::open(&mut a).await;
    connection.assert_works(&mut a).await;
    assert_eq!(
        listen(&mut b).await,
        "error",
        "its manifest does not permit it"
    );
    assert_eq!(rejection(&host, json!({ "app": "c" })).await, "busy");
    // The apps swap what they may do.
    files.write("host.toml", "window = 1024\nmax-sockets = 7\n");
    files.permit("a", "127.0.0.2", "");
    files.permit("b", "127.0.0.1", "");
    host.reload(RELOADED, 1);
    connection.assert_works(&mut a).await;
    assert_eq!(
        listen(&mut a).await,
        "error",
        "its manifest does not permit it any more"
    );
    assert_eq!(listen(&mut b).await, "answer");
    assert_eq!(a.welcome["limits"]["window"], 512 * 1024);
    let c = connect(&host, "c").await;
    assert_eq!(c.welcome["limits"]["window"], 1024 * 1024);
    assert_eq!(c.welcome["limits"]["sockets"], 7);
    // An app without a manifest may do nothing new.
    fs::remove_file(files.path("apps/b.json")).expect("an existing file");
    host.reload(RELOADED, 2);
    assert_eq!(listen(&mut b).await, "error");
    connection.assert_works(&mut a).await;
    host.expect_success();
}

#[actix_rt::test]
async fn a_reload_keeps_the_manifests_of_clients_while_they_are_accepted() {
    let files = Files::new("dev = true\n");
    files.permit("a", "127.0.0.2", "");
    let mut host = files.host();
    let mut a = Client::connect(&host, "a").await;
    assert_eq!(
        listen(&mut a).await,
        "answer",
        "its own manifest permits everything"
    );
    host.reload(RELOADED, 1);
    assert_eq!(listen(&mut a).await, "answer");
    files.write("host.toml", "dev = false\n");
    host.reload(RELOADED, 2);
    assert_eq!(
        listen(&mut a).await,
        "error",
        "the host's manifest is in force"
    );
    files.write("host.toml", "dev = true\n");
    host.reload(RELOADED, 3);
    assert_eq!(
        listen(&mut a).await,
        "error",
        "until the client connects again"
    );
    host.expect_success();
}

#[actix_rt::test]
async fn an_invalid_reload_changes_nothing() {
    let files = Files::new("window = 512\n");
    files.permit("a", "", "");
    let mut host = files.host();
    let mut a = connect(&host, "a").await;
    let mut connection = Connection::open(&mut a).await;
    let refused = "not reloaded, nothing changes";
    files.write("host.toml", "window = 1024\n\nno-such-key = 1\n");
    host.reload(refused, 1);
    let line = host.0.program.stderr.line(refused);
    let place = format!("{}:3: no-such-key", files.path("host.toml"));
    assert!(line.contains(&place), "{line}");
    files.write("host.toml", "window = 1024\n");
    files.write("apps/b.json", "{");
    host.reload(&files.path("apps/b.json"), 1);
    fs::remove_file(files.path("host.toml")).expect("an existing file");
    host.reload("No such file", 1);
    connection.assert_works(&mut a).await;
    assert_eq!(listen(&mut a).await, "answer");
    assert_eq!(
        rejection(&host, json!({ "app": "b" })).await,
        "bad-manifest"
    );
    host.expect_success();
}

#[actix_rt::test]
async fn a_reload_reports_what_cannot_change_at_run_time() {
    let files = Files::new("write-quota = 3\n");
    files.permit("a", "", "");
    let mut host = files.host();
    let text = "write-quota = 4\nlog-format = \"json\"\nmetrics-listen = true\nmax-calls = 99\n";
    files.write("host.toml", text);
    host.reload(RELOADED, 1);
    let log = host.0.program.stderr.so_far();
    for name in ["write-quota", "log-format", "metrics-listen"] {
        let line = format!("{name} cannot change at run time");
        assert!(log.contains(&line), "{name}: {log}");
    }
    assert!(
        !log.contains(" listen cannot change"),
        "it is as before: {log}"
    );
    let a = connect(&host, "a").await;
    assert_eq!(a.welcome["limits"]["quota"], 3 << 20, "as at the start");
    assert_eq!(a.welcome["limits"]["calls"], 99);
    host.expect_success();
}

#[actix_rt::test]
async fn sigterm_waits_for_connections_and_then_ends() {
    let (host, metrics) = monitored(&["--dev"]);
    let mut client = Client::connect(&host, "a").await;
    let mut connection = Connection::open(&mut client).await;
    host.signal(Signal::TERM);
    not_ready(metrics).await;
    assert_eq!(get(metrics, "/healthz").await.0, 200);
    within("the end of the listener", async {
        while TcpStream::connect(host.address()).await.is_ok() {}
    })
    .await;
    connection.assert_works(&mut client).await;
    drop(connection);
    let last = within("the last frame", async {
        loop {
            // The event of the connection's end may come before the last frame.
            let frame = next(&mut client.socket).await.expect("a frame");
            if !frame["close"].is_null() {
                return frame;
            }
        }
    });
    assert_eq!(last.await["close"]["code"], "stopping");
    host.0.assert_success();
}

/// Waits until the host says that it drains.
async fn not_ready(metrics: SocketAddr) {
    within("the drain", async {
        while get(metrics, "/readyz").await != (503, "draining\n".to_owned()) {}
    })
    .await;
}

#[actix_rt::test]
async fn a_host_that_is_no_longer_ready_accepts_connections_for_the_drain_delay() {
    let (mut host, metrics) = monitored(&["--dev", "--drain-delay", "3600"]);
    let mut client = Client::connect(&host, "a").await;
    let (_, port) = client.listening_server(json!({})).await;
    host.signal(Signal::TERM);
    not_ready(metrics).await;
    // Clients of the gateway, and connections of an app.
    let other = Client::connect(&host, "b").await;
    let mut connection = Connection::open(&mut client).await;
    connection.assert_works(&mut client).await;
    TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a listener");
    assert_eq!(get(metrics, "/healthz").await.0, 200);
    // A second signal ends the delay, and there is no drain.
    host.signal(Signal::TERM);
    connection.assert_ends().await;
    other.disconnect();
    host.0.program.stderr.line("a second signal");
    host.0.assert_success();
}

#[actix_rt::test]
async fn the_drain_begins_after_the_drain_delay() {
    let (mut host, metrics) = monitored(&["--dev", "--drain-delay", "1"]);
    let mut client = Client::connect(&host, "a").await;
    let mut connection = Connection::open(&mut client).await;
    host.signal(Signal::TERM);
    host.0
        .program
        .stderr
        .line("connections are accepted for 1 s");
    host.0.program.stderr.line("draining: no new connections");
    within("the end of the listener", async {
        while TcpStream::connect(host.address()).await.is_ok() {}
    })
    .await;
    not_ready(metrics).await;
    connection.assert_works(&mut client).await;
    drop(connection);
    host.0.assert_success();
}

#[actix_rt::test]
async fn sigterm_ends_connections_at_the_deadline() {
    let mut host = Host::start(&["--dev", "--drain-deadline", "1"]);
    let mut client = Client::connect(&host, "a").await;
    let connection = Connection::open(&mut client).await;
    host.signal(Signal::TERM);
    connection.assert_ends().await;
    let line = host.0.program.stderr.line("drained: ");
    assert!(
        line.contains("0 connections ended by themselves, 1 at the deadline"),
        "{line}"
    );
    host.0.assert_success();
}

#[actix_rt::test]
async fn a_second_signal_ends_a_drain_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let mut host = Host::start(&["--dev", "--drain-deadline", "86400"]);
        let mut client = Client::connect(&host, "a").await;
        let connection = Connection::open(&mut client).await;
        host.signal(Signal::TERM);
        host.0.program.stderr.line("draining: ");
        host.signal(second);
        connection.assert_ends().await;
        host.0.assert_success();
    }
}

#[actix_rt::test]
async fn sigterm_ends_a_host_without_connections() {
    let host = Host::start(&["--dev", "--drain-deadline", "86400"]);
    let mut client = Client::connect(&host, "a").await;
    client.listening_server(json!({})).await;
    host.signal(Signal::TERM);
    assert_eq!(close_code(&mut client.socket).await, "stopping");
    host.0.assert_success();
}

/// The next message to the service manager.
fn notification(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = manager.recv(&mut buffer).expect("a message in time");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn the_service_manager_hears_of_the_start_reloads_and_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(LIMIT)).expect("a limit");
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--listen", "127.0.0.1:0", "--dev"]);
    command.env("NOTIFY_SOCKET", &path);
    let host = Host(Example::listening(Program::start(&mut command)));
    assert_eq!(notification(&manager).trim(), "READY=1");
    host.signal(Signal::HUP);
    let reloading = notification(&manager);
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(notification(&manager).trim(), "READY=1");
    host.signal(Signal::TERM);
    assert_eq!(notification(&manager).trim(), "STOPPING=1");
    host.0.assert_success();
}

/// Runs the program in a terminal. Sends SIGHUP, waits for the reload, closes the terminal, and prints
/// the exit code.
const TERMINAL: &str = r#"
import os, pty, signal, sys
process, terminal = pty.fork()
if process == 0:
    os.execv(sys.argv[1], sys.argv[1:])
# Not even a failed test leaves the host behind.
signal.signal(signal.SIGALRM, lambda *_: os.kill(process, signal.SIGKILL))
signal.alarm(30)
seen = b''
def wait(words):
    global seen
    while words not in seen:
        seen += os.read(terminal, 4096)
wait(b'Admin page')
os.kill(process, signal.SIGHUP)
wait(b'were read again')
os.close(terminal)
_, status = os.waitpid(process, 0)
print('exit code', os.waitstatus_to_exitcode(status))
"#;

#[test]
fn a_host_ends_with_its_terminal() {
    let mut python = Command::new("python3");
    python.args([
        "-c",
        TERMINAL,
        PROGRAM,
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--dev",
    ]);
    let Some(program) = Program::try_start(&mut python) else {
        left_out("python3 is not installed");
        return;
    };
    let ended = program.ended();
    let stdout = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(stdout, "exit code 0\n", "{}", ended.stderr);
}

#[test]
fn a_host_that_is_told_so_ends_with_its_standard_input() {
    for reads in [true, false] {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0"]);
        command.args(reads.then_some("--until-stdin-ends"));
        let mut program = Program::start(&mut command);
        let mut input = program.stdin();
        program.stdout.line("listening on ");
        // What it contains is not used.
        input.write_all(b"anything\n").expect("it is read, or fits");
        drop(input);
        if !reads {
            // Ended by the signal only.
            program.signal(Signal::INT);
        }
        let ended = program.ended();
        assert!(ended.status.success(), "{}", ended.stderr);
    }
}
