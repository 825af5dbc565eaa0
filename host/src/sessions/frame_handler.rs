//! What the sessions of apps and of admins have in common: they process frames in turns.

use bytes::Bytes;

use crate::protocol::close_reason::CloseReason;
use crate::protocol::frame::{Data, Encoding, Frame, FrameError, Messages};
use crate::protocol::outbox::Outbox;
use crate::sessions::turn::Turn;

/// A session after its hello, as its transport drives it.
pub(crate) trait FrameHandler {
    /// Receives a frame, and processes it as far as the turn allows.
    fn receive(&self, encoding: Encoding, bytes: Bytes, turn: &mut Turn)
    -> Result<(), CloseReason>;

    /// Continues with the last frame.
    fn process(&self, turn: &mut Turn) -> Result<(), CloseReason>;

    /// Whether [`process`](Self::process) has something to do.
    fn has_work(&self) -> bool;

    /// Whether the last frame is done, so that the transport should read the next one.
    fn is_ready(&self) -> bool;

    /// The next frame to send now, if any.
    fn next_frame(&self) -> Result<Option<Bytes>, CloseReason>;

    /// Waits until there may be a frame to send. Cancel safe.
    async fn wait_for_output(&self);
}

/// A received frame whose messages are not all processed.
pub(crate) struct PendingFrame {
    pub(crate) messages: Messages,
    pub(crate) data: Data,
    has_messages: bool,
    length: usize,
}

impl PendingFrame {
    /// Reads a frame, and applies its acknowledgement.
    pub(crate) fn receive<R>(
        encoding: Encoding,
        bytes: Bytes,
        outbox: &mut Outbox<R>,
    ) -> Result<Self, CloseReason> {
        let length = bytes.len();
        let frame = Frame::read(encoding, bytes, outbox.limits().frame)?;
        if frame.hello.is_some() {
            return Err(FrameError::RepeatedHello.into());
        }
        if let Some(frames) = frame.ack {
            outbox.acknowledge(frames)?;
        }
        Ok(PendingFrame {
            has_messages: !frame.messages.is_empty(),
            messages: frame.messages,
            data: frame.data,
            length,
        })
    }

    /// Ends the frame after its last message.
    pub(crate) fn finish<R>(self, outbox: &mut Outbox<R>) -> Result<(), CloseReason> {
        self.data.finish()?;
        outbox.count_handled(self.has_messages, self.length);
        Ok(())
    }
}
