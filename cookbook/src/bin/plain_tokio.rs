//! An echo server in a program that keeps its tokio runtime:
//! `cargo run -p chrome-sockets-cookbook --bin plain_tokio [ADDR]`.
//!
//! ADDR is by default `127.0.0.1:7104`.

use std::error::Error;
use std::net::SocketAddr;

use actix::prelude::*;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{App, Registry, Shutdown};
use tokio::sync::oneshot;

struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        info.client().do_set_paused(false);
    }
}

impl Handler<ReceiveInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        if client.forward(info).is_err() {
            client.do_close();
        }
    }
}

impl Handler<ReceiveErrorInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        info.client().do_close();
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:7104").parse()?;

    // Actors live in an actix `System`, which gets a thread of its own.
    let (started, start) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runner = System::new();
        let registry = runner.block_on(async { Registry::new().start() });
        // It fails if the program has ended meanwhile.
        let _ = started.send((registry, System::current()));
        runner.run()
    });
    let (registry, system) = start.await?;

    // From here on everything but the actors runs in the tokio runtime of the program.
    let app = App::new("echo", &registry);
    let echo = Echo::start_in_arbiter(system.arbiter(), |_| Echo);
    app.tcp_server
        .on_accept
        .do_add_listener(echo.clone().recipient());
    app.tcp.on_receive.do_add_listener(echo.clone().recipient());
    app.tcp.on_receive_error.do_add_listener(echo.recipient());
    let server = app.tcp_server.create(Default::default()).await?.socket_id;
    app.tcp_server
        .listen_on(server, address, Default::default())
        .await?;
    let bound = app.tcp_server.get_info(server).await?.local_addr();
    println!("listening on {}", bound.ok_or("it does not listen")?);

    tokio::signal::ctrl_c().await?;
    registry.send(Shutdown).await??;
    system.stop();
    thread
        .join()
        .map_err(|_| "the thread of the system has panicked")??;
    Ok(())
}
