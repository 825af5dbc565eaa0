//! Connections while their app is repeatedly suspended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::lifecycle::EventPage;
use chrome_sockets::tcp_server::AcceptInfo;
use support::{TestApp, within};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::persistent_server;

const CYCLES: usize = 100;
const CLIENTS_A_CYCLE: usize = 100;

/// Sends each client one byte, so its peer counts how often it was accepted.
struct OneByteGreeter(Arc<AtomicUsize>);

impl Actor for OneByteGreeter {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for OneByteGreeter {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        self.0.fetch_add(1, SeqCst);
        info.client().try_send(&b"."[..]).expect("it is open");
    }
}

/// The number of bytes that a client received until the end of its connection.
async fn client(at: SocketAddr) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(at).await?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    Ok(all.len())
}

#[actix_rt::test]
async fn each_of_10_000_connections_over_100_suspensions_is_accepted_exactly_once() {
    let test = TestApp::new().await;
    let (_, at) = persistent_server(&test).await;
    let (greeted, starts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, started) = (greeted.clone(), starts.clone());
    let page = EventPage::new(move |app| {
        started.fetch_add(1, SeqCst);
        let greeter = OneByteGreeter(count.clone()).start();
        app.tcp_server.on_accept.add_listener(greeter.recipient())
    });
    test.app.set_event_page(Some(page)).await.expect("it runs");
    // From here on only the event page adds listeners.
    test.app.suspend().await.expect("suspend");

    let mut clients = JoinSet::new();
    for _ in 0..CYCLES {
        // Some connect before the suspension, some during it, and some after it; the latter load
        // the app.
        for _ in 0..CLIENTS_A_CYCLE / 2 {
            clients.spawn_local(client(at));
        }
        tokio::task::yield_now().await;
        let suspended = test.app.suspend();
        for _ in 0..CLIENTS_A_CYCLE / 2 {
            clients.spawn_local(client(at));
        }
        within("the answer to suspend", suspended)
            .await
            .expect("suspend");
    }
    let all_greeted = async {
        while greeted.load(SeqCst) < CYCLES * CLIENTS_A_CYCLE {
            actix_rt::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within("every client's onAccept", all_greeted).await;
    // Open connections end with their app.
    test.app.unload().await.expect("it runs");
    let mut ends = 0;
    while let Some(end) = within("the end of a client", clients.join_next()).await {
        let got = end.expect("it runs").expect("no connection fails");
        assert_eq!(got, 1, "accepted once");
        ends += 1;
    }
    assert_eq!(ends, CYCLES * CLIENTS_A_CYCLE);
    assert_eq!(greeted.load(SeqCst), CYCLES * CLIENTS_A_CYCLE);
    let starts = starts.load(SeqCst);
    assert!(starts >= CYCLES / 2, "the app was loaded {starts} times");
}
