//! What the fuzzer has kept (`fuzz/corpus`) is read without a fault, by a
//! toolchain that cannot fuzz.

use std::fs;
use std::path::Path;

use chrome_sockets::fuzzing;

/// The most bytes of one kept input, and of all.
const LONGEST: usize = 8 * 1024;
const ALL: usize = 200 * 1024;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 5] = [
    ("handover", fuzzing::handover),
    ("manifest", fuzzing::manifest),
    ("faults", fuzzing::faults),
    ("host", fuzzing::host),
    ("head", fuzzing::head),
];

fn kept(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = fs::read_dir(corpus.join(target)).expect("the target has a corpus");
    let read = |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    entries
        .map(|entry| read(&entry.expect("an entry").path()))
        .collect()
}

#[test]
fn inputs_that_the_fuzzer_kept_are_read_or_refused() {
    let mut all = 0;
    for (target, run) in TARGETS {
        let kept = kept(target);
        assert!(kept.len() >= 8, "{target} has {} inputs", kept.len());
        for input in kept {
            all += input.len();
            assert!(input.len() <= LONGEST, "{target}: {} bytes", input.len());
            run(&input);
        }
    }
    assert!(all <= ALL, "minimise the corpus: it has {all} bytes");
}

#[test]
fn each_target_of_the_fuzzer_is_replayed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let files = fs::read_dir(folder).expect("it is there");
    let mut names: Vec<_> = files
        .map(|file| {
            let path = file.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            name.into_owned()
        })
        .collect();
    names.sort();
    let mut replayed = TARGETS.map(|(name, _)| name);
    replayed.sort();
    assert_eq!(names, replayed);
}
