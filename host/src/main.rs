//! The program `chrome-sockets`: a command line around the library `chrome_sockets_host`.

mod cli;

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::process::ExitCode;

use actix::Addr;
use chrome_sockets::tcp::DEFAULT_WRITE_QUOTA;
use chrome_sockets::{Permissions, Registry, Shutdown};
use chrome_sockets_host::install::{Install, Uninstall};
use chrome_sockets_host::service::{LogFormat, Options, OptionsError};
use chrome_sockets_host::{self as host, Gateway, Policy};
use clap::Parser;
use cli::{Arguments, Command, NativeHost};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(given) => match (load_options(), given.check_config) {
            (Ok(options), false) => serve(options),
            (options, true) => return check_config(&options.and_then(check_manifests)),
            (Err(error), false) => Err(error),
        },
        Command::NativeHost(native) => {
            LogFormat::Text.start();
            block_on(native_host(native))
        }
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

/// The options of `serve`, from the arguments behind its name and from the configuration file.
fn load_options() -> io::Result<Options> {
    let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
    Options::load(&arguments).map_err(|error| match error {
        OptionsError::CommandLine(error) => error.exit(),
        error @ OptionsError::Invalid(_) => io::Error::new(io::ErrorKind::InvalidInput, error),
    })
}

/// Adds the warnings about manifests to those of the options.
fn check_manifests(mut options: Options) -> io::Result<Options> {
    let warnings = options.settings().policy.check()?;
    options.warnings.extend(warnings);
    Ok(options)
}

/// Prints whether the options are valid.
fn check_config(checked: &io::Result<Options>) -> ExitCode {
    match checked {
        Ok(options) => {
            for warning in &options.warnings {
                println!("warning: {warning}");
            }
            match &options.config {
                Some(path) => println!("{}: the configuration is valid", path.display()),
                None => println!("the command line is valid"),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("chrome-sockets: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves the gateway until Ctrl-C or SIGTERM.
fn serve(options: Options) -> io::Result<()> {
    options.log_format.start();
    block_on(serve_gateway(check_manifests(options)?))
}

async fn serve_gateway(options: Options) -> io::Result<()> {
    // Before the first output: a program that waits for it may send a signal at once.
    let end = end_signal()?;
    let settings = options.settings();
    let registry = registry(settings.limits.write_quota);
    for warning in &options.warnings {
        log::warn!("{warning}");
    }
    let is_restricted = settings.policy.manifest.is_none() && !settings.policy.dev;
    let gateway = Gateway::listen(options.listen, &registry, settings)?;
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
    let registry = registry(DEFAULT_WRITE_QUOTA);
    let policy = match &native.installed {
        Some(file) => host::install::policy(file, extension)?,
        None => Policy {
            manifest: native.manifest,
            dev: native.dev,
            token: None,
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

/// A registry in which apps may only do what their manifests permit, and may queue this many bytes
/// to send.
fn registry(write_quota: usize) -> Addr<Registry> {
    Registry::new()
        .permissions(Permissions::none())
        // Sessions enforce the quota of their clients. The registry also counts sends of previous
        // clients, so its quota is larger.
        .write_quota(write_quota.saturating_mul(2))
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
