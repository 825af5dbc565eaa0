//! Modes other than the plain echo.

use std::collections::HashMap;

use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::tcp::{ClientSocket, ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{App, ClientSocketId, Error};

use super::super::{MibCounter, PAYLOAD, RECEIVED, not_compared};
use super::{resume, subscribe_all};
use crate::Result;
use crate::plan::Mode;

pub async fn start(app: &App, mode: Mode) -> Result<()> {
    if mode == Mode::Subscribers {
        // Listeners are called in the order in which they were added, so the last one echoes
        // what all have received.
        for _ in 1..Mode::SUBSCRIBERS {
            let subscriber = Subscriber.start();
            app.tcp
                .on_receive
                .add_listener(subscriber.recipient())
                .await?;
        }
    }
    let server = Server {
        mode,
        clients: HashMap::new(),
    };
    subscribe_all(app, &server.start()).await
}

/// A listener besides the one that answers.
struct Subscriber;

impl Actor for Subscriber {
    type Context = Context<Self>;
}

impl Handler<ReceiveInfo> for Subscriber {
    type Result = ();

    fn handle(&mut self, _: ReceiveInfo, _: &mut Self::Context) {}
}

struct Server {
    mode: Mode,
    clients: HashMap<ClientSocketId, (ClientSocket, MibCounter)>,
}

impl Actor for Server {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Server {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let client = info.client();
        if self.mode == Mode::Accept {
            // It is paused from the start, and never read.
            client.do_close();
            return;
        }
        resume(&info);
        if matches!(self.mode, Mode::Receive | Mode::FanOut) {
            let entry = (client.clone(), MibCounter::default());
            self.clients.insert(client.id(), entry);
        }
    }
}

impl Handler<ReceiveInfo> for Server {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, context: &mut Self::Context) {
        let client = info.client().clone();
        if let Err(error) = self.answer(&client, info, context) {
            log::warn!("client socket {}: {error}", client.id());
            client.do_close();
        }
    }
}

impl Server {
    fn answer(
        &mut self,
        client: &ClientSocket,
        info: ReceiveInfo,
        context: &mut Context<Self>,
    ) -> Result<()> {
        match self.mode {
            Mode::Subscribers => client.forward(info)?,
            Mode::Receive => {
                let entry = self.clients.get_mut(&client.id());
                let (_, received) = entry.ok_or("an unknown client")?;
                for _ in 0..received.add(info.data.len()) {
                    client.try_send(RECEIVED)?;
                }
            }
            Mode::Send => {
                for _ in 0..info.data.len() {
                    client.try_send(PAYLOAD.clone())?;
                }
            }
            Mode::Pause => {
                // Without the event's credit, because a pause waits for it.
                let (client, data) = (client.clone(), info.into_data());
                let answer = async move {
                    if let Err(error) = pause_and_resume(&client, data).await {
                        log::warn!("client socket {}: {error}", client.id());
                        client.do_close();
                    }
                };
                context.spawn(answer.into_actor(self));
            }
            Mode::FanOut => {
                let data = info.into_data();
                for (other, _) in self.clients.values() {
                    other.try_send(data.clone())?;
                }
            }
            Mode::Echo { .. }
            | Mode::Batches
            | Mode::Stream
            | Mode::Accept
            | Mode::Udp
            | Mode::UdpBatches => {
                return Err(not_compared(self.mode));
            }
        }
        Ok(())
    }
}

async fn pause_and_resume(client: &ClientSocket, data: Bytes) -> Result<(), Error> {
    client.set_paused(true).await?;
    client.set_paused(false).await?;
    client.try_send(data)
}

impl Handler<ReceiveErrorInfo> for Server {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        let client = info.client();
        self.clients.remove(&client.id());
        client.do_close();
    }
}
