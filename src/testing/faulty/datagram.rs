//! A datagram socket whose receives and sends fail by rules.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::os::DatagramSocket;
use crate::testing::faulty::rule::{CallSite, Fault, Operation};
use crate::testing::faulty::rule_set::RuleSet;
use crate::testing::faulty::stream::PendingCall;

/// It has no [`sender`](DatagramSocket::sender), so that every send passes here.
pub(super) struct FaultyDatagrams {
    inner: Box<dyn DatagramSocket>,
    rules: Arc<RuleSet>,
    local: Option<SocketAddr>,
    receiving: PendingCall,
    sending: PendingCall,
}

impl FaultyDatagrams {
    pub(super) fn new(inner: Box<dyn DatagramSocket>, rules: Arc<RuleSet>) -> Self {
        FaultyDatagrams {
            local: inner.local_addr().ok(),
            inner,
            rules,
            receiving: PendingCall::default(),
            sending: PendingCall::default(),
        }
    }
}

impl DatagramSocket for FaultyDatagrams {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let site = CallSite {
            listener: self.local,
            ..Operation::Receive.into()
        };
        let fault = ready!(self.receiving.poll_fault(cx, &self.rules, &site));
        let received = match fault {
            Some(Fault::Error(errno)) => Err(errno.into()),
            _ => ready!(self.inner.poll_receive(cx, buffer)),
        };
        self.receiving = PendingCall::default();
        Poll::Ready(received)
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_waiting(cx)
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        let site = CallSite {
            listener: self.local,
            peer: Some(to),
            ..Operation::Send.into()
        };
        let fault = ready!(self.sending.poll_fault(cx, &self.rules, &site));
        let sent = match fault {
            Some(Fault::Error(errno)) => Err(errno.into()),
            _ => ready!(self.inner.poll_send(cx, data, to)),
        };
        self.sending = PendingCall::default();
        Poll::Ready(sent)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn join_group(&self, group: IpAddr) -> io::Result<()> {
        self.inner.join_group(group)
    }

    fn leave_group(&self, group: IpAddr) -> io::Result<()> {
        self.inner.leave_group(group)
    }

    fn set_broadcast(&self, enabled: bool) -> io::Result<()> {
        self.inner.set_broadcast(enabled)
    }

    fn dropped(&self) -> Option<u64> {
        self.inner.dropped()
    }

    fn reregister(&mut self) -> io::Result<()> {
        // A stall uses the clock of the old runtime.
        self.receiving = PendingCall::default();
        self.sending = PendingCall::default();
        self.inner.reregister()
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.inner.duplicate()
    }
}
