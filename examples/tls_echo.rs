//! Echoes every client, encrypted:
//! `cargo run --release --features tls --example tls_echo CERT KEY [ADDR]`.
//!
//! CERT is a file with the certificate of the server and those of its issuers, KEY one with its
//! private key, both in PEM. To make a certificate for tests:
//!
//! ```sh
//! openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
//!     -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
//! ```
//!
//! To connect:
//!
//! ```sh
//! openssl s_client -quiet -CAfile cert.pem -connect localhost:7443
//! ```
//!
//! ADDR is an IP address and a port, by default `127.0.0.1:7443`; port 0 lets the OS choose.
//! SIGTERM lets clients finish for five seconds; a second signal or Ctrl-C closes everything.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::signal::unix::{SignalKind, signal};
use chrome_sockets::draining::DrainAll;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo, HandshakeErrorInfo};
use chrome_sockets::{App, Registry, Shutdown, tls};

/// How long clients may take to finish after SIGTERM.
const DEADLINE: Duration = Duration::from_secs(5);

struct Echo(App);

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Echo {
    type Result = ();

    /// Raised after the handshake.
    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        info.client().do_set_paused(false);
    }
}

impl Handler<HandshakeErrorInfo> for Echo {
    type Result = ();

    /// Raised when a handshake failed; other clients are not affected.
    fn handle(&mut self, info: HandshakeErrorInfo, _: &mut Self::Context) {
        log::info!("handshake with {} failed: {}", info.peer, info.result_code);
    }
}

impl Handler<AcceptErrorInfo> for Echo {
    type Result = ();

    /// The server socket is paused now, and clients wait in the backlog.
    fn handle(&mut self, info: AcceptErrorInfo, ctx: &mut Self::Context) {
        log::warn!("cannot accept: {}", info.result_code);
        ctx.run_later(Duration::from_secs(1), move |this, _| {
            this.0.tcp_server.do_set_paused(info.socket_id, false);
        });
    }
}

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
    let mut args = std::env::args().skip(1);
    let (Some(certificate), Some(key)) = (args.next(), args.next()) else {
        return Err("usage: tls_echo CERT KEY [ADDR], two files in PEM".into());
    };
    let address: SocketAddr = match args.next() {
        Some(address) => address
            .parse()
            .map_err(|_| format!("{address:?} is not an address like 127.0.0.1:7443"))?,
        None => SocketAddr::from(([127, 0, 0, 1], 7443)),
    };
    let read = |path: &str| std::fs::read(path).map_err(|error| format!("{path}: {error}"));
    let tls = tls::Server::from_pem(&read(&certificate)?, &read(&key)?)
        .map_err(|error| format!("{certificate} and {key}: {error}"))?;

    // From here on both signals end the program cleanly.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let registry = Registry::new().start();
    let app = App::new("tls-echo", &registry);
    let echo = Echo(app.clone()).start();
    let server = &app.tcp_server;
    server.on_accept.do_add_listener(echo.clone().recipient());
    server
        .on_accept_error
        .do_add_listener(echo.clone().recipient());
    server
        .on_handshake_error
        .do_add_listener(echo.clone().recipient());
    app.tcp.on_receive.do_add_listener(echo.clone().recipient());
    app.tcp.on_receive_error.do_add_listener(echo.recipient());

    let id = server.create(Default::default()).await?.socket_id;
    // Before it listens, so that no client is served unencrypted.
    server.set_tls(id, Some(tls)).await?;
    server
        .listen(id, address.ip().to_string(), address.port().into(), None)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let bound = server.get_info(id).await?.local_addr();
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
    registry.send(Shutdown).await??;
    Ok(())
}
