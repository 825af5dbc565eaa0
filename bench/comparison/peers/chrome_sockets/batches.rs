//! The echo of an actor that gets what a turn received in one message.

use actix::prelude::*;
use chrome_sockets::App;
use chrome_sockets::tcp::{ReceiveBatch, ReceiveErrorInfo};
use chrome_sockets::tcp_server::AcceptInfo;

use super::resume;
use crate::Result;

/// One actor in each arbiter; the first accepts.
pub async fn start(app: &App, arbiters: usize) -> Result<()> {
    let echo = Echo { app: app.clone() }.start();
    let accepts = echo.clone().recipient();
    app.tcp_server.on_accept.add_listener(accepts).await?;
    if arbiters > 1 {
        let set_up = app.on_each_arbiter(|local| {
            let echo = Echo {
                app: local.app.clone(),
            }
            .start();
            local.do_add_listener::<ReceiveBatch>(echo.clone().recipient());
            local.do_add_listener::<ReceiveErrorInfo>(echo.recipient());
        });
        return Ok(set_up.await?);
    }
    let receives = echo.clone().recipient();
    app.tcp.on_receive_batch.add_listener(receives).await?;
    let ends = echo.recipient();
    Ok(app.tcp.on_receive_error.add_listener(ends).await?)
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
