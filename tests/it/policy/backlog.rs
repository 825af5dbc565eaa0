//! How many connections wait in the backlog of a real listener.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use chrome_sockets::ServerSocketId;
use support::{TestApp, within};

async fn backlog(test: &TestApp, id: ServerSocketId) -> Option<u32> {
    let info = test.app.tcp_server.get_info(id).await;
    info.expect("it is open").backlog
}

/// A paused server socket that listens at this address.
async fn paused(test: &TestApp, at: &str) -> (ServerSocketId, SocketAddr) {
    let server = &test.app.tcp_server;
    let created = server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    server.set_paused(id, true).await.expect("it is open");
    server.listen(id, at, 0, None).await.expect("listen");
    let info = server.get_info(id).await.expect("it is open");
    (id, info.local_addr().expect("it listens"))
}

async fn wait_for_backlog(test: &TestApp, id: ServerSocketId, length: u32) {
    within(&format!("a backlog of {length}"), async {
        while backlog(test, id).await != Some(length) {
            actix_rt::task::yield_now().await;
        }
    })
    .await;
}

#[actix_rt::test]
async fn the_backlog_of_a_real_listener_is_counted_whatever_its_address() {
    for at in ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"] {
        let mut test = TestApp::new().await;
        let (id, bound) = paused(&test, at).await;
        let (other, _) = paused(&test, at).await;
        assert_eq!(backlog(&test, id).await, Some(0), "{at}");
        let peers = [(); 3].map(|()| TcpStream::connect(bound).expect("it listens"));
        wait_for_backlog(&test, id, 3).await;
        assert_eq!(backlog(&test, other).await, Some(0), "{at}");
        let resumed = test.app.tcp_server.set_paused(id, false).await;
        resumed.expect("it is open");
        for _ in &peers {
            test.accepted().await;
        }
        assert_eq!(backlog(&test, id).await, Some(0), "{at}");
        let closed = test.app.tcp_server.disconnect(id).await;
        closed.expect("it is open");
        assert_eq!(backlog(&test, id).await, None, "{at}");
    }
}

#[actix_rt::test]
async fn get_sockets_reports_the_backlogs_of_a_thousand_server_sockets_within_a_second() {
    let test = TestApp::new().await;
    let mut taken = Vec::new();
    for _ in 0..1000 {
        paused(&test, "127.0.0.1").await;
    }
    for _ in 0..10 {
        let started = Instant::now();
        let infos = test.app.tcp_server.get_sockets().await.expect("it runs");
        taken.push(started.elapsed());
        assert!(infos.iter().all(|info| info.backlog == Some(0)));
    }
    println!("{taken:?}");
    let best = taken.into_iter().min().unwrap_or_default();
    assert!(best < Duration::from_secs(1), "at best {best:?}");
}
