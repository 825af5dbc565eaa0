//! The program `chrome-sockets`: a command line around the library `chrome_sockets_host`.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::process::ExitCode;

use chrome_sockets::Shutdown;
use chrome_sockets::tcp::DEFAULT_WRITE_QUOTA;
use chrome_sockets_host::cli::{Arguments, Command, NativeHost};
use chrome_sockets_host::install::{Install, Uninstall};
use chrome_sockets_host::service::{self, LogFormat, Options, OptionsError};
use chrome_sockets_host::{self as host, Policy};
use clap::Parser;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(given) => match (load_options(), given.check_config) {
            (Ok(options), false) => serve(options),
            (options, true) => return check_config(options),
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

/// The arguments behind `serve`.
fn serve_arguments() -> Vec<OsString> {
    std::env::args_os().skip(2).collect()
}

/// The options of `serve`, from the arguments behind its name and from the configuration file.
fn load_options() -> io::Result<Options> {
    Options::load(&serve_arguments()).map_err(|error| match error {
        OptionsError::CommandLine(error) => error.exit(),
        error @ OptionsError::Invalid(_) => io::Error::new(io::ErrorKind::InvalidInput, error),
    })
}

/// Prints whether the options are valid.
fn check_config(options: io::Result<Options>) -> ExitCode {
    let checked = options.and_then(|mut options| options.check_manifests().map(|()| options));
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

/// Serves the gateway until a signal.
fn serve(options: Options) -> io::Result<()> {
    options.log_format.start();
    block_on(service::serve(options, serve_arguments()))
}

/// Serves one extension until the browser ends it.
async fn native_host(native: NativeHost) -> io::Result<()> {
    let Some(extension) = host::calling_extension(&native.caller) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "native-host must be started by a browser, which passes the extension as an argument",
        ));
    };
    let registry = service::registry(DEFAULT_WRITE_QUOTA);
    let policy = match &native.installed {
        Some(file) => host::install::policy(file, extension)?,
        None => Policy {
            manifest: native.manifest,
            dev: native.dev,
            token: None,
        },
    };
    let (input, output) = (io::stdin(), io::stdout());
    let end = service::end_signal()?;
    host::native_messaging(input, output, extension, &registry, policy, end).await?;
    // An error means that the registry has ended, and its sockets with it.
    let _ = registry.send(Shutdown).await;
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
