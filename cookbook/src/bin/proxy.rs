//! Passes each connection on to another server: `cargo run -p chrome-sockets-cookbook --bin proxy [ADDR] [TARGET]`.
//!
//! ADDR is by default `127.0.0.1:7106`, TARGET `127.0.0.1:7007`, a host and its port.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use actix::prelude::*;
use chrome_sockets::tcp::{
    ClientSocket, ConnectOptions, ReceiveErrorInfo, ReceiveInfo, SocketProperties, Timeouts,
};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{App, ClientSocketId, Endpoint, Registry, Shutdown};

struct Proxy {
    app: App,
    target: Endpoint,
    pairs: HashMap<ClientSocketId, Side>,
}

/// One of the two sockets of a pair.
struct Side {
    other: ClientSocket,
    /// The peer of the other one has sent everything.
    other_ended: bool,
}

impl Actor for Proxy {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Proxy {
    type Result = ();

    /// Until the target is connected, the client stays paused: what it sends waits in the kernel.
    fn handle(&mut self, info: AcceptInfo, ctx: &mut Self::Context) {
        let client = info.client().clone();
        let connecting = connect(self.app.clone(), self.target.clone());
        let connected = connecting
            .into_actor(self)
            .map(|target, this, _| match target {
                Ok(target) => this.join(client, target),
                Err(error) => {
                    log::warn!("no connection to {:?}: {error}", this.target);
                    client.do_close();
                }
            });
        ctx.spawn(connected);
    }
}

async fn connect(app: App, to: Endpoint) -> Result<ClientSocket, chrome_sockets::Error> {
    let id = app.tcp.create(SocketProperties::default()).await?.socket_id;
    let target = app.tcp.socket(id).await?;
    target.do_set_paused(true);
    let options = ConnectOptions {
        timeout: Some(Duration::from_secs(10)),
        ..ConnectOptions::default()
    };
    let connected = target.connect_to(to, options).await;
    if connected.is_err() {
        target.do_close();
    }
    connected.map(|()| target)
}

impl Proxy {
    fn join(&mut self, client: ClientSocket, target: ClientSocket) {
        for (socket, other) in [(&client, &target), (&target, &client)] {
            socket.do_update(SocketProperties {
                allow_half_open: Some(true),
                buffer_size: Some(65536),
                ..SocketProperties::default()
            });
            socket.do_set_timeouts(Timeouts {
                idle: Some(Duration::from_secs(600)),
                ..Timeouts::default()
            });
            let (other, other_ended) = (other.clone(), false);
            self.pairs.insert(socket.id(), Side { other, other_ended });
        }
        client.do_set_paused(false);
        target.do_set_paused(false);
    }

    /// Forgets a pair. Returns the other socket.
    fn part(&mut self, socket: &ClientSocket) -> Option<ClientSocket> {
        let side = self.pairs.remove(&socket.id())?;
        self.pairs.remove(&side.other.id());
        Some(side.other)
    }

    /// Ends both connections. What was sent still arrives.
    fn close(&mut self, socket: &ClientSocket) {
        if let Some(other) = self.part(socket) {
            other.do_close();
            socket.do_close();
        }
    }

    /// Resets both connections, so that nobody takes a part for the whole.
    fn reset(&mut self, socket: &ClientSocket) {
        if let Some(other) = self.part(socket) {
            for socket in [&other, socket] {
                socket.do_reset();
                socket.do_close();
            }
        }
    }
}

impl Handler<ReceiveInfo> for Proxy {
    type Result = ();

    /// The event keeps its credit until the other connection has taken the data, so a slow reader
    /// slows the sender down.
    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let socket = info.client().clone();
        let side = self.pairs.get(&socket.id());
        if side.is_some_and(|side| side.other.forward(info).is_err()) {
            self.reset(&socket);
        }
    }
}

impl Handler<ReceiveErrorInfo> for Proxy {
    type Result = ();

    /// A peer has sent everything, or its connection is gone.
    fn handle(&mut self, info: ReceiveErrorInfo, ctx: &mut Self::Context) {
        let socket = info.client().clone();
        let state = socket.get_info().into_actor(self);
        ctx.spawn(state.map(move |state, this, _| {
            let Some(side) = this.pairs.get(&socket.id()) else {
                return;
            };
            let other = side.other.clone();
            if side.other_ended {
                this.close(&socket);
            } else if state.is_ok_and(|state| state.connected) {
                // The peer has ended its own side only, and may still receive.
                other.do_shutdown_write();
                if let Some(side) = this.pairs.get_mut(&other.id()) {
                    side.other_ended = true;
                }
            } else {
                this.reset(&socket);
            }
        }));
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:7106".into());
    let target = args.next().unwrap_or_else(|| "127.0.0.1:7007".into());
    let (host, port) = target.rsplit_once(':').ok_or("TARGET is HOST:PORT")?;

    let registry = Registry::new().start();
    let app = App::new("proxy", &registry);
    let proxy = Proxy {
        app: app.clone(),
        target: (host, port.parse()?).into(),
        pairs: HashMap::new(),
    };
    let proxy = proxy.start();
    app.tcp_server
        .on_accept
        .do_add_listener(proxy.clone().recipient());
    app.tcp
        .on_receive
        .do_add_listener(proxy.clone().recipient());
    app.tcp.on_receive_error.do_add_listener(proxy.recipient());

    let server = app.tcp_server.create(Default::default()).await?.socket_id;
    let options = Default::default();
    app.tcp_server
        .listen_on(server, address.parse::<SocketAddr>()?, options)
        .await?;
    let bound = app.tcp_server.get_info(server).await?.local_addr();
    println!("listening on {}", bound.ok_or("it does not listen")?);

    actix_rt::signal::ctrl_c().await?;
    registry.send(Shutdown).await??;
    Ok(())
}
