//! actix-server with one worker; its service is tokio's task.

use actix_server::Server;
use actix_service::fn_service;

use super::{BACKLOG, listen, not_compared, tokio_tasks};
use crate::plan::Mode;
use crate::{Failure, Result};

pub fn run(mode: Mode) -> Result<()> {
    if matches!(mode, Mode::Pause | Mode::Subscribers | Mode::FanOut) {
        return Err(not_compared(mode));
    }
    let mut server = Server::build()
        .workers(1)
        .backlog(BACKLOG.into())
        .disable_signals();
    for listener in listen(mode.listeners())? {
        server = server.listen("echo", listener, move || {
            fn_service(move |stream| async move {
                let done = tokio_tasks::serve(stream, mode).await;
                if let Err(error) = &done {
                    log::warn!("actix-server: {error}");
                }
                done
            })
        })?;
    }
    actix_rt::System::new().block_on(async { server.run().await.map_err(Failure::from) })
}
