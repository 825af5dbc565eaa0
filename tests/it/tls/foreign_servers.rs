//! `secure` with OpenSSL as the server.

use std::process::Command;

use chrome_sockets::tcp::{self, ClientSocket, SecureOptions, TlsVersionConstraints};
use support::process::Program;
use support::programs::has;
use support::{code, within};

use super::certificates::{Authority, Folder, Issued};
use super::{TlsFixture, dialled, pattern};

/// `openssl s_server` with a certificate, and its port.
pub struct Server {
    _program: Program,
    port: u16,
    folder: Folder,
}

impl Server {
    pub fn start(issued: &Issued, args: &[&str]) -> Self {
        let folder = Folder::new();
        let [certificate, key] = folder.issued(issued);
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-accept", "127.0.0.1:0"])
            .args(["-cert", &certificate, "-key", &key])
            .args(args)
            .current_dir(folder.path());
        let mut program = Program::start(&mut command);
        let line = program.stdout.line("ACCEPT ");
        let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
        Server {
            _program: program,
            port: port.unwrap_or_else(|| panic!("no port in {line:?}")),
            folder,
        }
    }

    pub async fn dial(&self, fixture: &TlsFixture, host: &str) -> ClientSocket {
        dialled(&fixture.test, host, self.port).await
    }
}

fn openssl() -> bool {
    has("openssl", "version", "OpenSSL")
}

fn versions(min: Option<&str>, max: Option<&str>) -> SecureOptions {
    SecureOptions {
        tls_version: Some(TlsVersionConstraints::from_names(min, max)),
        ..Default::default()
    }
}

/// Asserts that the server reverses what it receives.
pub async fn assert_reversed(fixture: &mut TlsFixture, client: &ClientSocket) {
    client.set_paused(false).await.expect("resume");
    client.send(&b"stressed\n"[..]).await.expect("send");
    let reversed = fixture.test.received(client.id(), 9).await;
    assert_eq!(reversed, b"desserts\n");
}

#[actix_rt::test]
async fn the_requested_tls_versions_are_used() {
    if !openssl() {
        return;
    }
    let mut fixture = TlsFixture::new().await;
    let issued = fixture.authority.issue("localhost");
    for (only, min, max, outcome) in [
        ("-tls1_2", None, None, 0),
        ("-tls1_3", None, None, 0),
        ("-tls1_2", Some("tls1.2"), Some("tls1.2"), 0),
        ("-tls1_3", Some("tls1.3"), None, 0),
        ("-tls1_2", Some("tls1.3"), None, -113),
        ("-tls1_3", None, Some("tls1.2"), -113),
    ] {
        let what = format!("{only} and {min:?} to {max:?}");
        let server = Server::start(&issued, &["-rev", only]);
        let client = server.dial(&fixture, "localhost").await;
        let answer = client.secure(versions(min, max));
        if outcome == 0 {
            within(&what, answer).await.expect(&what);
            assert_reversed(&mut fixture, &client).await;
            client.close().await.expect("close");
            assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
        } else {
            assert_eq!(code(&what, answer).await, outcome, "{what}");
        }
    }
}

#[actix_rt::test]
async fn certificates_are_verified() {
    if !openssl() {
        return;
    }
    let mut fixture = TlsFixture::new().await;
    let good = fixture.authority.issue("localhost");
    let expired = fixture.authority.issue_with("localhost", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    for (what, host, issued, outcome) in [
        ("good", "localhost", &good, 0),
        ("wrong name", "127.0.0.1", &good, -200),
        ("expired", "localhost", &expired, -201),
        (
            "unknown",
            "localhost",
            &Authority::new().issue("localhost"),
            -202,
        ),
        (
            "signed by itself",
            "localhost",
            &Issued::self_signed("localhost", true),
            -202,
        ),
    ] {
        let server = Server::start(issued, &["-rev"]);
        let client = server.dial(&fixture, host).await;
        let answer = client.secure(SecureOptions::default());
        if outcome == 0 {
            within(what, answer).await.expect(what);
            assert_reversed(&mut fixture, &client).await;
            client.close().await.expect("close");
            assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
        } else {
            assert_eq!(code(what, answer).await, outcome, "{what}");
        }
    }
}

#[actix_rt::test]
async fn a_server_that_requires_a_client_certificate_is_reported() {
    if !openssl() {
        return;
    }
    let mut fixture = TlsFixture::new().await;
    let issued = fixture.authority.issue("localhost");
    let server = Server::start(&issued, &["-rev", "-tls1_3", "-Verify", "1"]);
    let client = server.dial(&fixture, "localhost").await;
    // With TLS 1.3 this side completes before the server has checked.
    let answer = client.secure(SecureOptions::default());
    within("secure", answer).await.expect("secure");
    client.set_paused(false).await.expect("resume");
    assert_eq!(fixture.test.ended(client.id()).await.code(), -110);
}

#[actix_rt::test]
async fn a_file_of_megabytes_arrives_completely_and_its_end_is_reported() {
    if !openssl() {
        return;
    }
    const LENGTH: usize = 5 * 1024 * 1024 + 3;
    let mut fixture = TlsFixture::new().await;
    let issued = fixture.authority.issue("localhost");
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Server::start(&issued, &["-HTTP", version]);
        let data = pattern(LENGTH);
        server.folder.file("file", &data);
        let client = server.dial(&fixture, "localhost").await;
        let answer = client.secure(SecureOptions::default());
        within("secure", answer).await.expect("secure");
        let properties = tcp::SocketProperties {
            buffer_size: Some(65536),
            ..Default::default()
        };
        client.update(properties).await.expect("update");
        client.set_paused(false).await.expect("resume");
        client
            .send(&b"GET /file HTTP/1.0\r\n\r\n"[..])
            .await
            .expect("send");
        let arrived = fixture.test.received(client.id(), LENGTH).await;
        assert!(arrived == data, "{version}: other bytes came");
        assert_eq!(fixture.test.ended(client.id()).await.code(), -100);
    }
}
