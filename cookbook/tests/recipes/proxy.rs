//! The proxy.

use std::process::Command;

use support::process::{Example, Program};

use crate::{ANY_PORT, nc, python, python_prints, recipe};

/// A server in Python, and the proxy before it.
struct Fixture {
    proxy: Example,
    target: Program,
}

impl Fixture {
    /// `serve` handles each connection `c`; what it prints ends a line.
    fn start(serve: &str) -> Self {
        let script = format!("{TARGET}{serve}");
        let mut target = Program::start(Command::new("python3").args(["-u", "-c", &script]));
        let line = target.stdout.line("target ");
        let at = line.replace("target ", "127.0.0.1:");
        let proxy = recipe!("proxy", ANY_PORT, at);
        Fixture { proxy, target }
    }

    fn client(&self, script: &str) -> String {
        python_prints(&format!("{CLIENT}{script}"), self.proxy.address.port())
    }
}

const TARGET: &str = r#"
import hashlib, os, select, socket, struct, sys
def read_all(c):
    parts = []
    while part := c.recv(65536):
        parts.append(part)
    return b"".join(parts)
listener = socket.create_server(("127.0.0.1", 0))
print("target", listener.getsockname()[1])
def connections():
    while True:
        c, _ = listener.accept()
        c.settimeout(20)
        yield c
"#;

const CLIENT: &str = r#"
import hashlib, os, select, socket, struct, sys
def read_all(c):
    parts = []
    while part := c.recv(65536):
        parts.append(part)
    return b"".join(parts)
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
"#;

/// A target that answers when its client has sent everything.
const AFTER_THE_END: &str = r#"
for c in connections():
    c.sendall(read_all(c)[::-1])
    c.close()
"#;

#[test]
fn a_client_that_ends_its_side_first_gets_its_answer() {
    let fixture = Fixture::start(AFTER_THE_END);
    for _ in 0..3 {
        assert_eq!(nc(fixture.proxy.address, "stressed"), "desserts");
    }
    fixture.proxy.expect_success();
}

#[test]
fn a_target_that_ends_its_side_first_gets_the_rest() {
    let mut fixture = Fixture::start(
        r#"
for c in connections():
    c.sendall(b"hello")
    c.shutdown(socket.SHUT_WR)
    print("got", len(read_all(c)))
"#,
    );
    let printed = fixture.client(
        r#"
print(read_all(c))
c.sendall(bytes(3000000))
c.close()
"#,
    );
    assert_eq!(printed, "b'hello'\n");
    assert_eq!(fixture.target.stdout.line("got "), "got 3000000");
    fixture.proxy.expect_success();
}

/// Either side sends 64 MiB. The other one reads when the sender has been stuck for a second.
#[test]
fn a_side_that_does_not_read_stops_the_other_and_loses_nothing() {
    const SIDES: &str = r#"
def send(c):
    data = memoryview(os.urandom(1 << 20) * 64)
    sent, is_stuck = 0, False
    while sent < len(data):
        if not is_stuck and not select.select([], [c], [], 1)[1]:
            is_stuck = True
            print("stuck", flush=True)
        c.settimeout(20 if is_stuck else 0)
        sent += c.send(data[sent:sent + 65536])
    c.shutdown(socket.SHUT_WR)
    print("hash", hashlib.sha256(data).hexdigest(), flush=True)
def receive(c):
    sys.stdin.readline()
    print("hash", hashlib.sha256(read_all(c)).hexdigest(), flush=True)
"#;
    for client_sends in [true, false] {
        let [target, client] = match client_sends {
            true => ["receive(c)", "send(c)"],
            false => ["send(c)", "receive(c)"],
        };
        let serve = format!("{SIDES}\nfor c in connections():\n    {target}\n");
        let mut fixture = Fixture::start(&serve);
        let script = format!("{CLIENT}{SIDES}\n{client}\n");
        let mut client = python(&script, fixture.proxy.address.port());
        let (sender, reader) = match client_sends {
            true => (&mut client, &mut fixture.target),
            false => (&mut fixture.target, &mut client),
        };
        sender.stdout.line("stuck");
        reader.feed(b"read\n");
        let sent = sender.stdout.line("hash ");
        assert_eq!(reader.stdout.line("hash "), sent);
        fixture.proxy.expect_success();
    }
}

#[test]
fn a_reset_is_passed_on() {
    let mut fixture = Fixture::start(
        r#"
for c in connections():
    c.sendall(b"hello")
    try:
        print("got", read_all(c))
    except ConnectionResetError:
        print("reset")
    c.close()
"#,
    );
    fixture.client(
        r#"
c.recv(5)
c.sendall(b"a part")
c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
c.close()
"#,
    );
    fixture.target.stdout.line("reset");
    assert_eq!(nc(fixture.proxy.address, "alive"), "hello");
    assert_eq!(fixture.target.stdout.line("got "), "got b'alive'");
    fixture.proxy.expect_success();
}

#[test]
fn a_client_of_an_unreachable_target_is_closed() {
    // The port of a listener that is gone.
    let free = python_prints(
        "import socket\nprint(socket.create_server(('127.0.0.1', 0)).getsockname()[1])",
        0,
    );
    let proxy = recipe!("proxy", ANY_PORT, format!("127.0.0.1:{}", free.trim()));
    for _ in 0..3 {
        assert_eq!(nc(proxy.address, ""), "");
    }
    proxy.expect_success();
}
