//! curl and HAProxy as senders, and HAProxy as the receiver.

use std::net::SocketAddr;
use std::process::Command;

use actix::prelude::*;
use chrome_sockets::proxy_protocol::{ProxyHeader, Version, tlv};
use chrome_sockets::tcp::{ConnectOptions, ReceiveErrorInfo, ReceiveInfo};
use support::process::Program;
use support::programs::has;
use support::{TestApp, within};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{Fixture, dial, trusting, write};

/// Answers a request with the addresses of its client and its proxy, and ends.
struct Web(String);

impl Actor for Web {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for Web {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, ctx: &mut Self::Context) {
        let (length, text) = (self.0.len(), &self.0);
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
        info.client()
            .try_send(format!("{head} {length}\r\n\r\n{text}"))
            .expect("it is short");
        ctx.stop();
    }
}

impl Handler<ReceiveErrorInfo> for Web {
    type Result = ();

    fn handle(&mut self, _: ReceiveErrorInfo, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// A web server that expects headers.
async fn web() -> (TestApp, SocketAddr) {
    let test = TestApp::new().await;
    let (id, at) = test.listen().await;
    let server = &test.app.tcp_server;
    let set = server.set_proxy_protocol(id, trusting(&["127.0.0.1"]));
    set.await.expect("the settings are valid");
    let serving = server.serve(id, |info, _| {
        let proxy = info.proxy_peer().expect("it has a proxy");
        let (header, version) = (&proxy.header, proxy.header.version());
        let destination = header.destination().map(|it| it.to_string());
        let destination = destination.unwrap_or_default();
        let tlvs = header.tlvs().map(|tlv| tlv.0).collect::<Vec<_>>();
        Web(format!(
            "{version:?} {} {destination} {tlvs:?}",
            info.peer()
        ))
    });
    serving.await.expect("it exists");
    (test, at)
}

async fn output(command: &mut Command) -> String {
    let program = Program::start(command);
    let ended = tokio::task::spawn_blocking(|| program.ended());
    let ended = within("its end", ended).await.expect("no panic");
    assert!(ended.status.success(), "{}", ended.stderr);
    String::from_utf8(ended.stdout).expect("text")
}

fn curl(url: &str) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--noproxy", "*", "-m", "10", url]);
    curl
}

#[actix_rt::test]
async fn curl_names_its_client_in_version_1() {
    let (_test, at) = web().await;
    let url = format!("http://{at}/");
    if !has("curl", "--version", "curl") {
        return;
    }
    if has_option("--haproxy-protocol") {
        let text = output(curl(&url).arg("--haproxy-protocol")).await;
        assert!(text.starts_with("V1 127.0.0.1:"), "{text}");
        assert!(text.ends_with(&format!(" {at} []")), "{text}");
    }
    if has_option("--haproxy-clientip") {
        let text = output(curl(&url).args(["--haproxy-clientip", "192.0.2.77"])).await;
        assert!(text.starts_with("V1 192.0.2.77:"), "{text}");
    }
}

/// Whether curl has this option. Older versions lack one of them.
fn has_option(option: &str) -> bool {
    let help = Command::new("curl").args(["--help", "all"]).output();
    help.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains(option))
}

/// HAProxy with this configuration, until it is dropped, and the port of its frontend.
struct HaProxy {
    _program: Program,
    _folder: crate::tls::certificates::Folder,
    at: SocketAddr,
}

impl HaProxy {
    /// `bind` follows the address of the frontend, `server` that of the backend.
    async fn start(bind: &str, backend: SocketAddr, server: &str) -> Self {
        // HAProxy does not tell a port that the OS chose, so it gets a listening socket.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let at = listener.local_addr().expect("its address");
        drop(listener);
        let config = format!(
            "global\n  nbthread 1\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n\
             frontend in\n  bind {at} {bind}\n  default_backend out\n\
             backend out\n  server s {backend} {server}\n"
        );
        let folder = crate::tls::certificates::Folder::new();
        let path = folder.file("haproxy.cfg", &config);
        let program = Program::start(Command::new("haproxy").args(["-db", "-f", &path]));
        let listening = async {
            while tokio::net::TcpStream::connect(at).await.is_err() {
                actix_rt::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        within("HAProxy", listening).await;
        HaProxy {
            _program: program,
            _folder: folder,
            at,
        }
    }
}

fn haproxy() -> bool {
    has("haproxy", "-v", "HAProxy")
}

#[actix_rt::test]
async fn haproxy_names_its_client_in_both_versions() {
    if !haproxy() {
        return;
    }
    for (server, begin, end) in [
        ("send-proxy", "V1 127.0.0.1:", "[]"),
        ("send-proxy-v2", "V2 127.0.0.1:", "[]"),
        (
            "send-proxy-v2 proxy-v2-options crc32c,unique-id",
            "V2 127.0.0.1:",
            "[3, 5]",
        ),
        (
            "send-proxy check check-send-proxy inter 50ms",
            "V1 127.0.0.1:",
            "[]",
        ),
        (
            "send-proxy-v2 check check-send-proxy inter 50ms",
            "V2 127.0.0.1:",
            "[]",
        ),
    ] {
        let (_test, at) = web().await;
        let haproxy = HaProxy::start("", at, server).await;
        for _ in 0..5 {
            let url = format!("http://{}/", haproxy.at);
            let text = output(&mut curl(&url)).await;
            assert!(text.starts_with(begin), "{server}: {text}");
            assert!(
                text.ends_with(&format!(" {} {end}", haproxy.at)),
                "{server}: {text}"
            );
            // The client's port, not HAProxy's.
            assert!(!text.contains(&format!(":{} ", at.port())), "{text}");
        }
    }
}

#[actix_rt::test]
async fn haproxy_reads_our_headers() {
    if !haproxy() {
        return;
    }
    // Two of them: this crate, HAProxy as the receiver, which passes on what it has read, and
    // this crate again.
    let (_web, at) = web().await;
    let haproxy = HaProxy::start("accept-proxy", at, "send-proxy-v2 proxy-v2-options crc32c").await;
    let mut test = TestApp::new().await;
    let ends = ["192.0.2.1:56789", "198.51.100.1:443"];
    let v6 = ["[2001:db8::1]:56789", "[2001:db8::2]:443"];
    for [source, destination] in [ends, v6] {
        for (version, tlvs) in [
            (Version::V1, false),
            (Version::V2, false),
            (Version::V2, true),
        ] {
            let address = |text: &str| text.parse().expect("an address");
            let mut header = ProxyHeader::new(version, address(source), address(destination));
            if tlvs {
                header = header
                    .with_tlv(tlv::AUTHORITY, b"a.example")
                    .with_checksum();
            }
            let options = ConnectOptions {
                proxy_header: Some(header),
                ..ConnectOptions::default()
            };
            let id = test.create().await;
            let connected = test.app.tcp.connect_to(id, haproxy.at, options);
            connected.await.expect("connected");
            test.app
                .tcp
                .send(id, "GET / HTTP/1.1\r\n\r\n")
                .await
                .expect("sent");
            let mut text = Vec::new();
            while !text.ends_with(b"[3]") {
                match test.next().await {
                    support::ListenerEvent::Receive(_, data) => text.extend_from_slice(&data),
                    other => panic!("expected an answer, not {other:?}"),
                }
            }
            let text = String::from_utf8_lossy(&text);
            let expected = format!("V2 {source} {destination} [3]");
            assert!(text.ends_with(&expected), "{text}, not {expected}");
            test.app.tcp.close(id).await.expect("closed");
            while let Some(_event) = test.try_next() {}
        }
    }
}

#[actix_rt::test]
async fn a_proxy_of_this_crate_passes_the_client_on() {
    // Both ends at once: what a server socket has read, `connect_to` sends.
    let mut fixture = Fixture::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let next = listener.local_addr().expect("its address");
    let mut proxy = dial(fixture.at).await;
    let line = b"PROXY TCP6 2001:db8::1 2001:db8::2 56789 443\r\n";
    write(&mut proxy, line).await;
    let info = fixture.accepted().await;
    let header = info.proxy_peer().map(|it| it.header.clone());
    let options = ConnectOptions {
        proxy_header: header,
        ..ConnectOptions::default()
    };
    let id = fixture.test.create().await;
    let connected = fixture.test.app.tcp.connect_to(id, next, options);
    connected.await.expect("connected");
    let (mut peer, _) = listener.accept().await.expect("accept");
    let mut got = vec![0; line.len()];
    within("the header", peer.read_exact(&mut got))
        .await
        .expect("read");
    assert_eq!(got, line);
}
