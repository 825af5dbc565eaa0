//! Echoes every client, and loses none by a restart:
//! `cargo run --release --example persistent_server [ADDR]`.
//!
//! ADDR is an IP address and a port, by default `127.0.0.1:7007`; port 0 lets the OS choose. SIGHUP
//! starts the program again (its new version, if it was replaced), hands the listening socket over,
//! and ends this process when its own clients are done. SIGTERM lets clients finish for five
//! seconds; a second signal or Ctrl-C ends it at once. Under systemd the socket goes to the
//! descriptor store first (`FileDescriptorStoreMax=8`), where the next start finds it. A listener
//! of a socket unit is used instead of ADDR.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use actix::prelude::*;
use actix_rt::signal::unix::{SignalKind, signal};
use chrome_sockets::draining::DrainAll;
use chrome_sockets::handover::{self, Inheritance, Successor, hand_over};
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::{AcceptErrorInfo, AcceptInfo, SocketProperties};
use chrome_sockets::{App, Registry, ServerSocketId, Shutdown};

/// Back-off after an accept error.
const BACK_OFF: Duration = Duration::from_secs(1);

/// How long clients may take to finish after SIGTERM.
const DEADLINE: Duration = Duration::from_secs(5);

/// Interval of the checks for remaining clients after a handover.
const CHECK: Duration = Duration::from_millis(50);

struct Echo(App);

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        info.client().do_set_paused(false);
    }
}

impl Handler<AcceptErrorInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: AcceptErrorInfo, ctx: &mut Self::Context) {
        log::warn!("cannot accept: {}", info.result_code);
        ctx.run_later(BACK_OFF, move |Echo(app), _| {
            app.tcp_server.do_set_paused(info.socket_id, false);
        });
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
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Read now, because Linux marks the path as deleted once the file is replaced.
    let program = std::env::current_exe()?;
    let inheritance = Inheritance::from_env()?;

    let registry = Registry::new().start();
    let app = App::new("echo", &registry);
    let server = open(&app, inheritance).await?;
    let echo = Echo(app.clone()).start();
    let on_accept = &app.tcp_server.on_accept;
    on_accept.do_add_listener(echo.clone().recipient());
    let on_accept_error = &app.tcp_server.on_accept_error;
    on_accept_error.do_add_listener(echo.clone().recipient());
    app.tcp.on_receive.do_add_listener(echo.clone().recipient());
    app.tcp.on_receive_error.do_add_listener(echo.recipient());
    let bound = app.tcp_server.get_info(server).await?.local;
    let bound = bound.ok_or("the inherited socket does not listen")?;
    println!("listening on {bound} pid {}", std::process::id());

    loop {
        tokio::select! {
            _ = hangup.recv() => match restart(&program, &registry).await {
                Ok(()) => break,
                Err(error) => eprintln!("not restarted, continuing to serve: {error}"),
            },
            _ = interrupt.recv() => return end(&registry).await,
            _ = terminate.recv() => {
                #[cfg(target_os = "linux")]
                store(&registry).await;
                tokio::select! {
                    drained = registry.send(DrainAll { deadline: DEADLINE }) => {
                        log::info!("{:?}", drained??);
                    }
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                registry.send(Shutdown).await??;
                return Ok(());
            }
        }
    }
    let done = async {
        while !app.tcp.get_sockets().await.unwrap_or_default().is_empty() {
            actix_rt::time::sleep(CHECK).await;
        }
    };
    tokio::select! {
        () = done => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    end(&registry).await
}

/// The server socket: inherited, activated by systemd, or a new one.
async fn open(
    app: &App,
    inheritance: Option<Inheritance>,
) -> Result<ServerSocketId, Box<dyn Error>> {
    let properties = SocketProperties {
        persistent: Some(true),
        name: Some("echo".into()),
    };
    if let Some(mut inheritance) = inheritance {
        let mut activated = inheritance.activated().into_iter();
        inheritance.adopt(&app.registry()).await?;
        if let Some(inherited) = app.tcp_server.get_sockets().await?.first() {
            return Ok(inherited.socket_id);
        }
        if let Some(listener) = activated.next() {
            let registry = app.registry();
            let app = (&registry, app.id());
            return Ok(listener.adopt(app.0, app.1, properties).await?);
        }
    }
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:7007");
    let parsed = address.parse::<SocketAddr>();
    let parsed =
        parsed.map_err(|_| format!("{address:?} is not an address like 127.0.0.1:7007"))?;
    let server = app.tcp_server.create(properties).await?.socket_id;
    let (ip, port) = (parsed.ip().to_string(), parsed.port().into());
    let listening = app.tcp_server.listen(server, ip, port, None).await;
    listening.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    Ok(server)
}

async fn restart(program: &Path, registry: &Addr<Registry>) -> Result<(), handover::Error> {
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1));
    let receipt = hand_over(registry, Successor::spawn(command)?).await?;
    log::info!("handed over: {receipt:?}");
    Ok(())
}

/// Stores the sockets for the next start, if systemd keeps them.
#[cfg(target_os = "linux")]
async fn store(registry: &Addr<Registry>) {
    if let Err(error) = handover::to_systemd(registry).await {
        eprintln!("the sockets are not stored: {error}");
    }
}

async fn end(registry: &Addr<Registry>) -> Result<(), Box<dyn Error>> {
    #[cfg(target_os = "linux")]
    store(registry).await;
    registry.send(Shutdown).await??;
    Ok(())
}
