//! Many connections at once, handled in a thread other than the server socket's: accepting must
//! not stall.

use chrome_sockets::OnEvent;
use chrome_sockets::tcp_server::AcceptInfo;
use support::LIMIT;

use super::shared_port::dial_many;
use super::*;

/// Number of storms, and of connections in each. All of them wait in the backlog before the
/// first is accepted, so only handled events wake the server socket.
const STORMS: usize = 3;
const CONNECTIONS: usize = 1_700;

/// Works for a while on each client, so that the number of events in flight reaches its bound,
/// and closes the client.
struct SlowCloser(u32);

impl Actor for SlowCloser {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for SlowCloser {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        // A different time for each event, so that it ends at a different point of the server
        // socket's turn.
        let work = self.0.wrapping_mul(0x9e37_79b9) >> 18;
        self.0 += 1;
        for number in 0..work {
            std::hint::black_box(number);
        }
        info.client().do_close();
    }
}

/// Adds a listener to `onAccept` in a thread of its own.
async fn close_elsewhere(event: &OnEvent<AcceptInfo>) -> Arbiter {
    let arbiter = Arbiter::new();
    let closer = SlowCloser::start_in_arbiter(&arbiter.handle(), |_| SlowCloser(0));
    event.add_listener(closer.recipient()).await.expect("added");
    arbiter
}

async fn storm(arbiters: usize, reuse_port: bool) {
    let test = TestApp::on(Registry::new().arbiters(arbiters)).await;
    let own = test.listener.clone().recipient();
    let server = test.app.tcp_server.clone();
    server.on_accept.remove_listener(own).await.expect("gone");
    let arbiter = close_elsewhere(&server.on_accept).await;
    let created = server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    server
        .set_reuse_port(id, reuse_port)
        .await
        .expect("it is set");
    let listening = server.listen(id, "127.0.0.1", 0, Some(4096)).await;
    listening.expect("listen");
    let info = server.get_info(id).await.expect("it exists");
    let at = info.local_addr().expect("it listens");
    for come in 1..=STORMS {
        server.set_paused(id, true).await.expect("paused");
        let mut waiting = dial_many(at, CONNECTIONS).await;
        server.set_paused(id, false).await.expect("resumed");
        for (number, peer) in waiting.iter_mut().enumerate() {
            let mut byte = [0];
            let closed = actix_rt::time::timeout(LIMIT, peer.read(&mut byte));
            if closed.await.is_err() {
                let info = server.get_info(id).await.expect("it exists");
                panic!("{number} waits: {:?}, {:?}", info.counts, info.blocked_by);
            }
        }
        let info = server.get_info(id).await.expect("it exists");
        let counts = (info.counts.accepted, info.counts.delivered);
        let all = (come * CONNECTIONS) as u64;
        assert_eq!(counts, (all, all));
    }
    arbiter.stop();
}

#[actix_rt::test]
async fn a_server_socket_accepts_all_of_a_storm() {
    storm(1, false).await;
}

#[actix_rt::test]
async fn a_server_socket_of_several_arbiters_accepts_all_of_a_storm() {
    storm(3, false).await;
}

#[actix_rt::test]
async fn a_server_socket_that_asks_for_a_shared_port_accepts_all_of_a_storm() {
    storm(1, true).await;
}

#[actix_rt::test]
async fn a_shared_port_accepts_all_of_a_storm() {
    storm(3, true).await;
}
