//! The messages for one client: collects them into frames, and bounds them by windows. No I/O.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::limits::{Limits, MAX_IN_FLIGHT, MIN_EVENT};
use crate::protocol::frame;
use crate::protocol::frame::Encoding;
use crate::sessions::stats::Namespace;

/// The messages for one client.
///
/// `R` is what an event retains until the client has handled it. Dropping it returns the credit
/// of the event, so that the socket reads on.
pub(crate) struct Outbox<R> {
    encoding: Encoding,
    limits: Limits,
    /// The unsent frames in order. New messages go to the last one.
    drafts: VecDeque<Draft<R>>,
    in_flight: VecDeque<InFlightFrame<R>>,
    /// The frames with messages that were sent, and how many of them the client has acknowledged.
    sent: u64,
    acknowledged: u64,
    /// The client's frames with messages that were handled, how many of them were acknowledged,
    /// and the bytes of the others.
    handled: u64,
    handled_acknowledged: u64,
    unacknowledged_bytes: usize,
    /// The part of the window that unacknowledged `onReceive` events use.
    used: usize,
    sockets: HashMap<Source, SocketWindow<R>>,
    /// The sockets whose events are retained because a window is full.
    starved: HashSet<Source>,
}

/// The client acknowledged frames that were never sent, or has far too many unacknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overrun;

/// The socket that received something: each namespace numbers its own.
type Source = (Namespace, u64);

struct Draft<R> {
    /// The field `messages` without its closing bracket.
    messages: String,
    data: Vec<u8>,
    /// The last `tcp.onReceive`, while more data can be joined to it: the socket, and the start of
    /// its data.
    open_receive: Option<(u64, usize)>,
    in_flight: InFlightFrame<R>,
}

/// What the acknowledgement of a frame releases.
struct InFlightFrame<R> {
    /// Sockets, and the part of their windows.
    received: Vec<(Source, usize)>,
    retained: Vec<R>,
}

struct SocketWindow<R> {
    used: usize,
    retained: Vec<R>,
}

const NO_MESSAGES: &str = r#""messages":["#;

impl<R> Default for Draft<R> {
    fn default() -> Self {
        Draft {
            messages: NO_MESSAGES.to_owned(),
            data: Vec::new(),
            open_receive: None,
            in_flight: InFlightFrame {
                received: Vec::new(),
                retained: Vec::new(),
            },
        }
    }
}

impl<R> Draft<R> {
    fn is_full(&self, limits: &Limits) -> bool {
        // Base64 encodes three bytes as four.
        self.messages.len() + self.data.len() * 4 / 3 >= limits.full_frame()
    }

    fn start_message(&mut self, encoding: Encoding) {
        self.finish_receive(encoding);
        if self.messages.len() > NO_MESSAGES.len() {
            self.messages.push(',');
        }
    }

    /// Writes the last `onReceive`, to which no more data is joined.
    fn finish_receive(&mut self, encoding: Encoding) {
        let Some((socket, start)) = self.open_receive.take() else {
            return;
        };
        let text = &mut self.messages;
        let _ = write!(text, r#"["tcp.onReceive",{socket},"#);
        match encoding {
            Encoding::Binary => {
                let _ = write!(text, "{}", self.data.len() - start);
            }
            Encoding::Text => {
                frame::push_base64(text, &self.data[start..]);
                self.data.truncate(start);
            }
        }
        text.push(']');
    }
}

impl<R> Outbox<R> {
    pub(crate) fn new(encoding: Encoding, limits: Limits) -> Self {
        Outbox {
            encoding,
            limits,
            drafts: VecDeque::new(),
            in_flight: VecDeque::new(),
            sent: 0,
            acknowledged: 0,
            handled: 0,
            handled_acknowledged: 0,
            unacknowledged_bytes: 0,
            used: 0,
            sockets: HashMap::new(),
            starved: HashSet::new(),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Adds a message, which is JSON.
    pub(crate) fn push(&mut self, message: &str) {
        let encoding = self.encoding;
        let draft = self.draft();
        draft.start_message(encoding);
        draft.messages.push_str(message);
    }

    /// Adds an event, and retains `retained` until the client has handled it.
    pub(crate) fn push_retaining(&mut self, message: &str, retained: R) {
        self.push(message);
        if let Some(draft) = self.drafts.back_mut() {
            draft.in_flight.retained.push(retained);
        }
    }

    /// Adds a `tcp.onReceive`, joined to the one before if that is of the same socket and both
    /// have at most `max` bytes. Drops `retained` at once if the windows have room, else when they
    /// do.
    pub(crate) fn push_receive(&mut self, socket: u64, data: &Bytes, max: usize, retained: R) {
        let encoding = self.encoding;
        let draft = self.draft();
        match draft.open_receive {
            Some((open, start))
                if open == socket && draft.data.len() - start + data.len() <= max => {}
            _ => {
                draft.start_message(encoding);
                draft.open_receive = Some((socket, draft.data.len()));
            }
        }
        draft.data.extend_from_slice(data);
        self.charge((Namespace::Client, socket), data.len(), retained);
    }

    /// Adds a `udp.onReceive`, and treats `retained` as [`push_receive`](Self::push_receive) does.
    /// Datagrams are never joined.
    pub(crate) fn push_datagram(
        &mut self,
        socket: u64,
        data: &Bytes,
        from: SocketAddr,
        retained: R,
    ) {
        let encoding = self.encoding;
        let draft = self.draft();
        draft.start_message(encoding);
        // Writing to a string cannot fail.
        let _ = write!(draft.messages, r#"["udp.onReceive",{socket},"#);
        match encoding {
            Encoding::Binary => {
                let _ = write!(draft.messages, "{}", data.len());
                draft.data.extend_from_slice(data);
            }
            Encoding::Text => frame::push_base64(&mut draft.messages, data),
        }
        let (address, port) = (from.ip(), from.port());
        let _ = write!(draft.messages, r#","{address}",{port}]"#);
        self.charge((Namespace::Udp, socket), data.len(), retained);
    }

    /// Charges received data of the last draft to the windows.
    fn charge(&mut self, source: Source, length: usize, retained: R) {
        let cost = length.max(MIN_EVENT);
        if let Some(draft) = self.drafts.back_mut() {
            match draft.in_flight.received.last_mut() {
                Some((last, sum)) if *last == source => *sum += cost,
                _ => draft.in_flight.received.push((source, cost)),
            }
        }
        self.used += cost;
        let window = self.sockets.entry(source).or_insert_with(|| SocketWindow {
            used: 0,
            retained: Vec::new(),
        });
        window.used += cost;
        if window.used > self.limits.socket_window() || self.used > self.limits.window {
            window.retained.push(retained);
            self.starved.insert(source);
        }
    }

    /// The draft for the next message.
    fn draft(&mut self) -> &mut Draft<R> {
        let is_full = |draft: &Draft<R>| draft.is_full(&self.limits);
        if self.drafts.back().is_none_or(is_full) {
            self.drafts.push_back(Draft::default());
        }
        let last = self.drafts.len() - 1;
        &mut self.drafts[last]
    }

    /// Counts a handled frame of the client. Frames without messages are not acknowledged.
    pub(crate) fn count_handled(&mut self, has_messages: bool, bytes: usize) {
        if has_messages {
            self.handled += 1;
            self.unacknowledged_bytes += bytes;
        }
    }

    /// Handles an acknowledgement: the total number of frames that the client has handled.
    pub(crate) fn acknowledge(&mut self, frames: u64) -> Result<(), Overrun> {
        if frames < self.acknowledged || frames > self.sent {
            return Err(Overrun);
        }
        while self.acknowledged < frames {
            self.acknowledged += 1;
            let frame = self.in_flight.pop_front();
            for (source, cost) in frame.into_iter().flat_map(|frame| frame.received) {
                self.release(source, cost);
            }
        }
        if self.used <= self.limits.window {
            self.starved.retain(|source| {
                let Some(window) = self.sockets.get_mut(source) else {
                    return false;
                };
                if window.used > self.limits.socket_window() {
                    return true;
                }
                window.retained.clear();
                false
            });
        }
        Ok(())
    }

    fn release(&mut self, source: Source, cost: usize) {
        self.used -= cost;
        if let Some(window) = self.sockets.get_mut(&source) {
            window.used -= cost;
            if window.used == 0 {
                self.sockets.remove(&source);
            }
        }
    }

    /// Whether to read the client's frames: their answers must not collect while it does not read.
    pub(crate) fn has_room(&self) -> bool {
        self.drafts.len() <= 1
    }

    /// The bytes of the unsent frames.
    pub(crate) fn unsent_bytes(&self) -> usize {
        let drafts = self.drafts.iter();
        drafts
            .map(|draft| draft.messages.len() + draft.data.len())
            .sum()
    }

    /// The next frame to send now, if any.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, Overrun> {
        // While many frames are unacknowledged, messages collect until a frame is full.
        let collects = self.in_flight.len() as u64 >= self.limits.frames;
        let is_due = |draft: &Draft<R>| !collects || draft.is_full(&self.limits);
        let draft = match self.drafts.front().is_some_and(is_due) {
            true => self.drafts.pop_front(),
            false => None,
        };
        if draft.is_none() && !self.owes_acknowledgement() {
            return Ok(None);
        }
        let mut fields = Vec::with_capacity(2);
        let ack = format!(r#""ack":{}"#, self.handled);
        if self.handled_acknowledged < self.handled {
            self.handled_acknowledged = self.handled;
            self.unacknowledged_bytes = 0;
            fields.push(ack.as_str());
        }
        let Some(mut draft) = draft else {
            return Ok(Some(frame::write(self.encoding, &fields, &[])));
        };
        draft.finish_receive(self.encoding);
        draft.messages.push(']');
        fields.push(&draft.messages);
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            return Err(Overrun);
        }
        self.in_flight.push_back(draft.in_flight);
        self.sent += 1;
        Ok(Some(frame::write(self.encoding, &fields, &draft.data)))
    }

    fn owes_acknowledgement(&self) -> bool {
        self.handled - self.handled_acknowledged >= self.limits.frames / 2
            || self.unacknowledged_bytes >= self.limits.window / 8
    }

    /// Everything that is retained for events that the client has not acknowledged.
    pub(crate) fn into_retained(self) -> impl Sized {
        (self.drafts, self.in_flight, self.sockets)
    }
}

#[cfg(test)]
mod tests;
