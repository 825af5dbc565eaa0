//! The lower bound: one thread around `epoll_wait`, one buffer for all, and nothing else between
//! a connection and the kernel.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};
use slab::Slab;

use super::{MibCounter, PAYLOAD, RECEIVED, listen, not_compared};
use crate::Result;
use crate::plan::Mode;

const BUFFER: usize = 64 * 1024;
/// Events of one `epoll_wait`.
const EVENTS: usize = 256;
/// Tokens of listeners start here.
const LISTENERS: u64 = 1 << 32;

pub fn run(mode: Mode) -> Result<()> {
    if mode == Mode::Subscribers {
        return Err(not_compared(mode));
    }
    let mut server = Server {
        mode,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        connections: Slab::new(),
        buffer: vec![0; BUFFER],
    };
    let listeners = listen(mode.listeners())?;
    for (number, listener) in listeners.iter().enumerate() {
        let token = EventData::new_u64(LISTENERS + number as u64);
        epoll::add(&server.epoll, listener, token, EventFlags::IN)?;
    }
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&server.epoll, spare_capacity(&mut events), None) {
            Err(Errno::INTR) => continue,
            waited => waited?,
        };
        for event in &events {
            let (token, flags) = (event.data.u64(), event.flags);
            match token.checked_sub(LISTENERS) {
                Some(number) => server.accept(&listeners[number as usize])?,
                None => server.handle(token as usize, flags)?,
            }
        }
    }
}

struct Connection {
    socket: OwnedFd,
    /// What the kernel has not accepted; while there is some, nothing is read.
    unsent: VecDeque<Bytes>,
    received: MibCounter,
}

struct Server {
    mode: Mode,
    epoll: OwnedFd,
    connections: Slab<Connection>,
    buffer: Vec<u8>,
}

impl Server {
    fn accept(&mut self, listener: impl AsFd) -> Result<()> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match accept_with(&listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            if self.mode == Mode::Accept {
                continue;
            }
            sockopt::set_tcp_nodelay(&socket, true)?;
            let entry = self.connections.vacant_entry();
            let token = EventData::new_u64(entry.key() as u64);
            epoll::add(&self.epoll, &socket, token, EventFlags::IN)?;
            entry.insert(Connection {
                socket,
                unsent: VecDeque::new(),
                received: MibCounter::default(),
            });
        }
    }

    fn handle(&mut self, key: usize, flags: EventFlags) -> Result<()> {
        if !self.connections.contains(key) {
            return Ok(());
        }
        let open = if flags.contains(EventFlags::OUT) {
            self.flush(key)
        } else {
            self.receive(key)
        };
        match open {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.connections.remove(key);
                Ok(())
            }
            Err(error) => {
                log::warn!("epoll: {error}");
                self.connections.remove(key);
                Ok(())
            }
        }
    }

    /// Returns whether it is still open.
    fn receive(&mut self, key: usize) -> Result<bool> {
        let connection = &mut self.connections[key];
        let count = match recv(&connection.socket, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => return Ok(false),
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        match self.mode {
            Mode::Echo { .. } => {}
            Mode::Receive => {
                for _ in 0..connection.received.add(count) {
                    self.send(key, &Bytes::from_static(RECEIVED))?;
                }
                return Ok(true);
            }
            Mode::Send => {
                for _ in 0..count {
                    self.send(key, &PAYLOAD)?;
                }
                return Ok(true);
            }
            Mode::Pause => {
                let token = || EventData::new_u64(key as u64);
                let socket = &connection.socket;
                epoll::modify(&self.epoll, socket, token(), EventFlags::empty())?;
                epoll::modify(&self.epoll, socket, token(), EventFlags::IN)?;
            }
            Mode::FanOut => {
                let data = Bytes::copy_from_slice(&self.buffer[..count]);
                let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
                for key in keys {
                    self.send(key, &data)?;
                }
                return Ok(true);
            }
            Mode::Accept
            | Mode::Batches
            | Mode::Stream
            | Mode::Subscribers
            | Mode::Udp
            | Mode::UdpBatches => {
                return Err(not_compared(self.mode));
            }
        }
        // Directly from the buffer; only what cannot be sent at once is copied.
        let sent = match send(
            &connection.socket,
            &self.buffer[..count],
            SendFlags::NOSIGNAL,
        ) {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => 0,
            Err(error) => return Err(error.into()),
        };
        if sent < count {
            let rest = Bytes::copy_from_slice(&self.buffer[sent..count]);
            self.wait_to_send(key, rest)?;
        }
        Ok(true)
    }

    fn send(&mut self, key: usize, data: &Bytes) -> Result<()> {
        let connection = &mut self.connections[key];
        if !connection.unsent.is_empty() {
            connection.unsent.push_back(data.clone());
            return Ok(());
        }
        let mut sent = 0;
        while sent < data.len() {
            match send(&connection.socket, &data[sent..], SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return self.wait_to_send(key, data.slice(sent..)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wait_to_send(&mut self, key: usize, rest: Bytes) -> Result<()> {
        let connection = &mut self.connections[key];
        connection.unsent.push_back(rest);
        let token = EventData::new_u64(key as u64);
        Ok(epoll::modify(
            &self.epoll,
            &connection.socket,
            token,
            EventFlags::OUT,
        )?)
    }

    /// Returns whether it is still open.
    fn flush(&mut self, key: usize) -> Result<bool> {
        let connection = &mut self.connections[key];
        while let Some(first) = connection.unsent.front_mut() {
            match send(&connection.socket, first, SendFlags::NOSIGNAL) {
                Ok(count) if count < first.len() => *first = first.slice(count..),
                Ok(_) => {
                    connection.unsent.pop_front();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
        let token = EventData::new_u64(key as u64);
        epoll::modify(&self.epoll, &connection.socket, token, EventFlags::IN)?;
        Ok(true)
    }
}
