//! A client that is written from `docs/protocol.md` alone: it shares no code with the host.

use std::collections::VecDeque;
use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::within;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::Host;

pub type Socket = WebSocketStream<TcpStream>;

/// A manifest that permits everything.
pub fn all_permissions() -> Value {
    json!({
        "sockets": {
            "tcpServer": { "listen": "" },
            "tcp": { "connect": "" },
            "udp": { "bind": "", "send": "", "multicastMembership": "" },
        },
    })
}

/// The handshake request of a client.
pub fn request(address: SocketAddr) -> Request<()> {
    let request = format!("ws://{address}/").into_client_request();
    request.expect("a request")
}

/// Connects with this handshake request.
pub async fn dial(address: SocketAddr, request: Request<()>) -> Result<Socket, Error> {
    let stream = TcpStream::connect(address).await.expect("a listener");
    // Like browsers and Node. Otherwise each call waits for a delayed ACK.
    stream.set_nodelay(true).expect("an open connection");
    let handshake = client_async(request, stream);
    let (socket, _) = within("the handshake", handshake).await?;
    Ok(socket)
}

/// Encodes a binary frame.
pub fn frame(header: &Value, data: &[u8]) -> Message {
    let header = header.to_string();
    let mut frame = (header.len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(data);
    Message::Binary(frame.into())
}

/// Decodes a frame to its header, with the data of its messages as texts.
pub fn header(message: Message) -> Value {
    let Message::Binary(frame) = message else {
        panic!("the host sends binary frames, not {message:?}");
    };
    let (length, rest) = frame.split_first_chunk().expect("a length");
    let (header, mut data) = rest.split_at(u32::from_le_bytes(*length) as usize);
    let mut header: Value = serde_json::from_slice(header).expect("a header");
    let messages = header["messages"].as_array_mut();
    for message in messages.into_iter().flatten() {
        if message[0] == "tcp.onReceive" || message[0] == "udp.onReceive" {
            let count = message[2].as_u64().expect("a count") as usize;
            let (bytes, rest) = data.split_at(count);
            data = rest;
            let text: String = bytes.iter().copied().map(char::from).collect();
            message[2] = text.into();
        }
    }
    assert!(data.is_empty(), "data that no message uses");
    header
}

/// The next frame; `None` if the host has closed.
pub async fn next(socket: &mut Socket) -> Option<Value> {
    // Skips pings.
    within("a frame", async {
        loop {
            match socket.next().await {
                Some(Ok(message @ Message::Binary(_))) => return Some(header(message)),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    })
    .await
}

/// The code of the close reason, which must be the next frame.
pub async fn close_code(socket: &mut Socket) -> String {
    let last = next(socket).await.expect("a last frame");
    let code = last["close"]["code"].as_str();
    let code = code
        .unwrap_or_else(|| panic!("no close reason: {last}"))
        .to_owned();
    assert_eq!(next(socket).await, None, "it closes");
    code
}

/// A connected client.
pub struct Client {
    pub socket: Socket,
    pub welcome: Value,
    pub acknowledges: bool,
    calls: u64,
    frames: u64,
    messages: VecDeque<Value>,
}

impl Client {
    /// Connects as this app, with all permissions and listeners for all events.
    pub async fn connect(host: &Host, app: &str) -> Self {
        let connected =
            Self::try_connect(host, json!({ "app": app, "manifest": all_permissions() })).await;
        let mut client = connected.unwrap_or_else(|reason| panic!("{app}: {reason}"));
        client.listen(&EVENTS).await;
        client
    }

    /// Connects with this hello. The error is the host's frame.
    pub async fn try_connect(host: &Host, hello: Value) -> Result<Self, Value> {
        Self::try_connect_with(host.address(), request(host.address()), hello).await
    }

    /// Connects with this handshake request and hello.
    pub async fn try_connect_with(
        address: SocketAddr,
        request: Request<()>,
        mut hello: Value,
    ) -> Result<Self, Value> {
        let mut socket = dial(address, request).await.expect("a handshake");
        hello["protocol"] = json!([1]);
        let hello = frame(&json!({ "hello": hello }), &[]);
        socket.send(hello).await.expect("an open connection");
        let answer = next(&mut socket).await.expect("an answer");
        if answer["welcome"].is_null() {
            return Err(answer);
        }
        Ok(Client {
            socket,
            welcome: answer["welcome"].clone(),
            acknowledges: true,
            calls: 0,
            frames: 0,
            messages: VecDeque::new(),
        })
    }

    pub async fn listen(&mut self, events: &[&str]) {
        self.send(json!({ "messages": [["listen", events]] })).await;
    }

    pub async fn send(&mut self, header: Value) {
        let sent = self.socket.send(frame(&header, &[])).await;
        sent.expect("an open connection");
    }

    /// Sends a call, and returns its id.
    pub async fn start_call(&mut self, function: &str, arguments: Value, data: &[u8]) -> u64 {
        if !data.is_empty() {
            return self
                .start_call_with(function, arguments, data, json!([]))
                .await;
        }
        self.call_parts(function, vec![arguments], data).await
    }

    /// Sends a call with data between its arguments, and returns its id.
    pub async fn start_call_with(
        &mut self,
        function: &str,
        before: Value,
        data: &[u8],
        behind: Value,
    ) -> u64 {
        let parts = vec![before, json!([data.len()]), behind];
        self.call_parts(function, parts, data).await
    }

    async fn call_parts(&mut self, function: &str, parts: Vec<Value>, data: &[u8]) -> u64 {
        self.calls += 1;
        let mut call = vec![json!(self.calls), json!(function)];
        for arguments in parts {
            call.extend(arguments.as_array().expect("a list").iter().cloned());
        }
        let call = frame(&json!({ "messages": [call] }), data);
        self.socket.send(call).await.expect("an open connection");
        self.calls
    }

    /// Makes a call, and returns its answer.
    pub async fn call(&mut self, function: &str, arguments: Value) -> Value {
        let id = self.start_call(function, arguments, &[]).await;
        self.answer(id).await
    }

    pub async fn answer(&mut self, id: u64) -> Value {
        let is_answer =
            |message: &Value| message[1] == id && (message[0] == "answer" || message[0] == "error");
        self.wait(&format!("the answer to call {id}"), is_answer)
            .await
    }

    /// Creates a listening server socket. Returns its id and port.
    pub async fn listening_server(&mut self, properties: Value) -> (u64, u16) {
        let created = self.call("tcpServer.create", json!([properties])).await;
        let id = created[2]["socketId"].as_u64().expect("an id");
        let listening = json!([id, "127.0.0.1", 0]);
        let listening = self.call("tcpServer.listen", listening).await;
        assert_eq!(listening[2], 0, "{listening}");
        let info = self.call("tcpServer.getInfo", json!([id])).await;
        (id, info[2]["localPort"].as_u64().expect("a port") as u16)
    }

    /// The next event of this name.
    pub async fn event(&mut self, name: &str) -> Value {
        self.wait(name, |message| message[0] == name).await
    }

    async fn wait(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.messages.iter().position(&matches) {
                return self.messages.remove(at).expect("an existing value");
            }
            if !self.receive().await {
                panic!("the host closed before {what}");
            }
        }
    }

    /// Receives a frame. `false`: the host has closed the connection.
    pub async fn receive(&mut self) -> bool {
        let Some(header) = next(&mut self.socket).await else {
            return false;
        };
        assert!(header["close"].is_null(), "the host closed: {header}");
        let messages = header["messages"].as_array().cloned().unwrap_or_default();
        if !messages.is_empty() {
            self.frames += 1;
            if self.acknowledges {
                self.send(json!({ "ack": self.frames })).await;
            }
        }
        self.messages.extend(messages);
        true
    }

    /// Acknowledges all received frames.
    pub async fn acknowledge(&mut self) {
        self.send(json!({ "ack": self.frames })).await;
    }

    /// Disconnects without a closing handshake.
    pub fn disconnect(self) {
        drop(self.socket);
    }
}

/// Every event.
pub const EVENTS: [&str; 6] = [
    "tcpServer.onAccept",
    "tcpServer.onAcceptError",
    "tcp.onReceive",
    "tcp.onReceiveError",
    "udp.onReceive",
    "udp.onReceiveError",
];
