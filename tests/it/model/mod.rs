//! Everything at random, against a model that knows only what is promised.
//!
//! Calls, what peers do, faults, listeners that come and go, suspensions: made
//! at random, carried out by the real actors on the scripted network, and
//! compared with a model ([`possible`]) of what `SPEC.md` and the public
//! documentation say: every answer, every event that every listener hears, in
//! its order, and what every peer gets.
//!
//! `MODEL_OPERATIONS=5000000 cargo test --workspace --release --test it model::` runs
//! longer; `MODEL_SEED` begins elsewhere, and `MODEL_SEEDS`, several numbers,
//! begins at each of them. A failure tells its seed, and the least operations
//! that it was found to need.
//!
//! The seed of a case says how its registry is made too ([`shape`]). With
//! several arbiters a seed makes the same operations again, but the threads
//! take their turns as they will: a failure may need several runs to come back.

mod app;
mod client;
mod connection;
mod drive;
mod drive_tcp;
mod event_log;
mod faults;
mod harness;
mod ops;
mod possible_states;
mod server;
mod threads;

use std::panic::AssertUnwindSafe;
use std::str::FromStr;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use ops::{Case, Shape};

/// How many operations `cargo test` makes.
const OPERATIONS: usize = 200_000;

/// How many operations one run has at most.
const MOST: usize = 600;

/// How a registry is made, by the seed: with one arbiter and ports of its own
/// most of the time, since that is the fastest.
fn shape(seed: u64) -> Shape {
    let (arbiters, shared_port) = match seed % 8 {
        5 => (1, true),
        6 => (3, false),
        7 => (3, true),
        _ => (1, false),
    };
    Shape {
        arbiters,
        shared_port,
    }
}

/// From the environment.
fn setting<T: FromStr>(name: &str, default: T) -> T {
    let text = std::env::var(name).ok();
    let value = text.map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")));
    value.unwrap_or(default)
}

/// The same of the same seed.
fn case(seed: u64) -> Case {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let tree = ops::case(MOST).new_tree(&mut runner);
    let case = tree.expect("it can be made").current();
    let shape = shape(seed);
    Case { shape, ..case }
}

/// On a system of its own, so that nothing is left of it. What panics, on
/// either side, is a failure like another.
fn run(case: &Case) -> Result<(), String> {
    let run = || actix_rt::System::new().block_on(harness::run(case));
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.unwrap_or_else(|| "a panic".into()))
    })
}

/// As few of the operations as are found to fail, and how.
fn least(mut case: Case, mut failure: String) -> (Case, String) {
    let mut part = case.ops.len().div_ceil(2);
    while part > 0 {
        let mut from = 0;
        let before = case.ops.len();
        while from < case.ops.len() {
            let mut fewer = case.clone();
            fewer.ops.drain(from..(from + part).min(case.ops.len()));
            match run(&fewer) {
                Ok(()) => from += part,
                Err(what) => (case, failure) = (fewer, what),
            }
        }
        if part > 1 || case.ops.len() == before {
            part /= 2;
        }
    }
    (case, failure)
}

/// Where to begin.
fn seeds() -> Vec<u64> {
    let Ok(all) = std::env::var("MODEL_SEEDS") else {
        return vec![setting("MODEL_SEED", 1)];
    };
    let seed = |text: &str| text.parse().unwrap_or_else(|_| panic!("MODEL_SEEDS={all}"));
    let seeds: Vec<u64> = all.split_whitespace().map(seed).collect();
    assert!(!seeds.is_empty(), "MODEL_SEEDS has none");
    seeds
}

#[test]
fn random_operations_match_the_model() {
    let operations = setting("MODEL_OPERATIONS", OPERATIONS);
    for seed in seeds() {
        runs_from(seed, operations);
    }
}

fn runs_from(mut seed: u64, operations: usize) {
    println!("MODEL_SEED={seed} MODEL_OPERATIONS={operations}");
    let mut made = 0;
    while made < operations {
        let case = case(seed);
        made += case.ops.len();
        if let Err(failure) = run(&case) {
            let (case, failure) = least(case, failure);
            let ops: Vec<String> = case.ops.iter().map(|op| format!("  {op:?}")).collect();
            panic!(
                "MODEL_SEED={seed} MODEL_OPERATIONS=1 replays this.\n{failure}\n{:?}, in batches of {}, slow {}:\n{}",
                case.shape,
                case.batch,
                case.slow,
                ops.join("\n"),
            );
        }
        seed += 1;
    }
    println!("{made} operations");
}
