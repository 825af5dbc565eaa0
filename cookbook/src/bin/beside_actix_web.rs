//! An echo server and a web server in one process, which shows and controls the echo server:
//! `cargo run -p chrome-sockets-cookbook --bin beside_actix_web [ADDR] [HTTP_ADDR]`.
//!
//! The addresses are by default `127.0.0.1:7103` and `127.0.0.1:8103`.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use actix::prelude::*;
use actix_web::{HttpResponse, HttpServer, web};
use chrome_sockets::draining::DrainAll;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::{App, Registry, ServerSocketId, Shutdown};

/// The handler of one client.
struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, ctx: &mut Self::Context) {
        let client = info.client().clone();
        if client.forward(info).is_err() {
            // Ends the connection too.
            ctx.stop();
        }
    }
}

impl Handler<ReceiveErrorInfo> for Echo {
    type Result = ();

    /// The client has ended its side. What was forwarded still arrives.
    fn handle(&mut self, _: ReceiveErrorInfo, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// What the workers of the web server share: an `App` works in every thread.
type Shared = web::Data<(App, ServerSocketId)>;

/// `GET /`: what became of the clients of the echo server.
async fn show(shared: Shared) -> HttpResponse {
    let (app, server) = &**shared;
    match app.tcp_server.get_info(*server).await {
        Ok(info) => HttpResponse::Ok().body(format!(
            "accepted {}, blocked by {:?}\n",
            info.counts.accepted, info.blocked_by
        )),
        Err(error) => HttpResponse::ServiceUnavailable().body(format!("{error}\n")),
    }
}

/// `POST /paused/true` and `POST /paused/false`: new clients wait in the backlog, or no more.
async fn set_paused(shared: Shared, paused: web::Path<bool>) -> HttpResponse {
    let (app, server) = &**shared;
    match app.tcp_server.set_paused(*server, *paused).await {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => HttpResponse::ServiceUnavailable().body(format!("{error}\n")),
    }
}

/// An actix `System`, which both servers use.
#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:7103".into());
    let http_address = args.next().unwrap_or_else(|| "127.0.0.1:8103".into());

    let registry = Registry::new().start();
    let app = App::new("echo", &registry);
    let server = app.tcp_server.create(Default::default()).await?.socket_id;
    app.tcp_server.serve(server, |_, _| Echo).await?;
    let options = Default::default();
    app.tcp_server
        .listen_on(server, address.parse::<SocketAddr>()?, options)
        .await?;
    let bound = app.tcp_server.get_info(server).await?.local_addr();

    let shared = Shared::new((app, server));
    let http = HttpServer::new(move || {
        actix_web::App::new()
            .app_data(shared.clone())
            .route("/", web::get().to(show))
            .route("/paused/{paused}", web::post().to(set_paused))
    });
    let http = http.workers(1).shutdown_timeout(5).bind(http_address)?;
    println!("listening on {}", bound.ok_or("it does not listen")?);
    println!("http on {}", http.addrs()[0]);

    // Ends with SIGINT or SIGTERM: actix-web handles the signals, and its requests end first.
    http.run().await?;
    let deadline = Duration::from_secs(5);
    registry.send(DrainAll { deadline }).await??;
    registry.send(Shutdown).await??;
    Ok(())
}
