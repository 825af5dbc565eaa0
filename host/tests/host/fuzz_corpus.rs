//! Replays the fuzzer's corpus for the host.

use chrome_sockets_host::fuzzing;
use support::corpus::{self, HOST};

#[test]
fn the_corpus_of_the_fuzzer_does_not_panic() {
    for target in HOST {
        let run = match target {
            "host" => fuzzing::frame,
            _ => fuzzing::head,
        };
        corpus::replay(target, run);
    }
}
