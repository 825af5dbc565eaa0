//! `chrome-sockets`: the host for programs that have no sockets of their own.
//! A command line around the library `chrome_sockets_host`.

mod cli;

use std::future::Future;
use std::io;
use std::process::ExitCode;

use actix::Addr;
use chrome_sockets::tcp::DEFAULT_WRITE_QUOTA;
use chrome_sockets::{Permissions, Registry, Shutdown};
use chrome_sockets_host::{self as host, Gateway, Origins, Policy};
use clap::Parser;
use futures::future::{Either, select};
use tokio::signal::unix::{SignalKind, signal};

use cli::{Arguments, Command, NativeHost, Serve};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let log = env_logger::Env::default().default_filter_or("warn,chrome_sockets=info");
    env_logger::Builder::from_env(log).init();
    let done = match arguments.command {
        Command::Serve(serve) => on_actix(self::serve(serve)),
        Command::NativeHost(native) => on_actix(native_host(native)),
        Command::Install(install) => install.run(),
        Command::Uninstall(uninstall) => uninstall.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chrome-sockets: {error}");
            match is_usage(&error) {
                true => ExitCode::from(USAGE),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// The exit code for wrong arguments and files that they name, as clap's.
const USAGE: u8 = 2;

/// Whether what was asked for is wrong; the OS has numbers for what it says itself.
fn is_usage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput && error.raw_os_error().is_none()
}

fn on_actix(work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    actix_rt::System::new().block_on(work)
}

/// What `--send-budget` counts in.
const MIB: usize = 1024 * 1024;

/// Serves the gateway until Ctrl-C or SIGTERM.
async fn serve(serve: Serve) -> io::Result<()> {
    // Before anything is said: who reads that may end the host at once.
    let end = asked_to_end()?;
    let registry = registry();
    let policy = Policy {
        manifest: serve.manifest,
        dev: serve.dev,
        token: serve.token,
        send_budget: Some(serve.send_budget.saturating_mul(MIB)),
    };
    for warning in policy.check()? {
        log::warn!("{warning}");
    }
    let may_nothing = policy.manifest.is_none() && !policy.dev;
    let mut origins = Origins::default();
    origins.extend(serve.origin);
    if serve.any_origin {
        origins.allow_any();
    }
    let gateway = Gateway::listen(serve.listen, &registry, policy, origins)?;
    let address = gateway.local_addr();
    println!("listening on {address}");
    // This address has the admin key: it goes to no log.
    println!("Admin page: {}", gateway.page());
    if may_nothing {
        println!("without --manifest or --dev apps may neither listen nor connect");
    }
    gateway.run(end).await;
    stop(&registry).await;
    Ok(())
}

/// Serves one extension until the browser ends it.
async fn native_host(native: NativeHost) -> io::Result<()> {
    let Some(extension) = host::calling_extension(&native.caller) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "native-host is started by a browser, which says for which extension",
        ));
    };
    let registry = registry();
    let policy = match &native.installed {
        Some(file) => host::install::policy(file, extension)?,
        None => Policy {
            manifest: native.manifest,
            dev: native.dev,
            token: None,
            send_budget: None,
        },
    };
    let (input, output) = (io::stdin(), io::stdout());
    let end = asked_to_end()?;
    host::native_messaging(input, output, extension, &registry, policy, end).await?;
    stop(&registry).await;
    // A thread may still be reading: it must not be waited for.
    std::process::exit(0)
}

/// A registry in which nobody may do anything that no manifest says.
fn registry() -> Addr<Registry> {
    Registry::new()
        .permissions(Permissions::none())
        // What a client may send is counted where it comes in; here it also
        // counts what clients have left behind.
        .write_quota(2 * DEFAULT_WRITE_QUOTA)
        .start()
}

async fn stop(registry: &Addr<Registry>) {
    // If it has ended already, so have its sockets.
    let _ = registry.send(Shutdown).await;
}

/// Done at Ctrl-C, SIGTERM or the end of the terminal.
fn asked_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let interrupt = std::pin::pin!(interrupt.recv());
        let terminate = std::pin::pin!(terminate.recv());
        match select(interrupt, terminate).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    })
}
