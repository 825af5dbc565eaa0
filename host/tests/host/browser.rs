//! The JavaScript client in a real Chromium, by the tests in `js/test/browser`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use support::process::{Program, group};
use support::programs::{has, left_out, oldest_node};

use super::PROGRAM;

/// The longest time for all tests: some wait for a service worker to stop.
const WHOLE_RUN: Duration = Duration::from_secs(15 * 60);

#[test]
fn the_browser_tests_pass() {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../js/test/browser");
    let Some(node) = oldest_node().filter(|_| has(&chromium, "--version", "Chrom")) else {
        return;
    };
    if !folder.join("node_modules").exists() {
        left_out("`npm ci` was not run in js/test/browser");
        return;
    }
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut command = group(node);
    command
        .current_dir(&folder)
        .env("CHROME_SOCKETS_HOST", PROGRAM);
    // One test waits for five minutes while the others run.
    command.args(["--test", "--test-concurrency=2"]).args(files);
    let ended = Program::start(&mut command).ended_within(WHOLE_RUN);
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{output}\n{}", ended.stderr);
}

#[test]
fn the_lock_files_of_the_tests_name_no_registry() {
    for folder in ["browser", "node"] {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../js/test");
        let lock = tests.join(folder).join("package-lock.json");
        let lock = fs::read_to_string(lock).expect("a lock file");
        assert!(lock.contains("\"integrity\"") && !lock.contains("\"resolved\""));
    }
}
