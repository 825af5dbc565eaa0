//! An HTTP/1 server by hyper: `cargo run -p chrome-sockets-cookbook --bin http [ADDR]`.
//!
//! ADDR is by default `127.0.0.1:7105`.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::tcp_server::{AcceptInfo, AtLimit, Limit, Limits};
use chrome_sockets::{App, Registry, Shutdown};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A text, or the body of the request.
type Body = Either<Full<Bytes>, Incoming>;

async fn respond(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let response = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Response::new(Either::Left(Full::from("hello\n"))),
        // Sent while it is received.
        (&Method::POST, "/echo") => Response::new(Either::Right(request.into_body())),
        _ => {
            let mut response = Response::new(Either::Left(Full::from("not found\n")));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    };
    Ok(response)
}

/// Starts a task for each client.
struct Http;

impl Actor for Http {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Http {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        actix_rt::spawn(async move {
            let id = client.id();
            if let Err(error) = serve(client).await {
                log::info!("client {id}: {error}");
            }
        });
    }
}

async fn serve(client: ClientSocket) -> Result<(), Box<dyn Error>> {
    let stream = TokioIo::new(client.into_stream().await?);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(stream, service_fn(respond))
        .await?;
    Ok(())
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let address = std::env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:7105").parse()?;

    let registry = Registry::new().start();
    let app = App::new("http", &registry);
    let server = &app.tcp_server;
    server.on_accept.do_add_listener(Http.start().recipient());
    let id = server.create(Default::default()).await?.socket_id;
    let limit = Limit {
        most: 1000,
        then: AtLimit::Queue,
    };
    let limits = Limits {
        connections: Some(limit),
        ..Limits::default()
    };
    server.set_limits(id, limits).await?;
    server.listen_on(id, address, Default::default()).await?;
    let bound = server.get_info(id).await?.local_addr();
    println!("listening on {}", bound.ok_or("it does not listen")?);

    actix_rt::signal::ctrl_c().await?;
    registry.send(Shutdown).await??;
    Ok(())
}
