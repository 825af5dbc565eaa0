//! Other programs as peers.

use std::process::Command;

use actix::prelude::*;
use chrome_sockets::udp::ReceiveInfo;
use support::process::Program;
use support::programs::has;
use support::{TestApp, within};

use super::{bind_to, bound, expect_alive, received};

/// Sends each datagram back.
struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let (socket, to) = (info.socket().clone(), info.remote_addr());
        socket
            .try_send_to(info.into_data(), to)
            .expect("the quota is free");
    }
}

const PYTHON_CLIENT: &str = r#"
import random, socket, sys

family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
client = socket.socket(family, socket.SOCK_DGRAM)
client.settimeout(20)
at = (sys.argv[1], int(sys.argv[2]))
source = random.Random(7)
sizes = [0, 1, 1472, 1473, 4096] + [source.randrange(4097) for _ in range(2000)]
for size in sizes:
    data = source.randbytes(size)
    client.sendto(data, at)
    answer, sender = client.recvfrom(65536)
    if answer != data or sender[:2] != at:
        sys.exit(f"{len(answer)} bytes from {sender} instead of {size}")
print(f"{len(sizes)} datagrams came back")
"#;

#[actix_rt::test]
async fn a_python_client_gets_every_datagram_back() {
    if !has("python3", "--version", "Python 3.") {
        return;
    }
    let mut test = TestApp::new().await;
    for address in ["127.0.0.1", "::1"] {
        if address == "::1" && tokio::net::UdpSocket::bind("[::1]:0").await.is_err() {
            continue;
        }
        let (id, at) = bind_to(&test, address).await;
        test.remove_listener().await;
        let echo = Echo.start().recipient();
        let added = test.app.udp.on_receive.add_listener(echo.clone()).await;
        added.expect("it runs");
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        let ended = tokio::task::spawn_blocking(move || {
            let mut python = Command::new("python3");
            Program::start(python.args(["-c", PYTHON_CLIENT, &host, &port])).ended()
        });
        let ended = ended.await.expect("it runs");
        assert!(ended.status.success(), "{}", ended.stderr);
        let output = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert_eq!(output, "2005 datagrams came back\n");
        let removed = test.app.udp.on_receive.remove_listener(echo).await;
        removed.expect("it runs");
        support::subscribe(&test.app, &test.listener)
            .await
            .expect("it runs");
        if address == "127.0.0.1" {
            expect_alive(&mut test, id).await;
        }
        test.app.udp.set_paused(id, true).await.expect("paused");
        test.app.udp.close(id).await.expect("close");
    }
}

#[actix_rt::test]
async fn nc_sends_lines_and_gets_an_answer() {
    if !has("nc", "-h", "-u") {
        return;
    }
    let mut test = TestApp::new().await;
    let (id, at) = bound(&test).await;
    let port = at.port().to_string();
    let mut nc = Program::start(Command::new("nc").args(["-u", "-w", "20", "127.0.0.1", &port]));
    nc.feed(b"hello from nc\n");
    let (data, from) = received(&mut test, id).await;
    assert_eq!(data, b"hello from nc\n");
    let socket = test.app.udp.socket(id).await.expect("it exists");
    socket.send_to("hello nc\n", from).await.expect("sent");
    let answered = tokio::task::spawn_blocking(move || nc.stdout.line("hello nc"));
    within("the answer", answered).await.expect("it runs");
    expect_alive(&mut test, id).await;
}
