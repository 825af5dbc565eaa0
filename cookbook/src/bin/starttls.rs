//! A mail server that begins without TLS and starts it when the client asks (STARTTLS):
//! `cargo run -p chrome-sockets-cookbook --bin starttls CERT KEY [ADDR]`.
//!
//! CERT and KEY are files in PEM, ADDR is by default `127.0.0.1:7107`. It knows the commands
//! EHLO, STARTTLS, NOOP and QUIT, and takes no mail.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;

use actix::prelude::*;
use chrome_sockets::tcp::{ClientSocket, ReceiveErrorInfo, ReceiveInfo};
use chrome_sockets::tcp_server::AcceptInfo;
use chrome_sockets::{App, ClientSocketId, Registry, Shutdown, tls};

/// The longest command, in bytes (RFC 5321).
const MAX_LINE: usize = 512;

struct Mail {
    tls: tls::Server,
    sessions: HashMap<ClientSocketId, Session>,
}

#[derive(Default)]
struct Session {
    /// Input without the end of its line.
    unread: Vec<u8>,
    is_encrypted: bool,
}

impl Actor for Mail {
    type Context = Context<Self>;
}

impl Handler<AcceptInfo> for Mail {
    type Result = ();

    fn handle(&mut self, info: AcceptInfo, _: &mut Self::Context) {
        let client = info.client();
        self.sessions.insert(client.id(), Session::default());
        let _ = client.try_send("220 localhost ready\r\n");
        client.do_set_paused(false);
    }
}

impl Handler<ReceiveInfo> for Mail {
    type Result = ();

    fn handle(&mut self, info: ReceiveInfo, ctx: &mut Self::Context) {
        let client = info.client().clone();
        let Some(session) = self.sessions.get_mut(&client.id()) else {
            return;
        };
        session.unread.extend_from_slice(&info.into_data());
        while let Some(end) = session.unread.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = session.unread.drain(..=end).collect();
            let command = String::from_utf8_lossy(&line)
                .trim_end()
                .to_ascii_uppercase();
            let reply = match command.split(' ').next() {
                Some("EHLO") if session.is_encrypted => "250 localhost\r\n",
                Some("EHLO") => "250-localhost\r\n250 STARTTLS\r\n",
                Some("STARTTLS") if !session.is_encrypted => return self.start_tls(&client, ctx),
                Some("NOOP") => "250 OK\r\n",
                Some("QUIT") => {
                    let _ = client.try_send("221 bye\r\n");
                    return self.end(&client);
                }
                _ => "502 not implemented\r\n",
            };
            // It fails if the client does not read.
            if client.try_send(reply).is_err() {
                return self.end(&client);
            }
        }
        if session.unread.len() > MAX_LINE {
            self.end(&client);
        }
    }
}

impl Mail {
    fn start_tls(&mut self, client: &ClientSocket, ctx: &mut Context<Self>) {
        let (socket, client, tls) = (client.clone(), client.clone(), self.tls.clone());
        let secured = async move {
            // After the answer no handler is called, and the rest of the input is TLS.
            socket.set_paused(true).await?;
            socket.try_send("220 go ahead\r\n")?;
            socket.secure_as_server(tls).await
        };
        let secured = secured.into_actor(self);
        ctx.spawn(secured.map(move |secured, this, _| match secured {
            Ok(()) => {
                // What was received before is forgotten: it was not encrypted.
                let session = Session {
                    is_encrypted: true,
                    ..Session::default()
                };
                this.sessions.insert(client.id(), session);
                client.do_set_paused(false);
            }
            Err(error) => {
                log::info!("client {}: no TLS: {error}", client.id());
                this.end(&client);
            }
        }));
    }

    fn end(&mut self, client: &ClientSocket) {
        self.sessions.remove(&client.id());
        client.do_close();
    }
}

impl Handler<ReceiveErrorInfo> for Mail {
    type Result = ();

    fn handle(&mut self, info: ReceiveErrorInfo, _: &mut Self::Context) {
        self.end(info.client());
    }
}

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let mut args = std::env::args().skip(1);
    let (Some(certificate), Some(key)) = (args.next(), args.next()) else {
        return Err("usage: starttls CERT KEY [ADDR], two files in PEM".into());
    };
    let address = args.next().unwrap_or_else(|| "127.0.0.1:7107".into());
    let tls = tls::Server::from_pem(&std::fs::read(certificate)?, &std::fs::read(key)?)?;

    let registry = Registry::new().start();
    let app = App::new("mail", &registry);
    let sessions = HashMap::new();
    let mail = Mail { tls, sessions }.start();
    app.tcp_server
        .on_accept
        .do_add_listener(mail.clone().recipient());
    app.tcp.on_receive.do_add_listener(mail.clone().recipient());
    app.tcp.on_receive_error.do_add_listener(mail.recipient());
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
