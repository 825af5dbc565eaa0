//! A chat server: `cargo run -p chrome-sockets-cookbook --bin chat [ADDR]`. A line
//! `/join ROOM` enters a room, any other line is said there. ADDR is by default `127.0.0.1:7102`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::signal::unix::{SignalKind, signal};
use chrome_sockets::draining::DrainAll;
use chrome_sockets::tcp::{ClientSocket, SocketProperties};
use chrome_sockets::tcp_server::{AcceptAction, AcceptInfo, AcceptPolicy, AtLimit, Limit, Limits};
use chrome_sockets::{App, ClientSocketId, Registry, Shutdown};
use futures::StreamExt;
use tokio_util::codec::{FramedRead, LinesCodec};

/// Who is in which room.
type Members = Rc<RefCell<HashMap<ClientSocketId, (ClientSocket, String)>>>;

#[derive(Default)]
struct Chat(Members);

impl Actor for Chat {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Chat {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let (client, members) = (info.client().clone(), self.0.clone());
        actix_rt::spawn(async move {
            let _ = chat(&client, &members).await;
            members.borrow_mut().remove(&client.id());
        });
    }
}

async fn chat(client: &ClientSocket, members: &Members) -> Result<(), Box<dyn Error>> {
    let properties = SocketProperties {
        send_limit: Some(64 * 1024),
        ..SocketProperties::default()
    };
    client.update(properties).await?;
    let codec = LinesCodec::new_with_max_length(1024);
    let mut lines = FramedRead::new(client.clone().into_stream().await?, codec);
    while let Some(line) = lines.next().await.transpose()? {
        let (id, mut members) = (client.id(), members.borrow_mut());
        if let Some(room) = line.strip_prefix("/join ") {
            members.insert(id, (client.clone(), room.to_owned()));
        }
        let room = members.get(&id).map(|(_, room)| room);
        for (member, of) in members.values() {
            // Who reads too slowly for the send limit is reset, so that nobody waits.
            if Some(of) == room && member.try_send(format!("{id}: {line}\n")).is_err() {
                member.do_reset();
            }
        }
    }
    Ok(())
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:7102").parse()?;
    let mut terminate = signal(SignalKind::terminate())?;

    let registry = Registry::new().start();
    let server = App::new("chat", &registry).tcp_server;
    server
        .on_accept
        .do_add_listener(Chat::default().start().recipient());
    let id = server.create(Default::default()).await?.socket_id;
    let limit = |most, then| Some(Limit { most, then });
    let limits = Limits {
        connections: limit(1000, AtLimit::Queue),
        per_peer: limit(8, AtLimit::Close),
        ..Limits::default()
    };
    server.set_limits(id, limits).await?;
    let (first, last) = (Duration::from_millis(50), Duration::from_secs(2));
    let policy = AcceptPolicy {
        resources: AcceptAction::BackOff { first, last },
        ..AcceptPolicy::default()
    };
    server.set_accept_policy(id, policy).await?;
    server.listen_on(id, address, Default::default()).await?;
    let bound = server.get_info(id).await?.local_addr();
    println!("listening on {}", bound.ok_or("it does not listen")?);

    terminate.recv().await;
    let deadline = Duration::from_secs(5);
    registry.send(DrainAll { deadline }).await??;
    registry.send(Shutdown).await??;
    Ok(())
}
