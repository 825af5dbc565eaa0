//! Throttling by `setPaused`: LIMIT clients are served at the same time, and the others wait,
//! nearly all of them in the kernel's backlog, where they cost nothing:
//! `cargo run --example pause_resume [ADDR] [LIMIT]`.
//!
//! ADDR is by default `127.0.0.1:7008`, and LIMIT is 2. Each client gets its number and then an
//! echo until it disconnects. Try three `nc 127.0.0.1 7008`: the third gets nothing until one of
//! the others ends. SIGTERM lets clients finish for five seconds; a second signal or Ctrl-C closes
//! everything.

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

/// How long clients may take to finish after SIGTERM.
const DEADLINE: Duration = Duration::from_secs(5);

struct Throttle {
    app: App,
    server: ServerSocketId,
    limit: usize,
    served: HashSet<ClientSocketId>,
    /// Accepted before the pause took effect; they stay paused until there is room.
    waiting: VecDeque<ClientSocket>,
}

impl Actor for Throttle {
    type Context = Context<Self>;
}

impl Throttle {
    /// Serves waiting clients up to the limit, and pauses or resumes the server socket.
    fn admit(&mut self) {
        while self.served.len() < self.limit
            && let Some(client) = self.waiting.pop_front()
        {
            self.served.insert(client.id());
            let greeting = format!("you are client {}\n", client.id());
            if let Err(error) = client.try_send(greeting) {
                log::warn!("client {}: {error}", client.id());
            }
            client.do_set_paused(false);
        }
        let full = self.served.len() >= self.limit;
        // Not awaited: the call is idempotent, and calls keep their order.
        self.app.tcp_server.do_set_paused(self.server, full);
        println!(
            "{} of {} clients served, {}",
            self.served.len(),
            self.limit,
            if full { "paused" } else { "accepting" }
        );
    }
}

impl Handler<AcceptInfo> for Throttle {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        self.waiting.push_back(info.client().clone());
        self.admit();
    }
}

impl Handler<ReceiveInfo> for Throttle {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        if let Err(error) = client.forward(info) {
            log::warn!("client {}: {error}", client.id());
            client.do_disconnect();
        }
    }
}

impl Handler<ReceiveErrorInfo> for Throttle {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        info.client().do_close();
        self.served.remove(&info.socket_id);
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

    // From here on both signals end the program cleanly.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let registry = Registry::new().start();
    let app = App::new("throttle", &registry);
    let server = app.tcp_server.create(Default::default()).await?.socket_id;
    let throttle = Throttle {
        app: app.clone(),
        server,
        limit,
        served: HashSet::new(),
        waiting: VecDeque::new(),
    }
    .start();
    app.tcp_server
        .on_accept
        .do_add_listener(throttle.clone().recipient());
    app.tcp
        .on_receive
        .do_add_listener(throttle.clone().recipient());
    app.tcp
        .on_receive_error
        .do_add_listener(throttle.recipient());
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
