//! What is built on streams, with programs as peers.

use std::net::SocketAddr;
use std::process::Command;

use futures::{SinkExt, StreamExt};
use support::process::Program;
use support::programs::has;
use tokio_util::codec::{Framed, LinesCodec};

use super::*;

/// Sends random bytes, reads the echo slowly at first, and prints whether it is the same.
const ECHO: &str = r#"
import os, socket, sys, threading, time
data = os.urandom(10_000_000)
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
def send():
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
sender = threading.Thread(target=send)
sender.start()
got, reads = [], 0
while chunk := peer.recv(65536):
    got.append(chunk)
    reads += 1
    if reads < 50:
        time.sleep(0.01)
sender.join()
print("same" if b"".join(got) == data else "different", flush=True)
"#;

async fn output(program: Program) -> Vec<u8> {
    let ended = tokio::task::spawn_blocking(|| program.ended());
    let ended = within("the program's end", ended).await.expect("no panic");
    assert!(ended.status.success(), "{}", ended.stderr);
    ended.stdout
}

/// Accepts the client of a program, and serves it in a task.
async fn serve<F>(
    program: impl FnOnce(SocketAddr) -> Program,
    server: impl FnOnce(ClientStream) -> F,
) -> Vec<u8>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let mut test = TestApp::new().await;
    let (_, at) = test.listen().await;
    let program = program(at);
    let stream = into_stream(test.accepted().await).await;
    let serving = actix_rt::spawn(server(stream));
    let output = output(program).await;
    let served = within("the server's end", serving).await.expect("no panic");
    served.expect("it serves");
    test.expect_no_event().await;
    output
}

fn nc(args: &[&str], at: SocketAddr, input: &'static [u8]) -> Program {
    let (host, port) = (at.ip().to_string(), at.port().to_string());
    let mut nc = Program::start(Command::new("nc").args(args).args([&host, &port]));
    nc.feed(input);
    nc
}

fn python(script: &str, at: SocketAddr) -> Program {
    let (host, port) = (at.ip().to_string(), at.port().to_string());
    Program::start(Command::new("python3").args(["-c", script, &host, &port]))
}

#[actix_rt::test]
async fn framed_speaks_lines_with_nc() {
    if !has("nc", "-h", "-N") {
        return;
    }
    let start = |at| nc(&["-N"], at, b"one\ntwo\r\nthe third, without an end");
    let output = serve(start, |stream| async move {
        let mut lines = Framed::new(stream, LinesCodec::new());
        while let Some(line) = lines.next().await {
            let line = line.map_err(io::Error::other)?;
            let sent = lines.send(line.to_uppercase()).await;
            sent.map_err(io::Error::other)?;
        }
        Ok(())
    });
    assert_eq!(output.await, b"ONE\nTWO\nTHE THIRD, WITHOUT AN END\n");
}

#[actix_rt::test]
async fn nc_that_has_shut_its_side_gets_the_whole_answer() {
    if !has("nc", "-h", "-N") {
        return;
    }
    let output = serve(
        |at| nc(&["-N"], at, b"a request"),
        |mut stream| async move {
            let mut request = Vec::new();
            stream.read_to_end(&mut request).await?;
            assert_eq!(request, b"a request");
            stream.write_all(&pattern(1_000_000)).await?;
            stream.shutdown().await
        },
    );
    assert!(output.await == pattern(1_000_000), "another answer came");
}

#[actix_rt::test]
async fn copy_echoes_ten_megabytes_to_a_slow_reader() {
    if !has("python3", "--version", "Python 3.") {
        return;
    }
    let output = serve(
        |at| python(ECHO, at),
        |stream| async move {
            let (mut reads, mut writes) = tokio::io::split(stream);
            let copied = tokio::io::copy(&mut reads, &mut writes).await?;
            assert_eq!(copied, 10_000_000);
            writes.shutdown().await
        },
    );
    assert_eq!(output.await, b"same\n");
}

#[actix_rt::test]
async fn copy_bidirectional_is_a_proxy() {
    if !has("python3", "--version", "Python 3.") {
        return;
    }
    // python, the proxy's client socket, the proxy's own connection, the echo.
    let mut test = TestApp::new().await;
    let (server, at) = test.listen().await;
    let (_, echo_at) = test.listen().await;
    let program = python(ECHO, at);
    let mut client = into_stream(test.accepted().await).await;
    let id = test.create().await;
    super::super::connect_to(&test.app, id, echo_at)
        .await
        .expect("connect");
    let outbound = test.app.tcp.socket(id).await.expect("it exists");
    let mut outbound = into_stream(outbound).await;
    let echoing = into_stream(test.accepted().await).await;
    let echoing = actix_rt::spawn(async move {
        let (mut reads, mut writes) = tokio::io::split(echoing);
        tokio::io::copy(&mut reads, &mut writes).await?;
        writes.shutdown().await
    });
    let proxying =
        actix_rt::spawn(
            async move { tokio::io::copy_bidirectional(&mut client, &mut outbound).await },
        );
    assert_eq!(output(program).await, b"same\n");
    let copied = within("the proxy's end", proxying).await.expect("no panic");
    assert_eq!(copied.expect("both ways"), (10_000_000, 10_000_000));
    let echoed = within("the echo's end", echoing).await.expect("no panic");
    echoed.expect("an echo");
    test.app.tcp_server.close(server).await.expect("it is open");
    test.expect_no_event().await;
}

#[actix_rt::test]
async fn curl_gets_a_page_and_a_body_back() {
    if !has("curl", "--version", "http") {
        return;
    }
    let start = |at| {
        let url = format!("http://{at}/");
        let args = ["-qsS", "--max-time", "20", "--data", "some text", &url];
        Program::start(Command::new("curl").args(args))
    };
    let output = serve(start, |mut stream| async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\nsome text") {
            assert!(stream.read_buf(&mut request).await? > 0);
        }
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome text";
        stream.write_all(answer).await
    });
    assert_eq!(output.await, b"some text");
}
