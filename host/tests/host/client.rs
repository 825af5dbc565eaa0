//! A client of the protocol, written from `docs/protocol.md`: it knows nothing
//! of the host's own code.

use std::collections::VecDeque;
use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::Host;
use support::within;

pub type Socket = WebSocketStream<TcpStream>;

/// Permission for everything.
pub fn anything() -> Value {
    json!({ "sockets": { "tcpServer": { "listen": "" }, "tcp": { "connect": "" } } })
}

/// The request of a WebSocket to the host.
pub fn request(address: SocketAddr) -> Request<()> {
    let request = format!("ws://{address}/").into_client_request();
    request.expect("a request")
}

/// Connects, with this request.
pub async fn dial(address: SocketAddr, request: Request<()>) -> Result<Socket, Error> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    // As browsers and Node do: a call would wait for the delayed ACK of what was acknowledged before.
    stream.set_nodelay(true).expect("it is open");
    let dialled = client_async(request, stream);
    let (socket, _) = within("the handshake", dialled).await?;
    Ok(socket)
}

/// A binary frame.
pub fn frame(header: &Value, data: &[u8]) -> Message {
    let header = header.to_string();
    let mut frame = (header.len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(data);
    Message::Binary(frame.into())
}

/// The header of a frame, with the data of its messages as texts.
pub fn header(message: Message) -> Value {
    let Message::Binary(frame) = message else {
        panic!("the host sends binary frames, not {message:?}");
    };
    let (length, rest) = frame.split_first_chunk().expect("a length");
    let (header, mut data) = rest.split_at(u32::from_le_bytes(*length) as usize);
    let mut header: Value = serde_json::from_slice(header).expect("a header");
    let messages = header["messages"].as_array_mut();
    for message in messages.into_iter().flatten() {
        if message[0] == "tcp.onReceive" {
            let count = message[2].as_u64().expect("a count") as usize;
            let (taken, rest) = data.split_at(count);
            data = rest;
            let text: String = taken.iter().copied().map(char::from).collect();
            message[2] = text.into();
        }
    }
    assert!(data.is_empty(), "data that no message takes");
    header
}

/// The next frame; `None` if the host has closed.
pub async fn next(socket: &mut Socket) -> Option<Value> {
    // However many pings come meanwhile.
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

/// The code of the host's last word, which must be the next one.
pub async fn end(socket: &mut Socket) -> String {
    let last = next(socket).await.expect("a last frame");
    let code = last["end"]["code"].as_str();
    let code = code.unwrap_or_else(|| panic!("no end: {last}")).to_owned();
    assert_eq!(next(socket).await, None, "it closes");
    code
}

/// A client that is in.
pub struct Client {
    pub socket: Socket,
    pub welcome: Value,
    pub acknowledges: bool,
    calls: u64,
    frames: u64,
    messages: VecDeque<Value>,
}

impl Client {
    /// An app that may do anything, and hears everything.
    pub async fn enter(host: &Host, app: &str) -> Self {
        let entered = Self::try_enter(host, json!({ "app": app, "manifest": anything() })).await;
        let mut client = entered.unwrap_or_else(|end| panic!("{app}: {end}"));
        client.listen(&EVENTS).await;
        client
    }

    /// Says this hello. The error is the host's.
    pub async fn try_enter(host: &Host, hello: Value) -> Result<Self, Value> {
        Self::try_enter_by(host.address(), request(host.address()), hello).await
    }

    /// The same on a WebSocket of this request.
    pub async fn try_enter_by(
        address: SocketAddr,
        request: Request<()>,
        mut hello: Value,
    ) -> Result<Self, Value> {
        let mut socket = dial(address, request).await.expect("it opens");
        hello["protocol"] = json!([1]);
        let hello = frame(&json!({ "hello": hello }), &[]);
        socket.send(hello).await.expect("it is open");
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
        self.say(json!({ "messages": [["listen", events]] })).await;
    }

    pub async fn say(&mut self, header: Value) {
        let sent = self.socket.send(frame(&header, &[])).await;
        sent.expect("the host reads");
    }

    /// Makes a call, and gives its id.
    pub async fn begin(&mut self, function: &str, arguments: Value, data: &[u8]) -> u64 {
        self.calls += 1;
        let mut call = vec![json!(self.calls), json!(function)];
        call.extend(arguments.as_array().expect("a list").iter().cloned());
        if !data.is_empty() {
            call.push(json!(data.len()));
        }
        let call = frame(&json!({ "messages": [call] }), data);
        self.socket.send(call).await.expect("the host reads");
        self.calls
    }

    /// Makes a call, and waits for its whole answer.
    pub async fn call(&mut self, function: &str, arguments: Value) -> Value {
        let id = self.begin(function, arguments, &[]).await;
        self.answer(id).await
    }

    pub async fn answer(&mut self, id: u64) -> Value {
        let is_answer =
            |message: &Value| message[1] == id && (message[0] == "answer" || message[0] == "error");
        self.wait(&format!("the answer to call {id}"), is_answer)
            .await
    }

    /// A server socket that listens, its id and its port.
    pub async fn server(&mut self, properties: Value) -> (u64, u16) {
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

    async fn wait(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.messages.iter().position(&is_it) {
                return self.messages.remove(at).expect("it is there");
            }
            if !self.more().await {
                panic!("the host closed before {what}");
            }
        }
    }

    /// Takes in a frame. `false`: there are no more.
    pub async fn more(&mut self) -> bool {
        let Some(header) = next(&mut self.socket).await else {
            return false;
        };
        assert!(header["end"].is_null(), "the host ended: {header}");
        let messages = header["messages"].as_array().cloned().unwrap_or_default();
        if !messages.is_empty() {
            self.frames += 1;
            if self.acknowledges {
                self.say(json!({ "ack": self.frames })).await;
            }
        }
        self.messages.extend(messages);
        true
    }

    /// Acknowledges all that was taken in.
    pub async fn catch_up(&mut self) {
        self.say(json!({ "ack": self.frames })).await;
    }

    /// Goes without a word.
    pub fn vanish(self) {
        drop(self.socket);
    }
}

/// Every event.
pub const EVENTS: [&str; 4] = [
    "tcpServer.onAccept",
    "tcpServer.onAcceptError",
    "tcp.onReceive",
    "tcp.onReceiveError",
];
