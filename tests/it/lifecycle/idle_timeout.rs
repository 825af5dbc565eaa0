//! The idle timeout of an event page.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use chrome_sockets::lifecycle::SuspendInfo;
use chrome_sockets::tcp::DnsQueryType;
use chrome_sockets::testing::ScriptedNetwork;
use support::{ListenerEvent, TestApp, within};
use tokio::sync::mpsc;
use tokio::time::{Instant, advance, sleep};

use super::{page, persistent_server};

const IDLE: Duration = Duration::from_secs(8);

struct SuspendListener(mpsc::UnboundedSender<Instant>);

impl actix::Actor for SuspendListener {
    type Context = actix::Context<Self>;
}

impl actix::Handler<SuspendInfo> for SuspendListener {
    type Result = ();

    fn handle(&mut self, _: SuspendInfo, _: &mut Self::Context) {
        let _ = self.0.send(Instant::now());
    }
}

/// Checks that the app was suspended after exactly this time, with a quarter as slack.
async fn expect_suspension_after(
    suspensions: &mut mpsc::UnboundedReceiver<Instant>,
    from: Instant,
) {
    let at = suspensions.recv().await.expect("it runs");
    let idle = at - from;
    // The clock has a resolution of milliseconds.
    let least = IDLE - Duration::from_millis(5);
    assert!(idle >= least && idle <= IDLE + IDLE / 2, "after {idle:?}");
}

async fn test_app() -> (TestApp, ScriptedNetwork, mpsc::UnboundedReceiver<Instant>) {
    use actix::Actor;
    let network = ScriptedNetwork::new();
    let test = TestApp::with_network(network.clone()).await;
    let (page, _) = page(&test);
    let set = test.app.set_event_page(Some(page.idle_timeout(IDLE)));
    set.await.expect("it runs");
    let (sender, reported) = mpsc::unbounded_channel();
    let listener = SuspendListener(sender).start();
    let added = test.app.on_suspend.add_listener(listener.recipient());
    added.await.expect("it runs");
    (test, network, reported)
}

#[actix_rt::test]
async fn an_idle_app_is_suspended_and_a_connection_loads_it_again() {
    tokio::time::pause();
    let (mut test, network, mut suspensions) = test_app().await;
    let (_, at) = persistent_server(&test).await;
    expect_suspension_after(&mut suspensions, Instant::now()).await;
    let _peer = network.client(at).expect("it listens");
    test.accepted().await;
    assert_eq!(test.app.is_suspended().await, Ok(false));
    sleep(2 * IDLE).await;
    assert_eq!(test.app.is_suspended().await, Ok(true), "idle again");
}

#[actix_rt::test]
async fn calls_and_events_keep_an_app_loaded() {
    tokio::time::pause();
    let (mut test, network, mut suspensions) = test_app().await;
    let (_, at) = persistent_server(&test).await;
    let peer = network.client(at).expect("it listens");
    let client = test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    for round in 0..20 {
        sleep(IDLE / 2).await;
        match round % 3 {
            0 => drop(client.get_info().await.expect("it is open")),
            1 => drop(
                test.app
                    .tcp
                    .get_info(client.id())
                    .await
                    .expect("it is open"),
            ),
            _ => {
                peer.send("x");
                assert!(matches!(test.next().await, ListenerEvent::Receive(..)));
            }
        }
    }
    assert!(suspensions.try_recv().is_err(), "it was never idle");
    expect_suspension_after(&mut suspensions, Instant::now()).await;
    assert!(peer.is_closed(), "it is not persistent");
}

#[actix_rt::test]
async fn a_pending_send_or_connect_keeps_an_app_loaded() {
    tokio::time::pause();
    let (test, network, mut suspensions) = test_app().await;
    let target = "192.0.2.1:7".parse().expect("an address");
    let peer = network.server(target);
    let hold = network.block_connect(target);
    let client = test.create().await;
    let any = DnsQueryType::Any;
    let connected = test.app.tcp.connect(client, "192.0.2.1", 7, any);
    sleep(3 * IDLE).await;
    assert!(suspensions.try_recv().is_err(), "a connect waits");
    peer.limit_writes(0);
    hold.release();
    connected.await.expect("connect");
    let sent = test.app.tcp.send(client, &b"x"[..]);
    sleep(3 * IDLE).await;
    assert!(suspensions.try_recv().is_err(), "a send waits");
    peer.unlimit_writes();
    sent.await.expect("it is sent");
    expect_suspension_after(&mut suspensions, Instant::now()).await;
}

#[actix_rt::test]
async fn a_new_event_page_has_its_own_idle_timeout_or_none() {
    tokio::time::pause();
    let (test, _, mut suspensions) = test_app().await;
    let (page, starts) = page(&test);
    test.app.set_event_page(Some(page)).await.expect("it runs");
    advance(10 * IDLE).await;
    sleep(IDLE).await;
    assert!(suspensions.try_recv().is_err());
    assert_eq!(starts.load(SeqCst), 0);
    assert_eq!(test.app.is_suspended().await, Ok(false));
}

#[actix_rt::test]
async fn an_idle_timeout_does_not_keep_a_registry_without_addresses_alive() {
    let test = TestApp::new().await;
    let (page, _) = page(&test);
    let set = test.app.set_event_page(Some(page.idle_timeout(IDLE)));
    set.await.expect("it runs");
    let (_, at) = persistent_server(&test).await;
    drop(test);
    let is_free = async {
        while tokio::net::TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("the end of the registry", is_free).await;
}
