//! From a plain tokio program.

use crate::{ANY_PORT, assert_echoes, recipe};

#[test]
fn it_echoes_and_ends_cleanly() {
    let server = recipe!("plain_tokio", ANY_PORT);
    assert_echoes(&server);
    assert_echoes(&server);
    server.expect_success();
}
