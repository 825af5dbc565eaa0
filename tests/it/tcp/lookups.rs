//! Name lookups: no app waits for those of another one, and `localhost` waits for none.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex};

use chrome_sockets::os::{Listener, Network, Stream, TokioNetwork};
use chrome_sockets::tcp::{DnsQueryType, LOOKUPS_OF_APP, SocketProperties};
use chrome_sockets::testing::{Call, ScriptedNetwork};
use chrome_sockets::{Answer, NetError, Registry};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;

async fn create(app: &App) -> ClientSocketId {
    let created = app.tcp.create(SocketProperties::default()).await;
    created.expect("create").socket_id
}

async fn dial_name(app: &App, host: &str, port: u16) -> (ClientSocketId, Answer<()>) {
    let id = create(app).await;
    let answer = app.tcp.connect(id, host, port.into(), DnsQueryType::Any);
    (id, answer)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    within(what, async {
        while !holds() {
            actix_rt::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// The system's resolver, which blocks a thread for each name, and does not answer `.silent`
/// before the gate opens.
#[derive(Clone, Default)]
struct Resolver(Arc<ResolverGate>);

#[derive(Default)]
struct ResolverGate {
    /// Lookups in progress, and the largest number of them so far.
    going: AtomicUsize,
    most: AtomicUsize,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl ResolverGate {
    fn pass(&self) {
        let going = self.going.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(going, SeqCst);
        let mut is_open = self.is_open.lock().expect("no panic while locked");
        while !*is_open {
            is_open = self.opened.wait(is_open).expect("no panic while locked");
        }
        self.going.fetch_sub(1, SeqCst);
    }

    fn open(&self) {
        *self.is_open.lock().expect("no panic while locked") = true;
        self.opened.notify_all();
    }
}

/// Opens the gate, so that a failing test ends.
struct OpenOnDrop(Arc<ResolverGate>);

impl Drop for OpenOnDrop {
    fn drop(&mut self) {
        self.0.open();
    }
}

impl Network for Resolver {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        TokioNetwork.listen(address, backlog)
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.resolve_with_permit(host, Box::new(()))
    }

    fn resolve_with_permit(
        &self,
        host: &str,
        place: Box<dyn Send>,
    ) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let (gate, is_silent) = (self.0.clone(), host.ends_with(".silent"));
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || {
                let _place = place;
                if is_silent {
                    gate.pass();
                }
                vec![IpAddr::from([127, 0, 0, 1])]
            });
            found.await.map_err(io::Error::other)
        })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        TokioNetwork.connect(address)
    }
}

/// Two apps on a network whose resolver is silent.
async fn two_apps() -> (Resolver, App, App, OpenOnDrop) {
    let network = Resolver::default();
    let opens = OpenOnDrop(network.0.clone());
    let registry = Registry::with_network(network.clone()).start();
    let apps = ["greedy", "modest"].map(|app| App::new(app, &registry));
    let [greedy, modest] = apps;
    (network, greedy, modest, opens)
}

#[actix_rt::test]
async fn a_thousand_pending_lookups_of_one_app_delay_no_other_app() {
    let (network, greedy, modest, _opens) = two_apps().await;
    let mut answers = Vec::new();
    for number in 0..1000 {
        let host = format!("{number}.silent");
        answers.push(dial_name(&greedy, &host, 9).await.1);
    }
    let gate = network.0.clone();
    until("the lookups", move || {
        gate.going.load(SeqCst) == LOOKUPS_OF_APP
    })
    .await;
    let (listener, at) = foreign_listener().await;
    for host in ["quick.example", "localhost", "a.localhost."] {
        let (_, answer) = dial_name(&modest, host, at.port()).await;
        assert_eq!(within(host, answer).await, Ok(()));
        within("the peer", listener.accept()).await.expect("accept");
    }
    // The greedy app's own calls wait, and all of them are answered.
    let (_, own) = dial_name(&greedy, "127.0.0.1", at.port()).await;
    assert_eq!(within("an address", own).await, Ok(()));
    drop(listener);
    network.0.open();
    for answer in answers {
        let answer = within("an answer", answer).await;
        assert_eq!(answer, Err(NetError::CONNECTION_REFUSED.into()));
    }
    assert_eq!(network.0.most.load(SeqCst), LOOKUPS_OF_APP);
}

#[actix_rt::test]
async fn a_lookup_that_outlives_its_socket_keeps_its_place() {
    let (network, app, _, _opens) = two_apps().await;
    for number in 0..3 * LOOKUPS_OF_APP {
        let (id, answer) = dial_name(&app, &format!("{number}.silent"), 9).await;
        if number < LOOKUPS_OF_APP {
            let gate = network.0.clone();
            until("the lookup", move || gate.going.load(SeqCst) == number + 1).await;
        }
        app.tcp.close(id).await.expect("it is open");
        assert!(within("the answer", answer).await.is_err());
    }
    let (listener, at) = foreign_listener().await;
    let (_, waiting_peer) = dial_name(&app, "quick.example", at.port()).await;
    network.0.open();
    assert_eq!(within("the answer", waiting_peer).await, Ok(()));
    within("the peer", listener.accept()).await.expect("accept");
    // Lookups that were aborted before their turn never began.
    assert_eq!(network.0.most.load(SeqCst), LOOKUPS_OF_APP);
}

#[actix_rt::test]
async fn scripted_lookups_are_bounded_too_and_run_in_order() {
    let network = ScriptedNetwork::new();
    // One arbiter: sockets of several arbiters look up in no defined order.
    let test = TestApp::at(Registry::with_network(network.clone()).start()).await;
    let hold = network.block_resolve("far.example");
    let mut answers = Vec::new();
    for _ in 0..LOOKUPS_OF_APP {
        answers.push(dial_name(&test.app, "far.example", 9).await.1);
    }
    until("the lookups", || hold.waiting() == LOOKUPS_OF_APP).await;
    for host in ["first.example", "second.example"] {
        answers.push(dial_name(&test.app, host, 9).await.1);
    }
    test.app.tcp.get_sockets().await.expect("it runs");
    let asked = network.calls().len();
    hold.release();
    for answer in answers {
        let answer = within("an answer", answer).await;
        assert_eq!(answer, Err(NetError::NAME_NOT_RESOLVED.into()));
    }
    let asked = &network.calls()[asked..];
    let asked = asked.iter().filter_map(|call| match call {
        Call::Resolve { host } if host != "far.example" => Some(host.as_str()),
        _ => None,
    });
    assert_eq!(
        asked.collect::<Vec<_>>(),
        ["first.example", "second.example"]
    );
}

#[actix_rt::test]
async fn localhost_and_every_name_below_it_are_loopback_without_a_resolver() {
    let network = ScriptedNetwork::new();
    let test = TestApp::with_network(network.clone()).await;
    for host in ["localhost", "LocalHost.", "a.localhost", "a.b.LOCALHOST."] {
        for (dns, addresses) in [
            (DnsQueryType::Any, vec!["127.0.0.1:80", "[::1]:80"]),
            (DnsQueryType::Ipv4, vec!["127.0.0.1:80"]),
            (DnsQueryType::Ipv6, vec!["[::1]:80"]),
        ] {
            let before = network.calls().len();
            let id = create(&test.app).await;
            let answer = test.app.tcp.connect(id, host, 80, dns).await;
            assert_eq!(answer, Err(NetError::CONNECTION_REFUSED.into()));
            let expected = addresses.iter().map(|address| Call::Connect {
                address: address.parse().expect("an address"),
            });
            let calls = network.calls();
            assert_eq!(
                calls[before..],
                expected.collect::<Vec<_>>(),
                "{host} {dns:?}"
            );
        }
    }
    for host in ["localhost.example", "notlocalhost"] {
        let (_, answer) = dial_name(&test.app, host, 80).await;
        assert_eq!(answer.await, Err(NetError::NAME_NOT_RESOLVED.into()));
    }
}

/// Set when it is dropped.
struct DropFlag(Arc<AtomicBool>);

impl Drop for DropFlag {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_lookup_frees_its_place_when_the_resolver_has_answered() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1);
    let runtime = runtime.build().expect("a runtime");
    let is_given_back = Arc::new(AtomicBool::new(false));
    // The only thread is busy.
    let (free, is_free) = std::sync::mpsc::channel::<()>();
    let busy = runtime.spawn_blocking(move || is_free.recv());
    let place = DropFlag(is_given_back.clone());
    runtime.block_on(async {
        let mut found = TokioNetwork.resolve_with_permit("127.0.0.1", Box::new(place));
        assert!((&mut found).now_or_never().is_none());
        assert!(!is_given_back.load(SeqCst), "it waits for the thread");
        // The caller no longer waits, but the thread still does the lookup.
        drop(found);
        assert!(!is_given_back.load(SeqCst), "the resolver has not answered");
        free.send(()).expect("it waits");
        let freed = within("the end of the one before", busy).await;
        freed.expect("no panic").expect("the sender is alive");
        let next = tokio::task::spawn_blocking(|| {});
        within("the one behind", next).await.expect("no panic");
        assert!(is_given_back.load(SeqCst));
    });
}
