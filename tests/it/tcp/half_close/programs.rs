//! Programs that shut their writing side and wait for the answer, or answer after the other's end.

use std::net::SocketAddr;
use std::process::Command;

use support::process::Program;
use support::programs::has;

use super::*;

/// Prints what it receives until the end, after it has sent its input and shut its side.
const ASK: &str = r#"
import socket, sys
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
peer.sendall(b"a request")
peer.shutdown(socket.SHUT_WR)
while chunk := peer.recv(65536):
    sys.stdout.buffer.write(chunk)
"#;

/// Reads until the end, and answers then.
const ANSWER: &str = r#"
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
peer, _ = server.accept()
peer.settimeout(20)
got = b""
while chunk := peer.recv(65536):
    got += chunk
peer.sendall(got.upper())
peer.close()
"#;

async fn output(program: Program) -> Vec<u8> {
    let ended = tokio::task::spawn_blocking(|| program.ended());
    let ended = within("the program's end", ended).await.expect("no panic");
    assert!(ended.status.success(), "{}", ended.stderr);
    ended.stdout
}

/// Runs a client that sends `request` and shuts its side, and checks that it gets an answer that
/// was sent after the report of its end.
async fn expect_answer(start: impl FnOnce(SocketAddr) -> Program, request: &[u8]) {
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let program = start(at);
    let client = test.accepted().await;
    allow(&client).await;
    assert_eq!(test.received(client.id(), request.len()).await, request);
    assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
    let answer = pattern(1_000_000);
    let sent = client.send(answer.clone());
    let shut = client.shutdown_write();
    assert!(output(program).await == answer, "another answer came");
    assert!(within("the send", sent).await.is_ok());
    assert_eq!(within("the call", shut).await, Ok(()));
    assert_ended(&test.app, client.id()).await;
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn nc_gets_the_answer_to_what_it_sent_before_its_end() {
    if !has("nc", "-h", "-N") {
        return;
    }
    let nc = |at: SocketAddr| {
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        let mut nc = Program::start(Command::new("nc").args(["-N", &host, &port]));
        nc.feed(b"a request");
        nc
    };
    expect_answer(nc, b"a request").await;
}

#[actix_rt::test]
async fn python_gets_the_answer_to_what_it_sent_before_its_end() {
    if !has("python3", "--version", "Python 3.") {
        return;
    }
    let python = |at: SocketAddr| {
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        Program::start(Command::new("python3").args(["-c", ASK, &host, &port]))
    };
    expect_answer(python, b"a request").await;
}

#[actix_rt::test]
async fn nc_and_curl_that_wait_for_the_end_get_it_by_shutdown_write() {
    if !has("nc", "-h", "-N") || !has("curl", "--version", "http") {
        return;
    }
    for curl in [false, true] {
        let mut test = TestApp::new().await;
        let (_, at) = test.listen().await;
        let program = match curl {
            true => {
                let url = format!("http://{at}/");
                let args = ["-qsS", "--http0.9", "--max-time", "20", &url];
                Program::start(Command::new("curl").args(args))
            }
            false => {
                // Without `-N`: it keeps its side open.
                let script = format!("printf x | nc {} {}", at.ip(), at.port());
                Program::start(Command::new("sh").args(["-c", &script]))
            }
        };
        let client = test.accepted().await;
        allow(&client).await;
        let begin: &[u8] = if curl { b"GET / " } else { b"x" };
        let support::ListenerEvent::Receive(_, data) = test.next().await else {
            panic!("expected the request");
        };
        assert!(data.starts_with(begin), "{data:?}");
        let answer = pattern(100_000);
        let sent = client.send(answer.clone());
        let shut = client.shutdown_write();
        assert!(output(program).await == answer, "another answer came");
        assert!(within("the send", sent).await.is_ok());
        assert_eq!(within("the call", shut).await, Ok(()));
        // Its own end comes last.
        assert_eq!(test.ended(client.id()).await, NetError::CONNECTION_CLOSED);
        assert_ended(&test.app, client.id()).await;
    }
}

#[actix_rt::test]
async fn a_server_that_answers_at_the_end_of_the_request_is_asked_by_shutdown_write() {
    if !has("python3", "--version", "Python 3.") {
        return;
    }
    let mut test = TestApp::new().await;
    let started = tokio::task::spawn_blocking(|| {
        let mut program = Program::start(Command::new("python3").args(["-c", ANSWER]));
        let port: i32 = program.stdout.line("").trim().parse().expect("a port");
        (program, port)
    });
    let (program, port) = within("the server", started).await.expect("no panic");
    let id = test.create().await;
    let tcp = test.app.tcp.clone();
    let connecting = tcp.connect(id, "127.0.0.1", port, Default::default());
    connecting.await.expect("connect");
    tcp.send(id, &b"a request"[..]).await.expect("send");
    tcp.shutdown_write(id).await.expect("it is connected");
    assert_eq!(test.received(id, 9).await, b"A REQUEST");
    assert_eq!(test.ended(id).await, NetError::CONNECTION_CLOSED);
    assert_ended(&test.app, id).await;
    output(program).await;
}
