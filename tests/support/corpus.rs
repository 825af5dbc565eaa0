//! Replays the inputs that the fuzzer has kept (`fuzz/corpus`), on a stable toolchain.

use std::fs;
use std::path::{Path, PathBuf};

/// The crate's targets.
pub const CRATE: [&str; 4] = ["handover", "manifest", "faults", "proxy"];

/// The host's targets.
pub const HOST: [&str; 2] = ["host", "head"];

/// The most bytes of one input, and of all inputs of a target.
const LONGEST: usize = 8 * 1024;
const ALL: usize = 100 * 1024;

/// The folder of the fuzzer.
pub fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// Calls a target with each kept input.
pub fn replay(target: &str, run: fn(&[u8])) {
    let entries =
        fs::read_dir(fuzz().join("corpus").join(target)).expect("the target has a corpus");
    let paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(paths.len() >= 8, "{target} has {} inputs", paths.len());
    let mut all = 0;
    for path in paths {
        let input = fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        all += input.len();
        assert!(input.len() <= LONGEST, "{target}: {} bytes", input.len());
        run(&input);
    }
    assert!(
        all <= ALL,
        "minimise the corpus of {target}: it has {all} bytes"
    );
}
