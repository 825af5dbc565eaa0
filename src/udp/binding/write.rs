//! Sends: on the fast path in the caller's thread, or here, in the order of the calls.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::answer::Reply;
use crate::error::Error;
use crate::net_error::{self, NetError};
use crate::os::{DatagramSender, Network, retry_if_spurious};
use crate::tcp::{Charge, SendInfo};
use crate::udp::binding::destination::{Destination, Resolved, Target, look_up};
use crate::udp::binding::state::{Binding, SocketState, Transfer};
use crate::udp::socket::Socket;

/// A call of a socket that is not finished. While there is one, the fast path is not used.
pub(crate) struct InFlightCall(Socket);

impl InFlightCall {
    pub(in crate::udp) fn new(socket: Socket) -> Self {
        socket.fast_path().begin_call(0);
        InFlightCall(socket)
    }

    pub(in crate::udp) fn socket(&self) -> &Socket {
        &self.0
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        self.0.fast_path().finish_call(0);
    }
}

/// A send that is not finished. When it is dropped, its bytes leave the app's quota.
pub(crate) struct PendingSend {
    socket: Socket,
    /// `None` while its name is looked up.
    in_flight: Option<InFlightCall>,
    data: Bytes,
    to: Destination,
    charge: Charge,
    reply: Reply<SendInfo>,
}

impl PendingSend {
    pub(in crate::udp) fn new(
        socket: Socket,
        data: Bytes,
        to: Destination,
        charge: Charge,
        reply: Reply<SendInfo>,
    ) -> Self {
        PendingSend {
            in_flight: Some(InFlightCall::new(socket.clone())),
            socket,
            data,
            to,
            charge,
            reply,
        }
    }

    pub(in crate::udp) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(in crate::udp) fn to(&self) -> &Destination {
        &self.to
    }

    /// Lets later sends use the fast path.
    pub(in crate::udp) fn finish_call(&mut self) {
        self.in_flight = None;
    }

    pub(in crate::udp) fn fail(self, error: Error) {
        self.finish().send(Err(error));
    }

    fn succeed(self) {
        let bytes_sent = self.data.len();
        self.finish().send(Ok(SendInfo { bytes_sent }));
    }

    /// Releases what the send takes of the quota. Called before the answer, because the sender may
    /// send again as soon as it has the answer, in another thread.
    fn finish(mut self) -> Reply<SendInfo> {
        std::mem::replace(&mut self.reply, Reply::discard())
    }
}

impl Drop for PendingSend {
    fn drop(&mut self) {
        let app_shard = self.socket.app_shard();
        app_shard.activity.mark_active();
        let charge = std::mem::take(&mut self.charge);
        app_shard.app_context.write_quota.refund(charge);
    }
}

/// The fast path of a socket is open. Dropping this closes it.
pub(in crate::udp) struct FastPath(Socket);

impl FastPath {
    fn open(socket: &Socket, sender: Arc<dyn DatagramSender>) -> Self {
        socket.fast_path().open(sender);
        FastPath(socket.clone())
    }
}

impl Drop for FastPath {
    fn drop(&mut self) {
        let sender = self.0.fast_path().close();
        // Dropping the sender may close the socket, which must not happen under the lock.
        drop(sender);
    }
}

impl SocketState {
    pub(in crate::udp) fn send(&mut self, pending: PendingSend, network: &Arc<dyn Network>) {
        let permissions = self.socket.app_shard().app_context.permissions();
        if !pending.to.is_permitted(&permissions) {
            return pending.fail(Error::UdpPermissionDenied);
        }
        let Some(binding) = &mut self.binding else {
            return pending.fail(NetError::SOCKET_NOT_CONNECTED.into());
        };
        let is_ipv4 = binding.local.is_ipv4();
        match pending.to.target(is_ipv4) {
            Ok(Target::Address(to)) => binding.send(pending, to, &self.socket),
            Ok(Target::Name(name)) => look_up(pending, name, network.clone(), is_ipv4),
            Err(error) => pending.fail(error),
        }
    }

    /// Sends a datagram whose name was looked up.
    pub(in crate::udp) fn send_resolved(&mut self, resolved: Resolved) {
        let Resolved { pending, result } = resolved;
        match (&mut self.binding, result) {
            (Some(binding), Ok(to)) => binding.send(pending, to, &self.socket),
            (None, _) => pending.fail(NetError::SOCKET_NOT_CONNECTED.into()),
            (_, Err(error)) => pending.fail(error),
        }
    }

    /// Sends what waits, unless another process may own the socket.
    pub(in crate::udp) fn flush(&mut self) {
        if self.transfer != Transfer::Frozen
            && let Some(binding) = &mut self.binding
            && !binding.unsent.is_empty()
        {
            binding.flush(&self.socket);
        }
    }

    /// Opens or closes the fast path as the socket's state requires.
    pub(in crate::udp) fn update_fast_path(&mut self) {
        let Some(binding) = &mut self.binding else {
            return;
        };
        if self.transfer != Transfer::None {
            binding.fast_path = None;
        } else if binding.fast_path.is_none()
            && let Some(sender) = binding.datagrams.sender()
        {
            binding.fast_path = Some(FastPath::open(&self.socket, sender));
        }
    }
}

/// The datagrams that wait for room in the OS's buffer, each with its receiver.
pub(in crate::udp) type Unsent = VecDeque<(PendingSend, SocketAddr)>;

impl Binding {
    fn send(&mut self, pending: PendingSend, to: SocketAddr, socket: &Socket) {
        let is_first = self.unsent.is_empty();
        self.unsent.push_back((pending, to));
        if is_first {
            self.flush(socket);
        }
    }

    fn flush(&mut self, socket: &Socket) {
        let waker = socket.waker();
        let mut cx = Context::from_waker(&waker);
        while let Some((pending, to)) = self.unsent.front() {
            let sent = self.datagrams.poll_send(&mut cx, &pending.data, *to);
            let Poll::Ready(sent) = retry_if_spurious(sent, &mut cx) else {
                return;
            };
            let Some((pending, _)) = self.unsent.pop_front() else {
                return;
            };
            match sent {
                Ok(()) => {
                    socket.count_sent(pending.data.len());
                    pending.succeed();
                }
                Err(error) => pending.fail(net_error::datagram(&error).into()),
            }
        }
    }

    /// Fails the sends that wait.
    pub(in crate::udp) fn fail_unsent(&mut self, error: NetError) {
        for (pending, _) in self.unsent.drain(..) {
            pending.fail(error.into());
        }
    }
}
