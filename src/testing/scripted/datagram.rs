//! Datagrams of a scripted network.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::os::DatagramSocket;
use crate::testing::scripted::connection::{os_error, wake};
use crate::testing::scripted::state::{LISTENING_PORTS, Ports};

/// How many datagrams a socket keeps until the app receives them. Further ones are dropped, and
/// counted.
pub(super) const MAX_WAITING: usize = 256;

/// A datagram that the app has sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentDatagram {
    /// The app's socket.
    pub from: SocketAddr,
    /// The receiver.
    pub to: SocketAddr,
    /// The content.
    pub data: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct DatagramNetwork {
    pub(super) bind_errors: VecDeque<i32>,
    bound: BTreeMap<SocketAddr, BoundSocket>,
    sent: Vec<SentDatagram>,
    ports_used: u16,
}

#[derive(Debug, Default)]
struct BoundSocket {
    waiting: VecDeque<Result<(SocketAddr, Bytes), i32>>,
    dropped: u64,
    send_errors: VecDeque<i32>,
    /// How many datagrams it may send; `None` is any number.
    room: Option<usize>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl DatagramNetwork {
    /// Binds, and returns the address.
    pub(super) fn bind(&mut self, mut address: SocketAddr) -> io::Result<SocketAddr> {
        if let Some(errno) = self.bind_errors.pop_front() {
            return Err(os_error(errno));
        }
        if address.port() == 0 {
            address.set_port(LISTENING_PORTS.next(&mut self.ports_used));
            for _ in 0..Ports::COUNT {
                if !self.bound.contains_key(&address) {
                    break;
                }
                address.set_port(LISTENING_PORTS.next(&mut self.ports_used));
            }
        }
        if self.bound.contains_key(&address) {
            return Err(os_error(libc::EADDRINUSE));
        }
        self.bound.insert(address, BoundSocket::default());
        Ok(address)
    }

    fn at(&mut self, address: SocketAddr) -> io::Result<&mut BoundSocket> {
        let socket = self.bound.get_mut(&address);
        socket.ok_or_else(|| os_error(libc::ECONNREFUSED))
    }

    /// Puts a datagram, or an error, where the socket receives it. Returns whom to wake.
    pub(super) fn deliver(
        &mut self,
        to: SocketAddr,
        received: Result<(SocketAddr, Bytes), i32>,
    ) -> io::Result<Option<Waker>> {
        let socket = self.at(to)?;
        if socket.waiting.len() >= MAX_WAITING {
            socket.dropped += 1;
            return Ok(None);
        }
        socket.waiting.push_back(received);
        Ok(socket.reader.take())
    }

    pub(super) fn send_error(&mut self, from: SocketAddr, errno: i32) -> io::Result<()> {
        self.at(from)?.send_errors.push_back(errno);
        Ok(())
    }

    pub(super) fn set_room(
        &mut self,
        from: SocketAddr,
        room: Option<usize>,
    ) -> io::Result<Option<Waker>> {
        let socket = self.at(from)?;
        socket.room = room;
        Ok(socket.writer.take())
    }

    pub(super) fn take_sent(&mut self) -> Vec<SentDatagram> {
        std::mem::take(&mut self.sent)
    }
}

/// A socket of the app, which the network keeps.
pub(super) struct ScriptedDatagrams {
    pub(super) network: Arc<Mutex<DatagramNetwork>>,
    pub(super) address: SocketAddr,
}

impl DatagramSocket for ScriptedDatagrams {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut network = self.network.lock();
        let socket = network.at(self.address)?;
        match socket.waiting.pop_front() {
            Some(Ok((from, data))) => {
                let length = data.len().min(buffer.len());
                buffer[..length].copy_from_slice(&data[..length]);
                Poll::Ready(Ok((length, from)))
            }
            Some(Err(errno)) => Poll::Ready(Err(os_error(errno))),
            None => {
                socket.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut network = self.network.lock();
        let socket = network.at(self.address)?;
        if !socket.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        socket.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        let mut network = self.network.lock();
        let socket = network.at(self.address)?;
        if let Some(errno) = socket.send_errors.pop_front() {
            return Poll::Ready(Err(os_error(errno)));
        }
        match &mut socket.room {
            Some(0) => {
                socket.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Some(room) => *room -= 1,
            None => {}
        }
        let (from, data) = (self.address, Bytes::copy_from_slice(data));
        let reader = match network.deliver(to, Ok((from, data.clone()))) {
            Ok(reader) => reader,
            // No socket of the app: the receiver is the test.
            Err(_) => {
                network.sent.push(SentDatagram { from, to, data });
                None
            }
        };
        drop(network);
        wake(reader);
        Poll::Ready(Ok(()))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn join_group(&self, _: std::net::IpAddr) -> io::Result<()> {
        Ok(())
    }

    fn leave_group(&self, _: std::net::IpAddr) -> io::Result<()> {
        Ok(())
    }

    fn set_broadcast(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn dropped(&self) -> Option<u64> {
        Some(self.network.lock().at(self.address).ok()?.dropped)
    }
}

impl Drop for ScriptedDatagrams {
    fn drop(&mut self) {
        let removed = self.network.lock().bound.remove(&self.address);
        drop(removed);
    }
}
