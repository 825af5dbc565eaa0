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

use crate::access::admin_key::AdminKey;
use crate::access::policy::PeerIdentity;
use crate::admin::session::AdminSession;
use crate::limits::{FRAME, PATIENCE, PING, SILENCE};
use crate::lines::LogLines;
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame;
use crate::protocol::frame::Encoding;
use crate::sessions::directory::{ClientSession, SessionDirectory};
use crate::sessions::session::Session;
use crate::sessions::turn::Turn;
use crate::transport::io::Io;
use chrome_sockets::AppId;

type Socket = WebSocketStream<Io>;

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is said on a connection once its client is in.
trait FrameHandler {
    /// Takes in a frame, and begins with it.
    fn take(&self, form: Encoding, bytes: Bytes, turn: &mut Turn) -> Result<(), CloseReason>;

    /// Goes on with it.
    fn go_on(&self, turn: &mut Turn) -> Result<(), CloseReason>;

    /// Whether it could go on.
    fn has_work(&self) -> bool;

    /// Whether the next frame should be read.
    fn has_room(&self) -> bool;

    /// What is to be sent now.
    fn next_frame(&self) -> Result<Option<Bytes>, CloseReason>;

    /// Waits until there may be something to be sent. Dropping the future loses
    /// nothing.
    async fn news(&self);
}

macro_rules! talks {
    ($($who:ty),*) => {$(
        impl FrameHandler for $who {
            fn take(&self, form: Encoding, bytes: Bytes, turn: &mut Turn) -> Result<(), CloseReason> {
                self.take(form, bytes, turn)
            }

            fn go_on(&self, turn: &mut Turn) -> Result<(), CloseReason> {
                self.go_on(turn)
            }

            fn has_work(&self) -> bool {
                self.has_work()
            }

            fn has_room(&self) -> bool {
                self.has_room()
            }

            fn next_frame(&self) -> Result<Option<Bytes>, CloseReason> {
                self.next_frame()
            }

            async fn news(&self) {
                self.news().await;
            }
        }
    )*};
}

talks!(Session, AdminSession);

/// Serves a connection from the end of its handshake to its own.
pub(crate) async fn serve(
    io: Io,
    read: Bytes,
    directory: &SessionDirectory,
    visitor: PeerIdentity,
    lines: &LogLines,
) {
    let mut socket = open(io, read).await;
    let end = match enter(&mut socket, directory, &visitor).await {
        Ok(Some(guest)) => {
            let end = tokio::select! {
                end = talk(&mut socket, &guest.session) => end,
                end = directory.stopped() => Some(end),
            };
            // While the app is being suspended, its client learns why.
            log_end(end.as_ref(), Some(guest.app()), lines);
            tokio::join!(guest.leave(), last_words(&mut socket, end.as_ref()));
            return;
        }
        Ok(None) => None,
        Err(end) => Some(end),
    };
    log_end(end.as_ref(), None, lines);
    last_words(&mut socket, end.as_ref()).await;
}

/// Says at once why a connection is refused: nothing of it is read.
pub(crate) async fn refuse(io: Io, read: Bytes, end: &CloseReason) {
    let mut socket = open(io, read).await;
    last_words(&mut socket, Some(end)).await;
}

fn log_end(end: Option<&CloseReason>, app: Option<&AppId>, lines: &LogLines) {
    let Some(end) = end.filter(|_| lines.may_write()) else {
        return;
    };
    let (code, message) = (end.code.name(), &end.message);
    match app {
        Some(app) => log::warn!("app {app}: its client was ended ({code}): {message}"),
        None => log::warn!("client rejected ({code}): {message}"),
    }
}

/// The same of one who looks after the host.
pub(crate) async fn serve_caretaker(
    io: Io,
    read: Bytes,
    directory: &SessionDirectory,
    key: &AdminKey,
    lines: &LogLines,
) {
    let mut socket = open(io, read).await;
    let entered = match hello(&mut socket).await {
        Ok(Some((form, bytes))) => {
            AdminSession::enter(directory, key, form, bytes, Encoding::Binary)
        }
        Ok(None) => return last_words(&mut socket, None).await,
        Err(end) => Err(end),
    };
    let end = match entered {
        Ok(admin_session) => {
            let talk = async {
                let welcome = Message::Binary(admin_session.welcome.clone());
                match send(&mut socket, welcome).await {
                    Ok(()) => talk(&mut socket, &admin_session).await,
                    Err(_) => None,
                }
            };
            tokio::select! {
                end = talk => end,
                end = directory.stopped() => Some(end),
            }
        }
        Err(end) => Some(end),
    };
    log_end(end.as_ref(), None, lines);
    last_words(&mut socket, end.as_ref()).await;
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
    directory: &SessionDirectory,
    visitor: &PeerIdentity,
) -> Result<Option<ClientSession>, CloseReason> {
    let Some((form, bytes)) = hello(socket).await? else {
        return Ok(None);
    };
    let guest = directory
        .enter(visitor, form, bytes, Encoding::Binary)
        .await?;
    match send(socket, Message::Binary(guest.welcome.clone())).await {
        Ok(()) => Ok(Some(guest)),
        Err(_) => {
            guest.leave().await;
            Ok(None)
        }
    }
}

/// The first frame. `None`: the client has gone.
async fn hello(socket: &mut Socket) -> Result<Option<(Encoding, Bytes)>, CloseReason> {
    let heard = Cell::new(Instant::now());
    let hello = timeout(PATIENCE, next(socket, &heard));
    hello
        .await
        .map_err(|_| CloseReason::new(Code::BadHello, "no hello has come"))?
}

/// Passes frames on until one side ends. `None`: the client has gone.
async fn talk(socket: &mut Socket, session: &impl FrameHandler) -> Option<CloseReason> {
    let mut pings = interval_at(Instant::now() + PING, PING);
    let heard = Cell::new(Instant::now());
    let mut turn = Turn::new();
    loop {
        if let Err(end) = write(socket, session).await {
            return end;
        }
        if turn.is_over() {
            // However much comes, the others have their turn too.
            tokio::task::yield_now().await;
            turn = Turn::new();
        }
        let done = tokio::select! {
            biased;
            frame = next(socket, &heard), if session.has_room() => match frame {
                Ok(Some((form, bytes))) => session.take(form, bytes, &mut turn),
                Ok(None) => return None,
                Err(end) => Err(end),
            },
            () = async {}, if session.has_work() => session.go_on(&mut turn),
            () = session.news() => {
                // What comes together is told together.
                tokio::task::yield_now().await;
                Ok(())
            }
            _ = pings.tick() => {
                if heard.get().elapsed() >= SILENCE {
                    return Some(CloseReason::new(Code::TooSlow, "nothing has come for too long"));
                }
                match send(socket, Message::Ping(Bytes::new())).await {
                    Ok(()) => Ok(()),
                    Err(_) => Err(too_slow()),
                }
            }
        };
        if let Err(end) = done {
            return Some(end);
        }
    }
}

/// Sends what there is to be sent.
async fn write(
    socket: &mut Socket,
    session: &impl FrameHandler,
) -> Result<(), Option<CloseReason>> {
    while let Some(frame) = session.next_frame().map_err(Some)? {
        match timeout(SILENCE, send(socket, Message::Binary(frame))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(None),
            Err(_) => return Err(Some(too_slow())),
        }
    }
    Ok(())
}

fn too_slow() -> CloseReason {
    CloseReason::new(Code::TooSlow, "nothing has been taken for too long")
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), Error> {
    socket.send(message).await
}

/// Pings and the like that are answered in a row before others have their turn.
const PINGS: u32 = 64;

/// What a ping or its like has around it, at most.
const HEAD: usize = 14;

/// The client's next frame, and when anything came from it. `None`: it has
/// gone. Dropping the future loses nothing.
async fn next(
    socket: &mut Socket,
    heard: &Cell<Instant>,
) -> Result<Option<(Encoding, Bytes)>, CloseReason> {
    let mut pings = 0;
    loop {
        let message = socket.next().await;
        heard.set(Instant::now());
        let intake = &socket.get_ref().intake;
        match message {
            Some(Ok(Message::Binary(bytes))) => {
                intake.is_whole();
                return Ok(Some((Encoding::Binary, bytes)));
            }
            Some(Ok(Message::Text(text))) => {
                intake.is_whole();
                return Ok(Some((Encoding::Text, text.into())));
            }
            Some(Ok(Message::Ping(bytes) | Message::Pong(bytes))) => {
                intake.passed(bytes.len() + HEAD);
                pings += 1;
                if pings == PINGS {
                    tokio::task::yield_now().await;
                    pings = 0;
                }
            }
            Some(Ok(Message::Frame(_))) => {}
            Some(Err(Error::Io(_))) if intake.unread().is_some() => {
                let why = intake.unread().map(CloseReason::from);
                return why.map_or(Ok(None), Err);
            }
            Some(Ok(Message::Close(_)))
            | None
            | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_))) => {
                return Ok(None);
            }
            Some(Err(error)) => return Err(CloseReason::new(Code::BadFrame, error)),
        }
    }
}

/// Says why it ends, to a client that listens; and closes.
async fn last_words(socket: &mut Socket, end: Option<&CloseReason>) {
    let Some(end) = end else {
        // It has gone, and may wait for its own farewell.
        let _ = timeout(LAST_WORDS, socket.close(None)).await;
        return;
    };
    let words = async {
        let frame = frame::write(Encoding::Binary, &[&end.key()], &[]);
        socket.send(Message::Binary(frame)).await?;
        let close = CloseFrame {
            code: CloseCode::from(end.code.web_socket()),
            reason: "".into(),
        };
        socket.close(Some(close)).await?;
        // Until it has read that: what it still sends is not looked at.
        while let Some(Ok(_)) = socket.next().await {
            socket.get_ref().intake.is_whole();
            tokio::task::yield_now().await;
        }
        Ok::<_, Error>(())
    };
    let _ = timeout(LAST_WORDS, words).await;
}
