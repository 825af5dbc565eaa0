//! What the fuzzer has kept of the host's targets is read without a fault.

use chrome_sockets_host::fuzzing;
use support::corpus::{self, HOST};

#[test]
fn inputs_that_the_fuzzer_kept_are_read_or_refused() {
    for target in HOST {
        let run = match target {
            "host" => fuzzing::frame,
            _ => fuzzing::head,
        };
        corpus::replay(target, run);
    }
}
