//! An app that is loaded on demand: `cargo run --example event_page [ADDR] [SECONDS]`.
//!
//! ADDR is by default `127.0.0.1:7009`. After SECONDS (2) without activity the app is suspended:
//! its page stops, and its server socket continues to listen. The next `nc 127.0.0.1 7009` loads
//! the app again. SIGTERM lets clients finish for five seconds; a second signal or Ctrl-C closes
//! everything.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::signal::unix::{SignalKind, signal};
use chrome_sockets::draining::DrainAll;
use chrome_sockets::lifecycle::{EventPage, SuspendInfo};
use chrome_sockets::tcp_server::{AcceptInfo, SocketProperties};
use chrome_sockets::{App, Registry, Shutdown};

/// How long clients may take to finish after SIGTERM.
const DEADLINE: Duration = Duration::from_secs(5);

/// The state that the app loses when it is suspended.
struct Page {
    load: usize,
    clients: usize,
}

impl Actor for Page {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Page {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        self.clients += 1;
        let (clients, load) = (self.clients, self.load);
        let client = info.client();
        let greeting = format!("client {clients} since load {load}\n");
        if let Err(error) = client.try_send(greeting) {
            eprintln!("client {}: {error}", client.id());
        }
        // The data is delivered before the connection closes.
        client.do_close();
    }
}

impl Handler<SuspendInfo> for Page {
    type Result = ();

    fn handle(&mut self, _: SuspendInfo, _: &mut Self::Context) {
        println!("suspended after {} clients", self.clients);
    }
}

/// Starts the page: first, and again when a client connects to the suspended app.
async fn start(app: App, load: usize) -> Result<(), chrome_sockets::Error> {
    println!("load {load}");
    let page = Page { load, clients: 0 }.start();
    app.on_suspend.do_add_listener(page.clone().recipient());
    app.tcp_server
        .on_accept
        .add_listener(page.recipient())
        .await
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
    let address = args.next().unwrap_or("127.0.0.1:7009".into());
    let address: SocketAddr = address
        .parse()
        .map_err(|_| format!("{address:?} is not an address like 127.0.0.1:7009"))?;
    let seconds = args.next().unwrap_or("2".into());
    let idle = seconds
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("{seconds:?} is not a number of seconds like 2 or 0.5"))?;

    // From here on both signals end the program cleanly.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let registry = Registry::new().start();
    let app = App::new("event-page", &registry);
    let loads = Arc::new(AtomicUsize::new(1));
    let page = EventPage::new(move |app| start(app, loads.fetch_add(1, Relaxed) + 1));
    app.set_event_page(Some(page.idle_timeout(idle))).await?;
    start(app.clone(), 1).await?;

    let properties = SocketProperties {
        persistent: Some(true),
        ..Default::default()
    };
    let server = app.tcp_server.create(properties).await?.socket_id;
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
    registry.send(Shutdown).await??;
    Ok(())
}
