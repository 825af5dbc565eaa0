//! Clients that do not finish their TLS handshakes.

use chrome_sockets::tcp_server::HandshakeErrorInfo;
use chrome_sockets::tls;

use super::*;
use crate::tls::certificates::Authority;

/// The default bound on concurrent handshakes.
const STALLED: usize = tls::DEFAULT_HANDSHAKES;

/// Memory for a silent client, and for one that sends as much as possible.
const SILENT: usize = 16 * KIB;
const LOUD: usize = 128 * KIB;

/// Counts failures, including missed ones.
struct FailureCounter(Arc<AtomicUsize>);

impl Actor for FailureCounter {
    type Context = Context<Self>;
}

impl Handler<HandshakeErrorInfo> for FailureCounter {
    type Result = ();

    fn handle(&mut self, info: HandshakeErrorInfo, _: &mut Self::Context) {
        self.0.fetch_add(1 + info.missed as usize, SeqCst);
    }
}

impl Handler<AcceptInfo> for FailureCounter {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        panic!("client {} has not sent enough", info.client_socket_id);
    }
}

async fn run_stalled_handshakes(most: usize) {
    let child_app = ChildApp::start(Registry::new()).await;
    let failed = Arc::<AtomicUsize>::default();
    let counter = FailureCounter(failed.clone()).start();
    child_app.add_accept_listener(counter.clone()).await;
    let server = &child_app.app.tcp_server;
    let adding = server.on_handshake_error.add_listener(counter.recipient());
    adding.await.expect("added");
    let tls = Authority::new().issue("localhost").server();
    let tls = tls.timeout(Duration::from_secs(5));
    let set = server.set_tls(child_app.server, Some(tls));
    set.await.expect("alive");
    let before = resident();
    child_app.listen(4096).await;
    let grown = growth_until("their ends", before, || failed.load(SeqCst) >= STALLED).await;
    assert!(
        grown <= STALLED * most,
        "{STALLED} handshakes cost {}",
        format_kib(grown)
    );
    let each = grown / STALLED;
    child_app
        .report_success(&format!(" {}, {each} bytes each", format_kib(grown)))
        .await;
}

#[test]
fn stalled_handshakes_cost_no_more_memory_than_their_bound() {
    const NAME: &str = "handshakes::stalled_handshakes_cost_no_more_memory_than_their_bound";
    if let Some(role) = role() {
        return run_child(async move {
            match role.as_str() {
                "silent" => run_stalled_handshakes(SILENT).await,
                _ => run_stalled_handshakes(LOUD).await,
            }
        });
    }
    for role in ["silent", "loud"] {
        let process = MeasuredProcess::start(NAME, role);
        let peers: Vec<_> = (0..STALLED)
            .map(|_| {
                let peer = connect(process.at);
                if role == "loud" {
                    send_longest_hello(&peer);
                }
                peer
            })
            .collect();
        process.finish();
        drop(peers);
    }
}

/// A ClientHello of about the maximum length, in records of the maximum length, without its last
/// byte.
fn send_longest_hello(mut peer: &TcpStream) {
    const RECORD: usize = 16_384;
    // More than 64 KiB would be refused.
    let mut message = vec![0; 0xf000 + 4];
    message[..4].copy_from_slice(&[1, 0, 0xf0, 0]);
    message.pop();
    for piece in message.chunks(RECORD) {
        let length = u16::try_from(piece.len()).expect("a record").to_be_bytes();
        // The server may have dropped it.
        let _ = peer.write_all(&[22, 3, 1, length[0], length[1]]);
        let _ = peer.write_all(piece);
    }
}
