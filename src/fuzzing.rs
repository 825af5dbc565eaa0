//! What the fuzzer calls with bytes of its own making, and a test with those that
//! it has found worth keeping. Each panics where something is wrong. Not an API:
//! it may change at any time.

use crate::manifest::{Pattern, Permissions};
use crate::testing::faulty::Rule;

/// What is read is the same as what is read of what is written of it.
fn is_kept<T: PartialEq + std::fmt::Debug>(
    read: impl Fn(&str) -> Option<T>,
    write: impl Fn(&T) -> Option<String>,
    text: &str,
) {
    let Some(first) = read(text) else {
        return;
    };
    let written = write(&first);
    assert!(written.is_some(), "{first:?} cannot be written");
    let again = written.as_deref().and_then(read);
    assert_eq!(again.as_ref(), Some(&first), "read of {written:?}");
}

/// The records of a handover.
pub fn handover(bytes: &[u8]) {
    crate::handover::fuzzing::records(bytes);
}

/// A manifest, the value of its key `sockets`, and a pattern.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(error) = Permissions::from_manifest(text) {
        let _ = error.to_string();
    }
    let sockets = |text: &str| Permissions::from_sockets(text).ok();
    is_kept(sockets, |it| serde_json::to_string(it).ok(), text);
    let pattern = |text: &str| text.parse::<Pattern>().ok();
    is_kept(pattern, |it| Some(it.to_string()), text);
    // The last line may be a host that is compared with what stands before it.
    if let Some((sockets, host)) = text.rsplit_once('\n')
        && let Ok(permissions) = Permissions::from_sockets(sockets)
    {
        let listens = permissions.may_listen(host, 80);
        let any = Permissions::all().may_listen(host, 80);
        assert!(any || !listens, "more than everything is permitted");
        let _ = permissions.may_connect(host, 80);
    }
}

/// The text of a rule about faults.
pub fn faults(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(error) = text.parse::<Rule>() {
        let _ = error.to_string();
    }
    let rule = |text: &str| text.parse::<Rule>().ok();
    is_kept(rule, |it| Some(it.to_string()), text);
}
