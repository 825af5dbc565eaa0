//! Sends a line and prints the answer: `cargo run --example tcp_client [HOST] [PORT] [LINE]`.
//!
//! HOST and PORT are by default those of the echo server, `127.0.0.1` and `7007`.

use std::error::Error;
use std::process::ExitCode;

use actix::prelude::*;
use chrome_sockets::tcp::{DnsQueryType, ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::{App, Registry, Shutdown};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Prints received data, and signals when all of it has arrived or the connection ended.
struct Printer {
    expected: usize,
    done: UnboundedSender<()>,
}

impl Actor for Printer {
    type Context = Context<Self>;
}

impl Printer {
    fn finish(&self) {
        // The receiver is gone if the program has ended.
        let _ = self.done.send(());
    }
}

impl Handler<ReceiveInfo> for Printer {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        print!("{}", String::from_utf8_lossy(&info.data));
        self.expected = self.expected.saturating_sub(info.data.len());
        if self.expected == 0 {
            self.finish();
        }
    }
}

impl Handler<ReceiveErrorInfo> for Printer {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        eprintln!("the connection ended: {}", info.result_code);
        self.finish();
    }
}

#[actix_rt::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let mut args = std::env::args().skip(1);
    let host = args.next().unwrap_or("127.0.0.1".to_owned());
    let port = args.next().map_or(Ok(7007), |port| port.parse())?;
    let line = args.next().unwrap_or("hello".to_owned()) + "\n";

    let registry = Registry::new().start();
    let app = App::new("client", &registry);
    let (done, mut is_done) = unbounded_channel();
    let expected = line.len();
    let printer = Printer { expected, done }.start();
    app.tcp
        .on_receive
        .do_add_listener(printer.clone().recipient());
    app.tcp
        .on_receive_error
        .do_add_listener(printer.recipient());

    let client = app.tcp.create(Default::default()).await?.socket_id;
    app.tcp
        .connect(client, host.as_str(), port, DnsQueryType::Any)
        .await
        .map_err(|error| format!("cannot connect to {host}:{port}: {error}"))?;
    app.tcp.send(client, line).await?;
    is_done.recv().await;
    registry.send(Shutdown).await??;
    Ok(())
}
