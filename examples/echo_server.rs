//! Echoes every client: `cargo run --release --example echo_server [ADDR]`.
//!
//! ADDR is an IP address and a port, by default `127.0.0.1:7007`; port 0 lets the OS choose.
//! `RUST_LOG=info` logs connections and disconnections. SIGTERM lets clients finish for five
//! seconds; a second signal or Ctrl-C closes everything.
//!
//! With `--inject RULE`, which may be repeated, and `--seed N` it runs on a faulty network, and
//! prints at its end what was injected: `cargo run --features testing --example echo_server --
//! --seed 7 --inject accept=EMFILE,every=50`.

#[path = "echo_server/arguments.rs"]
mod arguments;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::signal::unix::{SignalKind, signal};
use arguments::{Arguments, USAGE};
use chrome_sockets::draining::DrainAll;
use chrome_sockets::supervision::RestartInfo;
use chrome_sockets::tcp::{self, ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::{self as sockets, App, ClientSocketId, Shutdown};

/// Back-off after an accept error: doubled from the minimum to the maximum while errors follow
/// each other.
const MIN_BACK_OFF: Duration = Duration::from_millis(50);
const MAX_BACK_OFF: Duration = Duration::from_secs(2);

/// How long clients may take to finish after SIGTERM.
const DEADLINE: Duration = Duration::from_secs(5);

struct Echo {
    app: App,
    back_off: Duration,
}

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        log::info!("client {} connected", info.client_socket_id);
        self.back_off = MIN_BACK_OFF;
        let client = info.client();
        client.do_set_no_delay(true);
        client.do_update(tcp::SocketProperties {
            buffer_size: Some(65536),
            ..Default::default()
        });
        actix_rt::spawn(resume(self.app.clone(), info.client_socket_id));
    }
}

/// Starts to receive. Repeats the call if an actor of the crate panicked at it, as an injected
/// fault makes it do.
async fn resume(app: App, client: ClientSocketId) {
    while app.tcp.set_paused(client, false).await == Err(sockets::Error::Panicked) {}
}

impl Handler<RestartInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: RestartInfo, _: &mut Self::Context) {
        log::info!("{} failed: {}", info.actor, info.cause);
    }
}

impl Handler<AcceptErrorInfo> for Echo {
    type Result = ();

    /// The server socket is paused now, and clients wait in the backlog.
    fn handle(&mut self, info: AcceptErrorInfo, ctx: &mut Self::Context) {
        log::warn!(
            "cannot accept: {}; retrying in {:?}",
            info.result_code,
            self.back_off
        );
        ctx.run_later(self.back_off, move |this, _| {
            this.app.tcp_server.do_set_paused(info.socket_id, false);
        });
        self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
    }
}

/// Chrome's event, one message for each. `multicore_echo` gets batches.
impl Handler<ReceiveInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        if let Err(error) = client.forward(info) {
            log::warn!("client {}: {error}", client.id());
            client.do_close();
        }
    }
}

impl Handler<ReceiveErrorInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        log::info!(
            "client {} disconnected: {}",
            info.socket_id,
            info.result_code
        );
        info.client().do_close();
    }
}

#[actix_rt::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let arguments = Arguments::parse()?;
    if arguments.help {
        println!("{USAGE}");
        return Ok(());
    }
    let address = arguments.address();
    let (registry, injected) = arguments.registry()?;

    // From here on both signals end the program cleanly.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let registry = registry.start();
    let app = App::new("echo", &registry);
    let back_off = MIN_BACK_OFF;
    let echo = Echo {
        app: app.clone(),
        back_off,
    }
    .start();
    injected.listen(&app.tcp_server.on_accept, echo.clone());
    injected.listen(&app.tcp_server.on_accept_error, echo.clone());
    injected.listen(&app.on_restart, echo.clone());
    injected.listen(&app.tcp.on_receive, echo.clone());
    injected.listen(&app.tcp.on_receive_error, echo);

    let server = app.tcp_server.create(Default::default()).await?.socket_id;
    app.tcp_server
        .listen(
            server,
            address.ip().to_string(),
            address.port().into(),
            None,
        )
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let bound = app.tcp_server.get_info(server).await?.local_addr();
    println!("listening on {}", bound.unwrap_or(address));

    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => tokio::select! {
            drained = registry.send(DrainAll { deadline: DEADLINE }) => {
                log::info!("{:?}", drained??);
            }
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        },
    }
    log::info!("closing everything");
    registry.send(Shutdown).await??;
    injected.print();
    Ok(())
}
