//! Echoes every client on several cores:
//! `cargo run --release --example multicore_echo [ADDR] [ARBITERS]`.
//!
//! ADDR is an IP address and a port, by default `127.0.0.1:7008`; port 0 lets the OS choose.
//! ARBITERS is the number of threads for connections, by default one for each core. Each has a
//! handler of its own, so data is read, handled and sent back in one thread. The handlers get
//! batches, which costs less with many busy clients. Ctrl-C closes everything.

use std::error::Error;
use std::net::SocketAddr;

use actix::prelude::*;
use chrome_sockets::tcp::{ReceiveBatch, ReceiveErrorInfo, ResumeOptions};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{App, Registry, Shutdown};

/// Resumes accepted clients, in the registry's thread.
struct Acceptor;

impl Actor for Acceptor {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Acceptor {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let options = ResumeOptions::new().no_delay(true);
        info.client().do_resume_with(options);
    }
}

/// Echoes the clients of one arbiter.
struct Echo {
    app: App,
}

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<ReceiveBatch> for Echo {
    type Result = ();

    fn handle(&mut self, batch: ReceiveBatch, _: &mut Self::Context) {
        for info in batch {
            let id = info.socket_id;
            if let Err(error) = info.send_back() {
                log::warn!("client {id}: {error}");
                self.app.tcp.do_close(id);
            }
        }
    }
}

impl Handler<ReceiveErrorInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        info.client().do_close();
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next();
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:7008").parse()?;
    let arbiters = match arguments.next() {
        Some(arbiters) => arbiters.parse()?,
        None => std::thread::available_parallelism()?.get(),
    };

    let registry = Registry::new().arbiters(arbiters).start();
    let app = App::new("echo", &registry);
    let acceptor = Acceptor.start();
    app.tcp_server
        .on_accept
        .do_add_listener(acceptor.recipient());
    app.on_each_arbiter(|local| {
        let echo = Echo {
            app: local.app.clone(),
        }
        .start();
        local.do_add_listener::<ReceiveBatch>(echo.clone().recipient());
        local.do_add_listener::<ReceiveErrorInfo>(echo.recipient());
    })
    .await?;

    let server = app.tcp_server.create(Default::default()).await?.socket_id;
    let (host, port) = (address.ip().to_string(), address.port().into());
    app.tcp_server.listen(server, host, port, None).await?;
    let bound = app.tcp_server.get_info(server).await?.local_addr();
    println!("listening on {}", bound.unwrap_or(address));

    actix_rt::signal::ctrl_c().await?;
    registry.send(Shutdown).await??;
    Ok(())
}
