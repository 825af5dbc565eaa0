//! Node's `net`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::Result;
use crate::plan::Mode;

/// Becomes Node, with the pinning of this process.
pub fn run(mode: Mode) -> Result<()> {
    let failed = Command::new("node")
        .args(["-e", include_str!("node.js"), &mode.name()])
        .exec();
    Err(format!("node: {failed}").into())
}
