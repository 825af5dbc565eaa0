//! A task for each connection, which reads and writes a stream: the loop of the tokio server.

use actix::prelude::*;
use chrome_sockets::App;
use chrome_sockets::tcp::ClientSocket;
use chrome_sockets::tcp_server::AcceptInfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Result;

/// Size of the buffer of each connection, as in the tokio server.
const BUFFER: usize = 16 * 1024;

pub async fn start(app: &App) -> Result<()> {
    let accepts = Accepts.start().recipient();
    Ok(app.tcp_server.on_accept.add_listener(accepts).await?)
}

struct Accepts;

impl Actor for Accepts {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Accepts {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        actix_rt::spawn(async move {
            if let Err(error) = echo(client).await {
                log::warn!("{error}");
            }
        });
    }
}

async fn echo(client: ClientSocket) -> Result<()> {
    client.do_set_no_delay(true);
    let mut stream = client.into_stream().await?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
