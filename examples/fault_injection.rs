//! How to test an app under faults, on real sockets:
//! `cargo run --features testing --example fault_injection [SEED]`.
//!
//! The app sends a greeting to each client. Accepts fail for lack of descriptors, writes are slow
//! or short, and connections break. Each client must get the complete greeting, or see the
//! connection end.
#![expect(
    clippy::disallowed_types,
    reason = "the clients of the test are ordinary sockets"
)]

use std::error::Error;

use actix::prelude::*;
use chrome_sockets::os::TokioNetwork;
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::testing::FaultyNetwork;
use chrome_sockets::{App, Registry, Shutdown};
use tokio::io::AsyncReadExt;

const GREETING: &str = "Welcome! This greeting is complete or missing.\n";

/// The app under test: greets every client, and resumes after every accept error.
struct Greeter(App);

impl Actor for Greeter {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Greeter {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let client = info.client();
        if let Err(error) = client.try_send(GREETING) {
            eprintln!("client {}: {error}", client.id());
        }
        client.do_close();
    }
}

impl Handler<AcceptErrorInfo> for Greeter {
    type Result = ();

    fn handle(&mut self, info: AcceptErrorInfo, _: &mut Self::Context) {
        self.0.tcp_server.do_set_paused(info.socket_id, false);
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(7), |seed| seed.parse())?;

    // The app, on the real network with injected faults.
    let network = FaultyNetwork::new(TokioNetwork, seed);
    let registry = Registry::with_network(network.clone()).start();
    let app = App::new("greeter", &registry);
    let greeter = Greeter(app.clone()).start();
    let (on_accept, on_error) = (&app.tcp_server.on_accept, &app.tcp_server.on_accept_error);
    on_accept.do_add_listener(greeter.clone().recipient());
    on_error.do_add_listener(greeter.recipient());
    let server = app.tcp_server.create(Default::default()).await?.socket_id;
    app.tcp_server.listen(server, "127.0.0.1", 0, None).await?;
    let info = app.tcp_server.get_info(server).await?;
    let address = info.local_addr().ok_or("it does not listen")?;

    // The faults.
    network.inject("accept=EMFILE,every=10".parse()?);
    network.inject("write=short,bytes=7,p=0.5".parse()?);
    network.inject("write=stall,for=5ms,every=9".parse()?);
    let broken = network.inject("write=reset,p=0.05".parse()?);

    // Each client gets the greeting, or sees the connection end.
    let (mut greeted, mut ended) = (0, 0);
    for _ in 0..200 {
        let mut client = tokio::net::TcpStream::connect(address).await?;
        let mut text = String::new();
        match client.read_to_string(&mut text).await {
            Ok(_) if text == GREETING => greeted += 1,
            Err(_) => ended += 1,
            Ok(_) => return Err(format!("incomplete greeting: {text:?}").into()),
        }
    }
    for rule in network.report() {
        println!("{rule}");
    }
    println!("{greeted} of 200 clients got the greeting, {ended} a broken connection");
    assert_eq!(ended, network.triggered(broken));
    registry.send(Shutdown).await??;
    Ok(())
}
