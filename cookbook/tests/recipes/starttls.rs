//! STARTTLS.

use std::fs;
use std::path::Path;
use std::process::Command;

use support::process::{Example, Program};

use crate::{ANY_PORT, python, recipe};

/// A certificate for `localhost`, which is its own authority, and its key.
struct Certificate {
    certificate: String,
    key: String,
}

impl Certificate {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&folder).expect("a folder");
        let path = |name: &str| folder.join(name).to_str().expect("text").to_owned();
        let (certificate, key) = (path("cert.pem"), path("key.pem"));
        let mut openssl = Command::new("openssl");
        openssl
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .args(["-keyout", &key, "-out", &certificate]);
        let made = Program::start(&mut openssl).ended();
        assert!(made.status.success(), "{}", made.stderr);
        Certificate { certificate, key }
    }

    fn server(&self) -> Example {
        recipe!("starttls", &self.certificate, &self.key, ANY_PORT)
    }

    /// A Python script with the certificate in `CA`.
    fn python(&self, script: &str, server: &Example) {
        let script = format!("CA = {:?}\n{script}", self.certificate);
        let ended = python(&script, server.address.port()).ended();
        assert!(ended.status.success(), "{}", ended.stderr);
    }
}

#[test]
fn openssl_starts_tls_after_the_plain_commands() {
    let certificate = Certificate::new("starttls-openssl");
    let server = certificate.server();
    let to = format!("127.0.0.1:{}", server.address.port());
    for version in ["-tls1_2", "-tls1_3"] {
        let mut openssl = Command::new("openssl");
        openssl
            .args(["s_client", "-starttls", "smtp", "-connect", &to, version])
            .args(["-CAfile", &certificate.certificate, "-verify_return_error"])
            .args(["-verify_hostname", "localhost", "-quiet", "-ign_eof"]);
        let mut client = Program::start(&mut openssl);
        client.feed(b"NOOP\r\nQUIT\r\n");
        let ended = client.ended();
        assert!(ended.status.success(), "{}", ended.stderr);
        let output = String::from_utf8(ended.stdout).expect("text");
        // The first reply belongs to the plain part.
        assert!(output.ends_with("250 OK\r\n221 bye\r\n"), "{output:?}");
    }
    server.expect_success();
}

#[test]
fn pythons_smtplib_starts_tls_once() {
    let certificate = Certificate::new("starttls-smtplib");
    let server = certificate.server();
    certificate.python(
        r#"
import smtplib, ssl, sys
with smtplib.SMTP("localhost", int(sys.argv[1]), timeout=20) as smtp:
    smtp.ehlo()
    assert smtp.has_extn("starttls")
    smtp.starttls(context=ssl.create_default_context(cafile=CA))
    smtp.ehlo()
    assert not smtp.has_extn("starttls")
    assert smtp.noop() == (250, b"OK")
    assert smtp.docmd("STARTTLS")[0] == 502
"#,
        &server,
    );
    server.expect_success();
}

/// An attacker may insert commands before the handshake.
#[test]
fn commands_behind_starttls_are_not_carried_out() {
    let certificate = Certificate::new("starttls-inserted");
    let server = certificate.server();
    let script = r#"
import socket, ssl, sys
plain = socket.create_connection(("localhost", int(sys.argv[1])), timeout=20)
def line(connection):
    text = b""
    while not text.endswith(b"\n"):
        byte = connection.recv(1)
        assert byte, text
        text += byte
    return text
assert line(plain).startswith(b"220")
plain.sendall(b"STARTTLS\r\nNOOP\r\n")
assert line(plain) == b"220 go ahead\r\n"
secure = ssl.create_default_context(cafile=CA).wrap_socket(plain, server_hostname="localhost")
secure.sendall(b"EHLO me\r\n")
assert line(secure) == b"250 localhost\r\n"
secure.sendall(b"QUIT\r\n")
assert line(secure) == b"221 bye\r\n"
assert secure.recv(1) == b""
"#;
    certificate.python(script, &server);
    server.expect_success();
}

#[test]
fn a_client_without_tls_and_one_with_an_endless_line_are_closed() {
    let certificate = Certificate::new("starttls-hostile");
    let server = certificate.server();
    let script = r#"
import socket, sys
for attack in [b"STARTTLS\r\n" + b"no TLS" * 100, b"x" * 10000]:
    with socket.create_connection(("localhost", int(sys.argv[1])), timeout=20) as plain:
        try:
            plain.sendall(attack)
            while plain.recv(1000):
                pass
        except ConnectionError:
            pass
"#;
    certificate.python(script, &server);
    certificate.python(
        "import smtplib, sys\nassert smtplib.SMTP('localhost', int(sys.argv[1])).noop()[0] == 250",
        &server,
    );
    server.expect_success();
}
