//! One connection of the load, and what is said on it.
#![expect(
    clippy::disallowed_types,
    reason = "a client is a peer, not the library"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::Result;

/// The bytes at each end of a message that are compared: all of a small one,
/// and of a bulk one so few that checking costs nothing beside copying.
const CHECKED: usize = 64;
/// The load's clients connect to 127.0.0.1 to 127.0.0.100 in turn. A client
/// that closes first keeps its port for a minute (TIME_WAIT), and one
/// destination would run out of the 28,000 ports in a second or two. Ending
/// the connection by a reset (SO_LINGER 0) would keep no port, but then the
/// server's last read is an error instead of an end, which nothing ordinary
/// is.
const DESTINATIONS: usize = 100;
/// What is read at once.
const CHUNK: usize = 256 * 1024;
/// An echo that takes longer never comes.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent, and what has to come back.
pub struct Talk {
    request: Vec<u8>,
    reply: Vec<u8>,
    /// Whether both begin and end with their message's mark.
    marked: bool,
    chunk: Vec<u8>,
}

/// What any message is made of.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(bytes).collect()
}

impl Talk {
    /// As many bytes back as were sent, and the same.
    pub fn echo(bytes: usize) -> Self {
        Talk {
            marked: true,
            ..Talk::new(bytes, pattern(bytes))
        }
    }

    /// This answer to as many bytes.
    pub fn new(request: usize, reply: Vec<u8>) -> Self {
        Talk {
            request: pattern(request),
            reply,
            marked: false,
            chunk: vec![0; CHUNK],
        }
    }

    /// So that another's message, or an earlier one, is no echo.
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

/// Whether this is what stands there in the message, as far as it is checked.
fn is_part(message: &[u8], at: usize, part: &[u8]) -> bool {
    let tail = message.len().saturating_sub(CHECKED);
    let same = |from: usize, to: usize| {
        let (from, to) = (from.max(at), to.min(at + part.len()));
        from >= to || message[from..to] == part[from - at..to - at]
    };
    same(0, CHECKED.min(message.len())) && same(tail, message.len())
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    /// How much of the request is sent.
    sent: usize,
    /// How much of the reply has come.
    received: usize,
    /// Marks its next message.
    mark: u32,
    /// When its operation began.
    pub since: Instant,
}

impl Connection {
    /// Blocks until it is set not to.
    pub fn open(port: u16, number: usize) -> Result<Self> {
        let since = Instant::now();
        let host = u8::try_from(1 + number % DESTINATIONS)?;
        let stream = TcpStream::connect((Ipv4Addr::new(127, 0, 0, host), port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection {
            stream,
            sent: usize::MAX,
            received: 0,
            mark: (number as u32).wrapping_mul(0x9E37_79B9),
            since,
        })
    }

    pub fn set_nonblocking(&self) -> Result<()> {
        Ok(self.stream.set_nonblocking(true)?)
    }

    /// One operation, from its beginning to its end; blocks.
    pub fn talk(&mut self, talk: &mut Talk) -> Result<()> {
        self.begin(self.mark.wrapping_add(1));
        self.write(talk)?;
        while !self.read(talk)? {}
        Ok(())
    }

    /// The next message begins, with this mark or its own.
    pub fn begin(&mut self, mark: u32) {
        self.mark = mark;
        self.sent = 0;
        self.received = 0;
    }

    /// Only hears, what another sends with this mark.
    pub fn expect(&mut self, mark: u32) {
        self.begin(mark);
        self.sent = usize::MAX;
    }

    pub fn next_mark(&self) -> u32 {
        self.mark.wrapping_add(1)
    }

    /// Sends what can be sent.
    pub fn write(&mut self, talk: &mut Talk) -> Result<()> {
        if self.sent >= talk.request.len() {
            return Ok(());
        }
        talk.mark(self.mark);
        while let Some(rest @ [_, ..]) = talk.request.get(self.sent..) {
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Receives what has come; whether the reply is whole.
    pub fn read(&mut self, talk: &mut Talk) -> Result<bool> {
        let whole = talk.reply.len();
        while self.received < whole {
            let room = CHUNK.min(whole - self.received);
            let count = match self.stream.read(&mut talk.chunk[..room]) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            // In the middle of a bulk message nothing is compared.
            let (from, to) = (self.received, self.received + count);
            if from < CHECKED || to + CHECKED > whole {
                talk.mark(self.mark);
                if !is_part(&talk.reply, from, &talk.chunk[..count]) {
                    return Err("what came back is not what had to come".into());
                }
            }
            self.received = to;
        }
        Ok(true)
    }

    /// Whether its operation has come to its end.
    pub fn is_done(&self, talk: &Talk) -> bool {
        self.received >= talk.reply.len()
    }

    /// Whether the server has closed it, without a word.
    pub fn has_ended(&mut self) -> Result<bool> {
        match self.stream.read(&mut [0; 16]) {
            Ok(0) => Ok(true),
            Ok(_) => Err("the server said something".into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
