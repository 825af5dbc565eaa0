//! What several tests of the benchmark use.
#![expect(clippy::panic, reason = "this is how a test fails")]

/// The line of the table that contains all of these.
pub fn line<'a>(table: &'a str, parts: &[&str]) -> &'a str {
    let mut lines = table.lines();
    lines
        .find(|line| parts.iter().all(|part| line.contains(part)))
        .unwrap_or_else(|| panic!("no line with {parts:?} in\n{table}"))
}
