//! This crate: one actor for all connections; every event and every send is a message.

mod modes;
mod streams;

use std::future::pending;

use actix::prelude::*;
use chrome_sockets::tcp::{ReceiveBatch, ReceiveErrorInfo, ReceiveInfo, ResumeOptions};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{App, Registry};

use super::{ADDRESS, BACKLOG};
use crate::Result;
use crate::plan::Mode;

/// The most bytes of one `onReceive`.
const EVENT_SIZE: i32 = 64 * 1024;

pub fn run(mode: Mode, arbiters: usize) -> Result<()> {
    System::new().block_on(async {
        let registry = Registry::new().arbiters(arbiters).start();
        let app = App::new("echo", &registry);
        match mode {
            Mode::Echo { .. } => echo(&app, arbiters, false).await?,
            Mode::Batches => echo(&app, arbiters, true).await?,
            Mode::Stream => streams::start(&app).await?,
            other => modes::start(&app, other).await?,
        }
        listen(&app, mode.listeners()).await?;
        pending().await
    })
}

/// With one arbiter, one actor handles everything; with several, there is one in each. Data comes
/// in single events, or in batches.
async fn echo(app: &App, arbiters: usize, in_batches: bool) -> Result<()> {
    let echo = Echo { app: app.clone() }.start();
    if arbiters == 1 && !in_batches {
        return subscribe_all(app, &echo).await;
    }
    let accepts = echo.clone().recipient();
    app.tcp_server.on_accept.add_listener(accepts).await?;
    if arbiters == 1 {
        let receives = echo.clone().recipient();
        app.tcp.on_receive_batch.add_listener(receives).await?;
        let ends = echo.recipient();
        return Ok(app.tcp.on_receive_error.add_listener(ends).await?);
    }
    let set_up = app.on_each_arbiter(move |local| {
        let app = local.app.clone();
        let echo = Echo { app }.start();
        match in_batches {
            false => local.do_add_listener::<ReceiveInfo>(echo.clone().recipient()),
            true => local.do_add_listener::<ReceiveBatch>(echo.clone().recipient()),
        }
        local.do_add_listener::<ReceiveErrorInfo>(echo.recipient());
    });
    Ok(set_up.await?)
}

/// Adds this actor to all events.
async fn subscribe_all<A>(app: &App, actor: &Addr<A>) -> Result<()>
where
    A: Actor<Context = Context<A>>
        + Handler<AcceptInfo>
        + Handler<ReceiveInfo>
        + Handler<ReceiveErrorInfo>,
{
    let (accepts, receives, ends) = (actor.clone(), actor.clone(), actor.clone());
    let events = (
        &app.tcp_server.on_accept,
        &app.tcp.on_receive,
        &app.tcp.on_receive_error,
    );
    events.0.add_listener(accepts.recipient()).await?;
    events.1.add_listener(receives.recipient()).await?;
    events.2.add_listener(ends.recipient()).await?;
    Ok(())
}

async fn listen(app: &App, count: usize) -> Result<()> {
    let mut port = None;
    for _ in 0..count {
        let server = app.tcp_server.create(Default::default()).await?.socket_id;
        let listening = app
            .tcp_server
            .listen(server, ADDRESS.to_string(), 0, Some(BACKLOG.into()));
        listening.await?;
        if port.is_none() {
            port = app.tcp_server.get_info(server).await?.local_port;
        }
    }
    println!("{}", port.ok_or("it does not listen")?);
    Ok(())
}

/// A new connection.
fn resume(info: &AcceptInfo) {
    let options = ResumeOptions::new().no_delay(true).buffer_size(EVENT_SIZE);
    info.client().do_resume_with(options);
}

struct Echo {
    app: App,
}

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        resume(&info);
    }
}

impl Handler<ReceiveInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let id = info.socket_id;
        if let Err(error) = info.send_back() {
            log::warn!("client socket {id}: {error}");
            self.app.tcp.do_close(id);
        }
    }
}

impl Handler<ReceiveBatch> for Echo {
    type Result = ();

    fn handle(&mut self, batch: ReceiveBatch, _: &mut Self::Context) {
        for info in batch {
            let id = info.socket_id;
            if let Err(error) = info.send_back() {
                log::warn!("client socket {id}: {error}");
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
