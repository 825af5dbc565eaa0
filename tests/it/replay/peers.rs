//! The other side: ordinary TCP programs.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::PATIENCE;
use super::step::{Step, binary};
use crate::support::within;

/// The peers that connected, by name.
#[derive(Default)]
pub struct Peers(HashMap<String, Peer>);

struct Peer {
    stream: TcpStream,
    got: Vec<u8>,
}

impl Peers {
    pub async fn connect(&mut self, name: &str, port: u16) -> Value {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            Ok(stream) => {
                let got = Vec::new();
                self.0.insert(name.to_owned(), Peer { stream, got });
                json!({ "state": "open" })
            }
            Err(error) => json!({ "state": errno(&error) }),
        }
    }

    pub async fn send(&mut self, step: &Step<'_>, name: &str, data: &[u8]) {
        let sent = self.peer(step, name).stream.write_all(data);
        if let Err(error) = within("the peer's send", sent).await {
            step.fail(error);
        }
    }

    pub async fn end(&mut self, step: &Step<'_>, name: &str) {
        if let Err(error) = self.peer(step, name).stream.shutdown().await {
            step.fail(error);
        }
    }

    /// How the peer's connection is and all that it got; asked again, for a
    /// while, if what is expected has not arrived yet.
    pub async fn state(&mut self, step: &Step<'_>, name: &str) -> Value {
        let peer = self.peer(step, name);
        let limit = Instant::now() + PATIENCE;
        loop {
            let state = peer.read();
            let got = json!({ "state": state, "got": binary(&peer.got) });
            if got == *step.expected()
                || state != "open"
                || timeout_at(limit, peer.stream.readable()).await.is_err()
            {
                return got;
            }
        }
    }

    fn peer(&mut self, step: &Step<'_>, name: &str) -> &mut Peer {
        match self.0.get_mut(name) {
            Some(peer) => peer,
            None => step.fail(format_args!("no peer named {name} is connected")),
        }
    }
}

impl Peer {
    /// Takes all that has arrived, and tells how the connection is.
    fn read(&mut self) -> String {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return "ended".into(),
                Ok(length) => self.got.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return "open".into(),
                Err(error) => return errno(&error),
            }
        }
    }
}

/// Has a peer listen that sends back what it gets (`echo`) or only reads, and
/// tells its port.
pub async fn listen(echo: bool) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a port for the peer");
    let port = listener.local_addr().expect("it is bound").port();
    actix_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            actix_rt::spawn(async move {
                let (mut reader, mut writer) = stream.into_split();
                // How the connection ends is seen from the side of the crate.
                let _ = if echo {
                    tokio::io::copy(&mut reader, &mut writer).await
                } else {
                    tokio::io::copy(&mut reader, &mut tokio::io::sink()).await
                };
            });
        }
    });
    port
}

/// An error as the recordings write it, where they do.
fn errno(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED".into(),
        _ => error.to_string(),
    }
}
