//! The chat server.

use std::io::Write;
use std::process::{ChildStdin, Command};

use support::process::{Example, Program};

use crate::{ANY_PORT, python_prints, recipe, terminate, until_refused};

fn start() -> Example {
    recipe!("chat", ANY_PORT)
}

/// A member through `nc`.
struct Member {
    nc: Program,
    input: ChildStdin,
}

impl Member {
    /// `address` is its own.
    fn new(server: &Example, address: &str, room: &str) -> Self {
        let port = server.address.port().to_string();
        let mut nc = Command::new("nc");
        nc.args(["-N", "-s", address, "127.0.0.1", &port]);
        let mut nc = Program::start(&mut nc);
        let input = nc.stdin();
        let mut member = Member { nc, input };
        member.say(&format!("/join {room}"));
        member
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("nc runs");
    }

    /// Waits for a line.
    fn hears(&mut self, line: &str) {
        self.nc.stdout.line(line);
    }

    fn joined(server: &Example, room: &str) -> Self {
        let mut member = Member::new(server, "127.0.0.1", room);
        member.hears(&format!("/join {room}"));
        member
    }

    fn leave(self) -> Vec<u8> {
        drop(self.input);
        self.nc.ended().stdout
    }
}

#[test]
fn a_line_goes_to_everyone_in_the_room_and_to_nobody_else() {
    let server = start();
    let mut alice = Member::joined(&server, "rust");
    let mut bob = Member::joined(&server, "rust");
    let mut carol = Member::joined(&server, "c");
    alice.say("hello");
    alice.hears("hello");
    bob.hears("hello");
    carol.say("/join rust");
    carol.hears("/join rust");
    bob.say("welcome");
    for member in [&mut alice, &mut bob, &mut carol] {
        member.hears("welcome");
    }
    let heard = String::from_utf8(carol.leave()).expect("text");
    assert!(!heard.contains("hello"), "{heard}");
    alice.say("still here");
    bob.hears("still here");
    server.terminate();
    until_refused(server.address);
    // Members may finish.
    alice.say("good bye");
    bob.hears("good bye");
    alice.leave();
    bob.leave();
    server.assert_success();
}

#[test]
fn an_address_has_eight_connections_at_most() {
    let server = start();
    let mut members: Vec<Member> = (0..8).map(|_| Member::joined(&server, "all")).collect();
    let ninth = Member::new(&server, "127.0.0.1", "all");
    assert_eq!(ninth.leave(), b"", "it is closed");
    let mut other = Member::new(&server, "127.0.0.2", "all");
    other.hears("/join all");
    members.pop().map(Member::leave);
    // Its place is free when the others hear nothing of it any more.
    let mut later = loop {
        let mut later = Member::new(&server, "127.0.0.1", "all");
        if later.nc.stdout.wait_for_output() {
            break later;
        }
    };
    later.say("hello");
    other.hears("hello");
    drop((members, other, later));
    terminate(server);
}

#[test]
fn a_member_that_does_not_read_is_reset_and_stops_nobody() {
    let server = start();
    let printed = python_prints(
        r#"
import socket, sys
def join():
    c = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
    c.sendall(b"/join room\n")
    f = c.makefile("rb")
    assert f.readline().endswith(b"/join room\n")
    return c, f
slow, _ = join()
quick, lines = join()
# More than the kernel buffers for `slow`.
line = b"x" * 1000 + b"\n"
for _ in range(32):
    for _ in range(1000):
        quick.sendall(line)
        assert lines.readline().endswith(line)
try:
    while slow.recv(1 << 20):
        pass
    print("an end")
except ConnectionResetError:
    print("a reset")
other, heard = join()
quick.sendall(b"alive\n")
while not heard.readline().endswith(b"alive\n"):
    pass
"#,
        server.address.port(),
    );
    assert_eq!(printed, "a reset\n");
    terminate(server);
}

/// With few descriptors accepting fails; the server tries again by itself.
#[test]
fn clients_that_wait_without_descriptors_are_accepted_later() {
    let command = format!(
        "ulimit -n 32; exec {} {ANY_PORT}",
        env!("CARGO_BIN_EXE_chat")
    );
    let program = Program::start(Command::new("sh").args(["-c", &command]));
    let server = Example::listening(program);
    python_prints(
        r#"
import socket, sys
def join(i):
    c = socket.create_connection(
        ("127.0.0.1", int(sys.argv[1])), timeout=20, source_address=(f"127.0.1.{i + 1}", 0))
    c.sendall(b"/join room\n")
    return c
members = [join(i) for i in range(40)]
assert members[0].recv(1000)
for member in members[:30]:
    member.close()
assert members[-1].recv(1000)
"#,
        server.address.port(),
    );
    terminate(server);
}
