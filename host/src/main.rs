//! The program `chrome-sockets`: a command line around the library `chrome_sockets_host`.

mod cli;

use std::future::Future;
use std::io;
use std::process::ExitCode;

use actix::Addr;
use chrome_sockets::tcp::DEFAULT_WRITE_QUOTA;
use chrome_sockets::{Permissions, Registry, Shutdown};
use chrome_sockets_host::install::{Install, Uninstall};
use chrome_sockets_host::{self as host, Gateway, Origins, Policy};
use clap::Parser;
use cli::{Arguments, Command, NativeHost, Serve};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let log = env_logger::Env::default().default_filter_or("warn,chrome_sockets=info");
    env_logger::Builder::from_env(log).init();
    let result = match arguments.command {
        Command::Serve(serve) => block_on(self::serve(serve)),
        Command::NativeHost(native) => block_on(native_host(native)),
        Command::Install(install) => self::install(&install),
        Command::Uninstall(uninstall) => self::uninstall(&uninstall),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chrome-sockets: {error}");
            match is_usage_error(&error) {
                true => ExitCode::from(USAGE_ERROR),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// The exit code for invalid arguments and for invalid files that they name. Clap uses it too.
const USAGE_ERROR: u8 = 2;

/// Whether the arguments caused the error. The OS reports `InvalidInput` too, but with a number.
fn is_usage_error(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput && error.raw_os_error().is_none()
}

fn block_on(work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    actix_rt::System::new().block_on(work)
}

/// The unit of `--send-budget`.
const MIB: usize = 1024 * 1024;

/// Serves the gateway until Ctrl-C or SIGTERM.
async fn serve(serve: Serve) -> io::Result<()> {
    // Before the first output: a program that waits for it may send a signal at once.
    let end = end_signal()?;
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
    let is_restricted = policy.manifest.is_none() && !policy.dev;
    let mut origins = Origins::default();
    origins.extend(serve.origin);
    if serve.any_origin {
        origins.allow_any();
    }
    let gateway = Gateway::listen(serve.listen, &registry, policy, origins)?;
    let address = gateway.local_addr();
    println!("listening on {address}");
    // To standard output only: the URL contains the admin key, which must not go to a log.
    println!("Admin page: {}", gateway.admin_url());
    if is_restricted {
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
            "native-host must be started by a browser, which passes the extension as an argument",
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
    let end = end_signal()?;
    host::native_messaging(input, output, extension, &registry, policy, end).await?;
    stop(&registry).await;
    // Returning would wait for the thread that reads standard input.
    std::process::exit(0)
}

/// Installs, and prints the changes.
fn install(install: &Install) -> io::Result<()> {
    for change in install.run()? {
        println!("{change}");
    }
    if install.manifest.is_none() && !install.dev {
        println!("without --manifest or --dev these extensions may neither listen nor connect");
    }
    Ok(())
}

/// Uninstalls, and prints the changes.
fn uninstall(uninstall: &Uninstall) -> io::Result<()> {
    let changes = uninstall.run()?;
    for change in &changes {
        println!("{change}");
    }
    if changes.is_empty() {
        println!("there was nothing to remove");
    }
    Ok(())
}

/// A registry in which apps may only do what their manifests permit.
fn registry() -> Addr<Registry> {
    Registry::new()
        .permissions(Permissions::none())
        // Sessions enforce the quota of their clients. The registry also counts sends of previous
        // clients, so its quota is larger.
        .write_quota(2 * DEFAULT_WRITE_QUOTA)
        .start()
}

async fn stop(registry: &Addr<Registry>) {
    // An error means that the registry has ended, and its sockets with it.
    let _ = registry.send(Shutdown).await;
}

/// Completes at Ctrl-C or SIGTERM.
fn end_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
