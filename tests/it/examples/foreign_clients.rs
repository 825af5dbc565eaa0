//! Other programs as clients of `echo_server`.

use std::net::SocketAddr;
use std::process::Command;

use support::process::{Example, Program};
use support::programs::has;

use super::{MIB, block, dial, echo_line};

fn proof_of_life(server: Example) {
    echo_line(&dial(server.address), "proof of life");
    server.expect_success();
}

const PYTHON_CLIENT: &str = r#"
import random, socket, sys, threading

LENGTH = 64 * 1024 * 1024
# A prime length, so that no chunk of the stream is like another.
BLOCK = random.Random(7).randbytes(1048573)

def part(start, length):
    at = start % len(BLOCK)
    return (BLOCK[at:] + BLOCK)[:length] if length <= len(BLOCK) else None

def send(client):
    sent = 0
    while sent < LENGTH:
        chunk = part(sent, min(100000, LENGTH - sent))
        client.sendall(chunk)
        sent += len(chunk)
    client.shutdown(socket.SHUT_WR)

client = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
threading.Thread(target=send, args=(client,), daemon=True).start()
got = 0
while chunk := client.recv(65536):
    if chunk != part(got, len(chunk)):
        sys.exit(f"wrong bytes between {got} and {got + len(chunk)}")
    got += len(chunk)
print(f"{got} bytes came back")
"#;

#[test]
fn a_python_client_gets_all_of_64_mib_back() {
    if !has("python3", "--version", "Python 3.") {
        return;
    }
    let server = Example::echo();
    let (host, port) = host_and_port(server.address);
    let client = Program::start(Command::new("python3").args(["-c", PYTHON_CLIENT, &host, &port]));
    let ended = client.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    let output = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(output, format!("{} bytes came back\n", 64 * MIB));
    proof_of_life(server);
}

#[test]
fn nc_gets_back_8_mib() {
    if !has("nc", "-h", "-N") {
        return;
    }
    let server = Example::echo();
    let (host, port) = host_and_port(server.address);
    let mut nc = Program::start(Command::new("nc").args(["-N", &host, &port]));
    let data: &'static [u8] = block().repeat(8).leak();
    nc.feed(&data[..8 * MIB]);
    let ended = nc.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.stdout.len(), 8 * MIB);
    assert!(ended.stdout == data[..8 * MIB], "other bytes came back");
    proof_of_life(server);
}

#[test]
fn curl_telnet_gets_its_lines_back() {
    if !has("curl", "--version", "telnet") {
        return;
    }
    let server = Example::echo();
    let url = format!("telnet://{}", server.address);
    // -q: without the user's own settings; -N: unbuffered.
    let mut curl = Program::start(Command::new("curl").args(["-qsN", "--max-time", "20", &url]));
    let lines: String = (0..10_000)
        .map(|i| format!("line {i} of what was typed\n"))
        .collect();
    let lines: &'static str = lines.leak();
    // curl reads its input before it polls the connection, so the input has to end; curl itself
    // ends when the server closes the connection.
    curl.feed(lines.as_bytes());
    assert!(
        curl.stdout.bytes(lines.len()) == lines.as_bytes(),
        "other lines came back"
    );
    proof_of_life(server);
    let ended = curl.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.stdout == lines.as_bytes(), "more came than was sent");
}

fn host_and_port(address: SocketAddr) -> (String, String) {
    (address.ip().to_string(), address.port().to_string())
}
