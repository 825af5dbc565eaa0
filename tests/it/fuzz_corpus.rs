//! Replays the fuzz corpus of the crate's targets.

use std::fs;

use chrome_sockets::fuzzing;
use support::corpus::{self, CRATE, HOST};

#[test]
fn corpus_inputs_are_parsed_or_refused() {
    for target in CRATE {
        let run = match target {
            "handover" => fuzzing::handover,
            "manifest" => fuzzing::manifest,
            "proxy" => fuzzing::proxy,
            _ => fuzzing::faults,
        };
        corpus::replay(target, run);
    }
}

#[test]
fn every_fuzz_target_is_replayed() {
    let files = fs::read_dir(corpus::fuzz().join("fuzz_targets")).expect("it is there");
    let mut names: Vec<_> = files
        .map(|file| {
            let path = file.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            name.into_owned()
        })
        .collect();
    names.sort();
    let mut replayed = [&CRATE[..], &HOST[..]].concat();
    replayed.sort();
    assert_eq!(names, replayed);
}
