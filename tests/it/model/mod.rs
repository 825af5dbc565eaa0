//! Random operations against a model of what is promised.
//!
//! API calls, actions of peers, faults, listeners that come and go, and suspensions are made at
//! random and carried out by the real actors on the scripted network. A model
//! ([`possible_states`]) of the public documentation judges every answer, every event at every
//! listener in its order, and everything that a peer receives.
//!
//! Arguments are invalid at random too ([`mistakes`]), and the exact reason has to be answered.
//!
//! `MODEL_OPERATIONS=5000000 cargo test --workspace --release --test it model::` runs longer.
//! `MODEL_SEED` sets the first seed, and `MODEL_SEEDS` a list of them. A failure prints its seed
//! and the smallest list of operations that was found to fail.
//!
//! The seed also chooses how the registry is made ([`shape`]). With several arbiters a seed
//! repeats the operations but not the order of threads, so a failure may need several runs to
//! come back.

mod app;
mod client;
mod connection;
mod drive;
mod drive_tcp;
mod event_log;
mod faults;
mod harness;
mod mistakes;
mod ops;
mod possible_states;
mod server;
mod threads;

use std::panic::AssertUnwindSafe;
use std::str::FromStr;

use ops::{Case, Shape};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Number of operations of `cargo test`.
const OPERATIONS: usize = 200_000;

/// The most operations of one run.
const MAX_OPERATIONS: usize = 600;

/// How the registry of a seed is made: mostly with one arbiter and without shared ports, because
/// that is the fastest.
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

/// A setting from the environment.
fn setting<T: FromStr>(name: &str, default: T) -> T {
    let text = std::env::var(name).ok();
    let value = text.map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")));
    value.unwrap_or(default)
}

/// The case of a seed.
fn case(seed: u64) -> Case {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let tree = ops::case(MAX_OPERATIONS).new_tree(&mut runner);
    let case = tree.expect("it can be made").current();
    let shape = shape(seed);
    Case { shape, ..case }
}

/// Runs a case on an actix system of its own, so that nothing of it remains. A panic on either
/// side is a failure.
fn run(case: &Case) -> Result<(), String> {
    let run = || actix_rt::System::new().block_on(harness::run(case));
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.unwrap_or_else(|| "a panic".into()))
    })
}

/// Reduces the operations to as few as still fail.
fn minimize(mut case: Case, mut failure: String) -> (Case, String) {
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

/// The first seeds.
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
            let (case, failure) = minimize(case, failure);
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
