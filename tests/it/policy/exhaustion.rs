//! A process that is really out of descriptors, under the policy to shed.
//!
//! It is this test's own binary, started again with few descriptors; the two
//! talk in lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use chrome_sockets::tcp_server::{AcceptAction, AcceptPolicy};
use tokio::sync::mpsc::unbounded_channel;

use crate::support::{Heard, LIMIT, World};

/// Says that this process is the one with few descriptors.
const PART: &str = "CHROME_SOCKETS_FEW_DESCRIPTORS";

const MARK: &str = "exhausted: ";
const CLIENTS: usize = 60;

/// Gives every client one byte, and tells at the end what it has counted.
async fn play() {
    let mut world = World::new().await;
    let (id, at) = world.listen().await;
    let server = world.app.tcp_server.clone();
    let policy = AcceptPolicy {
        resources: AcceptAction::Shed,
        ..Default::default()
    };
    let set = server.set_accept_policy(id, policy).await;
    set.expect("a descriptor in reserve");
    println!("{MARK}{at}");
    let (over, mut end) = unbounded_channel();
    thread::spawn(move || {
        let _ = over.send(std::io::stdin().lines().next().is_some());
    });
    loop {
        tokio::select! {
            heard = world.next() => match heard {
                Heard::Accept(_, client) => {
                    client.set_paused(false);
                    client.send(&b"x"[..]);
                }
                Heard::ReceiveError(client, _) => {
                    world.app.tcp.close(client);
                }
                _ => {}
            },
            _ = end.recv() => break,
        }
    }
    let counts = server.get_info(id).await.expect("it listens").counts;
    let (accepted, delivered) = (counts.accepted, counts.delivered);
    println!("{MARK}{accepted} {delivered} {}", counts.refused);
}

struct Server {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn line(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.lines.read_line(&mut line).expect("its output");
            assert!(read > 0, "the child has said all: {:?}", self.child.wait());
            // The harness may have begun the line.
            if let Some((_, said)) = line.split_once(MARK) {
                return said.trim().to_owned();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is over already, unless this test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection, if it is served.
fn served(at: SocketAddr) -> Option<TcpStream> {
    let mut client = TcpStream::connect_timeout(&at, LIMIT).expect("connect");
    client.set_read_timeout(Some(LIMIT)).expect("an option");
    match client.read(&mut [0]) {
        Ok(1) => Some(client),
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("neither served nor closed: {error}"),
    }
}

#[actix_rt::test]
async fn of_60_clients_those_that_40_descriptors_cannot_serve_are_shed_and_none_waits() {
    if std::env::var_os(PART).is_some() {
        return play().await;
    }
    let mut child = Command::new("sh")
        .args(["-c", r#"ulimit -n 40; exec "$0" "$@""#])
        .arg(std::env::current_exe().expect("a test has a binary"))
        .arg("policy::exhaustion::of_60_clients_those_that_40_descriptors_cannot_serve_are_shed_and_none_waits")
        .args(["--exact", "--nocapture"])
        .env(PART, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts again");
    let lines = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut server = Server { child, lines };
    let at: SocketAddr = server.line().parse().expect("an address");

    let mut clients: Vec<TcpStream> = (0..CLIENTS).filter_map(|_| served(at)).collect();
    let first = clients.len();
    assert!(first > 0 && first < 40, "{first} were served");
    for client in &mut clients {
        client.set_nonblocking(true).expect("a mode");
        let more = client.peek(&mut [0]).map_err(|error| error.kind());
        assert_eq!(more, Err(std::io::ErrorKind::WouldBlock), "it lives on");
    }
    drop(clients);
    // Proof of life: as soon as their descriptors are free.
    let until = Instant::now() + LIMIT;
    let mut shed = CLIENTS - first;
    while served(at).is_none() {
        shed += 1;
        assert!(Instant::now() < until, "nobody is served any more");
    }
    let stdin = server.child.stdin.as_mut().expect("it is piped");
    stdin.write_all(b"over\n").expect("it listens");
    let all = first + shed + 1;
    assert_eq!(server.line(), format!("{all} {} {shed}", first + 1));
}
