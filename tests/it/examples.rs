//! The examples as users run them: processes, reached through real sockets, ended by Ctrl-C or
//! SIGTERM.
#![expect(clippy::panic, reason = "tests fail by panics")]

mod draining;
mod echo_server;
mod fault_injection;
mod foreign_clients;
mod many_clients;
mod pause_resume;
mod persistent_server;
mod small_examples;
mod systemd;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::thread;

use support::LIMIT;

pub const MIB: usize = 1024 * 1024;

/// Data without repeated chunks: the block is random, and its odd length does not align with any
/// buffer.
pub fn block() -> &'static [u8] {
    static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..MIB + 7).map(|_| next()).collect()
    });
    &BLOCK
}

/// The first `length` bytes of the repeated block.
fn content(length: usize) -> impl Iterator<Item = &'static [u8]> {
    (0..length).step_by(block().len()).map(move |from| {
        let end = block().len().min(length - from);
        &block()[..end]
    })
}

/// A connection on which every call has a time limit.
pub fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LIMIT)
        .unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// Reads exactly the expected bytes.
fn expect(mut stream: &TcpStream, expected: &[u8], who: &str) {
    let mut got = vec![0; expected.len()];
    stream
        .read_exact(&mut got)
        .unwrap_or_else(|error| panic!("{who}: {} bytes did not come: {error}", got.len()));
    assert!(
        got == expected,
        "{who}: other bytes came than were expected"
    );
}

/// Sends one line and expects its echo.
pub fn echo_line(mut stream: &TcpStream, line: &str) {
    let line = format!("{line}\n");
    stream
        .write_all(line.as_bytes())
        .unwrap_or_else(|error| panic!("{line:?} was not taken: {error}"));
    expect(stream, line.as_bytes(), &format!("the echo of {line:?}"));
}

/// Fails unless the server closes the connection without further data.
fn expect_end(mut stream: &TcpStream, who: &str) {
    match stream.read(&mut [0; 1]) {
        Ok(0) => {}
        other => panic!("{who}: expected the end of the connection, not {other:?}"),
    }
}

/// Sends `length` bytes and then shuts its side, while reading back all of them.
fn echo_all(stream: &TcpStream, length: usize) {
    let mut writer = stream;
    thread::scope(|scope| {
        scope.spawn(move || {
            for part in content(length) {
                writer.write_all(part).expect("the server reads on");
            }
            writer.shutdown(Shutdown::Write).expect("shutdown");
        });
        for (i, part) in content(length).enumerate() {
            expect(stream, part, &format!("block {i}"));
        }
        expect_end(stream, "after every byte");
    });
}
