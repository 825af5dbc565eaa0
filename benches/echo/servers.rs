//! The two echo servers, each the whole of a child process.
#![expect(
    clippy::disallowed_types,
    reason = "the plain tokio server is what the library is compared with"
)]

use std::future::pending;
use std::io::Read;

use actix::prelude::*;
use chrome_sockets::tcp::{ReceiveErrorInfo, ReceiveInfo, SocketProperties};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{App, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::Result;
use crate::process::pin_to;

/// All of 127.0.0.0/8, for a load that needs more than one address.
const ADDRESS: &str = "0.0.0.0";
/// Enough for every connection that the load opens without waiting.
const BACKLOG: u16 = 4096;
/// What plain tokio reads into, one for each connection.
const TOKIO_BUFFER: usize = 16 * 1024;
/// The most bytes of one `onReceive`.
const EVENT_SIZE: i32 = 64 * 1024;

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tokio,
    ChromeSockets,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Tokio => "tokio",
            Kind::ChromeSockets => "chrome-sockets",
        }
    }
}

/// Serves until stdin ends; says the port in one line on stdout.
pub fn run(kind: &str, core: &str) -> Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    if let Ok(core) = core.parse() {
        pin_to(core)?;
    }
    std::thread::spawn(|| {
        // The parent writes nothing: this returns when the parent is gone.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    if kind == Kind::Tokio.name() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(serve_tokio())
    } else if kind == Kind::ChromeSockets.name() {
        System::new().block_on(serve_chrome_sockets())
    } else {
        Err(format!("no server is called {kind}").into())
    }
}

async fn serve_tokio() -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((ADDRESS.parse::<std::net::Ipv4Addr>()?, 0).into())?;
    let listener: TcpListener = socket.listen(BACKLOG.into())?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = echo(stream).await {
                log::warn!("tokio: {error}");
            }
        });
    }
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; TOKIO_BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn serve_chrome_sockets() -> Result<()> {
    let registry = Registry::new().start();
    let app = App::new("echo", &registry);
    let echo = Echo.start();
    let (accepts, receives, ends) = (echo.clone(), echo.clone(), echo);
    app.tcp_server
        .on_accept
        .add_listener(accepts.recipient())
        .await?;
    app.tcp
        .on_receive
        .add_listener(receives.recipient())
        .await?;
    app.tcp
        .on_receive_error
        .add_listener(ends.recipient())
        .await?;
    let server = app.tcp_server.create(Default::default()).await?.socket_id;
    app.tcp_server
        .listen(server, ADDRESS, 0, Some(BACKLOG.into()))
        .await?;
    let info = app.tcp_server.get_info(server).await?;
    println!("{}", info.local_port.ok_or("it does not listen")?);
    pending().await
}

/// One actor for all connections; every event and every send is a message.
struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let client = info.client();
        client.set_no_delay(true);
        client.update(SocketProperties {
            buffer_size: Some(EVENT_SIZE),
            ..Default::default()
        });
        client.set_paused(false);
    }
}

impl Handler<ReceiveInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, _: &mut Self::Context) {
        let client = info.client().clone();
        if let Err(error) = client.forward(info) {
            log::warn!("client socket {}: {error}", client.id());
            client.close();
        }
    }
}

impl Handler<ReceiveErrorInfo> for Echo {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        info.client().close();
    }
}
