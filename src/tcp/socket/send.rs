//! The calls of a [`ClientSocket`] that send.

use bytes::Bytes;

use crate::answer::{Answer, Reply};
use crate::error::Error;
use crate::tcp::SendInfo;
use crate::tcp::command::QueuedCall;
use crate::tcp::connection::fast_path::{WriteAttempt, try_write};
use crate::tcp::connection::write::PendingSend;
use crate::tcp::events::ReceiveInfo;
use crate::tcp::socket::{ClientSocket, Credit};

impl ClientSocket {
    /// `tcp.send`.
    pub fn send(&self, data: impl Into<Bytes>) -> Answer<SendInfo> {
        let data = data.into();
        let charge = match self.charge(data.len()) {
            Ok(charge) => charge,
            Err(error) => return Answer::ready(Err(error)),
        };
        let bytes_sent = data.len();
        let mut answer = Answer::ready(Ok(SendInfo { bytes_sent }));
        let make_reply = || {
            let (pending, reply) = Answer::pair();
            answer = pending;
            reply
        };
        self.write(data, charge, || None, make_reply);
        answer
    }

    /// `tcp.send` without an answer: it reports only what is known at once. If the send fails
    /// later, `onReceiveError` reports the end of the connection. No form of `send` ignores all
    /// errors: a send that the quota refuses is a gap in the stream.
    ///
    /// # Errors
    /// [`Error::WriteQuotaExceeded`], [`Error::SocketNotFound`] or [`Error::Stopped`]. Nothing of
    /// `data` is sent then.
    pub fn try_send(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        let data = data.into();
        let charge = self.charge(data.len())?;
        self.write(data, charge, || None, Reply::discard);
        Ok(())
    }

    /// Sends received data, on this socket or another one, and keeps the event's credit until the
    /// kernel has taken all of it. So a peer that does not read slows the sender down, and at most
    /// [`WINDOW`](crate::tcp::WINDOW) bytes lie between the two. The echo of `info` is
    /// `info.client().clone().forward(info)`.
    ///
    /// What the kernel does not take at once counts in the app's write quota.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn forward(&self, mut info: ReceiveInfo) -> Result<(), Error> {
        let data = std::mem::take(&mut info.data);
        self.check_open()?;
        // Forwarded data is charged only if it has to wait, so only a full quota refuses it.
        self.0.app_shard.app_context.write_quota.may_send()?;
        self.write(data, 0, || Some(info.credit.take()), Reply::discard);
        Ok(())
    }

    /// `tcp.send`, for a caller that has a reply already.
    pub(crate) fn send_with_reply(&self, data: Bytes, reply: Reply<SendInfo>) {
        match self.charge(data.len()) {
            Ok(charge) => {
                let bytes_sent = data.len();
                let mut reply = Some(reply);
                let take_reply = || reply.take().unwrap_or_else(Reply::discard);
                self.write(data, charge, || None, take_reply);
                // The fast path has sent everything, and taken no reply.
                if let Some(reply) = reply {
                    reply.send(Ok(SendInfo { bytes_sent }));
                }
            }
            Err(error) => reply.send(Err(error)),
        }
    }

    /// Writes through the fast path, if it is open. The rest, with its credit and its reply, goes
    /// through the command queue.
    #[inline]
    fn write(
        &self,
        mut data: Bytes,
        charge: usize,
        credit: impl FnOnce() -> Option<Credit>,
        reply: impl FnOnce() -> Reply<SendInfo>,
    ) {
        self.0.app_shard.activity.mark_active();
        let bytes = data.len();
        let guard = self.fast_path().lock();
        match try_write(&guard, self, &mut data) {
            WriteAttempt::Complete => {
                drop(guard);
                if charge > 0 {
                    self.0.app_shard.app_context.write_quota.refund(charge);
                }
            }
            WriteAttempt::Partial(error) => {
                let rest = PendingSend::new(self.clone(), data, charge, credit(), reply());
                let rest = QueuedCall::Send(rest.with_progress(bytes, error));
                // Under the lock, so that no later send overtakes the rest.
                let refused = self.0.app_shard.command_queue.queue.push_call(rest);
                // These drops may call the socket again, which takes the lock.
                drop(guard);
                drop(refused);
            }
        }
    }

    fn charge(&self, bytes: usize) -> Result<usize, Error> {
        self.check_open()?;
        self.0.app_shard.app_context.write_quota.charge(bytes)
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::SocketNotFound);
        }
        if !self.0.app_shard.command_queue.queue.is_open() {
            return Err(Error::Stopped);
        }
        Ok(())
    }
}
