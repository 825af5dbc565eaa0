//! OpenSSL as a client of a server socket, and of the example.

use std::process::Command;

use chrome_sockets::tcp::ClientSocket;
use support::process::{Ended, Example, Program};
use support::programs::has;
use support::within;

use super::TlsFixture;
use super::certificates::{Authority, Folder};
use crate::examples::{MIB, block};

/// `openssl s_client` that trusts an authority, and reports verification errors.
fn s_client(folder: &Folder, authority: &Authority, port: u16) -> Command {
    let ca = folder.file("ca.pem", authority.pem());
    let mut command = Command::new("openssl");
    let to = format!("127.0.0.1:{port}");
    command
        .args(["s_client", "-connect", &to, "-servername", "localhost"])
        .args(["-CAfile", &ca, "-verify_return_error"])
        .args(["-verify_hostname", "localhost", "-quiet", "-no_ign_eof"]);
    command
}

pub fn openssl() -> bool {
    has("openssl", "version", "OpenSSL")
}

fn assert_clean(ended: &Ended) {
    assert!(ended.status.success(), "{}", ended.stderr);
    let unclean = ["unexpected eof", "error:", "verify error"];
    for words in unclean {
        assert!(!ended.stderr.contains(words), "{}", ended.stderr);
    }
}

#[actix_rt::test]
async fn s_client_exchanges_data_and_sees_a_clean_end() {
    if !openssl() {
        return;
    }
    let mut fixture = TlsFixture::new().await;
    let (_, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    for version in ["-tls1_2", "-tls1_3"] {
        let folder = Folder::new();
        let mut command = s_client(&folder, &fixture.authority, at.port());
        let program = Program::start(command.arg(version));
        let client: ClientSocket = fixture.test.accepted().await;
        client
            .send(&b"hello from the server\n"[..])
            .await
            .expect("send");
        client.close().await.expect("close");
        let ended = tokio::task::spawn_blocking(|| program.ended());
        let ended = within("its end", ended).await.expect("no panic");
        assert_clean(&ended);
        assert_eq!(ended.stdout, b"hello from the server\n", "{version}");
    }
}

/// The example with a certificate of an authority.
fn example(folder: &Folder, authority: &Authority) -> Example {
    let [certificate, key] = folder.issued(&authority.issue("localhost"));
    Example::start("tls_echo", &[&certificate, &key, "127.0.0.1:0"])
}

#[test]
fn s_client_gets_back_8_mib() {
    if !openssl() {
        return;
    }
    let authority = Authority::new();
    let folder = Folder::new();
    let server = example(&folder, &authority);
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = s_client(&folder, &authority, server.address.port());
        // It would end with its input; here the complete echo ends it.
        let command = command.args([version, "-ign_eof"]);
        let mut program = Program::start(command);
        let data: &'static [u8] = block().repeat(8).leak();
        program.feed(&data[..8 * MIB]);
        assert!(program.stdout.bytes(8 * MIB) == &data[..8 * MIB]);
    }
    server.expect_success();
}

#[test]
fn curl_trusts_the_server_only_with_its_authority() {
    if !has("curl", "--version", "https") {
        return;
    }
    let authority = Authority::new();
    let folder = Folder::new();
    let ca = folder.file("ca.pem", authority.pem());
    let server = example(&folder, &authority);
    let url = format!("https://localhost:{}/", server.address.port());
    // The response is the echoed request, which is no HTTP response.
    let mut curl = Command::new("curl");
    let curl = curl.args(["-sS", "--http0.9", "-m", "10", "--cacert", &ca]);
    let mut trusted = Program::start(curl.args(["-H", "X: echo", &url]));
    assert!(trusted.stdout.line("X: echo").starts_with("X: echo"));
    let mut curl = Command::new("curl");
    let refused = Program::start(curl.args(["-sS", &url])).ended();
    assert_eq!(refused.status.code(), Some(60), "{}", refused.stderr);
    server.expect_success();
}

#[actix_rt::test]
async fn s_client_is_refused_renegotiation_at_once() {
    if !openssl() {
        return;
    }
    let mut fixture = TlsFixture::new().await;
    let (_, at) = fixture
        .serve(fixture.authority.issue("localhost").server())
        .await;
    // For a socket that is read, and for one without listeners.
    for has_listener in [true, false] {
        if !has_listener {
            let listener = fixture.test.listener.clone().recipient();
            let removed = fixture
                .test
                .app
                .tcp
                .on_receive
                .remove_listener(listener)
                .await;
            removed.expect("it was there");
        }
        let mut command = Command::new("openssl");
        let command = command.args(["s_client", "-tls1_2", "-connect", &at.to_string()]);
        let mut program = Program::start(command);
        let client: ClientSocket = fixture.test.accepted().await;
        client.set_paused(false).await.expect("resume");
        program.feed(b"R\n");
        let ended = tokio::task::spawn_blocking(|| program.ended());
        let ended = within("its end", ended).await.expect("no panic");
        let reported = ended.stderr.contains("no renegotiation");
        assert!(
            reported,
            "with a listener: {has_listener}: {}",
            ended.stderr
        );
        fixture.test.ended(client.id()).await;
    }
}
