//! An echo server in a program that keeps its tokio runtime:
//! `cargo run -p chrome-sockets-cookbook --bin plain_tokio [ADDR]`.
//!
//! ADDR is by default `127.0.0.1:7104`.

use std::error::Error;
use std::net::SocketAddr;

use actix::prelude::*;
use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{App, Registry, Shutdown};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// Passes each connection on to the program. The channel needs no bound: a server socket accepts
/// while at most 64 of its events are not dropped.
struct Acceptor(UnboundedSender<AcceptInfo>);

impl Actor for Acceptor {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Acceptor {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        // It fails if the program is ending.
        let _ = self.0.send(info);
    }
}

/// Runs in the tokio runtime of the program.
async fn echo(client: ClientSocket) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut reads, mut writes) = tokio::io::split(client.into_stream().await?);
    tokio::io::copy(&mut reads, &mut writes).await?;
    writes.shutdown().await?;
    Ok(())
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

    let app = App::new("echo", &registry);
    let (accepted, mut clients) = unbounded_channel();
    let acceptor = Acceptor::start_in_arbiter(system.arbiter(), |_| Acceptor(accepted));
    app.tcp_server
        .on_accept
        .do_add_listener(acceptor.recipient());
    let server = app.tcp_server.create(Default::default()).await?.socket_id;
    app.tcp_server
        .listen_on(server, address, Default::default())
        .await?;
    let bound = app.tcp_server.get_info(server).await?.local_addr();
    println!("listening on {}", bound.ok_or("it does not listen")?);

    loop {
        tokio::select! {
            Some(info) = clients.recv() => {
                tokio::spawn(echo(info.client().clone()));
            }
            ended = tokio::signal::ctrl_c() => break ended?,
        }
    }
    registry.send(Shutdown).await??;
    system.stop();
    thread
        .join()
        .map_err(|_| "the thread of the system has panicked")??;
    Ok(())
}
