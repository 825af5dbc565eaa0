//! `echo_server` with many clients at once, some of them hostile.

use std::io::{ErrorKind, Write};
use std::process::Command;
use std::sync::{Barrier, RwLock};
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::process::{Example, Program, binary};
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{MIB, block, dial, echo_line, expect};

#[test]
fn with_40_descriptors_each_of_60_clients_gets_its_echo() {
    const CLIENTS: usize = 60;
    let mut server = Example::listening(Program::start(
        Command::new("sh")
            .args(["-c", r#"ulimit -n 40; exec "$0" "$@""#])
            .arg(binary("echo_server"))
            .arg("127.0.0.1:0"),
    ));
    let address = server.address;
    let start_barrier = Barrier::new(CLIENTS);
    let exit_lock = RwLock::new(());
    thread::scope(|scope| {
        // No client leaves before the server is certainly out of descriptors.
        let exit_guard = exit_lock.write().expect("no panic while locked");
        for i in 0..CLIENTS {
            let (start_barrier, exit_lock) = (&start_barrier, &exit_lock);
            scope.spawn(move || {
                start_barrier.wait();
                let client = dial(address);
                echo_line(&client, &format!("client {i}"));
                drop(exit_lock.read());
                client.set_nonblocking(true).expect("set_nonblocking");
                let more = client.peek(&mut [0; 1]).map_err(|error| error.kind());
                assert_eq!(
                    more,
                    Err(ErrorKind::WouldBlock),
                    "client {i} must be left alone after its echo"
                );
            });
        }
        let line = server.program.stderr.line("cannot accept");
        assert!(line.contains("INSUFFICIENT_RESOURCES"), "{line}");
        drop(exit_guard);
    });
    echo_line(&dial(address), "proof of life");
    server.expect_success();
}

#[actix_rt::test]
async fn two_hundred_resets_and_garbage_do_not_delay_an_honest_client() {
    const RESETS: usize = 200;
    let server = Example::echo();
    let mut honest = TcpStream::connect(server.address)
        .await
        .expect("it listens");

    let address = server.address;
    let hostile = (0..RESETS).map(|i| {
        actix_rt::spawn(async move {
            let mut client = TcpStream::connect(address).await.expect("it listens");
            // Lengths differ, so the resets hit the server while reading, while writing, or
            // after all data.
            let garbage = &block()[i..][..1 + i * 1000];
            let read = i % 2 == 0;
            if read {
                client.write_all(garbage).await.expect("it reads");
                client.read_exact(&mut [0; 1]).await.expect("an echo");
            } else {
                // Sends what fits at once, and then resets.
                let _ = client.try_write(garbage);
            }
            client.set_zero_linger().expect("the option is set");
        })
    });
    let mut hostile: Vec<_> = hostile.collect();
    // One honest echo for every few resets.
    for round in 0.. {
        let line = format!("honest round {round}\n");
        let mut echo = vec![0; line.len()];
        within("an honest client's echo", async {
            honest.write_all(line.as_bytes()).await?;
            honest.read_exact(&mut echo).await
        })
        .await
        .expect("an honest client is served throughout");
        assert_eq!(String::from_utf8_lossy(&echo), line);
        let Some(reset) = hostile.pop() else { break };
        within("a hostile client's end", reset)
            .await
            .expect("it is not refused");
    }
    echo_line(&dial(address), "proof of life");
    server.expect_success();
}

#[test]
fn clients_that_reset_while_sending_endlessly_do_no_harm() {
    let server = Example::echo();
    let honest = dial(server.address);
    for i in 0..10 {
        let non_reading = dial(server.address);
        non_reading.set_nonblocking(true).expect("set_nonblocking");
        // The client reads nothing, so in the end the server takes nothing.
        while (&non_reading).write(&block()[..64 * 1024]).is_ok() {}
        echo_line(&honest, &format!("beside client {i} that does not read"));
        // Unread input turns its close into a reset.
        drop(non_reading);
        echo_line(&honest, &format!("after client {i} that does not read"));
    }
    super::echo_all(&honest, MIB);
    server.expect_success();
}

#[test]
fn five_hundred_silent_clients_do_not_delay_an_honest_one() {
    raise_descriptor_limit();
    let server = Example::echo();
    let honest = dial(server.address);
    let mut idle = Vec::new();
    for i in 0..500 {
        idle.push(dial(server.address));
        if i % 50 == 0 {
            echo_line(&honest, &format!("beside {i} idle ones"));
        }
    }
    super::echo_all(&honest, MIB);
    echo_line(&dial(server.address), "a new one");
    // The silent clients are still served.
    for client in &idle {
        (&*client).write_all(b"awake\n").expect("it is connected");
    }
    for (i, client) in idle.iter().enumerate() {
        expect(client, b"awake\n", &format!("idle client {i}"));
    }
    server.expect_success();
}

/// Raises the descriptor limit of this process, which the server inherits, to the maximum: other
/// tests run at the same time.
fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("up to the maximum");
}
