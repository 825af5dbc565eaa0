//! Throttling by `setPaused`: LIMIT clients at once are served, the others
//! wait, nearly all of them in the kernel's backlog, where they cost nothing:
//! `cargo run --example pause_resume [ADDR] [LIMIT]`.
//!
//! ADDR is `127.0.0.1:7008` if none is given, LIMIT is 2. Each client is told
//! its number and is echoed until it leaves. Try three `nc 127.0.0.1 7008`:
//! the third hears nothing until one of the others ends. SIGTERM lets clients
//! finish for five seconds; a second signal and Ctrl-C close everything.

use std::collections::{HashSet, VecDeque};
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::signal::unix::{SignalKind, signal};
use chrome_sockets::draining::DrainAll;
use chrome_sockets::tcp::{ClientSocket, ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{App, ClientSocketId, Registry, ServerSocketId, Shutdown};

/// How long clients may finish after SIGTERM.
const DEADLINE: Duration = Duration::from_secs(5);

struct Door {
    app: App,
    server: ServerSocketId,
    limit: usize,
    inside: HashSet<ClientSocketId>,
    /// Accepted before the pause took hold; they stay paused themselves until
    /// it is their turn.
    next: VecDeque<ClientSocket>,
}

impl Actor for Door {
    type Context = Context<Self>;
}

impl Door {
    /// Lets in who may come in, and closes or opens the door behind them.
    fn admit(&mut self) {
        while self.inside.len() < self.limit
            && let Some(client) = self.next.pop_front()
        {
            self.inside.insert(client.id());
            client.send(format!("you are client {}\n", client.id()));
            client.set_paused(false);
        }
        let full = self.inside.len() >= self.limit;
        // Idempotent, and calls keep their order: no answer is waited for.
        self.app.tcp_server.set_paused(self.server, full);
        println!(
            "{} of {} inside, {}",
            self.inside.len(),
            self.limit,
            if full { "paused" } else { "open" }
        );
    }
}

impl Handler<AcceptInfo> for Door {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        self.next.push_back(info.client().clone());
        self.admit();
    }
}

impl Handler<ReceiveInfo> for Door {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        if let Err(error) = client.forward(info) {
            log::warn!("client {}: {error}", client.id());
            client.disconnect();
        }
    }
}

impl Handler<ReceiveErrorInfo> for Door {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        info.client().close();
        self.inside.remove(&info.socket_id);
        self.admit();
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
    env_logger::init();
    let mut args = std::env::args().skip(1);
    let address: SocketAddr = args
        .next()
        .map_or(Ok(SocketAddr::from(([127, 0, 0, 1], 7008))), |address| {
            address.parse()
        })
        .map_err(|_| "ADDR is an IP address and a port, like 127.0.0.1:7008")?;
    let limit = args
        .next()
        .map_or(Ok(2), |limit| limit.parse())
        .map_err(|_| "LIMIT is how many clients are served at once")?;

    // From now on both end the program in order.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let registry = Registry::new().start();
    let app = App::new("door", &registry);
    let server = app.tcp_server.create(Default::default()).await?.socket_id;
    let door = Door {
        app: app.clone(),
        server,
        limit,
        inside: HashSet::new(),
        next: VecDeque::new(),
    }
    .start();
    app.tcp_server
        .on_accept
        .add_listener(door.clone().recipient());
    app.tcp.on_receive.add_listener(door.clone().recipient());
    app.tcp.on_receive_error.add_listener(door.recipient());
    app.tcp_server
        .listen(
            server,
            address.ip().to_string(),
            address.port().into(),
            None,
        )
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    if let Some(bound) = app.tcp_server.get_info(server).await?.local_addr() {
        println!("listening on {bound}");
    }

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
