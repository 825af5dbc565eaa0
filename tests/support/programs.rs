//! Programs that a test needs and that may not be installed.

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::process::Program;

/// Reports that a test is left out: now, past the test harness, which would hide it, and counted
/// at the end of the run. In CI, where everything is installed, this fails.
pub fn left_out(why: &str) {
    let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
    assert!(!ci, "{why}, but in CI nothing may be left out");
    let _ = writeln!(stderr(), "left out: {why}");
    let mut counter = COUNTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(counter) = &mut *counter {
        let _ = writeln!(counter, "{why}");
    }
}

/// Counts the tests that were left out. The harness runs nothing at its end, so this is a
/// process that prints the count when its input ends, which is when the tests end.
static COUNTER: LazyLock<Mutex<Option<ChildStdin>>> = LazyLock::new(|| {
    let mut counter = Command::new("sh");
    let counter = counter.args(["-c", COUNT]).stdin(Stdio::piped());
    let counter = counter.stdout(Stdio::null()).spawn();
    // Without the counter, each test is still reported.
    Mutex::new(counter.ok().and_then(|counter| counter.stdin))
});

const COUNT: &str = r#"
    count=0 all=
    while read -r why; do
        count=$((count + 1))
        case ", $all" in *", $why, "*) ;; *) all="$all$why, " ;; esac
    done
    echo "left out: $count (${all%, })" >&2
"#;

#[test]
fn left_out_tests_are_counted_at_the_end_of_the_run() {
    let mut counter = Command::new("sh");
    let mut counter = Program::start(counter.args(["-c", COUNT]));
    counter.feed(b"nc is not installed\nno chromium\nnc is not installed\n");
    let reported = counter.ended().stderr;
    assert_eq!(reported, "left out: 3 (nc is not installed, no chromium)\n");
}

/// Whether the program is installed, and its help contains these words.
pub fn has(program: &str, arg: &str, words: &str) -> bool {
    let Some(help) = Program::try_start(Command::new(program).arg(arg)) else {
        left_out(&format!("{program} is not installed"));
        return false;
    };
    let help = help.ended();
    let text = String::from_utf8_lossy(&help.stdout) + &*help.stderr;
    let has = text.contains(words);
    if !has {
        left_out(&format!("this {program} has no {words}"));
    }
    has
}

/// The versions of Node that the tests run with: the oldest that the JavaScript client supports, and
/// a newer one.
pub const NODE_VERSIONS: [u32; 2] = [22, 24];

/// The Node of this version that `npm ci` installs in `js/test/node`. The machine's own node is
/// never used: it may be too old, and the tests must run with known versions.
pub fn node(version: u32) -> Option<PathBuf> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let node = tests.join(format!(
        "../js/test/node/node_modules/node-{version}-{arch}/bin/node"
    ));
    if !node.exists() {
        left_out(&format!(
            "`npm ci` was not run in js/test/node (Node {version})"
        ));
        return None;
    }
    Some(node)
}

/// The oldest Node of the tests.
pub fn oldest_node() -> Option<PathBuf> {
    node(NODE_VERSIONS[0])
}
