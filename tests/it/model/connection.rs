//! The model of a connection: the actions of its peer, which the test plays, and how far the
//! socket has followed them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use chrome_sockets::Error;

use super::event_log::{Answer, CallId};
use super::faults::{READ, WRITE, code};
use super::possible_states::{PeerSeen, Seen};
use super::server::net;

/// Both directions of a connection.
#[derive(Clone, PartialEq, Debug)]
pub struct Connection {
    /// Its number in this test.
    pub number: usize,
    /// Bytes of the peer that listeners received.
    pub delivered: usize,
    /// Bytes that the peer received.
    written: usize,
    incoming: VecDeque<Incoming>,
    /// Why no more data comes, if the socket knows.
    pub end: Option<i32>,
    /// Whether the socket has read that end as the peer's FIN.
    pub fin: bool,
    /// The peer's FIN was reported, and the connection was kept.
    pub half_closed: bool,
    /// `shutdown_write` was called.
    shut: bool,
    /// The peer sees the end that `shutdown_write` sends.
    fin_sent: bool,
    queue: VecDeque<Sending>,
    /// Why nothing more can be sent, if the socket knows.
    broken: Option<i32>,
    /// Whether that error says that the peer is gone.
    lost_peer: bool,
    pub peer: SocketAddr,
    /// Of a connection that `connect` made.
    pub local: Option<SocketAddr>,
    /// Of an accepted connection.
    accepted_at: Option<SocketAddr>,
    /// The app has reset it.
    was_reset: bool,
    ended: bool,
    reset: bool,
    gone: bool,
    write_errors: VecDeque<i32>,
    option_errors: usize,
    /// How many more bytes the peer accepts.
    limit: Option<usize>,
    no_delay: Option<bool>,
    keep_alive: Option<Option<Duration>>,
    /// The app has ended it, and its peer has not read for too long.
    pub overdue: bool,
    /// Only its end is left: the peer is gone, and nothing is unread.
    pub released: bool,
}

#[derive(Clone, PartialEq, Debug)]
enum Incoming {
    Data(usize),
    Error(i32),
}

#[derive(Clone, PartialEq, Debug)]
struct Sending {
    call: CallId,
    bytes: usize,
    left: usize,
    /// It is a `shutdown_write`.
    shuts: bool,
}

/// An action of a peer.
#[derive(Clone, Debug)]
pub enum Act {
    Send(usize),
    End,
    Reset,
    /// The peer is dropped: closed, which resets the connection if something is unread. Later
    /// writes fail.
    Leave,
    ReadError(i32),
    WriteError(i32),
    OptionError,
    Limit(Option<usize>),
}

/// What the socket may do next with its input.
pub enum Readable {
    Nothing,
    Data(usize),
    /// An error that does not count, such as `EINTR`.
    Again,
    End(i32),
}

/// The byte that a peer sends at this offset.
pub fn incoming_byte(conn: usize, place: usize) -> u8 {
    (conn.wrapping_mul(31) ^ place.wrapping_mul(7) ^ (place >> 8)) as u8
}

/// The byte of a `send`, by the number of the call.
pub fn outgoing_byte(call: CallId, place: usize) -> u8 {
    (call.wrapping_mul(59) ^ place.wrapping_mul(11) ^ (place >> 8)) as u8
}

impl Connection {
    pub fn new(number: usize, peer: SocketAddr, local: Option<SocketAddr>) -> Self {
        Connection {
            number,
            delivered: 0,
            written: 0,
            incoming: VecDeque::new(),
            end: None,
            fin: false,
            half_closed: false,
            shut: false,
            fin_sent: false,
            queue: VecDeque::new(),
            broken: None,
            lost_peer: false,
            peer,
            local,
            accepted_at: None,
            was_reset: false,
            ended: false,
            reset: false,
            gone: false,
            write_errors: VecDeque::new(),
            option_errors: 0,
            limit: None,
            no_delay: None,
            keep_alive: None,
            overdue: false,
            released: false,
        }
    }

    pub fn accepted(number: usize, peer: SocketAddr, local: SocketAddr) -> Self {
        Connection {
            accepted_at: Some(local),
            ..Connection::new(number, peer, None)
        }
    }

    /// The local address of `getInfo`, as far as the OS knows it.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local.or(self.accepted_at.filter(|_| !self.released))
    }

    /// The app resets it. Returns whether waiting sends were answered.
    pub fn reset(&mut self, seen: &Seen) -> bool {
        self.was_reset = true;
        self.fail(net(-3), None, seen)
    }

    /// The socket ends it with an error: the app may send no more. Returns what the peer sees, if
    /// waiting sends were answered.
    pub fn terminate(&mut self, code: i32, seen: &Seen) -> Option<Option<Self>> {
        let was_sending = self.is_sending();
        if !self.fail(net(code), Some(code), seen) {
            return None;
        }
        let left = (!self.released).then(|| Connection {
            was_reset: was_sending,
            ..self.clone()
        });
        self.released = true;
        if !self.half_closed {
            self.end = Some(code);
        }
        Some(left)
    }

    pub fn apply_event(&mut self, act: &Act) {
        match act {
            Act::Send(bytes) => match self.incoming.back_mut() {
                Some(Incoming::Data(data)) => *data += bytes,
                _ => self.incoming.push_back(Incoming::Data(*bytes)),
            },
            Act::End => self.ended = true,
            Act::Reset => self.reset = true,
            Act::Leave => {
                self.gone = true;
                // The peer has not read what it received, so its close is a reset.
                self.reset |= self.written > 0;
            }
            Act::ReadError(errno) => self.incoming.push_back(Incoming::Error(*errno)),
            Act::WriteError(errno) => self.write_errors.push_back(*errno),
            Act::OptionError => self.option_errors += 1,
            Act::Limit(limit) => self.limit = *limit,
        }
    }

    /// Whether the OS has reported that it is gone both ways.
    fn is_gone(&self) -> bool {
        self.reset || (self.broken.is_some() && self.lost_peer)
    }

    /// The error of a connection that is gone, if nothing is unread.
    pub fn gone_error(&self) -> Option<i32> {
        if self.released || self.half_closed || !self.is_gone() {
            return None;
        }
        if self.end.is_some() {
            return self.end;
        }
        // Errors that do not count are skipped.
        let mut rest = self.clone();
        while let Readable::Again = rest.readable() {
            rest.read(0);
        }
        match rest.readable() {
            Readable::End(end) => Some(end),
            _ => None,
        }
    }

    /// Why a half-closed connection is gone, if the OS has reported that.
    pub fn half_closed_error(&self) -> Option<i32> {
        if !self.reset {
            return None;
        }
        let read = match self.incoming.front() {
            Some(Incoming::Error(errno)) => code(&READ, *errno),
            _ => 0,
        };
        // A reset that is read is -100, which sends answer as -101.
        Some(if matches!(read, 0 | -100) { -101 } else { read })
    }

    /// Whether the next end is the peer's FIN, which leaves the other side open.
    pub fn is_fin(&self) -> bool {
        self.incoming.is_empty() && !self.reset && (self.ended || self.gone)
    }

    /// Whether nothing more can be sent, and nothing waits.
    pub fn is_write_ended(&self) -> bool {
        self.broken.is_some() || (self.shut && self.queue.is_empty())
    }

    /// Whether the report of its end leaves it half-closed, if the app allows that.
    pub fn may_stay_half_closed(&self) -> bool {
        self.fin && !self.released && !self.is_write_ended()
    }

    /// Adds, for each possible state of an unreported connection, the state in which it was
    /// released.
    pub fn add_released_states(all: &mut Vec<Self>) {
        for place in 0..all.len() {
            let mut connection = all[place].clone();
            let Some(end) = connection.gone_error() else {
                continue;
            };
            connection.close_descriptor(end);
            if !all.contains(&connection) {
                all.push(connection);
            }
        }
    }

    /// Closes the descriptor. Returns whether waiting sends were answered.
    pub fn release(&mut self, end: i32, seen: &Seen) -> bool {
        let broken = self.close_descriptor(end);
        self.fail(net(broken), Some(broken), seen)
    }

    /// Closes the descriptor. Returns why nothing can be sent any more.
    fn close_descriptor(&mut self, end: i32) -> i32 {
        self.released = true;
        self.end = Some(end);
        let broken = self.broken.unwrap_or(if end == -100 { -101 } else { end });
        self.broken = Some(broken);
        broken
    }

    pub fn may_read(&self) -> bool {
        !self.incoming.is_empty() || self.ended || self.reset || self.gone
    }

    /// Whether a peek finds more than data or nothing.
    pub fn may_end(&self) -> bool {
        let more = matches!(self.readable(), Readable::Again | Readable::End(_));
        more && self.end.is_none() && !self.half_closed
    }

    pub fn readable(&self) -> Readable {
        match self.incoming.front() {
            Some(Incoming::Data(bytes)) => Readable::Data(*bytes),
            Some(Incoming::Error(errno)) => match code(&READ, *errno) {
                0 => Readable::Again,
                code => Readable::End(code),
            },
            None if self.may_read() => Readable::End(-100),
            None => Readable::Nothing,
        }
    }

    /// Reads this much data, or an error if it is 0.
    pub fn read(&mut self, bytes: usize) {
        match self.incoming.front_mut() {
            Some(Incoming::Data(left)) if *left > bytes => *left -= bytes,
            _ => drop(self.incoming.pop_front()),
        }
        self.delivered += bytes;
    }

    /// `send`, if it is answered at once.
    pub fn send(&mut self, call: CallId, bytes: usize) -> Option<Result<usize, Error>> {
        if let Some(code) = self.broken {
            return Some(Err(net(code)));
        }
        if self.shut {
            return Some(Err(net(-15)));
        }
        if bytes == 0 && self.queue.is_empty() {
            return Some(Ok(0));
        }
        self.queue.push_back(Sending {
            call,
            bytes,
            left: bytes,
            shuts: false,
        });
        None
    }

    /// `shutdown_write`, if it is answered at once.
    pub fn shutdown_write(&mut self, call: CallId) -> Option<Result<(), Error>> {
        if let Some(code) = self.broken {
            return Some(Err(net(code)));
        }
        if self.shut && self.queue.is_empty() {
            return Some(Ok(()));
        }
        self.shut = true;
        self.queue.push_back(Sending {
            call,
            bytes: 0,
            left: 0,
            shuts: true,
        });
        None
    }

    pub fn set_no_delay(&mut self, no_delay: bool) -> bool {
        let works = self.sets_option();
        if works {
            self.no_delay = Some(no_delay);
        }
        works
    }

    pub fn set_keep_alive(&mut self, after: Option<Duration>) -> bool {
        let works = self.sets_option();
        if works {
            self.keep_alive = Some(after);
        }
        works
    }

    fn sets_option(&mut self) -> bool {
        if self.released {
            return false;
        }
        let fails = self.option_errors > 0;
        self.option_errors = self.option_errors.saturating_sub(1);
        !fails
    }

    /// How many bytes wait to be sent.
    pub fn queued_bytes(&self) -> usize {
        self.queue.iter().map(|sending| sending.left).sum()
    }

    /// Whether sends have failed.
    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Whether a send waits.
    pub fn is_sending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether a waiting send can be written, or fail.
    pub fn may_write(&self) -> bool {
        let first = self.queue.front();
        let stalled =
            self.limit == Some(0) && !self.reset && !self.gone && self.write_errors.is_empty();
        first.is_some_and(|first| first.left == 0 || !stalled)
    }

    /// [`may_write`](Self::may_write) for a connection that the app has ended.
    pub fn may_leave(&self) -> bool {
        self.may_write() || self.overdue
    }

    /// Writes some of what waits, or fails. Returns whether the resulting answers were seen.
    pub fn write(&mut self, seen: &Seen) -> bool {
        let Some(first) = self.queue.front_mut() else {
            return false;
        };
        if first.shuts {
            if self.reset {
                return self.fail(net(-15), Some(-15), seen);
            }
            let answered = seen.answered(first.call, &Answer::Done(Ok(())));
            self.fin_sent = true;
            self.queue.pop_front();
            return answered;
        }
        if first.left > 0 {
            let errno = self.write_errors.pop_front();
            match errno.map(|errno| code(&WRITE, errno)) {
                Some(0) => return true,
                Some(code) => {
                    let lost = [
                        libc::EPIPE,
                        libc::ECONNRESET,
                        libc::ECONNABORTED,
                        libc::ETIMEDOUT,
                    ];
                    self.lost_peer = errno.is_some_and(|errno| lost.contains(&errno));
                    return self.fail(net(code), Some(code), seen);
                }
                None if self.reset || self.gone => {
                    self.lost_peer = true;
                    return self.fail(net(-101), Some(-101), seen);
                }
                None if self.overdue => return self.fail(net(-7), None, seen),
                None => {}
            }
            let size = first.left.min(self.limit.unwrap_or(usize::MAX));
            let from = first.bytes - first.left;
            let sent = from..from + size;
            let got = self.written..self.written + size;
            if let Some(peer) = seen.peers.get(&self.number) {
                let Some(got) = peer.received.get(got) else {
                    return false;
                };
                let mut both = got.iter().zip(sent);
                if !both.all(|(byte, place)| *byte == outgoing_byte(first.call, place)) {
                    return false;
                }
            }
            first.left -= size;
            self.written += size;
            self.limit = self.limit.map(|limit| limit - size);
        }
        if first.left > 0 {
            return true;
        }
        let sent = Answer::Sent(Ok(first.bytes));
        let answered = seen.answered(first.call, &sent);
        self.queue.pop_front();
        answered
    }

    /// Fails everything that waits. Returns whether that was answered.
    pub fn fail(&mut self, error: Error, broken: Option<i32>, seen: &Seen) -> bool {
        self.broken = broken;
        let mut queue = self.queue.drain(..);
        queue.all(|sending| {
            let failed = match sending.shuts {
                true => Answer::Done(Err(error)),
                false => Answer::Sent(Err(error)),
            };
            seen.answered(sending.call, &failed)
        })
    }

    /// Whether the peer and the callers of `send` saw what they should.
    pub fn is_consistent(&self, seen: &Seen) -> bool {
        let mut queue = self.queue.iter();
        let waiting = queue.all(|sending| seen.answer(sending.call).is_none());
        let peer = seen.peers.get(&self.number);
        waiting
            && peer.is_none_or(|peer| {
                self.is_consistent_with(peer) && peer.closed == (self.released || self.fin_sent)
            })
    }

    /// [`is_consistent`](Self::is_seen) for a connection that the app has ended: the peer sees the end
    /// at once. It may linger until its peer has ended it too, for some time.
    pub fn is_closed(&self, seen: &Seen) -> bool {
        let is_over = self.ended || self.reset || self.gone || self.overdue || self.was_reset;
        // A connection without a descriptor cannot be reset.
        let is_reset = self.was_reset && !self.released;
        let peer = seen.peers.get(&self.number);
        peer.is_none_or(|peer| {
            self.is_consistent_with(peer)
                && peer.closed
                && (peer.released || !is_over)
                && (peer.reset || !is_reset)
        })
    }

    fn is_consistent_with(&self, peer: &PeerSeen) -> bool {
        peer.received.len() == self.written
            && peer.no_delay == self.no_delay
            && peer.keep_alive == self.keep_alive
    }
}
