//! How an app handles network errors, tested without a network:
//! `cargo run --features testing --example scripted_faults`.
//!
//! The process is "out of descriptors" when a client connects. The server socket pauses and
//! reports the error, and the client is accepted after the resume.

use std::error::Error;

use actix::prelude::*;
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::testing::ScriptedNetwork;
use chrome_sockets::{App, Registry, Shutdown};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Greets every client, and resumes after every accept error.
struct Greeter {
    app: App,
    greeted: UnboundedSender<()>,
}

impl Actor for Greeter {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Greeter {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        println!("client {} connected", info.client_socket_id);
        let sent = info.client().send("welcome");
        let greeted = self.greeted.clone();
        actix_rt::spawn(async move {
            println!("greeted: {:?}", sent.await);
            let _ = greeted.send(());
        });
    }
}

impl Handler<AcceptErrorInfo> for Greeter {
    type Result = ();

    fn handle(&mut self, info: AcceptErrorInfo, _: &mut Self::Context) {
        println!("cannot accept: {}; resuming", info.result_code);
        self.app.tcp_server.do_set_paused(info.socket_id, false);
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let network = ScriptedNetwork::new();
    let registry = Registry::with_network(network.clone()).start();
    let app = App::new("greeter", &registry);
    let (greeted, mut is_greeted) = unbounded_channel();
    let greeter = Greeter {
        app: app.clone(),
        greeted,
    }
    .start();
    app.tcp_server
        .on_accept
        .do_add_listener(greeter.clone().recipient());
    app.tcp_server
        .on_accept_error
        .do_add_listener(greeter.recipient());
    let server = app.tcp_server.create(Default::default()).await?.socket_id;
    app.tcp_server.listen(server, "127.0.0.1", 80, None).await?;

    let address = "127.0.0.1:80".parse()?;
    network.accept_error(address, libc::EMFILE)?;
    let client = network.client(address)?;
    is_greeted.recv().await;
    println!(
        "the client got {:?}",
        String::from_utf8_lossy(&client.received())
    );
    registry.send(Shutdown).await??;
    Ok(())
}
