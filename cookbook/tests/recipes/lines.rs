//! The line protocol.

use support::process::Example;

use crate::{ANY_PORT, nc, python_prints, recipe};

fn start() -> Example {
    recipe!("lines", ANY_PORT)
}

#[test]
fn lines_are_answered_in_order_also_in_pieces_and_without_a_last_newline() {
    let server = start();
    let replies = nc(server.address, "SET a 1 2\r\nGET a\nGET b\nnonsense\nGET a");
    let usage = "ERROR expected GET key, or SET key value";
    assert_eq!(
        replies,
        format!("OK\nVALUE 1 2\nNONE\n{usage}\nVALUE 1 2\n")
    );
    let printed = python_prints(
        r#"
import socket, sys
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
f = c.makefile("r")
for _ in range(3):
    for byte in b"GET a\n":
        c.sendall(bytes([byte]))
    print(f.readline(), end="")
"#,
        server.address.port(),
    );
    assert_eq!(printed, "VALUE 1 2\n".repeat(3));
    server.expect_success();
}

#[test]
fn a_line_without_end_closes_only_its_own_connection() {
    let server = start();
    python_prints(
        r#"
import socket, sys
def connect():
    return socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
other, hostile = connect(), connect()
try:
    while True:
        hostile.sendall(b"x" * 65536)
except ConnectionError:
    pass
other.sendall(b"GET a\n")
assert other.recv(100) == b"NONE\n"
"#,
        server.address.port(),
    );
    server.expect_success();
}

/// Its replies have no room, so its requests are not read.
#[test]
fn a_client_that_does_not_read_its_replies_is_not_read() {
    let server = start();
    let printed = python_prints(
        r#"
import select, socket, sys
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
request, reply = b"GET a\n" * 10000, b"NONE\n"
c.setblocking(False)
sent = 0
while select.select([], [c], [], 1)[1]:
    sent += c.send(request[sent % 6:])
    assert sent < 64 << 20, "without back-pressure"
c.settimeout(20)
got = b""
replies = sent // 6
while len(got) < replies * len(reply):
    part = c.recv(1 << 20)
    assert part
    got += part
assert got == reply * replies
print("all")
"#,
        server.address.port(),
    );
    assert_eq!(printed, "all\n");
    server.expect_success();
}
