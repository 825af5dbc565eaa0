//! An echo server on this crate against a plain tokio one: CPU time of the
//! server for an operation, and memory for an idle connection.
//!
//! ```text
//! cargo bench --bench echo                  # everything, about 2 minutes
//! cargo bench --bench echo -- --only "64 B on 1000" --rounds 5 --seconds 1
//! ```
//!
//! Times on a shared machine are noisy, so nothing is compared across runs:
//! both servers are alive at once, each pinned to the same core, the load runs
//! on another, and rounds alternate. What counts is the ratio within a pair of
//! neighbouring rounds, and many short rounds tell more than a few long ones,
//! because what disturbs them comes and goes. CPU time is what is compared,
//! because throughput also tells how fast the load is.
//!
//! Linux only: it reads `/proc`.

mod load;
mod measure;
mod process;
mod report;
mod servers;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

/// The benchmark could not run, or an echo was wrong.
type Failure = Box<dyn Error + Send + Sync>;
type Result<T, E = Failure> = std::result::Result<T, E>;

/// What the command line says.
struct Options {
    /// How long one round measures.
    seconds: Duration,
    /// How many rounds each server has.
    rounds: usize,
    /// Runs only what has this in its name.
    only: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments[..] {
        [role, kind, core] if role == "server" => servers::run(kind, core),
        // Cargo says `--bench` when it benchmarks, and not when it tests.
        _ if !has(&arguments, "--bench") || has(&arguments, "--test") => {
            println!("nothing is measured without --bench: run `cargo bench`");
            Ok(())
        }
        _ => options(&arguments).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let cores = process::Cores::choose()?;
    match &cores {
        Some(cores) => {
            eprintln!("servers on core {}, load on {}", cores.server, cores.load);
            process::pin_to(cores.load)?;
        }
        None => eprintln!("one core: servers and load share it, unpinned"),
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(measure::all(options, cores.as_ref()))?;
    print!("{found}");
    // A missed target is no failure: one noisy neighbour makes one.
    Ok(())
}

fn options(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        seconds: Duration::from_millis(500),
        rounds: 19,
        only: String::new(),
    };
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match name {
            "--bench" => {}
            "--seconds" => options.seconds = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
            "--only" => options.only = value()?.to_owned(),
            _ => return Err(format!("unknown argument {name}").into()),
        }
    }
    if options.seconds.is_zero() {
        return Err("--seconds must be above 0".into());
    }
    Ok(options)
}

fn has(arguments: &[String], flag: &str) -> bool {
    arguments.iter().any(|argument| argument == flag)
}
