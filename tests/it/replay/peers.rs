//! The peers: ordinary TCP and UDP programs.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;

use futures::FutureExt;
use serde_json::{Value, json};
use support::within;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::EXTRA_TIME;
use super::step::{Step, agrees, binary};

/// The peers by name: those that connected, and those that listen, with the last connection to
/// them.
#[derive(Default)]
pub struct Peers {
    peers: HashMap<String, Peer>,
    listeners: HashMap<String, TcpListener>,
    /// What closed peers received.
    closed: HashMap<String, Vec<u8>>,
    udp: HashMap<String, UdpSocket>,
}

struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Peers {
    pub async fn connect(&mut self, name: &str, port: u16) -> Value {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            Ok(stream) => {
                let received = Vec::new();
                self.peers
                    .insert(name.to_owned(), Peer { stream, received });
                json!({ "state": "open" })
            }
            Err(error) => json!({ "state": errno(&error) }),
        }
    }

    pub async fn send(&mut self, step: &Step<'_>, name: &str, data: &[u8]) {
        let sent = self.peer(step, name).await.stream.write_all(data);
        if let Err(error) = within("the peer's send", sent).await {
            step.fail(error);
        }
    }

    pub async fn end(&mut self, step: &Step<'_>, name: &str) {
        if let Err(error) = self.peer(step, name).await.stream.shutdown().await {
            step.fail(error);
        }
    }

    /// Resets the peer's connection. What it received stays.
    pub async fn reset(&mut self, step: &Step<'_>, name: &str) {
        let peer = self.peer(step, name).await;
        peer.read();
        peer.stream.set_zero_linger().expect("the option is set");
        let received = std::mem::take(&mut peer.received);
        self.peers.remove(name);
        self.closed.insert(name.to_owned(), received);
    }

    /// The state of the peer's connection and all that it received; polled for a while if what
    /// is expected has not arrived yet.
    pub async fn state(&mut self, step: &Step<'_>, name: &str) -> Value {
        if let Some(received) = self.closed.get(name) {
            return json!({ "state": "closed", "got": binary(received) });
        }
        let peer = self.peer(step, name).await;
        let limit = Instant::now() + EXTRA_TIME;
        loop {
            let state = peer.read();
            let received = json!({ "state": state, "got": binary(&peer.received) });
            if agrees(step.expected(), &received)
                || state != "open"
                || timeout_at(limit, peer.stream.readable()).await.is_err()
            {
                return received;
            }
        }
    }

    /// A listening peer that echoes (`echo`) or only reads; returns its port.
    pub async fn listen(&mut self, name: &str, echo: bool) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port for the peer");
        let port = listener.local_addr().expect("it is bound").port();
        match echo {
            true => drop(actix_rt::spawn(send_back(listener))),
            false => drop(self.listeners.insert(name.to_owned(), listener)),
        }
        port
    }

    /// A UDP peer; returns its port.
    pub async fn bind_udp(&mut self, name: &str) -> u16 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let socket = socket.expect("a port for the peer");
        let port = socket.local_addr().expect("it is bound").port();
        self.udp.insert(name.to_owned(), socket);
        port
    }

    fn udp(&self, step: &Step<'_>, name: &str) -> &UdpSocket {
        match self.udp.get(name) {
            Some(socket) => socket,
            None => step.fail(format_args!("no peer named {name} is bound")),
        }
    }

    pub async fn send_datagram(&self, step: &Step<'_>, name: &str, port: u16, data: &[u8]) {
        let sent = self
            .udp(step, name)
            .send_to(data, (Ipv4Addr::LOCALHOST, port));
        if let Err(error) = within("the peer's send", sent).await {
            step.fail(error);
        }
    }

    /// The datagrams since the last time; waits for a while if what is expected has not arrived.
    pub async fn datagrams(&self, step: &Step<'_>, name: &str) -> Value {
        let socket = self.udp(step, name);
        let limit = Instant::now() + EXTRA_TIME;
        let expected = step.expected().as_array().map_or(0, Vec::len);
        let mut received = Vec::new();
        let mut buffer = [0; 65_536];
        loop {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => received.push(json!({
                    "data": binary(&buffer[..length]),
                    "from": from.port(),
                })),
                Err(_) if received.len() >= expected => return received.into(),
                Err(_) if timeout_at(limit, socket.readable()).await.is_err() => {
                    return received.into();
                }
                Err(_) => {}
            }
        }
    }

    async fn peer(&mut self, step: &Step<'_>, name: &str) -> &mut Peer {
        if let Some(listener) = self.listeners.get(name) {
            // It has connected, or is about to; the last connection counts.
            let mut next = match self.peers.contains_key(name) {
                true => listener.accept().now_or_never(),
                false => Some(within("a connection to the peer", listener.accept()).await),
            };
            while let Some(accepted) = next {
                let (stream, _) = accepted.expect("a connection to the peer");
                let received = Vec::new();
                self.peers
                    .insert(name.to_owned(), Peer { stream, received });
                next = listener.accept().now_or_never();
            }
        }
        match self.peers.get_mut(name) {
            Some(peer) => peer,
            None => step.fail(format_args!("no peer named {name} is connected")),
        }
    }
}

impl Peer {
    /// Reads all that has arrived, and returns the state of the connection.
    fn read(&mut self) -> String {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return "ended".into(),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return "open".into(),
                Err(error) => return errno(&error),
            }
        }
    }
}

/// Echoes each connection.
async fn send_back(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        actix_rt::spawn(async move {
            let (mut reader, mut writer) = stream.into_split();
            // How the connection ends is checked on the crate's side.
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
    }
}

/// An error as in the recordings, where they have it.
fn errno(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED".into(),
        io::ErrorKind::ConnectionReset => "ECONNRESET".into(),
        io::ErrorKind::BrokenPipe => "EPIPE".into(),
        io::ErrorKind::TimedOut => "ETIMEDOUT".into(),
        _ => error.to_string(),
    }
}
