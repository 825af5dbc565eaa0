//! How an app is tested under faults. Copy a test, and put your app in the place of `Greeter`.
#![expect(
    clippy::disallowed_types,
    reason = "the clients of a test are ordinary sockets"
)]

use std::net::SocketAddr;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::os::{Network, TokioNetwork};
use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::testing::{FaultyNetwork, ScriptedNetwork};
use chrome_sockets::{App, Registry, Shutdown};
use tokio::io::AsyncReadExt;

const GREETING: &str = "Welcome! This greeting is complete or missing.\n";

/// The app under test: greets every client, and goes on after every accept error.
struct Greeter(App);

impl Actor for Greeter {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Greeter {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let client: &ClientSocket = info.client();
        if client.try_send(GREETING).is_err() {
            log::warn!("client {} was not greeted", client.id());
        }
        client.do_close();
    }
}

impl Handler<AcceptErrorInfo> for Greeter {
    type Result = ();

    /// The server socket is paused now, and clients wait in the backlog.
    fn handle(&mut self, info: AcceptErrorInfo, _: &mut Self::Context) {
        self.0.tcp_server.do_set_paused(info.socket_id, false);
    }
}

/// Starts the app on a network. Returns its address.
async fn start(network: impl Network, port: u16) -> (Addr<Registry>, SocketAddr) {
    let registry = Registry::with_network(network).start();
    let app = App::new("greeter", &registry);
    let greeter = Greeter(app.clone()).start();
    let server = &app.tcp_server;
    server
        .on_accept
        .do_add_listener(greeter.clone().recipient());
    server.on_accept_error.do_add_listener(greeter.recipient());
    let id = server
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    server
        .listen(id, "127.0.0.1", port.into(), None)
        .await
        .expect("listen");
    let info = server.get_info(id).await.expect("it exists");
    (registry, info.local_addr().expect("it listens"))
}

async fn stop(registry: Addr<Registry>) {
    let stopped = registry.send(Shutdown).await.expect("it runs");
    stopped.expect("it ends");
}

/// Waits until this holds, with turns of the actors in between.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "{what} did not come");
}

/// No network at all: the test decides what each operation of the OS answers.
#[actix_rt::test]
async fn clients_are_greeted_after_descriptors_ran_out() {
    let network = ScriptedNetwork::new();
    let (registry, address) = start(network.clone(), 80).await;
    network
        .accept_error(address, libc::EMFILE)
        .expect("it listens");
    let client = network.client(address).expect("it listens");
    until("the greeting", || client.received() == GREETING.as_bytes()).await;
    until("the end", || client.is_closed()).await;
    stop(registry).await;
}

/// Real sockets, whose operations fail by rules. The same seed injects the same faults.
#[actix_rt::test]
async fn each_client_gets_the_whole_greeting_or_an_error() {
    for seed in 1..=3 {
        let network = FaultyNetwork::new(TokioNetwork, seed);
        let (registry, address) = start(network.clone(), 0).await;
        for rule in ["accept=EMFILE,every=5", "write=short,bytes=7,p=0.5"] {
            network.inject(rule.parse().expect("a rule"));
        }
        let broken = network.inject("write=reset,p=0.1".parse().expect("a rule"));

        let (mut greeted, mut ended) = (0, 0);
        for _ in 0..50 {
            let mut client = tokio::net::TcpStream::connect(address)
                .await
                .expect("connect");
            let mut text = String::new();
            match client.read_to_string(&mut text).await {
                Ok(_) => {
                    assert_eq!(text, GREETING, "seed {seed}");
                    greeted += 1;
                }
                Err(_) => ended += 1,
            }
        }
        assert_eq!(ended, network.triggered(broken), "seed {seed}");
        assert!(greeted > 0, "seed {seed}: proof of life");
        stop(registry).await;
    }
}
