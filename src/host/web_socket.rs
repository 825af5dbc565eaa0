//! One WebSocket: frames in and out, and whether anybody is there.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::caretaker::Caretaker;
use super::end::{Code, End};
use super::frame::{self, Form};
use super::gateway::Io;
use super::key::Key;
use super::limits::{FRAME, PATIENCE, PING, SILENCE};
use super::lobby::{Guest, Lobby};
use super::policy::Visitor;
use super::session::Session;

type Socket = WebSocketStream<Io>;

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is said on a connection once its client is in.
trait Talk {
    /// Takes in a frame.
    fn take(&self, form: Form, bytes: Bytes) -> Result<(), End>;

    /// Whether the next frame should be read.
    fn has_room(&self) -> bool;

    /// What is to be sent now.
    fn next_frame(&self) -> Result<Option<Bytes>, End>;

    /// Waits until there may be something to be sent. Dropping the future loses
    /// nothing.
    async fn news(&self);
}

macro_rules! talks {
    ($($who:ty),*) => {$(
        impl Talk for $who {
            fn take(&self, form: Form, bytes: Bytes) -> Result<(), End> {
                self.take(form, bytes)
            }

            fn has_room(&self) -> bool {
                self.has_room()
            }

            fn next_frame(&self) -> Result<Option<Bytes>, End> {
                self.next_frame()
            }

            async fn news(&self) {
                self.news().await;
            }
        }
    )*};
}

talks!(Session, Caretaker);

/// Serves a connection from the end of its handshake to its own.
pub(super) async fn serve(io: Io, read: Bytes, lobby: &Lobby, visitor: Visitor) {
    let mut socket = open(io, read).await;
    let end = match enter(&mut socket, lobby, &visitor).await {
        Ok(Some(guest)) => {
            let end = tokio::select! {
                end = talk(&mut socket, &guest.session) => end,
                end = lobby.stopped() => Some(end),
            };
            // While the app is being suspended, its client learns why.
            tokio::join!(guest.leave(), last_words(&mut socket, end));
            return;
        }
        Ok(None) => None,
        Err(end) => Some(end),
    };
    last_words(&mut socket, end).await;
}

/// The same of one who looks after the host.
pub(super) async fn serve_caretaker(io: Io, read: Bytes, lobby: &Lobby, key: &Key) {
    let mut socket = open(io, read).await;
    let entered = match hello(&mut socket).await {
        Ok(Some((form, bytes))) => Caretaker::enter(lobby, key, form, bytes, Form::Binary),
        Ok(None) => return last_words(&mut socket, None).await,
        Err(end) => Err(end),
    };
    let end = match entered {
        Ok(caretaker) => {
            let talk = async {
                let welcome = Message::Binary(caretaker.welcome.clone());
                match send(&mut socket, welcome).await {
                    Ok(()) => talk(&mut socket, &caretaker).await,
                    Err(_) => None,
                }
            };
            tokio::select! {
                end = talk => end,
                end = lobby.stopped() => Some(end),
            }
        }
        Err(end) => Some(end),
    };
    last_words(&mut socket, end).await;
}

async fn open(io: Io, read: Bytes) -> Socket {
    let config = WebSocketConfig::default()
        .read_buffer_size(64 * 1024)
        // Each frame is written at once, as it is.
        .write_buffer_size(0)
        .max_write_buffer_size(2 * FRAME)
        .max_message_size(Some(FRAME))
        .max_frame_size(Some(FRAME));
    Socket::from_partially_read(io, read.into(), Role::Server, Some(config)).await
}

/// Reads the hello, and answers it. `None`: the client has gone.
async fn enter(
    socket: &mut Socket,
    lobby: &Lobby,
    visitor: &Visitor,
) -> Result<Option<Guest>, End> {
    let Some((form, bytes)) = hello(socket).await? else {
        return Ok(None);
    };
    let guest = lobby.enter(visitor, form, bytes, Form::Binary).await?;
    match send(socket, Message::Binary(guest.welcome.clone())).await {
        Ok(()) => Ok(Some(guest)),
        Err(_) => {
            guest.leave().await;
            Ok(None)
        }
    }
}

/// The first frame. `None`: the client has gone.
async fn hello(socket: &mut Socket) -> Result<Option<(Form, Bytes)>, End> {
    let heard = Cell::new(Instant::now());
    let hello = timeout(PATIENCE, next(socket, &heard));
    hello
        .await
        .map_err(|_| End::new(Code::BadHello, "no hello has come"))?
}

/// Passes frames on until one side ends. `None`: the client has gone.
async fn talk(socket: &mut Socket, session: &impl Talk) -> Option<End> {
    let mut pings = interval_at(Instant::now() + PING, PING);
    let heard = Cell::new(Instant::now());
    loop {
        if let Err(end) = write(socket, session).await {
            return end;
        }
        tokio::select! {
            biased;
            frame = next(socket, &heard), if session.has_room() => {
                let taken = match frame {
                    Ok(Some((form, bytes))) => session.take(form, bytes),
                    Ok(None) => return None,
                    Err(end) => Err(end),
                };
                if let Err(end) = taken {
                    return Some(end);
                }
            }
            () = session.news() => {
                // What comes together is told together.
                tokio::task::yield_now().await;
            }
            _ = pings.tick() => {
                if heard.get().elapsed() >= SILENCE {
                    return Some(End::new(Code::TooSlow, "nothing has come for too long"));
                }
                if send(socket, Message::Ping(Bytes::new())).await.is_err() {
                    return Some(too_slow());
                }
            }
        }
    }
}

/// Sends what there is to be sent.
async fn write(socket: &mut Socket, session: &impl Talk) -> Result<(), Option<End>> {
    while let Some(frame) = session.next_frame().map_err(Some)? {
        match timeout(SILENCE, send(socket, Message::Binary(frame))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(None),
            Err(_) => return Err(Some(too_slow())),
        }
    }
    Ok(())
}

fn too_slow() -> End {
    End::new(Code::TooSlow, "nothing has been taken for too long")
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), Error> {
    socket.send(message).await
}

/// The client's next frame, and when anything came from it. `None`: it has
/// gone. Dropping the future loses nothing.
async fn next(socket: &mut Socket, heard: &Cell<Instant>) -> Result<Option<(Form, Bytes)>, End> {
    loop {
        let message = socket.next().await;
        heard.set(Instant::now());
        match message {
            Some(Ok(Message::Binary(bytes))) => return Ok(Some((Form::Binary, bytes))),
            Some(Ok(Message::Text(text))) => return Ok(Some((Form::Text, text.into()))),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_)))
            | None
            | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_))) => {
                return Ok(None);
            }
            Some(Err(error)) => return Err(End::new(Code::BadFrame, error)),
        }
    }
}

/// Says why it ends, to a client that listens; and closes.
async fn last_words(socket: &mut Socket, end: Option<End>) {
    let Some(end) = end else {
        // It has gone, and may wait for its own farewell.
        let _ = timeout(LAST_WORDS, socket.close(None)).await;
        return;
    };
    log::info!("a client is sent away: {}", end.message);
    let words = async {
        let frame = frame::write(Form::Binary, &[&end.key()], &[]);
        socket.send(Message::Binary(frame)).await?;
        let close = CloseFrame {
            code: CloseCode::from(end.code.web_socket()),
            reason: "".into(),
        };
        socket.close(Some(close)).await?;
        // Until it has read that: what it still sends is not looked at.
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<_, Error>(())
    };
    let _ = timeout(LAST_WORDS, words).await;
}
