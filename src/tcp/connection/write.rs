//! The sends of one connection, in the order of the calls.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

use crate::answer::Reply;
use crate::error::Error;
use crate::os::{Stream, retry_if_spurious};
use crate::tcp::SendInfo;
use crate::tcp::command::QueuedCall;
use crate::tcp::connection::fast_path::InFlightCall;
use crate::tcp::shards::write_quota::Charge;
use crate::tcp::socket::{ClientSocket, Credit};
use crate::tcp::stream::shared::StreamSend;

/// The most sends in one call to the OS. The OS copies no faster with more, and the slices are on
/// the stack.
const MAX_SLICES: usize = 32;

/// A send that is not finished: a call to the actor, then an entry of the connection's write queue.
/// When it is dropped, its bytes leave the app's quota.
pub(in crate::tcp) struct PendingSend {
    in_flight: InFlightCall,
    /// The bytes that the OS has not taken yet.
    data: Bytes,
    bytes: usize,
    charge: Charge,
    reply: SendReply,
    /// The credit of a forwarded event, until the OS has taken all its bytes.
    credit: Option<Credit>,
    /// The error that the OS reported on the fast path. It is reported to the next write.
    error: Option<io::Error>,
}

/// What an entry of the write queue answers.
enum SendReply {
    Send(Reply<SendInfo>),
    /// The entry is a `shutdown_write`, without data: the write side is shut behind all sends.
    Shutdown(Reply<()>),
    Stream(StreamSend),
}

impl SendReply {
    fn take(&mut self) -> Self {
        std::mem::replace(self, SendReply::Send(Reply::discard()))
    }
}

impl PendingSend {
    /// A send that is charged, and of which the OS has taken nothing.
    pub(in crate::tcp) fn new(
        socket: ClientSocket,
        data: Bytes,
        charge: Charge,
        credit: Option<Credit>,
        reply: Reply<SendInfo>,
    ) -> Self {
        PendingSend {
            in_flight: InFlightCall::send(socket, data.len()),
            bytes: data.len(),
            data,
            charge,
            reply: SendReply::Send(reply),
            credit,
            error: None,
        }
    }

    /// The end of the sends, for the write queue. Nothing is queued behind it but its like.
    pub(in crate::tcp) fn shutdown(socket: ClientSocket, reply: Reply<()>) -> Self {
        let mut shutdown = PendingSend::new(
            socket,
            Bytes::new(),
            Charge::default(),
            None,
            Reply::discard(),
        );
        shutdown.reply = SendReply::Shutdown(reply);
        shutdown
    }

    /// A write of a stream, which is charged.
    pub(in crate::tcp) fn of_stream(
        socket: ClientSocket,
        data: Bytes,
        charge: Charge,
        send: StreamSend,
    ) -> Self {
        let mut pending = PendingSend::new(socket, data, charge, None, Reply::discard());
        pending.reply = SendReply::Stream(send);
        pending
    }

    /// The data is the rest of `bytes` bytes, and the OS has reported `error` for it.
    pub(in crate::tcp) fn with_progress(mut self, bytes: usize, error: Option<io::Error>) -> Self {
        self.bytes = bytes;
        self.error = error;
        self
    }

    pub(in crate::tcp) fn socket(&self) -> &ClientSocket {
        self.in_flight.socket()
    }

    /// How many bytes the OS has not accepted yet.
    pub(in crate::tcp) fn unsent(&self) -> usize {
        self.data.len()
    }

    /// Whether it is a send, and no caller waits for the answer.
    pub(in crate::tcp) fn is_fire_and_forget(&self) -> bool {
        matches!(&self.reply, SendReply::Send(reply) if !reply.has_caller())
    }

    fn is_shutdown(&self) -> bool {
        matches!(self.reply, SendReply::Shutdown(_))
    }

    pub(in crate::tcp) fn fail(self, error: Error) {
        match self.finish() {
            SendReply::Send(reply) => reply.send(Err(error)),
            SendReply::Shutdown(reply) => reply.send(Err(error)),
            SendReply::Stream(send) => send.finish(Err(error)),
        }
    }

    fn succeed(self) {
        let bytes_sent = self.bytes;
        match self.finish() {
            SendReply::Send(reply) => reply.send(Ok(SendInfo { bytes_sent })),
            SendReply::Shutdown(reply) => reply.send(Ok(())),
            SendReply::Stream(send) => send.finish(Ok(())),
        }
    }

    /// Releases what the send takes of quotas and limits. Called before the answer, because the
    /// sender may send again as soon as it has the answer, in another thread.
    fn finish(mut self) -> SendReply {
        self.reply.take()
    }

    /// Writes as much as the OS takes.
    fn write(&mut self, stream: &mut dyn Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The OS may not report this error again.
        if let Some(error) = self.error.take() {
            return Poll::Ready(Err(error));
        }
        while !self.data.is_empty() {
            match retry_if_spurious(stream.poll_write(cx, &[IoSlice::new(&self.data)]), cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.advance(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The OS has accepted this many bytes more.
    fn advance(&mut self, written: usize) {
        self.socket().count_sent(written);
        self.data.advance(written);
        // A send that is complete is dropped next, which counts its last bytes off.
        if !self.data.is_empty() {
            self.in_flight.set_unsent(self.data.len());
        }
    }
}

impl Drop for PendingSend {
    fn drop(&mut self) {
        let command_queue = &self.socket().app_shard().command_queue;
        if std::thread::panicking() && !self.data.is_empty() && command_queue.queue.is_open() {
            // It returns to the front of the command queue, because later sends must not overtake
            // it.
            let command_queue = command_queue.clone();
            return command_queue
                .queue
                .set_interrupted(QueuedCall::Send(PendingSend {
                    in_flight: InFlightCall::send(self.socket().clone(), self.data.len()),
                    data: std::mem::take(&mut self.data),
                    bytes: self.bytes,
                    charge: std::mem::take(&mut self.charge),
                    reply: self.reply.take(),
                    credit: self.credit.take(),
                    error: self.error.take(),
                }));
        }
        let charge = std::mem::take(&mut self.charge);
        if !charge.is_none() {
            let app_shard = self.socket().app_shard();
            app_shard.activity.mark_active();
            app_shard.app_context.write_quota.refund(charge);
        }
    }
}

/// The sends that the OS has not taken completely.
#[derive(Default)]
pub(in crate::tcp) struct WriteQueue(VecDeque<PendingSend>);

impl WriteQueue {
    pub(in crate::tcp) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The socket of the sends that wait.
    pub(in crate::tcp) fn socket(&self) -> Option<ClientSocket> {
        let first = self.0.front();
        first.map(|first| first.in_flight.socket().clone())
    }

    /// A value that changes whenever the OS takes something.
    pub(in crate::tcp) fn progress(&self) -> (usize, usize) {
        let first = self.0.front().map_or(0, |first| first.data.len());
        (self.0.len(), first)
    }

    /// How many bytes wait.
    pub(in crate::tcp) fn bytes(&self) -> usize {
        self.0.iter().map(|pending| pending.data.len()).sum()
    }

    /// The waiting data, in order, without empty sends.
    pub(in crate::tcp) fn unsent(&self) -> Vec<Bytes> {
        let data = self.0.iter().map(|pending| pending.data.clone());
        data.filter(|data| !data.is_empty()).collect()
    }

    /// Answers all sends as successful: another process sends the data.
    pub(in crate::tcp) fn complete_all(&mut self) {
        for pending in self.0.drain(..) {
            pending.succeed();
        }
    }

    /// Adds data that another process left unsent.
    pub(in crate::tcp) fn inherit(&mut self, socket: &ClientSocket, data: Bytes) {
        if !data.is_empty() {
            let charge = socket
                .app_shard()
                .app_context
                .write_quota
                .charge_unchecked(data.len());
            let pending = PendingSend::new(socket.clone(), data, charge, None, Reply::discard());
            self.0.push_back(pending);
        }
    }

    /// Writes as much as the OS takes, if no other send waits, and queues the rest. After an error
    /// the caller has to fail the whole queue.
    pub(in crate::tcp) fn write(
        &mut self,
        mut pending: PendingSend,
        stream: &mut dyn Stream,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let written = match self.0.is_empty() {
            true => pending.write(stream, cx),
            false => Poll::Pending,
        };
        if let Poll::Ready(Ok(())) = written {
            pending.succeed();
            return Ok(());
        }
        self.push(pending);
        match written {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Queues a send for a later flush.
    pub(in crate::tcp) fn push(&mut self, mut pending: PendingSend) {
        if let Some(credit) = &mut pending.credit {
            // A forwarded event counts as handled. Its bytes still count in its socket's window,
            // and from now on in the quota, unless they are beyond it.
            credit.mark_handled();
            if pending.charge.is_none() {
                let waits = pending.data.len();
                pending.charge = pending
                    .socket()
                    .app_shard()
                    .app_context
                    .write_quota
                    .charge_unchecked(waits);
            }
        }
        self.0.push_back(pending);
    }

    /// Writes until the queue is empty (`Ready`), or the OS takes no more (`Pending`; the waker is
    /// called when it does). An empty send is answered after those before it. A `shutdown_write`
    /// shuts the write side after them.
    pub(in crate::tcp) fn poll_flush(
        &mut self,
        stream: &mut dyn Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            self.complete_written();
            let Some(first) = self.0.front() else {
                return Poll::Ready(Ok(()));
            };
            if first.is_shutdown() {
                ready!(stream.poll_shutdown(cx))?;
                // All that is behind it are calls like it. The OS may refuse a second shutdown.
                self.complete_all();
                self.complete_written();
                return Poll::Ready(Ok(()));
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slice, pending) in slices.iter_mut().zip(&self.0) {
                *slice = IoSlice::new(&pending.data);
                count += 1;
            }
            match retry_if_spurious(stream.poll_write(cx, &slices[..count]), cx) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(written)) => self.advance(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Whether a waiting send has no caller that waits for its answer.
    pub(in crate::tcp) fn has_fire_and_forget(&self) -> bool {
        self.0.iter().any(PendingSend::is_fire_and_forget)
    }

    /// Answers all sends with the same error.
    pub(in crate::tcp) fn fail(&mut self, error: Error) {
        for pending in self.0.drain(..) {
            pending.fail(error);
        }
    }

    fn complete_written(&mut self) {
        let is_written = |first: &PendingSend| first.data.is_empty() && !first.is_shutdown();
        while self.0.front().is_some_and(is_written) {
            if let Some(first) = self.0.pop_front() {
                first.succeed();
            }
        }
        if self.0.is_empty() && self.0.capacity() > 0 {
            // An idle connection keeps no memory from busy times.
            self.0 = VecDeque::new();
        }
    }

    fn advance(&mut self, mut written: usize) {
        for pending in &mut self.0 {
            let part = written.min(pending.data.len());
            if part > 0 {
                pending.advance(part);
            }
            written -= part;
            if written == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
pub(in crate::tcp) mod tests;
