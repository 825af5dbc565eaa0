//! Serves one WebSocket.

use std::time::Duration;

use bytes::Bytes;
use chrome_sockets::AppId;
use futures::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::access::admin_key::AdminKey;
use crate::access::policy::PeerIdentity;
use crate::admin::session::AdminSession;
use crate::limits::Limits;
use crate::log_limiter::LogLimiter;
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame;
use crate::protocol::frame::Encoding;
use crate::sessions::directory::SessionDirectory;
use crate::transport::connection::{Closed, Connection, receive_hello, run, too_slow};
use crate::transport::io::Io;

/// How long sending the close reason may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The control frames that are handled in a row before other tasks run.
const CONTROL_FRAMES: u32 = 64;

/// The most bytes of a frame's header.
const FRAME_HEADER: usize = 14;

struct WebSocket {
    stream: WebSocketStream<Io>,
    limits: Limits,
    last_received: Instant,
}

/// Serves an app's client after the handshake. `read` is what was received behind it.
pub(crate) async fn serve(
    io: Io,
    read: Bytes,
    directory: &SessionDirectory,
    peer: PeerIdentity,
    log_limiter: &LogLimiter,
) {
    let limits = directory.settings().limits;
    let mut socket = WebSocket::new(io, read, limits).await;
    let opened = async {
        let (encoding, bytes) = receive_hello(&mut socket, &limits).await?;
        let session = directory.open_session(&peer, encoding, bytes, Encoding::Binary);
        session.await.map_err(Some)
    };
    match opened.await {
        Ok(session) => {
            socket.last_received = Instant::now();
            let welcome = session.welcome.clone();
            let closed = run(&mut socket, directory, &limits, welcome, &session.session).await;
            let code = closed.as_ref().map(|reason| reason.code);
            directory.traffic().count_closed(code);
            log_close(&closed, Some(session.app()), log_limiter);
            // The client learns the reason while its app is being suspended.
            tokio::join!(session.close(), socket.close(&closed));
        }
        Err(closed) => {
            if let Some(reason) = &closed {
                directory.traffic().count_refused(reason.code);
            }
            log_close(&closed, None, log_limiter);
            socket.close(&closed).await;
        }
    }
}

/// Serves an admin connection after the handshake.
pub(crate) async fn serve_admin(
    io: Io,
    read: Bytes,
    directory: &SessionDirectory,
    key: &AdminKey,
    log_limiter: &LogLimiter,
) {
    let limits = directory.settings().limits;
    let mut socket = WebSocket::new(io, read, limits).await;
    let served = async {
        let (encoding, bytes) = receive_hello(&mut socket, &limits).await?;
        let session = AdminSession::open(directory, key, encoding, bytes, Encoding::Binary);
        let session = session.map_err(Some)?;
        socket.last_received = Instant::now();
        let welcome = session.welcome.clone();
        Err::<(), _>(run(&mut socket, directory, &limits, welcome, &session).await)
    };
    let closed = served.await.err().flatten();
    log_close(&closed, None, log_limiter);
    socket.close(&closed).await;
}

/// Closes a connection with this reason, without reading a frame.
pub(crate) async fn reject(io: Io, read: Bytes, reason: CloseReason) {
    let mut socket = WebSocket::new(io, read, Limits::DEFAULT).await;
    socket.close(&Some(reason)).await;
}

fn log_close(closed: &Closed, app: Option<&AppId>, log_limiter: &LogLimiter) {
    let Some(reason) = closed.as_ref().filter(|_| log_limiter.allows()) else {
        return;
    };
    let (code, message) = (reason.code.name(), &reason.message);
    match app {
        Some(app) => log::warn!("app {app}: connection closed ({code}): {message}"),
        None => log::warn!("client rejected ({code}): {message}"),
    }
}

impl WebSocket {
    async fn new(io: Io, read: Bytes, limits: Limits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(64 * 1024)
            // Writes each frame at once, without copying it into a buffer.
            .write_buffer_size(0)
            .max_write_buffer_size(2 * limits.frame)
            .max_message_size(Some(limits.frame))
            .max_frame_size(Some(limits.frame));
        let stream =
            WebSocketStream::from_partially_read(io, read.into(), Role::Server, Some(config));
        WebSocket {
            stream: stream.await,
            limits,
            last_received: Instant::now(),
        }
    }

    /// Sends the close reason, if there is one, and closes.
    async fn close(&mut self, closed: &Closed) {
        let Some(reason) = closed else {
            // Completes a closing handshake that the client may have begun.
            let _ = timeout(CLOSE_TIMEOUT, self.stream.close(None)).await;
            return;
        };
        let close = async {
            let frame = frame::write(Encoding::Binary, &[&reason.field()], &[]);
            self.stream.send(Message::Binary(frame)).await?;
            let close = CloseFrame {
                code: CloseCode::from(reason.code.web_socket_code()),
                reason: "".into(),
            };
            self.stream.close(Some(close)).await?;
            // Discards input until the client answers the close.
            while let Some(Ok(_)) = self.stream.next().await {
                self.stream.get_ref().receive_budget.reset();
                tokio::task::yield_now().await;
            }
            Ok::<_, Error>(())
        };
        // The connection ends in any case.
        let _ = timeout(CLOSE_TIMEOUT, close).await;
    }
}

impl Connection for WebSocket {
    async fn receive(&mut self) -> Result<(Encoding, Bytes), Closed> {
        let mut control_frames = 0;
        loop {
            let message = self.stream.next().await;
            self.last_received = Instant::now();
            let budget = &self.stream.get_ref().receive_budget;
            match message {
                Some(Ok(Message::Binary(bytes))) => {
                    budget.reset();
                    return Ok((Encoding::Binary, bytes));
                }
                Some(Ok(Message::Text(text))) => {
                    budget.reset();
                    return Ok((Encoding::Text, text.into()));
                }
                Some(Ok(Message::Ping(bytes) | Message::Pong(bytes))) => {
                    budget.subtract(bytes.len() + FRAME_HEADER);
                    control_frames += 1;
                    // A client that only sends pings must not block other tasks.
                    if control_frames == CONTROL_FRAMES {
                        tokio::task::yield_now().await;
                        control_frames = 0;
                    }
                }
                Some(Ok(Message::Frame(_))) => {}
                // `Io` fails reads when the budget is used up.
                Some(Err(Error::Io(_))) if budget.stop().is_some() => {
                    return Err(budget.stop().map(CloseReason::from));
                }
                Some(Ok(Message::Close(_)))
                | None
                | Some(Err(
                    Error::ConnectionClosed
                    | Error::AlreadyClosed
                    | Error::Io(_)
                    // A process that ends, or a page that is closed, breaks no rule.
                    | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
                )) => {
                    return Err(None);
                }
                Some(Err(error)) => return Err(Some(CloseReason::new(Code::BadFrame, error))),
            }
        }
    }

    async fn send(&mut self, frame: Bytes) -> Result<(), Closed> {
        let sent = self.stream.send(Message::Binary(frame)).await;
        sent.map_err(|_| None)
    }

    async fn ping(&mut self) -> Result<(), Closed> {
        if self.last_received.elapsed() >= self.limits.idle_timeout {
            let text = "the client sent nothing for too long";
            return Err(Some(CloseReason::new(Code::TooSlow, text)));
        }
        let sent = self.stream.send(Message::Ping(Bytes::new())).await;
        sent.map_err(|_| Some(too_slow()))
    }
}
