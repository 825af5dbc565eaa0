//! One connection of the load, and its messages.
#![expect(
    clippy::disallowed_types,
    reason = "a client is a peer, not the library"
)]

use std::io::{ErrorKind, Read, Result as IoResult, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::Result;

/// The bytes at each end of a message that are compared: all of a small one, and of a bulk
/// message so few that checking costs nothing compared with copying.
const CHECKED: usize = 64;
/// The load's clients connect to 127.0.0.1 to 127.0.0.100 in turn. A client that closes first
/// keeps its port for a minute (TIME_WAIT), and one destination would run out of its 28,000
/// ports in a second or two. A reset (SO_LINGER 0) would keep no port, but then the server's
/// last read is an error instead of an end, unlike with ordinary clients.
const DESTINATIONS: usize = 100;
/// Bytes of one read.
const CHUNK: usize = 256 * 1024;
/// An echo that takes longer has failed.
pub const ECHO_TIMEOUT: Duration = Duration::from_secs(10);

/// What is sent, and what is expected back.
pub struct Messages {
    request: Vec<u8>,
    reply: Vec<u8>,
    /// Whether both begin and end with the mark of their message.
    marked: bool,
    chunk: Vec<u8>,
}

/// The filling of messages.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(bytes).collect()
}

impl Messages {
    /// As many bytes back as were sent, with the same content.
    pub fn echo(bytes: usize) -> Self {
        Messages {
            marked: true,
            ..Messages::new(bytes, pattern(bytes))
        }
    }

    /// This answer for this many bytes.
    pub fn new(request: usize, reply: Vec<u8>) -> Self {
        Messages {
            request: pattern(request),
            reply,
            marked: false,
            chunk: vec![0; CHUNK],
        }
    }

    /// Marks a message, so that another message is no valid echo.
    fn mark(&mut self, mark: u32) {
        if !self.marked {
            return;
        }
        let mark = mark.to_be_bytes();
        for message in [&mut self.request, &mut self.reply] {
            if let Some(head) = message.first_chunk_mut() {
                *head = mark;
            }
            if let Some(tail) = message.last_chunk_mut() {
                *tail = mark;
            }
        }
    }
}

/// Whether this is the message's content at this offset, as far as it is compared.
fn matches_at(message: &[u8], at: usize, part: &[u8]) -> bool {
    let tail = message.len().saturating_sub(CHECKED);
    let same = |from: usize, to: usize| {
        let (from, to) = (from.max(at), to.min(at + part.len()));
        from >= to || message[from..to] == part[from - at..to - at]
    };
    same(0, CHECKED.min(message.len())) && same(tail, message.len())
}

/// What carries the messages. A message of datagrams is one datagram.
enum Transport {
    Stream(TcpStream),
    Datagrams(UdpSocket),
}

impl Transport {
    fn write(&mut self, data: &[u8]) -> IoResult<usize> {
        match self {
            Transport::Stream(stream) => stream.write(data),
            Transport::Datagrams(socket) => socket.send(data),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        match self {
            Transport::Stream(stream) => stream.read(buffer),
            Transport::Datagrams(socket) => socket.recv(buffer),
        }
    }
}

/// One connection, or one client that sends datagrams.
pub struct Connection {
    transport: Transport,
    /// Bytes of the request that were sent.
    sent: usize,
    /// Bytes of the reply that were received.
    received: usize,
    /// Mark of its next message.
    mark: u32,
    /// Start of its operation.
    pub since: Instant,
}

impl Connection {
    /// Blocking until set otherwise.
    pub fn open(port: u16, number: usize) -> Result<Self> {
        let since = Instant::now();
        let host = u8::try_from(1 + number % DESTINATIONS)?;
        let stream = TcpStream::connect((Ipv4Addr::new(127, 0, 0, host), port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ECHO_TIMEOUT))?;
        Ok(Connection::new(Transport::Stream(stream), number, since))
    }

    /// Sends and receives datagrams.
    pub fn datagrams(port: u16, number: usize) -> Result<Self> {
        let since = Instant::now();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, port))?;
        Ok(Connection::new(Transport::Datagrams(socket), number, since))
    }

    fn new(transport: Transport, number: usize, since: Instant) -> Self {
        Connection {
            transport,
            sent: usize::MAX,
            received: 0,
            mark: (number as u32).wrapping_mul(0x9E37_79B9),
            since,
        }
    }

    pub fn set_nonblocking(&self) -> Result<()> {
        match &self.transport {
            Transport::Stream(stream) => stream.set_nonblocking(true)?,
            Transport::Datagrams(socket) => socket.set_nonblocking(true)?,
        }
        Ok(())
    }

    /// One complete operation; blocks.
    pub fn messages(&mut self, messages: &mut Messages) -> Result<()> {
        self.begin(self.mark.wrapping_add(1));
        self.write(messages)?;
        while !self.read(messages)? {}
        Ok(())
    }

    /// Begins the next message, with this mark or the connection's own.
    pub fn begin(&mut self, mark: u32) {
        self.mark = mark;
        self.sent = 0;
        self.received = 0;
    }

    /// Only receives what another connection sends with this mark.
    pub fn expect(&mut self, mark: u32) {
        self.begin(mark);
        self.sent = usize::MAX;
    }

    pub fn next_mark(&self) -> u32 {
        self.mark.wrapping_add(1)
    }

    /// Sends what can be sent.
    pub fn write(&mut self, messages: &mut Messages) -> Result<()> {
        if self.sent >= messages.request.len() {
            return Ok(());
        }
        messages.mark(self.mark);
        while let Some(rest @ [_, ..]) = messages.request.get(self.sent..) {
            match self.transport.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Receives what has arrived; returns whether the reply is complete.
    pub fn read(&mut self, messages: &mut Messages) -> Result<bool> {
        let whole = messages.reply.len();
        while self.received < whole {
            let room = CHUNK.min(whole - self.received);
            let count = match self.transport.read(&mut messages.chunk[..room]) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            // In the middle of a bulk message nothing is compared.
            let (from, to) = (self.received, self.received + count);
            if from < CHECKED || to + CHECKED > whole {
                messages.mark(self.mark);
                if !matches_at(&messages.reply, from, &messages.chunk[..count]) {
                    return Err("the answer is wrong".into());
                }
            }
            self.received = to;
        }
        Ok(true)
    }

    /// Whether its operation is complete.
    pub fn is_done(&self, messages: &Messages) -> bool {
        self.received >= messages.reply.len()
    }

    /// Whether the server has closed it, without data.
    pub fn has_ended(&mut self) -> Result<bool> {
        match self.transport.read(&mut [0; 16]) {
            Ok(0) => Ok(true),
            Ok(_) => Err("the server sent data".into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.transport {
            Transport::Stream(stream) => stream.as_fd(),
            Transport::Datagrams(socket) => socket.as_fd(),
        }
    }
}
