//! Threads that a registry started end with it.

use chrome_sockets::Shutdown;
use tokio::sync::oneshot;

use super::*;

/// Receivers that close when the arbiters' threads end, one for each.
async fn thread_end_signals(test: &TestApp) -> Vec<oneshot::Receiver<()>> {
    let (sender, mut reported) = unbounded_channel();
    let set_up = test.app.on_each_arbiter(move |local| {
        if local.index() == 0 {
            // Arbiter 0 is the test's own thread.
            return;
        }
        let (tied, end) = oneshot::channel::<()>();
        // Lives as long as the event loop.
        actix_rt::spawn(async move {
            std::future::pending::<()>().await;
            drop(tied);
        });
        let _ = sender.send(end);
    });
    set_up.await.expect("it runs");
    let mut all = Vec::new();
    while let Ok(end) = reported.try_recv() {
        all.push(end);
    }
    all
}

async fn all_threads_end(threads: Vec<oneshot::Receiver<()>>) {
    for thread in threads {
        let end = within("the end of a thread", thread).await;
        assert!(end.is_err(), "it was dropped");
    }
}

#[actix_rt::test]
async fn a_shutdown_ends_the_threads_after_every_port_is_free() {
    let (mut test, _received) = with_local_echo(Registry::new().arbiters(3)).await;
    let threads = thread_end_signals(&test).await;
    assert_eq!(threads.len(), 2);
    let (_, at) = test.listen().await;
    let (client, mut peer) = accept(&mut test, at).await;
    test.registry
        .send(Shutdown)
        .await
        .expect("it runs")
        .expect("it ends");
    assert!(std::net::TcpListener::bind(at).is_ok(), "the port is free");
    let mut rest = Vec::new();
    let end = within("the end", peer.read_to_end(&mut rest)).await;
    assert_eq!(end.expect("no error"), 0);
    assert_eq!(client.send("x").await, Err(chrome_sockets::Error::Stopped));
    all_threads_end(threads).await;
}

#[actix_rt::test]
async fn dropping_the_last_registry_address_ends_the_threads() {
    let (test, _received) = with_local_echo(Registry::new().arbiters(2)).await;
    let threads = thread_end_signals(&test).await;
    drop(test);
    all_threads_end(threads).await;
}

#[test]
fn the_end_of_the_system_ends_the_threads() {
    let threads = actix_rt::System::new().block_on(async {
        let (test, _received) = with_local_echo(Registry::new().arbiters(2)).await;
        thread_end_signals(&test).await
    });
    actix_rt::System::new().block_on(all_threads_end(threads));
}
