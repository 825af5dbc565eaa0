//! Where a registry can be started, and its end with its last address.

use std::any::Any;
use std::process::{Command, Stdio};
use std::thread;

use actix::prelude::*;
use chrome_sockets::{App, Error, Registry, Shutdown};
use support::{Echo, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// The panic of `start` in a thread that is no actix system's.
fn refusal(start: impl FnOnce() + Send + 'static) -> String {
    let panic = thread::spawn(start).join().expect_err("it needs a system");
    text(panic.as_ref())
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
    text.expect("a text")
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

#[test]
fn starting_outside_a_running_system_says_how_to() {
    for refusal in [
        refusal(|| drop(Registry::new().start())),
        refusal(|| drop(Registry::new().arbiters(3).start())),
        refusal(|| tokio_runtime().block_on(async { drop(Registry::new().start()) })),
        refusal(|| {
            // The system does not run yet.
            let _system = System::new();
            drop(Registry::new().start());
        }),
    ] {
        for hint in ["actix_rt::main", "block_on", "plain tokio program"] {
            assert!(refusal.contains(hint), "{refusal}");
        }
    }
}

/// The recipe of the documentation, with an echo server.
async fn serve_beside_tokio() {
    let (started, start) = oneshot::channel();
    let thread = thread::spawn(move || {
        let runner = System::new();
        let registry = runner.block_on(async { Registry::new().start() });
        let sent = started.send((registry, System::current()));
        sent.expect("the test waits");
        runner.run()
    });
    let (registry, system) = start.await.expect("it starts");
    let app = App::new("echo", &registry);
    let echo = Echo::start_in_arbiter(system.arbiter(), |_| Echo);
    let on_accept = &app.tcp_server.on_accept;
    on_accept.do_add_listener(echo.clone().recipient());
    let added = app.tcp.on_receive.add_listener(echo.recipient());
    added.await.expect("the registry runs");
    let created = app.tcp_server.create(Default::default()).await;
    let id = created.expect("create").socket_id;
    let listening = app.tcp_server.listen(id, "127.0.0.1", 0, None).await;
    listening.expect("listen");
    let info = app.tcp_server.get_info(id).await.expect("it exists");
    let address = info.local_addr().expect("it listens");

    let mut peer = TcpStream::connect(address).await.expect("connect");
    peer.write_all(b"hello").await.expect("write");
    let mut reply = [0; 5];
    let read = tokio::time::timeout(support::LIMIT, peer.read_exact(&mut reply)).await;
    read.expect("the echo comes in time").expect("read");
    assert_eq!(&reply, b"hello");
    // A task of the runtime calls too.
    let tcp = app.tcp.clone();
    let sockets = tokio::spawn(async move { tcp.get_sockets().await });
    let sockets = sockets.await.expect("it has not panicked");
    assert_eq!(sockets.map(|sockets| sockets.len()), Ok(1));

    let shutdown = registry.send(Shutdown).await;
    shutdown.expect("it runs").expect("it ends");
    system.stop();
    thread.join().expect("no panic").expect("it was stopped");
    assert_eq!(app.tcp.get_sockets().await, Err(Error::Stopped));
}

#[test]
fn a_plain_tokio_program_uses_a_registry_in_a_thread_of_its_own() {
    tokio_runtime().block_on(serve_beside_tokio());
}

/// Set for the child process: how its registry ends.
const CHILD: &str = "CHROME_SOCKETS_STARTING_END";

const ENTRY: &str = "starting::child_process_whose_registry_ends";

#[test]
fn child_process_whose_registry_ends() {
    let Ok(end) = std::env::var(CHILD) else {
        return;
    };
    env_logger::builder()
        .filter_level(log::LevelFilter::Info)
        .format_timestamp(None)
        .init();
    System::new().block_on(async {
        let registry = Registry::new().start();
        let app = App::new("owner", &registry);
        if end != "no sockets" {
            for _ in 0..2 {
                let created = app.tcp_server.create(Default::default()).await;
                created.expect("create");
            }
            let created = app.tcp.create(Default::default()).await;
            created.expect("create");
        }
        if end == "shutdown" {
            registry
                .send(Shutdown)
                .await
                .expect("it runs")
                .expect("end");
        }
        let client = app.tcp.create(Default::default()).await;
        let client = match client {
            Ok(info) => Some(app.tcp.socket(info.socket_id).await.expect("it exists")),
            Err(_) => None,
        };
        if end == "no sockets" {
            client
                .clone()
                .expect("it runs")
                .close()
                .await
                .expect("close");
        }
        let other = app.clone();
        drop((app, registry));
        actix_rt::task::yield_now().await;
        log::info!("one App is left");
        drop(other);
        let client = client.filter(|_| end == "dropped");
        within("the end of the registry", async {
            while let Some(client) = &client
                && client.get_info().await.is_ok()
            {
                actix_rt::task::yield_now().await;
            }
        })
        .await;
        for _ in 0..100 {
            actix_rt::task::yield_now().await;
        }
    });
}

/// The log of a process whose registry ends in this way.
fn log_of(end: &str) -> String {
    let this = std::env::current_exe().expect("the path of the test binary");
    let mut command = Command::new(this);
    command
        .args([ENTRY, "--exact", "--nocapture"])
        .env(CHILD, end)
        .stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    log
}

#[test]
fn a_registry_that_ends_with_its_last_app_says_which_sockets_it_closes() {
    let log = log_of("dropped");
    let (_, after) = log.split_once("one App is left").expect("a mark");
    let text = "the last App of a registry was dropped, so it closes its sockets: \
                2 server sockets, 2 client sockets";
    assert_eq!(log.matches("was dropped").count(), 1, "{log}");
    let line = after.lines().find(|line| line.contains("was dropped"));
    let line = line.expect("it is logged after the last App was dropped");
    assert!(line.contains("INFO") && line.contains(text), "{line}");
}

#[test]
fn a_registry_that_ends_without_sockets_or_by_shutdown_says_nothing() {
    for end in ["no sockets", "shutdown"] {
        let log = log_of(end);
        assert!(log.contains("one App is left"), "{log}");
        assert!(!log.contains("was dropped"), "{end}: {log}");
    }
}
