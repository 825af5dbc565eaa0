//! Echoes every client: `cargo run --release --example echo_server [ADDR]`.
//!
//! ADDR is an IP address and a port, `127.0.0.1:7007` if none is given; port 0
//! lets the OS choose. `RUST_LOG=info` shows who comes and goes. SIGTERM lets
//! clients finish for five seconds; a second signal and Ctrl-C close
//! everything.
//!
//! With `--inject RULE`, which may be given several times, and `--seed N` it
//! runs on a network that fails, and says at its end what failed:
//! `cargo run --features testing --example echo_server -- --seed 7 --inject
//! accept=EMFILE,every=50`.

#[path = "echo_server/arguments.rs"]
mod arguments;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::signal::unix::{SignalKind, signal};
use chrome_sockets::draining::DrainAll;
use chrome_sockets::supervision::RestartInfo;
use chrome_sockets::tcp::{self, ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo};
use chrome_sockets::{self as sockets, App, ClientSocketId, Shutdown};

use arguments::{Arguments, USAGE};

/// How long accepting rests after an error: doubled from the first to the
/// last while errors follow each other.
const FIRST_REST: Duration = Duration::from_millis(50);
const LAST_REST: Duration = Duration::from_secs(2);

/// How long clients may finish after SIGTERM.
const DEADLINE: Duration = Duration::from_secs(5);

struct Echo {
    app: App,
    rest: Duration,
}

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        log::info!("client {} came", info.client_socket_id);
        self.rest = FIRST_REST;
        let client = info.client();
        client.set_no_delay(true);
        client.update(tcp::SocketProperties {
            buffer_size: Some(65536),
            ..Default::default()
        });
        actix_rt::spawn(resume(self.app.clone(), info.client_socket_id));
    }
}

/// Receives from here on. What one of the crate's own actors has panicked at is
/// said again.
async fn resume(app: App, client: ClientSocketId) {
    while app.tcp.set_paused(client, false).await == Err(sockets::Error::Panicked) {}
}

impl Handler<RestartInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: RestartInfo, _: &mut Self::Context) {
        log::info!("{} fell: {}", info.actor, info.cause);
    }
}

impl Handler<AcceptErrorInfo> for Echo {
    type Result = ();

    /// The socket is paused now, and the clients wait in the backlog.
    fn handle(&mut self, info: AcceptErrorInfo, ctx: &mut Self::Context) {
        log::warn!(
            "cannot accept: {}; trying again in {:?}",
            info.result_code,
            self.rest
        );
        ctx.run_later(self.rest, move |this, _| {
            this.app.tcp_server.set_paused(info.socket_id, false);
        });
        self.rest = (self.rest * 2).min(LAST_REST);
    }
}

impl Handler<ReceiveInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        if let Err(error) = client.forward(info) {
            log::warn!("client {}: {error}", client.id());
            client.close();
        }
    }
}

impl Handler<ReceiveErrorInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        log::info!("client {} left: {}", info.socket_id, info.result_code);
        info.client().close();
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

    // From now on both end the program in order.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let registry = registry.start();
    let app = App::new("echo", &registry);
    let rest = FIRST_REST;
    let echo = Echo {
        app: app.clone(),
        rest,
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
