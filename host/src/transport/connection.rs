//! Drives a session over any transport: the hello, and then frames in both directions.

use std::convert::Infallible;

use bytes::Bytes;
use tokio::task::yield_now;
use tokio::time::{Instant, interval_at, timeout};

use crate::limits::Limits;
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame::Encoding;
use crate::sessions::directory::SessionDirectory;
use crate::sessions::frame_handler::FrameHandler;
use crate::sessions::turn::Turn;
use crate::traffic::Traffic;

/// Why a connection ends; `None` if the client disconnected.
pub(crate) type Closed = Option<CloseReason>;

/// A connection that carries frames.
pub(crate) trait Connection {
    /// Receives the client's next frame. Cancel safe.
    async fn receive(&mut self) -> Result<(Encoding, Bytes), Closed>;

    async fn send(&mut self, frame: Bytes) -> Result<(), Closed>;

    /// Called every [`ping_interval`](Limits::ping_interval), to detect a lost connection.
    async fn ping(&mut self) -> Result<(), Closed>;
}

/// Receives the first frame.
pub(crate) async fn receive_hello(
    connection: &mut impl Connection,
    limits: &Limits,
) -> Result<(Encoding, Bytes), Closed> {
    let hello = timeout(limits.handshake_timeout, connection.receive()).await;
    hello.unwrap_or_else(|_| {
        let text = "no hello arrived in time";
        Err(Some(CloseReason::new(Code::BadHello, text)))
    })
}

/// Sends the welcome, and passes frames until the connection ends or the host stops.
pub(crate) async fn run(
    connection: &mut impl Connection,
    directory: &SessionDirectory,
    limits: &Limits,
    welcome: Bytes,
    session: &impl FrameHandler,
) -> Closed {
    tokio::select! {
        result = pass_frames(connection, directory.traffic(), limits, welcome, session) => {
            let Err(closed) = result;
            closed
        }
        reason = directory.stopped() => Some(reason),
    }
}

async fn pass_frames(
    connection: &mut impl Connection,
    traffic: &Traffic,
    limits: &Limits,
    welcome: Bytes,
    session: &impl FrameHandler,
) -> Result<Infallible, Closed> {
    send(connection, traffic, limits, welcome).await?;
    let ping_interval = limits.ping_interval();
    let mut pings = interval_at(Instant::now() + ping_interval, ping_interval);
    let mut turn = Turn::new();
    loop {
        while let Some(frame) = session.next_frame().map_err(Some)? {
            send(connection, traffic, limits, frame).await?;
        }
        if turn.is_over() {
            // Other clients and the sockets run before this client's next turn.
            yield_now().await;
            turn = Turn::new();
        }
        tokio::select! {
            biased;
            frame = connection.receive(), if session.is_ready() => {
                let (encoding, bytes) = frame?;
                traffic.frames_received.add(1);
                session.receive(encoding, bytes, &mut turn).map_err(Some)?;
            }
            () = async {}, if session.has_work() => session.process(&mut turn).map_err(Some)?,
            // Yields, so that messages that are raised now share one frame.
            () = session.wait_for_output() => yield_now().await,
            _ = pings.tick() => connection.ping().await?,
        }
    }
}

async fn send(
    connection: &mut impl Connection,
    traffic: &Traffic,
    limits: &Limits,
    frame: Bytes,
) -> Result<(), Closed> {
    traffic.frames_sent.add(1);
    let sent = timeout(limits.idle_timeout, connection.send(frame)).await;
    sent.unwrap_or_else(|_| Err(Some(too_slow())))
}

pub(crate) fn too_slow() -> CloseReason {
    CloseReason::new(Code::TooSlow, "the client read nothing for too long")
}
