//! Programs at the other end: socat, curl, nc and Python, as clients and as servers.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use chrome_sockets::tcp::SocketProperties;
use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
use support::process::Program;
use support::programs::{has, left_out};
use support::{ListenerEvent, until};

use super::*;

async fn output(program: Program) -> Vec<u8> {
    let ended = tokio::task::spawn_blocking(|| program.ended());
    let ended = within("the program's end", ended).await.expect("no panic");
    assert!(ended.status.success(), "{}", ended.stderr);
    ended.stdout
}

/// Starts a client of a new server socket. Checks that its input arrives, up to its end, and that
/// it gets the answer and an orderly end.
async fn expect_answer(start: impl FnOnce(&Path) -> Program) {
    const REQUEST: &[u8] = b"a request\n";
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    let mut program = start(&folder.path());
    let client = test.accepted().await;
    let half_open = SocketProperties {
        allow_half_open: Some(true),
        ..Default::default()
    };
    client.update(half_open).await.expect("update");
    client.set_paused(false).await.expect("resume");
    let credentials = client.get_info().await.expect("info").peer_credentials;
    let pid = credentials.expect("Linux tells them").pid;
    assert_eq!(pid, Some(program.id()));
    program.feed(REQUEST);
    assert_eq!(test.received(client.id(), REQUEST.len()).await, REQUEST);
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    let answer = pattern(1_000_000);
    let sent = client.send(answer.clone());
    let shut = client.shutdown_write();
    assert!(output(program).await == answer, "another answer came");
    sent.await.expect("sent");
    shut.await.expect("shut");
}

#[actix_rt::test]
async fn socat_is_a_client() {
    if !has("socat", "-h", "unix-connect") {
        return;
    }
    expect_answer(|path| {
        let to = format!("UNIX-CONNECT:{}", path.display());
        Program::start(Command::new("socat").args(["-t20", "-", &to]))
    })
    .await;
}

#[actix_rt::test]
async fn nc_is_a_client() {
    if !has("nc", "-h", "-U") {
        return;
    }
    // `-N` shuts the writing side at the end of the input.
    expect_answer(|path| Program::start(Command::new("nc").args(["-N", "-U"]).arg(path))).await;
}

#[actix_rt::test]
async fn python_is_a_client() {
    const CLIENT: &str = r#"
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(20)
peer.connect(sys.argv[1])
peer.sendall(sys.stdin.buffer.readline())
peer.shutdown(socket.SHUT_WR)
while chunk := peer.recv(65536):
    sys.stdout.buffer.write(chunk)
"#;
    if !has("python3", "--help", "usage") {
        return;
    }
    expect_answer(|path| Program::start(Command::new("python3").args(["-c", CLIENT]).arg(path)))
        .await;
}

#[actix_rt::test]
async fn curl_gets_a_page() {
    if !has("curl", "--help", "--help") {
        return;
    }
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--unix-socket",
    ]);
    command.arg(folder.path()).arg("http://localhost/page");
    let program = Program::start(&mut command);
    let client = test.accepted().await;
    client.set_paused(false).await.expect("resume");
    match test.next().await {
        ListenerEvent::Receive(_, request) => assert_eq!(&request[..14], b"GET /page HTTP"),
        other => panic!("expected a request, not {other:?}"),
    }
    let body = pattern(300_000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send(head).await.expect("sent");
    let sent = client.send(body.clone());
    assert!(output(program).await == body, "another page came");
    sent.await.expect("sent");
}

/// Connects to a server that answers in capitals what it has received before the end.
async fn expect_capitals(start: impl FnOnce(&Path) -> Program) {
    let folder = Folder::new();
    let path = folder.path();
    let mut test = TestApp::new().await;
    let program = start(&path);
    until("the server's file", || path.exists()).await;
    let id = test.create().await;
    let tcp = &test.app.tcp;
    within("the connection", async {
        // The file is there before the server listens.
        while tcp.connect_unix(id, &path).await == Err(NetError::CONNECTION_REFUSED.into()) {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
    let info = tcp.get_info(id).await.expect("info");
    assert!(
        info.connected && info.peer_credentials.is_some(),
        "{info:?}"
    );
    tcp.send(id, &b"a request\n"[..]).await.expect("sent");
    tcp.shutdown_write(id).await.expect("shut");
    assert_eq!(test.received(id, 10).await, b"A REQUEST\n");
    assert_eq!(test.ended(id).await, NetError::CONNECTION_CLOSED);
    output(program).await;
}

#[actix_rt::test]
async fn socat_is_a_server() {
    if !has("socat", "-h", "unix-listen") {
        return;
    }
    expect_capitals(|path| {
        let at = format!("UNIX-LISTEN:{}", path.display());
        let capitals = "SYSTEM:tr a-z A-Z";
        Program::start(Command::new("socat").args(["-t20", &at, capitals]))
    })
    .await;
}

#[actix_rt::test]
async fn python_is_a_server() {
    const SERVER: &str = r#"
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
peer, _ = server.accept()
peer.settimeout(20)
got = b""
while chunk := peer.recv(65536):
    got += chunk
peer.sendall(got.upper())
peer.close()
"#;
    if !has("python3", "--help", "usage") {
        return;
    }
    expect_capitals(|path| Program::start(Command::new("python3").args(["-c", SERVER]).arg(path)))
        .await;
}

/// Connects as another user, waits for the end, and prints what it has met.
const OTHER_USER: &str = r#"
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(20)
try:
    peer.connect(sys.argv[1])
    print("connected", flush=True)
    peer.recv(1)
    print("ended", flush=True)
except PermissionError:
    print("denied", flush=True)
"#;

#[actix_rt::test]
async fn another_user_needs_rights_of_the_file_and_counts_as_another_peer() {
    if !has("python3", "--help", "usage") {
        return;
    }
    if !rustix::process::getuid().is_root() {
        return left_out("only root can be another user");
    }
    let folder = Folder::new();
    let path = folder.path();
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.0.path(), all).expect("set");
    let start = || {
        let mut command = Command::new("python3");
        Program::start(command.args(["-c", OTHER_USER]).arg(&path))
    };
    let mut test = TestApp::new().await;
    let server = test.app.tcp_server.clone();
    let id = create(&test).await;
    server
        .listen_unix(id, &path, Some(0o600), None)
        .await
        .expect("listen");
    assert_eq!(output(start()).await, b"denied\n");
    server.disconnect(id).await.expect("disconnect");

    let limits = Limits {
        per_peer: Some(Limit {
            most: 1,
            then: AtLimit::Close,
        }),
        ..Limits::default()
    };
    server.set_limits(id, limits).await.expect("set");
    server
        .listen_unix(id, &path, Some(0o666), None)
        .await
        .expect("listen");
    let (_root, _peer) = pair(&mut test, &path).await;
    let other = start();
    let client = test.accepted().await;
    let credentials = client.get_info().await.expect("info").peer_credentials;
    let credentials = credentials.expect("Linux tells them");
    assert_eq!((credentials.uid, credentials.gid), (65534, 65534));
    assert_eq!(credentials.pid, Some(other.id()));
    // A second one of that user is one too many.
    assert_eq!(output(start()).await, b"connected\nended\n");
    client.close().await.expect("close");
    assert_eq!(output(other).await, b"connected\nended\n");
}

#[actix_rt::test]
async fn a_process_that_is_killed_leaves_a_file_that_the_next_one_replaces() {
    const SERVER: &str = r#"
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("listening", flush=True)
sys.stdin.read()
"#;
    if !has("python3", "--help", "usage") {
        return;
    }
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let mut command = Command::new("python3");
    let mut program = Program::start(command.args(["-c", SERVER]).arg(folder.path()));
    program.stdout.line("listening");
    assert_in_use(&test, folder.path()).await;
    program.signal(rustix::process::Signal::KILL);
    program.ended();
    assert_eq!(folder.names(), ["s"]);
    listen(&test, folder.path()).await;
    expect_service(&mut test, &folder.path()).await;
}
