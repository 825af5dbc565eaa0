//! Echo servers for datagrams: this crate with an actor, and a loop on tokio's socket.

use std::net::Ipv4Addr;

use actix::prelude::*;
use chrome_sockets::udp::ReceiveInfo;
use chrome_sockets::{App, Registry};
use tokio::net::UdpSocket;

use crate::Result;

pub async fn chrome_sockets() -> Result<()> {
    let app = App::new("echo", &Registry::new().start());
    app.udp
        .on_receive
        .add_listener(Echo.start().recipient())
        .await?;
    let socket = app.udp.create(Default::default()).await?.socket_id;
    app.udp.bind(socket, "127.0.0.1", 0).await?;
    let info = app.udp.get_info(socket).await?;
    println!("{}", info.local_port.ok_or("it is not bound")?);
    std::future::pending().await
}

struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let (socket, to) = (info.socket().clone(), info.remote_addr());
        if let Err(error) = socket.try_send_to(info.into_data(), to) {
            log::warn!("{error}");
        }
    }
}

pub async fn tokio() -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", socket.local_addr()?.port());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], from).await?;
    }
}
