#!/usr/bin/env python3
"""Mutates the code in a sample of places, one at a time, and runs the tests of each file.

    cargo install --locked cargo-mutants
    tests/mutants.py [--seed 12] [--count 40] [--results target/mutants.jsonl]

`cargo mutants` lists the mutations; the seed determines which are tried, and in which
order. Each result is a line of the results file, and is not tried again, so the run can
be stopped at any time and continued. The source files must be unchanged since the last
commit, and are restored afterwards. A mutation that does not compile is unviable and
does not count.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["tcp", "tcp_server", "supervision", "handover"]

# Filters of the tests in `tests/it` for a file; the longest path that matches applies. Unit tests always run.
TESTS = {
    "src/tcp/": "tcp:: faults:: ordering:: arbiters:: redelivery:: pause:: memory:: injection:: accounting:: "
                "poison_events:: unread_connections:: lingering::",
    "src/tcp/bulk.rs": "lifecycle:: draining:: hostile:: tcp:: arbiters::",
    "src/tcp/connection/redelivery.rs": "redelivery:: poison_events:: injection:: lifecycle:: accounting::",
    "src/tcp/connection/secure.rs": "tls:: tcp:: permissions::",
    "src/tcp/connection/timeouts.rs": "timeouts:: policy:: exhaustion::",
    "src/tcp/draining.rs": "draining:: timeouts:: examples::draining",
    "src/tcp/handover.rs": "handover:: examples::persistent_server",
    "src/tcp/recovery.rs": "injection:: hostile:: redelivery:: accounting::",
    "src/tcp/shards/": "tcp:: arbiters:: lifecycle:: permissions:: policy:: memory::",
    "src/tcp_server/": "tcp_server:: policy:: faults:: pause:: exhaustion:: arbiters:: injection:: accounting::",
    "src/tcp_server/draining.rs": "draining:: tcp_server:: policy::",
    "src/tcp_server/handover.rs": "handover::",
    "src/tcp_server/settings_record.rs": "handover::",
    "src/tcp_server/tls/": "tls:: poison_events::other_events",
    "src/supervision/": "injection:: hostile:: arbiters:: accounting::",
    "src/handover/": "handover:: examples::persistent_server examples::systemd fuzz_corpus::",
}

# Seconds. A mutation may make tests wait forever.
BUILDING = 1800
TESTING = 600


def tests_of(file):
    fits = [path for path in TESTS if file.startswith(path)]
    return TESTS[max(fits, key=len)].split()


def mutations():
    folders = [argument for folder in FOLDERS for argument in ("-f", f"src/{folder}/**")]
    command = ["cargo", "mutants", "--list", "--json", *folders]
    listed = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    return sorted((it for it in listed if "fuzzing" not in it["file"]), key=lambda it: it["name"])


def run(command, limit):
    """The exit status; `None` after a timeout. Ends everything that the command started."""
    child = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    try:
        return child.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def outcome(mutation):
    patched = subprocess.run(["patch", "--quiet", "--no-backup-if-mismatch", mutation["file"]],
                             cwd=ROOT, input=mutation["diff"], text=True)
    if patched.returncode != 0:
        return "unviable"
    # Tests of a handover start this example, which the tests do not build.
    for build in [["build", "--example", "persistent_server", "--features", "testing,tls"],
                  ["test", "--workspace", "--lib", "--test", "it", "--no-run"]]:
        if run(["cargo", *build], BUILDING) != 0:
            return "unviable"
    for target, filters in [("--lib", []), ("--test=it", tests_of(mutation["file"]))]:
        status = run(["cargo", "test", "--workspace", target, "--", *filters], TESTING)
        if status is None:
            return "timeout"
        if status != 0:
            return "caught"
    return "missed"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int, default=12)
    arguments.add_argument("--count", type=int, default=40, help="number of mutations that compile")
    arguments.add_argument("--results", type=Path, default=ROOT / "target/mutants.jsonl")
    given = arguments.parse_args()
    # The file is restored also after SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    if subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "src"], cwd=ROOT).returncode != 0:
        sys.exit("commit first: files in src have changes, which would be lost")
    given.results.parent.mkdir(parents=True, exist_ok=True)
    lines = given.results.read_text().splitlines() if given.results.exists() else []
    known = {it["name"]: it["outcome"] for it in map(json.loads, lines)}
    order = mutations()
    random.Random(given.seed).shuffle(order)
    counts = {}
    for mutation in order:
        if sum(count for result, count in counts.items() if result != "unviable") >= given.count:
            break
        name = mutation["name"]
        if name not in known:
            try:
                known[name] = outcome(mutation)
            finally:
                subprocess.run(["git", "checkout", "--quiet", "HEAD", "--", mutation["file"]], cwd=ROOT, check=True)
            with given.results.open("a") as results:
                results.write(json.dumps({"name": name, "outcome": known[name]}) + "\n")
        counts[known[name]] = counts.get(known[name], 0) + 1
        print(f"{known[name]:9} {name}", flush=True)
    print(counts)


if __name__ == "__main__":
    main()
