//! A store of keys and values with a protocol of lines, `GET key` and `SET key value`:
//! `cargo run -p chrome-sockets-cookbook --bin lines [ADDR]`.
//!
//! ADDR is by default `127.0.0.1:7101`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp::{ClientSocket, Timeouts};
use chrome_sockets::tcp_server::{AcceptInfo, AtLimit, Limit, Limits};
use chrome_sockets::{App, Registry, Shutdown};
use futures::{SinkExt, StreamExt};
use tokio_util::codec::{Framed, LinesCodec};

/// The longest line, in bytes.
const MAX_LINE: usize = 1024;

/// The most keys.
const MAX_KEYS: usize = 10_000;

type Values = Rc<RefCell<HashMap<String, String>>>;

/// Starts a task for each client.
#[derive(Default)]
struct Store(Values);

impl Actor for Store {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Store {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let (client, values) = (info.client().clone(), self.0.clone());
        actix_rt::spawn(async move {
            let id = client.id();
            if let Err(error) = serve(client, values).await {
                log::info!("client {id}: {error}");
            }
        });
    }
}

/// Dropping the stream, at the end of this function, closes the socket.
async fn serve(client: ClientSocket, values: Values) -> Result<(), Box<dyn Error>> {
    let codec = LinesCodec::new_with_max_length(MAX_LINE);
    let mut lines = Framed::new(client.into_stream().await?, codec);
    while let Some(line) = lines.next().await {
        let reply = reply(&line?, &mut values.borrow_mut());
        lines.send(reply).await?;
    }
    Ok(())
}

fn reply(line: &str, values: &mut HashMap<String, String>) -> String {
    let words: Vec<&str> = line.splitn(3, ' ').collect();
    match words[..] {
        ["GET", key] => match values.get(key) {
            Some(value) => format!("VALUE {value}"),
            None => "NONE".to_owned(),
        },
        ["SET", key, _] if values.len() >= MAX_KEYS && !values.contains_key(key) => {
            "ERROR full".to_owned()
        }
        ["SET", key, value] => {
            values.insert(key.to_owned(), value.to_owned());
            "OK".to_owned()
        }
        _ => "ERROR expected GET key, or SET key value".to_owned(),
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let address = std::env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:7101").parse()?;

    let registry = Registry::new().start();
    let app = App::new("store", &registry);
    let store = Store::default().start();
    let server = &app.tcp_server;
    server.on_accept.do_add_listener(store.recipient());
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
    let timeouts = Timeouts {
        idle: Some(Duration::from_secs(60)),
        ..Timeouts::default()
    };
    server.set_timeouts(id, timeouts).await?;
    server.listen_on(id, address, Default::default()).await?;
    let bound = server.get_info(id).await?.local_addr();
    println!("listening on {}", bound.ok_or("it does not listen")?);

    actix_rt::signal::ctrl_c().await?;
    registry.send(Shutdown).await??;
    Ok(())
}
