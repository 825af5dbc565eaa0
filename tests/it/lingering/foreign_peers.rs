//! Other programs as peers of connections that are closed with unread input. What they receive
//! is compared byte by byte.

use std::net::SocketAddr;
use std::process::Command;

use bytes::Bytes;
use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::{Registry, tcp_server};
use support::process::Program;
use support::programs::has;
use support::{TestApp, within};

use crate::tls::certificates::Authority;

/// What the server sends, without repeated blocks.
pub fn content(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Does what its third argument says, reads until the end, and prints how much it received and
/// how the connection ended.
const PEER: &str = r#"
import socket, ssl, struct, sys, time

host, port, tls, act = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "tls", sys.argv[4]
peer = socket.socket()
if act == "slow":
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
peer.settimeout(20)
peer.connect((host, port))
if tls:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    peer = context.wrap_socket(peer, suppress_ragged_eofs=False)
request = b"GET / HTTP/1.0\r\n\r\n"
if act == "body":
    request += b"b" * 600000
peer.sendall(request)
if act == "half":
    peer.shutdown(socket.SHUT_WR)
print("asked", flush=True)
got = bytearray()
end = "end"
started = time.monotonic()
late = 0
if act == "later":
    # Until the server has closed.
    sys.stdin.readline()
if act == "writes":
    # It goes on writing, and reads nothing meanwhile.
    for _ in range(50):
        try:
            peer.sendall(b"w" * 4000)
        except OSError as error:
            end = f"write: {error}"
            break
        time.sleep(0.01)
try:
    while True:
        if act == "slow" and time.monotonic() - started < 3:
            time.sleep(0.2)
            chunk = peer.recv(1024)
        else:
            chunk = peer.recv(65536)
        if not chunk:
            break
        got += chunk
        if act == "late" and late < 20:
            # Input that comes while it is served, and after the close.
            late += 1
            peer.sendall(b"late")
except OSError as error:
    end = f"read: {error}"
wanted = (bytes(range(251)) * (len(got) // 251 + 1))[:len(got)]
print(len(got), "right" if got == wanted else "wrong", end, flush=True)
"#;

fn python() -> bool {
    has("python3", "--version", "Python 3.")
}

/// Starts the peer, and waits until it has sent its part.
fn peer(at: SocketAddr, tls: bool, act: &str) -> Program {
    let port = at.port().to_string();
    let tls = if tls { "tls" } else { "plain" };
    let host = at.ip().to_string();
    Program::start(Command::new("python3").args(["-c", PEER, &host, &port, tls, act]))
}

async fn blocking<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let work = tokio::task::spawn_blocking(work);
    within(what, work).await.expect("no panic")
}

async fn wait_for_request(mut program: Program) -> Program {
    blocking("the request", move || {
        program.stdout.line("asked");
        program
    })
    .await
}

/// Checks that the peer received everything, and a clean end.
async fn expect_everything(program: Program, length: usize, what: &str) {
    let ended = blocking("its end", || program.ended()).await;
    let output = String::from_utf8_lossy(&ended.stdout).into_owned();
    let last = output.lines().last().unwrap_or_default().to_owned();
    assert_eq!(
        last,
        format!("{length} right end"),
        "{what}: {}",
        ended.stderr
    );
}

/// A test app whose server socket encrypts if `tls` is set.
async fn serve(tls: bool) -> (TestApp, SocketAddr) {
    let test = TestApp::on(Registry::new()).await;
    let (id, at) = test.listen().await;
    if tls {
        let server = Authority::new().issue("localhost").server();
        let set = test.app.tcp_server.set_tls(id, Some(server));
        set.await.expect("it exists");
    }
    (test, at)
}

#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Disconnect,
}

impl End {
    async fn of(self, client: &ClientSocket) {
        match self {
            End::Close => client.close().await.expect("it is open"),
            End::Disconnect => client.disconnect().await.expect("it is open"),
        }
    }
}

const MANY: usize = 3_000_000;

async fn check_delivery(tls: bool, end: End, act: &str, length: usize) {
    let (mut test, at) = serve(tls).await;
    check_delivery_to(&mut test, at, tls, end, act, length).await;
}

async fn check_delivery_to(
    test: &mut TestApp,
    at: SocketAddr,
    tls: bool,
    end: End,
    act: &str,
    length: usize,
) {
    let program = peer(at, tls, act);
    let client = test.accepted().await;
    let program = wait_for_request(program).await;
    let sent = client.send(content(length));
    end.of(&client).await;
    let sent = within("the answer", sent);
    let what = format!("tls: {tls}, {end:?}, {act}");
    let (sent, ()) = tokio::join!(sent, expect_everything(program, length, &what));
    assert_eq!(sent.map(|sent| sent.bytes_sent), Ok(length), "{what}");
}

#[actix_rt::test]
async fn three_megabytes_sent_before_a_close_with_unread_input_always_arrive() {
    if !python() {
        return;
    }
    for tls in [false, true] {
        let (mut test, at) = serve(tls).await;
        for turn in 0..10 {
            let end = if turn % 2 == 0 {
                End::Close
            } else {
                End::Disconnect
            };
            check_delivery_to(&mut test, at, tls, end, "reads", MANY).await;
        }
    }
}

#[actix_rt::test]
async fn a_peer_that_reads_only_after_the_close_gets_everything() {
    if !python() {
        return;
    }
    for tls in [false, true] {
        let (mut test, at) = serve(tls).await;
        let program = peer(at, tls, "later");
        let client = test.accepted().await;
        let mut program = wait_for_request(program).await;
        client.send(content(50_000)).await.expect("it is sent");
        client.close().await.expect("it is open");
        program.feed(b"read now\n");
        expect_everything(program, 50_000, "later").await;
    }
}

#[actix_rt::test]
async fn a_peer_that_reads_five_kilobytes_a_second_gets_everything() {
    if python() {
        check_delivery(false, End::Close, "slow", 400_000).await;
    }
}

#[actix_rt::test]
async fn a_peer_that_continues_to_write_gets_everything() {
    if !python() {
        return;
    }
    for tls in [false, true] {
        check_delivery(tls, End::Close, "writes", 300_000).await;
        check_delivery(tls, End::Disconnect, "late", 300_000).await;
    }
}

#[actix_rt::test]
async fn a_peer_whose_body_is_not_read_gets_everything() {
    if !python() {
        return;
    }
    for tls in [false, true] {
        check_delivery(tls, End::Close, "body", MANY).await;
    }
}

#[actix_rt::test]
async fn a_peer_that_has_shut_its_writing_side_gets_everything() {
    if python() {
        check_delivery(false, End::Close, "half", MANY).await;
        check_delivery(false, End::Disconnect, "half", MANY).await;
    }
}

#[actix_rt::test]
async fn curl_gets_the_whole_response_to_an_upload_that_is_not_read() {
    if !has("curl", "--version", "http") {
        return;
    }
    let (mut test, at) = serve(false).await;
    let url = format!("http://{at}/");
    let body = "b".repeat(100_000);
    let mut curl = Command::new("curl");
    curl.args([
        "-qsS",
        "--max-time",
        "20",
        "-H",
        "Expect:",
        "--data",
        &body,
        &url,
    ]);
    let program = Program::start(&mut curl);
    let client = test.accepted().await;
    let head = format!("HTTP/1.0 413 Too Large\r\nContent-Length: {MANY}\r\n\r\n");
    let sent = [client.send(head), client.send(content(MANY))];
    client.close().await.expect("it is open");
    let ended = blocking("curl's end", || program.ended()).await;
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(
        ended.stdout == content(MANY),
        "{} bytes",
        ended.stdout.len()
    );
    for sent in sent {
        within("the answer", sent).await.expect("it is sent");
    }
}

#[actix_rt::test]
async fn a_client_that_a_full_server_refuses_with_a_message_gets_the_message() {
    if !python() {
        return;
    }
    for tls in [false, true] {
        let (mut test, at) = serve(tls).await;
        for _ in 0..5 {
            check_delivery_to(&mut test, at, tls, End::Close, "reads", 32).await;
        }
    }
}

#[actix_rt::test]
async fn a_client_closed_at_a_limit_sees_a_clean_end() {
    if !python() {
        return;
    }
    let mut test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let limits = tcp_server::Limits {
        connections: Some(tcp_server::Limit {
            most: 1,
            then: tcp_server::AtLimit::Close,
        }),
        ..Default::default()
    };
    let set = test.app.tcp_server.set_limits(id, limits);
    set.await.expect("valid limits");
    let _first = std::net::TcpStream::connect(at).expect("it listens");
    let _client = test.accepted().await;
    // Its request arrives before it is refused, because the server socket is paused.
    let server = &test.app.tcp_server;
    server.set_paused(id, true).await.expect("it is open");
    let program = wait_for_request(peer(at, false, "reads")).await;
    server.set_paused(id, false).await.expect("it is open");
    expect_everything(program, 0, "refused").await;
}
