//! What a handshake has agreed on: protocol (ALPN), host name (SNI), version, cipher suite and
//! certificates, with OpenSSL and curl.

use std::process::Command;
use std::sync::Arc;

use actix::Actor;
use chrome_sockets::rustls::pki_types::CertificateDer;
use chrome_sockets::rustls::pki_types::pem::PemObject;
use chrome_sockets::rustls::version::{TLS12, TLS13};
use chrome_sockets::rustls::{ClientConfig, ProtocolVersion, SupportedProtocolVersion};
use chrome_sockets::tcp::{MAX_ALPN, SecureOptions};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::tls::{self, ClientAuth, TlsInfo};
use chrome_sockets::{InvalidArgument, Registry};
use support::process::Program;
use support::programs::has;
use support::{EventSender, ListenerEvent, TestApp, code, within};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::certificates::{Authority, Folder, Issued};
use super::foreign_clients::openssl;
use super::foreign_servers::Server;
use super::serving::HandshakeErrors;
use super::{TlsFixture, assert_talks, connect, connect_as};
use crate::tcp_server::dial;

/// The events of `onAccept`.
async fn accepts(test: &TestApp) -> UnboundedReceiver<AcceptInfo> {
    let (sender, received) = unbounded_channel();
    let listener = EventSender(sender).start().recipient();
    let added = test.app.tcp_server.on_accept.add_listener(listener).await;
    added.expect("the registry runs");
    received
}

async fn next(accepts: &mut UnboundedReceiver<AcceptInfo>) -> AcceptInfo {
    within("onAccept", accepts.recv()).await.expect("it runs")
}

/// A client that offers these protocols.
fn offering(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    protocols: &[&str],
) -> Arc<ClientConfig> {
    let mut config = Arc::unwrap_or_clone(authority.config(&[version]));
    let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
    config.alpn_protocols = protocols.collect();
    config.into()
}

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("a certificate")
}

/// A server with a certificate for `localhost`, which asks clients for theirs.
fn asking(authority: &Authority, client_auth: ClientAuth) -> tls::Server {
    let Issued { certificate, key } = authority.issue("localhost");
    tls::Server::from_pem_with_client_auth(certificate.as_bytes(), key.as_bytes(), client_auth)
        .expect("certificate, key and authorities")
}

fn alpn(info: &TlsInfo) -> Option<&[u8]> {
    info.alpn.as_deref()
}

#[actix_rt::test]
async fn on_accept_and_get_info_tell_what_the_handshake_agreed_on() {
    let mut fixture = TlsFixture::new().await;
    let mut accepts = accepts(&fixture.test).await;
    let server = fixture.authority.issue("localhost").server();
    let (id, at) = fixture.serve(server.alpn(["h2", "http/1.1"])).await;
    for (version, number) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        for (offered, chosen) in [
            (&[][..], None),
            (&["http/1.1"], Some(&b"http/1.1"[..])),
            // The order of the server counts.
            (&["http/1.1", "spdy/3", "h2"], Some(b"h2")),
        ] {
            let config = offering(&fixture.authority, version, offered);
            let mut peer = connect_as(dial(at).await, config).await.expect("handshake");
            let accepted = next(&mut accepts).await;
            let client = fixture.test.accepted().await;
            let tls = accepted.tls().expect("it is encrypted").clone();
            let expected = peer.get_ref().1.negotiated_cipher_suite();
            assert_eq!(tls.version, number);
            assert_eq!(Some(tls.cipher_suite), expected.map(|it| it.suite()));
            assert_eq!(alpn(&tls), chosen, "{offered:?}");
            assert_eq!(tls.server_name.as_deref(), Some("localhost"));
            assert_eq!(tls.peer_certificates, [], "none was asked for");
            drop(accepted);
            let info = client.get_info().await.expect("it exists");
            assert_eq!(info.tls.as_deref(), Some(&tls));
            assert_talks(&mut fixture.test, &client, &mut peer).await;
            client.disconnect().await.expect("disconnect");
            let info = client.get_info().await.expect("it exists");
            assert_eq!(info.tls, None, "it is not connected");
        }
    }
    // A connection that is not encrypted has none.
    let set = fixture.test.app.tcp_server.set_tls(id, None);
    set.await.expect("it exists");
    let _peer = dial(at).await;
    let plain = next(&mut accepts).await;
    assert_eq!(plain.tls(), None);
    let info = plain.client().get_info().await.expect("it exists");
    assert_eq!(info.tls, None);
}

#[actix_rt::test]
async fn a_client_without_a_protocol_of_the_server_is_refused_and_others_are_served() {
    let mut fixture = TlsFixture::new().await;
    let mut errors = HandshakeErrors::of(&fixture.test).await;
    let server = fixture.authority.issue("localhost").server();
    let (_, at) = fixture.serve(server.alpn(["h2"])).await;
    let config = offering(&fixture.authority, &TLS13, &["http/1.1"]);
    let refused = connect_as(dial(at).await, config).await;
    assert!(refused.is_err());
    assert_eq!(errors.next().await.result_code.code(), -107);
    let config = offering(&fixture.authority, &TLS13, &["h2"]);
    let mut peer = connect_as(dial(at).await, config).await.expect("handshake");
    let client = fixture.test.accepted().await;
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}

#[actix_rt::test]
async fn a_required_client_certificate_is_demanded_and_an_optional_one_is_not() {
    let mut fixture = TlsFixture::new().await;
    let mut errors = HandshakeErrors::of(&fixture.test).await;
    let required = ClientAuth::Required(Authority::new().roots());
    let (_, at) = fixture.serve(asking(&fixture.authority, required)).await;
    for version in [&TLS12, &TLS13] {
        let config = fixture.authority.config(&[version]);
        // With TLS 1.3 the client learns of it only after its own handshake.
        let _ = connect_as(dial(at).await, config).await;
        assert_eq!(errors.next().await.result_code.code(), -110);
    }
    let optional = ClientAuth::Optional(Authority::new().roots());
    let (_, at) = fixture.serve(asking(&fixture.authority, optional)).await;
    let mut peer = connect(at, &fixture.authority).await.expect("handshake");
    let client = fixture.test.accepted().await;
    let info = client.get_info().await.expect("it exists");
    assert_eq!(info.tls.expect("encrypted").peer_certificates, []);
    assert_talks(&mut fixture.test, &client, &mut peer).await;
    errors.expect_none();
}

#[test]
fn client_authentication_without_an_authority_is_an_error() {
    let Issued { certificate, key } = Authority::new().issue("localhost");
    let (certificate, key) = (certificate.as_bytes(), key.as_bytes());
    for client_auth in [
        ClientAuth::Required(chrome_sockets::rustls::RootCertStore::empty()),
        ClientAuth::Optional(chrome_sockets::rustls::RootCertStore::empty()),
    ] {
        let server = tls::Server::from_pem_with_client_auth(certificate, key, client_auth);
        assert!(matches!(server, Err(tls::Error::NoCertificate)));
    }
}

#[actix_rt::test]
async fn s_client_shows_its_certificate_its_host_name_and_its_protocol() {
    if !openssl() {
        return;
    }
    let mut fixture = TlsFixture::new().await;
    let mut accepts = accepts(&fixture.test).await;
    let mut errors = HandshakeErrors::of(&fixture.test).await;
    let users = Authority::new();
    let required = ClientAuth::Required(users.roots());
    let server = asking(&fixture.authority, required).alpn(["h2", "http/1.1"]);
    let (_, at) = fixture.serve(server).await;
    let folder = Folder::new();
    let user = users.issue("user.example");
    let [certificate, key] = folder.issued(&user);
    for (version, number) in [
        ("-tls1_2", ProtocolVersion::TLSv1_2),
        ("-tls1_3", ProtocolVersion::TLSv1_3),
    ] {
        let mut command = Command::new("openssl");
        let command = command
            .args(["s_client", "-connect", &at.to_string(), version])
            .args(["-servername", "shop.example", "-alpn", "h2,http/1.1"])
            .args(["-cert", &certificate, "-key", &key, "-ign_eof"]);
        let program = Program::start(command);
        let accepted = next(&mut accepts).await;
        let tls = accepted.tls().expect("it is encrypted");
        assert_eq!(tls.version, number);
        assert_eq!(alpn(tls), Some(&b"h2"[..]));
        assert_eq!(tls.server_name.as_deref(), Some("shop.example"));
        assert_eq!(tls.peer_certificates, [der(&user)]);
        let client = fixture.test.accepted().await;
        client.close().await.expect("close");
        let ended = tokio::task::spawn_blocking(|| program.ended());
        let ended = within("its end", ended).await.expect("no panic");
        let shown = String::from_utf8_lossy(&ended.stdout);
        assert!(shown.contains("ALPN protocol: h2"), "{shown}");
        assert!(
            shown.contains(tls.cipher_suite_of_openssl().as_str()),
            "{shown}"
        );
    }
    // A certificate of an authority that does not count.
    let stranger = Authority::new().issue("user.example");
    let folder = Folder::new();
    let [certificate, key] = folder.issued(&stranger);
    let mut command = Command::new("openssl");
    let command = command
        .args(["s_client", "-connect", &at.to_string(), "-alpn", "h2"])
        .args(["-cert", &certificate, "-key", &key, "-quiet"]);
    let program = Program::start(command);
    assert_eq!(errors.next().await.result_code.code(), -202);
    let ended = tokio::task::spawn_blocking(|| program.ended());
    within("its end", ended).await.expect("no panic");
}

/// The name of a cipher suite in OpenSSL.
trait OpensslName {
    fn cipher_suite_of_openssl(&self) -> String;
}

impl OpensslName for TlsInfo {
    fn cipher_suite_of_openssl(&self) -> String {
        let name = format!("{:?}", self.cipher_suite);
        match name.strip_prefix("TLS13_") {
            Some(name) => format!("TLS_{name}"),
            // `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384` is `ECDHE-ECDSA-AES256-GCM-SHA384`.
            None => name
                .trim_start_matches("TLS_")
                .replace("WITH_", "")
                .replace("AES_", "AES")
                .replace('_', "-"),
        }
    }
}

#[actix_rt::test]
async fn curl_speaks_the_protocol_that_was_chosen_and_shows_its_certificate() {
    if !has("curl", "--version", "https") {
        return;
    }
    let mut fixture = TlsFixture::new().await;
    let mut accepts = accepts(&fixture.test).await;
    let users = Authority::new();
    let optional = ClientAuth::Optional(users.roots());
    let server = asking(&fixture.authority, optional).alpn(["http/1.1"]);
    let (_, at) = fixture.serve(server).await;
    let folder = Folder::new();
    let user = users.issue("user.example");
    let [certificate, key] = folder.issued(&user);
    let ca = folder.file("ca.pem", fixture.authority.pem());
    for shows_certificate in [true, false] {
        let mut command = Command::new("curl");
        command.args(["-sS", "-m", "10", "--cacert", &ca]);
        if shows_certificate {
            command.args(["--cert", &certificate, "--key", &key]);
        }
        let program = Program::start(command.arg(format!("https://localhost:{}/", at.port())));
        let accepted = next(&mut accepts).await;
        let tls = accepted.tls().expect("it is encrypted").clone();
        drop(accepted);
        assert_eq!(alpn(&tls), Some(&b"http/1.1"[..]));
        assert_eq!(tls.server_name.as_deref(), Some("localhost"));
        let expected = shows_certificate.then(|| der(&user));
        assert_eq!(tls.peer_certificates, Vec::from_iter(expected));
        let client = fixture.test.accepted().await;
        client.set_paused(false).await.expect("resume");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match fixture.test.next().await {
                ListenerEvent::Receive(_, data) => request.extend_from_slice(&data),
                other => panic!("expected the request, not {other:?}"),
            }
        }
        assert!(request.starts_with(b"GET / HTTP/1.1\r\n"));
        let response = &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"[..];
        client.send(response).await.expect("send");
        let ended = tokio::task::spawn_blocking(|| program.ended());
        let ended = within("its end", ended).await.expect("no panic");
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_eq!(ended.stdout, b"hello");
        fixture.test.ended(client.id()).await;
        client.close().await.expect("close");
    }
}

#[actix_rt::test]
async fn a_secured_socket_tells_what_s_server_chose_and_its_certificate() {
    if !openssl() {
        return;
    }
    let mut fixture = TlsFixture::new().await;
    let issued = fixture.authority.issue("localhost");
    for (args, offered, chosen) in [
        (&["-rev"][..], &["h2"][..], None),
        (&["-rev", "-alpn", "h2"], &[], None),
        (&["-rev", "-alpn", "http/1.1,h2"], &["h2"], Some(&b"h2"[..])),
        (
            &["-rev", "-tls1_2", "-alpn", "h2"],
            &["http/1.1", "h2"],
            Some(b"h2"),
        ),
    ] {
        let server = Server::start(&issued, args);
        let client = server.dial(&fixture, "localhost").await;
        let before = client.get_info().await.expect("it exists");
        assert_eq!(before.tls, None, "not encrypted yet");
        let options = SecureOptions {
            alpn: offered
                .iter()
                .map(|name| name.as_bytes().to_vec())
                .collect(),
            ..Default::default()
        };
        let secured = within("the handshake", client.secure(options)).await;
        secured.expect("secure");
        let info = client.get_info().await.expect("it exists");
        let tls = info.tls.expect("it is encrypted");
        assert_eq!(alpn(&tls), chosen, "{args:?} {offered:?}");
        let version = match args.contains(&"-tls1_2") {
            true => ProtocolVersion::TLSv1_2,
            false => ProtocolVersion::TLSv1_3,
        };
        assert_eq!(tls.version, version);
        assert_eq!(tls.peer_certificates, [der(&issued)]);
        assert_eq!(tls.server_name, None);
        super::foreign_servers::assert_reversed(&mut fixture, &client).await;
        client.disconnect().await.expect("disconnect");
        fixture.test.ended(client.id()).await;
    }
}

#[actix_rt::test]
async fn a_server_without_an_offered_protocol_ends_the_handshake() {
    let test_server = TlsFixture::new().await;
    let server = test_server.authority.issue("localhost").server();
    let (_, at) = test_server.serve(server.alpn(["h2"])).await;
    let registry = Registry::new().tls_client(test_server.authority.client());
    let test = TestApp::on(registry).await;
    let client = super::dialled(&test, "localhost", at.port()).await;
    let options = SecureOptions {
        alpn: vec![b"http/1.1".to_vec()],
        ..Default::default()
    };
    assert_eq!(code("secure", client.secure(options)).await, -107);
}

#[actix_rt::test]
async fn protocol_names_that_cannot_be_sent_are_refused_and_change_nothing() {
    let mut fixture = TlsFixture::new().await;
    let (client, peer) = fixture.dial("localhost").await;
    let name = |length| vec![b'x'; length];
    for (alpn, argument) in [
        (vec![name(0)], InvalidArgument::AlpnNameLength),
        (vec![name(2), name(256)], InvalidArgument::AlpnNameLength),
        (
            vec![name(128); MAX_ALPN / 128 + 1],
            InvalidArgument::AlpnTooLong,
        ),
    ] {
        let options = SecureOptions {
            alpn,
            ..Default::default()
        };
        assert_eq!(client.secure(options).await, Err(argument.into()));
    }
    let longest = SecureOptions {
        alpn: [vec![name(255); 16], vec![name(16)]].concat(),
        ..Default::default()
    };
    assert_eq!(longest.alpn.concat().len(), MAX_ALPN);
    let answer = client.secure(longest);
    let issued = fixture.authority.issue("localhost");
    let mut peer = super::accept(peer, &issued).await.expect("the handshake");
    answer.await.expect("secure");
    assert_talks(&mut fixture.test, &client, &mut peer).await;
}
