//! The HTTP server by hyper.

use std::process::Command;

use support::process::{Example, Program};

use crate::{ANY_PORT, nc, python_prints, recipe};

fn start() -> (Example, String) {
    let server = recipe!("http", ANY_PORT);
    let url = format!("http://{}", server.address);
    (server, url)
}

fn curl(arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    let ended = Program::start(curl.args(["-sS", "-m", "20"]).args(arguments)).ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    String::from_utf8(ended.stdout).expect("text")
}

#[test]
fn curl_gets_pages_on_one_connection() {
    let (server, url) = start();
    let (page, none) = (format!("{url}/"), format!("{url}/none"));
    let shown = "%{http_code} on connection %{num_connects}\n";
    let printed = curl(&["-w", shown, &page, &none, &page]);
    let expected =
        "hello\n200 on connection 1\nnot found\n404 on connection 0\nhello\n200 on connection 0\n";
    assert_eq!(printed, expected);
    server.expect_success();
}

#[test]
fn a_body_is_sent_back_while_it_is_received() {
    let (server, _) = start();
    let printed = python_prints(
        r#"
import os, socket, sys, threading
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
data = os.urandom(1 << 20) * 32
head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(data)
c.sendall(head + data[:1000])
response = c.makefile("rb")
assert response.readline() == b"HTTP/1.1 200 OK\r\n"
while response.readline() != b"\r\n":
    pass
# The request has not ended yet.
assert response.read(1000) == data[:1000]
sender = threading.Thread(target=c.sendall, args=(data[1000:],))
sender.start()
assert response.read(len(data) - 1000) == data[1000:]
sender.join()
print("all")
"#,
        server.address.port(),
    );
    assert_eq!(printed, "all\n");
    server.expect_success();
}

#[test]
fn requests_that_are_no_http_or_end_in_the_middle_disturb_nobody() {
    let (server, url) = start();
    let refused = nc(server.address, "this is no HTTP\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused:?}");
    assert_eq!(nc(server.address, "GET / HT"), "");
    let half = nc(
        server.address,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(half.ends_with("hello\n"), "{half:?}");
    assert_eq!(curl(&[&format!("{url}/")]), "hello\n");
    server.expect_success();
}
