//! Echo servers for datagrams: this crate with an actor, a loop on tokio's socket, and a loop
//! around `epoll_wait`.

use std::net::Ipv4Addr;

use actix::prelude::*;
use chrome_sockets::udp::{ReceiveBatch, ReceiveInfo};
use chrome_sockets::{App, Registry};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};
use tokio::net::UdpSocket;

use crate::Result;

/// The longest datagram.
const BUFFER: usize = 64 * 1024;

pub async fn chrome_sockets(in_batches: bool) -> Result<()> {
    let app = App::new("echo", &Registry::new().start());
    let echo = Echo.start();
    match in_batches {
        false => app.udp.on_receive.add_listener(echo.recipient()).await?,
        true => {
            let receives = echo.recipient();
            app.udp.on_receive_batch.add_listener(receives).await?;
        }
    }
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
        send_back(info);
    }
}

impl Handler<ReceiveBatch> for Echo {
    type Result = ();

    fn handle(&mut self, batch: ReceiveBatch, _: &mut Self::Context) {
        batch.into_iter().for_each(send_back);
    }
}

fn send_back(info: ReceiveInfo) {
    let (socket, to) = (info.socket().clone(), info.remote_addr());
    if let Err(error) = socket.try_send_to(info.into_data(), to) {
        log::warn!("{error}");
    }
}

pub async fn tokio() -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", socket.local_addr()?.port());
    let mut buffer = vec![0; BUFFER];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], from).await?;
    }
}

/// The lower bound: nothing between the socket and the kernel.
pub fn epoll() -> Result<()> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    println!("{}", socket.local_addr()?.port());
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let token = epoll::EventData::new_u64(0);
    epoll::add(&epoll, &socket, token, epoll::EventFlags::IN)?;
    let mut events = Vec::with_capacity(1);
    let mut buffer = vec![0; BUFFER];
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Err(Errno::INTR) => continue,
            waited => waited?,
        };
        loop {
            let (length, from) = match recvfrom(&socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _, Some(from))) => (length, from),
                Ok((_, _, None)) | Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            };
            sendto(&socket, &buffer[..length], SendFlags::empty(), &from)?;
        }
    }
}
