//! Runs the tests of the JavaScript client (`js/test`) with this program.

use std::path::Path;
use std::time::Duration;

use support::process::{Program, group};
use support::programs::{NODE_VERSIONS, node};

use super::PROGRAM;

/// The longest time for all tests on a busy machine.
const WHOLE_RUN: Duration = Duration::from_secs(5 * 60);

#[test]
fn the_tests_of_the_javascript_client_pass_on_node_22() {
    pass_on(NODE_VERSIONS[0]);
}

#[test]
fn the_tests_of_the_javascript_client_pass_on_node_24() {
    pass_on(NODE_VERSIONS[1]);
}

fn pass_on(version: u32) {
    let Some(node) = node(version) else {
        return;
    };
    let js = Path::new(env!("CARGO_MANIFEST_DIR")).join("../js");
    let mut files: Vec<_> = std::fs::read_dir(js.join("test"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    let mut command = group(node);
    command.current_dir(&js).env("CHROME_SOCKETS_HOST", PROGRAM);
    command.arg("--test").args(files);
    let ended = Program::start(&mut command).ended_within(WHOLE_RUN);
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{output}\n{}", ended.stderr);
}

#[test]
fn no_test_runs_the_machines_own_node() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host");
    for entry in std::fs::read_dir(tests).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let starts = [concat!("group(", "\"node\")"), concat!("new(", "\"node\")")];
        let found = starts.iter().find(|start| text.contains(**start));
        assert_eq!(found, None, "{}: take `node`", path.display());
    }
}
