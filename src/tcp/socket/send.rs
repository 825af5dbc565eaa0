//! The calls of a [`ClientSocket`] that send.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;

use crate::answer::{Answer, Reply};
use crate::error::Error;
use crate::os::Writer;
use crate::sync::SharedWriterGuard;
use crate::tcp::SendInfo;
use crate::tcp::command::QueuedCall;
use crate::tcp::connection::fast_path::{WriteAttempt, try_write};
use crate::tcp::connection::write::PendingSend;
use crate::tcp::events::ReceiveInfo;
use crate::tcp::shards::write_quota::{Charge, WriteQuota};
use crate::tcp::socket::{CLOSED, ClientSocket, Credit, LIMITED};

impl ClientSocket {
    /// `tcp.send`: sends all of `data`, in the order of the calls, whether or not they are awaited.
    /// The answer means that the OS has accepted all of it, not that the peer has it. An empty send
    /// succeeds with 0 bytes. A peer that has ended only its own side still receives, until
    /// `onReceiveError` has reported that end, or longer with
    /// [`allow_half_open`](crate::tcp::SocketProperties::allow_half_open).
    ///
    /// Whether a send is refused is decided in the call, and a refused one leaves nothing behind.
    /// If the answer is dropped, the send is carried out all the same, but a refusal is lost with
    /// the answer, and the stream goes on without this data: [`try_send`](Self::try_send) reports
    /// it.
    ///
    /// # Errors
    /// Nothing of `data` is sent after these, and the socket is as before:
    /// - [`WriteQuotaExceeded`](Error::WriteQuotaExceeded): more than the app's quota (200 MiB by
    ///   default) waits to be sent.
    /// - [`SendQueueFull`](Error::SendQueueFull): the socket's own
    ///   [`send_limit`](crate::tcp::SocketProperties::send_limit) is reached.
    /// - [`SOCKET_NOT_CONNECTED`](crate::NetError::SOCKET_NOT_CONNECTED): it is not connected, or
    ///   `shutdown_write` was called.
    /// - [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after
    ///   the registry has ended.
    ///
    /// Part of `data` may have been sent after these, and every later send of the connection fails
    /// too:
    /// - [`CONNECTION_RESET`](crate::NetError::CONNECTION_RESET) and other errors of the OS.
    /// - [`TIMED_OUT`](crate::NetError::TIMED_OUT): the peer acknowledged nothing for
    ///   [`Timeouts::send`](crate::tcp::Timeouts::send), or for 30 seconds after `close` or
    ///   `disconnect`.
    /// - [`ABORTED`](crate::NetError::ABORTED): `reset` was called, or the deadline of a drain has
    ///   come.
    pub fn send(&self, data: impl Into<Bytes>) -> Answer<SendInfo> {
        let data = data.into();
        let span = self.call_span(Some("tcp.send"));
        let admitted = match self.admit(data.len()) {
            Ok(admitted) => admitted,
            Err(error) => {
                span.set_error(error);
                return Answer::ready(Err(error));
            }
        };
        let bytes_sent = data.len();
        let mut answer = Answer::ready(Ok(SendInfo { bytes_sent }));
        let make_reply = || {
            let (pending, reply) = Answer::pair();
            answer = pending;
            reply.in_span(&span)
        };
        self.write(admitted, data, || None, make_reply);
        answer
    }

    /// `tcp.send` without an answer, which costs less: it reports only what is known at once. The data
    /// keeps its place among all sends. If the send fails later, `onReceiveError` reports the end of
    /// the connection; on a socket that is not connected the data is dropped. No form of `send` ignores all
    /// errors: a send that the quota or the limit refuses, and whose caller goes on with other
    /// data, is a gap in the stream.
    ///
    /// # Errors
    /// Nothing of `data` is sent then, now or later, and the socket is as before:
    /// - [`WriteQuotaExceeded`](Error::WriteQuotaExceeded): more than the app's quota (200 MiB by
    ///   default) waits to be sent.
    /// - [`SendQueueFull`](Error::SendQueueFull): the socket's own
    ///   [`send_limit`](crate::tcp::SocketProperties::send_limit) is reached.
    /// - [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after
    ///   the registry has ended.
    pub fn try_send(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        let data = data.into();
        let span = self.call_span(Some("tcp.send"));
        let admitted = self.admit(data.len());
        let admitted = admitted.inspect_err(|error| span.set_error(error))?;
        self.write(admitted, data, || None, || Reply::discard().in_span(&span));
        Ok(())
    }

    /// Sends received data, on this socket or another one, and keeps the event's credit until the
    /// kernel has taken all of it. So a peer that does not read slows the sender down, and at most
    /// [`WINDOW`](crate::tcp::WINDOW) bytes lie between the two. The echo of `info` is
    /// [`info.send_back()`](ReceiveInfo::send_back).
    ///
    /// What the kernel does not take at once counts in the app's write quota. If the send fails later,
    /// `onReceiveError` reports the end of the connection; on a socket that is not connected the data
    /// is dropped.
    ///
    /// # Errors
    /// The event's data is dropped then, and the socket is as before:
    /// - [`WriteQuotaExceeded`](Error::WriteQuotaExceeded): the app's quota (200 MiB by default) is full.
    /// - [`SendQueueFull`](Error::SendQueueFull): the socket's own
    ///   [`send_limit`](crate::tcp::SocketProperties::send_limit) is reached.
    /// - [`SocketNotFound`](Error::SocketNotFound) after `close`, [`Stopped`](Error::Stopped) after
    ///   the registry has ended.
    pub fn forward(&self, mut info: ReceiveInfo) -> Result<(), Error> {
        let data = std::mem::take(&mut info.data);
        self.forward_with(data, || Some(info.credit.take()))
    }

    #[inline]
    fn forward_with(
        &self,
        data: Bytes,
        credit: impl FnOnce() -> Option<Credit>,
    ) -> Result<(), Error> {
        // Forwarded data is charged only if it has to wait, so only a full quota refuses it.
        let span = self.call_span(Some("tcp.forward"));
        let admitted = self.admit_by(data.len(), |quota| quota.may_send().then(Charge::default));
        let admitted = admitted.inspect_err(|error| span.set_error(error))?;
        self.write(admitted, data, credit, || Reply::discard().in_span(&span));
        Ok(())
    }

    /// How many bytes of the socket's sends the OS has not accepted yet (beyond Chrome): 0 when
    /// nothing waits. It is an atomic that sends maintain anyway, so it costs no call, and shows
    /// every earlier send of this thread.
    ///
    /// Bytes that [`forward`](Self::forward) sends count. Bytes that the OS has accepted do not
    /// count, though the peer may not have them yet; nor does a send that another thread is making
    /// at this moment. After `close` it shows what is still to be delivered. When the connection
    /// fails, or is reset, it is 0.
    pub fn queued_bytes(&self) -> usize {
        self.0.fast_path.unsent_bytes()
    }

    /// `tcp.send`, for a caller that has a reply already.
    pub(crate) fn send_with_reply(&self, data: Bytes, reply: Reply<SendInfo>) {
        match self.admit(data.len()) {
            Ok(admitted) => {
                let bytes_sent = data.len();
                let mut reply = Some(reply);
                let take_reply = || reply.take().unwrap_or_else(Reply::discard);
                self.write(admitted, data, || None, take_reply);
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
        admitted: Admitted<'_>,
        mut data: Bytes,
        credit: impl FnOnce() -> Option<Credit>,
        reply: impl FnOnce() -> Reply<SendInfo>,
    ) {
        self.0.app_shard.activity.mark_active();
        let bytes = data.len();
        let Admitted { guard, charge } = admitted;
        match try_write(&guard, self, &mut data) {
            WriteAttempt::Complete => {
                drop(guard);
                self.0.app_shard.app_context.write_quota.refund(charge);
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

    /// Admits a send of so many bytes, within the app's quota.
    #[inline]
    fn admit(&self, bytes: usize) -> Result<Admitted<'_>, Error> {
        self.admit_by(bytes, |quota| quota.charge(bytes).ok())
    }

    /// Admits a send within the socket's limit, if `charge` finds room in the app's quota, or if
    /// the reserve has room for it.
    #[inline]
    fn admit_by(
        &self,
        bytes: usize,
        charge: impl FnOnce(&WriteQuota) -> Option<Charge>,
    ) -> Result<Admitted<'_>, Error> {
        let flags = self.open_flags()?;
        let guard = self.fast_path().lock();
        // Under the lock no other send is queued, so the limit and the reserve are exact.
        if flags & LIMITED != 0 {
            self.check_send_limit(bytes)?;
        }
        let quota = &self.0.app_shard.app_context.write_quota;
        let charge = match charge(quota) {
            Some(charge) => charge,
            None if self.queued_bytes() == 0 => quota.charge_reserve(bytes)?,
            None => return Err(Error::WriteQuotaExceeded),
        };
        Ok(Admitted { guard, charge })
    }

    /// Whether the socket can still take calls.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        self.open_flags().map(drop)
    }

    #[inline]
    fn open_flags(&self) -> Result<u8, Error> {
        let flags = self.0.flags.load(SeqCst);
        if flags & CLOSED != 0 {
            return Err(Error::SocketNotFound);
        }
        if !self.0.app_shard.command_queue.queue.is_open() {
            return Err(Error::Stopped);
        }
        Ok(flags)
    }

    /// How much more may be queued within the socket's limit.
    pub(in crate::tcp) fn send_room(&self) -> usize {
        match self.0.flags.load(SeqCst) & LIMITED {
            0 => usize::MAX,
            _ => {
                let limit = self.0.app_shard.send_limits.get(self.0.id);
                limit.map_or(usize::MAX, |it| it.saturating_sub(self.queued_bytes()))
            }
        }
    }

    #[cold]
    fn check_send_limit(&self, bytes: usize) -> Result<(), Error> {
        let limit = self.0.app_shard.send_limits.get(self.0.id);
        let sum = self.queued_bytes().checked_add(bytes);
        match limit.is_none_or(|limit| sum.is_some_and(|sum| sum <= limit)) {
            true => Ok(()),
            false => Err(Error::SendQueueFull),
        }
    }
}

impl ReceiveInfo {
    /// Sends the data back on its own socket, as [`ClientSocket::forward`] does, which for this
    /// needs a clone of the handle.
    ///
    /// # Errors
    /// Those of [`ClientSocket::forward`].
    #[inline]
    pub fn send_back(mut self) -> Result<(), Error> {
        let data = std::mem::take(&mut self.data);
        let mut is_moved = false;
        let result = self.client().forward_with(data, || {
            is_moved = true;
            Some(self.credit.alias())
        });
        if is_moved {
            self.credit.forget();
        }
        result
    }
}

/// A send that may be written or queued.
struct Admitted<'a> {
    /// Held until it is written or queued, so that no other send comes between.
    guard: SharedWriterGuard<'a, Arc<dyn Writer>>,
    charge: Charge,
}
