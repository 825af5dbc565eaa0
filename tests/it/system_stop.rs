//! An ordinary end of the actix system logs no error.

use std::process::{Command, Stdio};

use chrome_sockets::Registry;
use support::TestApp;

use crate::tcp_server::dial;

/// The environment variable with the number of arbiters of a child.
const ARBITERS: &str = "CHROME_SOCKETS_SYSTEM_STOP_ARBITERS";

const ENTRY: &str = "system_stop::child_process_that_stops_its_system";

#[test]
fn child_process_that_stops_its_system() {
    let Ok(arbiters) = std::env::var(ARBITERS) else {
        return;
    };
    env_logger::builder()
        .filter_level(log::LevelFilter::Warn)
        .format_timestamp(None)
        .init();
    let system = actix_rt::System::new();
    system.block_on(serve(arbiters.parse().expect("a number")));
    system.run().expect("it was stopped");
}

/// Opens connections in each arbiter, more than tokio's event loop watches there, with unsent data,
/// and stops the system.
async fn serve(arbiters: usize) {
    let mut test = TestApp::at(Registry::new().arbiters(arbiters).start()).await;
    let (_, at) = test.listen().await;
    let mut peers = Vec::new();
    for _ in 0..6 * arbiters {
        peers.push(dial(at).await);
        let client = test.accepted().await;
        client.set_paused(false).await.expect("it is open");
        drop(client.send(vec![0; 8 << 20]));
    }
    // They outlive this function, as in a running server.
    actix_rt::spawn(async move {
        let _keep = (test, peers);
        std::future::pending::<()>().await;
    });
    actix_rt::System::current().stop();
}

fn stops_quietly(arbiters: usize) {
    let this = std::env::current_exe().expect("the path of the test binary");
    let mut command = Command::new(this);
    command
        .args([ENTRY, "--exact", "--nocapture"])
        .env(ARBITERS, arbiters.to_string())
        .stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains("ERROR"), "{errors}");
}

#[test]
fn a_system_that_stops_logs_no_error() {
    for _ in 0..5 {
        stops_quietly(1);
    }
}

#[test]
fn a_system_with_three_arbiters_that_stops_logs_no_error() {
    for _ in 0..20 {
        stops_quietly(3);
    }
}
