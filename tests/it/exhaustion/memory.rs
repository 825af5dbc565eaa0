//! A process with limited memory, and a kernel without buffers.

use rustix::process::{Pid, Rlimit, prlimit};

use super::child_processes::Crowd;
use super::resets::reset_many;
use super::*;
use crate::examples::block;

/// Limits the server to `more` bytes beyond what it has.
///
/// The limit is on writable memory (`RLIMIT_DATA`), because that is what a process runs out of:
/// address space (`RLIMIT_AS`) costs nothing, and Linux has no limit of resident memory for a
/// process. A Rust program whose allocation fails aborts, so the test fails if the bound is
/// exceeded.
fn limit_memory(program: &Program, more: usize) {
    let process = i32::try_from(program.id()).ok().and_then(Pid::from_raw);
    let most = status(program.id(), "VmData:") + more;
    let most = u64::try_from(most).ok();
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    prlimit(process, Resource::Data, limit).expect("the process is a child");
}

#[test]
fn hostile_clients_do_not_exhaust_limited_memory() {
    const NON_READING: usize = 100;
    const IDLE: usize = 1_000;
    let _exclusive = exclusive();
    let server = echo_server(&[]);
    let at = server.address;
    let baseline = Baseline::after_first_client(&server.program, at);
    limit_memory(&server.program, 40 * MIB);
    let honest_client = HonestClient::new(at);
    let crowd = Crowd::connect(at, IDLE);
    let non_reading: Vec<TcpStream> = (0..NON_READING).map(|_| small_buffer_client(at)).collect();
    let mut sent = 0;
    for _ in 0..50 {
        for mut client in &non_reading {
            while let Ok(length @ 1..) = client.write(&block()[..64 * KIB]) {
                sent += length;
            }
        }
        reset_many(at, 1, 20);
    }
    let amid = "100 that never read, 1000 that never speak, 1000 resets";
    println!("{amid}: {} MiB were taken", sent / MIB);
    baseline.assert_growth(40 * MIB, amid);
    crowd.reset_all();
    drop(non_reading);
    honest_client.assert_prompt(amid);
    echo_line(&dial(at), "proof of life");
    baseline.assert_descriptors_released();
    server.expect_success();
}

#[test]
fn enobufs_for_every_third_accept_loses_no_client() {
    let _exclusive = exclusive();
    // Injected, because Linux returns this for a TCP socket only if the whole machine is short
    // of memory.
    let server = echo_server(&["--seed", "1", "--inject", "accept=ENOBUFS,every=3"]);
    let at = server.address;
    let baseline = Baseline::after_first_client(&server.program, at);
    let honest_client = HonestClient::new(at);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    echo_line(&dial(at), "one of forty");
                }
            });
        }
    });
    let amid = "accept=ENOBUFS,every=3";
    honest_client.assert_prompt(amid);
    echo_line(&dial(at), "proof of life");
    baseline.assert_descriptors_released();
    baseline.assert_growth(SLACK, amid);
    let output = server.stop_with_ctrl_c();
    assert!(
        output.starts_with("accept=ENOBUFS,every=3: triggered "),
        "{output}"
    );
}
