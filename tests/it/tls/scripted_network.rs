//! A secured connection on the scripted network.

use std::io::{Read, Write};

use chrome_sockets::Registry;
use chrome_sockets::rustls::ServerConnection;
use chrome_sockets::tcp::{ClientSocket, SecureOptions};
use chrome_sockets::testing::{Peer, ScriptedNetwork};
use futures::FutureExt;
use support::{TestApp, code};

use super::certificates::Authority;
use super::dialled;

/// The peer's side of TLS, driven by the test.
struct TlsPeer {
    peer: Peer,
    tls: ServerConnection,
    /// How much of the input was read.
    read: usize,
}

impl TlsPeer {
    /// Processes input, answers, and returns its data.
    fn process(&mut self) -> Vec<u8> {
        let received = self.peer.received();
        let mut new = &received[self.read..];
        while !new.is_empty() {
            self.tls.read_tls(&mut new).expect("room");
            self.tls.process_new_packets().expect("TLS");
        }
        self.read = received.len();
        let mut data = Vec::new();
        // Without an end, this is an error after all available data.
        let _ = self.tls.reader().read_to_end(&mut data);
        let mut answer = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut answer).expect("a vector takes all");
        }
        if !answer.is_empty() {
            self.peer.send(answer);
        }
        data
    }

    fn send_data(&mut self, data: &[u8]) {
        self.tls.writer().write_all(data).expect("room");
        self.process();
    }
}

/// Lets everything happen that takes no time.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A secured, paused socket, and its peer. `bytes` is how much one read or write transfers.
async fn secured(bytes: usize) -> (TestApp, ClientSocket, TlsPeer) {
    let network = ScriptedNetwork::new();
    let authority = Authority::new();
    let peer = network.server("127.0.0.1:443".parse().expect("an address"));
    let registry = Registry::with_network(network).tls_client(authority.client());
    let test = TestApp::on(registry).await;
    let client = dialled(&test, "127.0.0.1", 443).await;
    peer.short_reads(bytes);
    peer.short_writes(bytes);
    let config = authority.issue("127.0.0.1").config();
    let mut tls_peer = TlsPeer {
        peer,
        tls: ServerConnection::new(config).expect("a connection"),
        read: 0,
    };
    let mut answer = client.secure(SecureOptions::default());
    for _ in 0..1000 {
        settle().await;
        tls_peer.process();
        if let Some(answer) = (&mut answer).now_or_never() {
            answer.expect("the handshake");
            return (test, client, tls_peer);
        }
    }
    panic!("the handshake is not done");
}

#[actix_rt::test]
async fn a_connection_with_single_byte_transfers_loses_nothing() {
    let (mut test, client, mut tls_peer) = secured(1).await;
    client.set_paused(false).await.expect("resume");
    tls_peer.send_data(b"byte by byte");
    assert_eq!(test.received(client.id(), 12).await, b"byte by byte");
    let sent = client.send(&b"likewise"[..]).await.expect("send");
    assert_eq!(sent.bytes_sent, 8);
    assert_eq!(tls_peer.process(), b"likewise");
}

#[actix_rt::test]
async fn a_small_send_is_answered_when_its_last_encrypted_byte_is_written() {
    let (_world, client, mut tls_peer) = secured(usize::MAX).await;
    tls_peer.process();
    tls_peer.peer.limit_writes(30);
    let mut first = client.send(&b"sixteen bytes of"[..]);
    let mut second = client.send(&b" two sends"[..]);
    settle().await;
    assert_eq!((&mut first).now_or_never(), None, "it is incomplete");
    assert_eq!((&mut second).now_or_never(), None);
    assert_eq!(tls_peer.process(), b"");
    tls_peer.peer.unlimit_writes();
    assert_eq!(first.await.expect("send").bytes_sent, 16);
    assert_eq!(second.await.expect("send").bytes_sent, 10);
    assert_eq!(
        tls_peer.process(),
        b"sixteen bytes of two sends",
        "and not twice"
    );
}

#[actix_rt::test]
async fn a_write_error_fails_waiting_sends_and_received_data_is_still_read() {
    let (mut test, client, mut tls_peer) = secured(usize::MAX).await;
    tls_peer.process();
    tls_peer.peer.limit_writes(30);
    let waiting = client.send(&b"sixteen bytes of"[..]);
    settle().await;
    tls_peer.send_data(b"said before");
    tls_peer.peer.write_error(libc::EPIPE);
    tls_peer.peer.unlimit_writes();
    assert_eq!(code("send", waiting).await, -101);
    assert_eq!(code("send", client.send(&b"more"[..])).await, -101);
    client.set_paused(false).await.expect("resume");
    assert_eq!(test.received(client.id(), 11).await, b"said before");
    tls_peer.peer.shutdown();
    assert_eq!(test.ended(client.id()).await.code(), -100);
}
