//! What goes to one client: messages that come together in frames, and the
//! credit that bounds them. Pure; the transports send what it says.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write;

use bytes::Bytes;

use crate::limits::{FRAMES, FULL, MAX_IN_FLIGHT, MIN_EVENT, SOCKET_WINDOW, WINDOW};
use crate::protocol::frame;
use crate::protocol::frame::Encoding;

/// The messages for one client.
///
/// `H` is what is held for an event until the client has handled it: dropping
/// it gives its credit back.
pub(crate) struct Outbox<H> {
    form: Encoding,
    /// What is not sent yet, in order; the last one is being filled.
    drafts: VecDeque<Draft<H>>,
    in_flight: VecDeque<Flight<H>>,
    /// Frames with messages: how many were sent, and how many acknowledged.
    sent: u64,
    acknowledged: u64,
    /// The other way: how many have come, and how many of them this side has
    /// acknowledged; and the bytes of the others.
    handled: u64,
    told: u64,
    untold_bytes: usize,
    /// What `onReceive` events take of the window.
    used: usize,
    sockets: HashMap<u64, Socket<H>>,
    /// The sockets that hold something because there is no window.
    starved: HashSet<u64>,
}

/// The client acknowledges what was never sent, or nothing at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overrun;

struct Draft<H> {
    /// The key `messages`, without its last bracket.
    messages: String,
    data: Vec<u8>,
    /// An `onReceive` that more may be joined to: the socket, and where its
    /// data begins.
    open: Option<(u64, usize)>,
    flight: Flight<H>,
}

/// What a frame's acknowledgement gives back.
struct Flight<H> {
    /// Of the windows of sockets.
    received: Vec<(u64, usize)>,
    held: Vec<H>,
}

struct Socket<H> {
    used: usize,
    held: Vec<H>,
}

const NO_MESSAGES: &str = r#""messages":["#;

impl<H> Default for Draft<H> {
    fn default() -> Self {
        Draft {
            messages: NO_MESSAGES.to_owned(),
            data: Vec::new(),
            open: None,
            flight: Flight {
                received: Vec::new(),
                held: Vec::new(),
            },
        }
    }
}

impl<H> Draft<H> {
    fn is_full(&self) -> bool {
        // Base64 makes four bytes of three.
        self.messages.len() + self.data.len() * 4 / 3 >= FULL
    }

    fn begin(&mut self, form: Encoding) {
        self.close(form);
        if self.messages.len() > NO_MESSAGES.len() {
            self.messages.push(',');
        }
    }

    /// Writes down the `onReceive` that nothing more is joined to.
    fn close(&mut self, form: Encoding) {
        let Some((socket, start)) = self.open.take() else {
            return;
        };
        let text = &mut self.messages;
        let _ = write!(text, r#"["tcp.onReceive",{socket},"#);
        match form {
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

impl<H> Outbox<H> {
    pub(crate) fn new(form: Encoding) -> Self {
        Outbox {
            form,
            drafts: VecDeque::new(),
            in_flight: VecDeque::new(),
            sent: 0,
            acknowledged: 0,
            handled: 0,
            told: 0,
            untold_bytes: 0,
            used: 0,
            sockets: HashMap::new(),
            starved: HashSet::new(),
        }
    }

    /// A message, which is a JSON text.
    pub(crate) fn push(&mut self, message: &str) {
        let form = self.form;
        let draft = self.draft();
        draft.begin(form);
        draft.messages.push_str(message);
    }

    /// An event, and what is held until the client has handled it.
    pub(crate) fn push_held(&mut self, message: &str, held: H) {
        self.push(message);
        if let Some(draft) = self.drafts.back_mut() {
            draft.flight.held.push(held);
        }
    }

    /// An `onReceive`: joined to the one before it, if that is of the same
    /// socket and both are no more than `most` bytes. `held` is let go at
    /// once, or when there is a window again.
    pub(crate) fn push_receive(&mut self, socket: u64, data: &Bytes, most: usize, held: H) {
        let form = self.form;
        let draft = self.draft();
        match draft.open {
            Some((open, start))
                if open == socket && draft.data.len() - start + data.len() <= most => {}
            _ => {
                draft.begin(form);
                draft.open = Some((socket, draft.data.len()));
            }
        }
        draft.data.extend_from_slice(data);
        let cost = data.len().max(MIN_EVENT);
        match draft.flight.received.last_mut() {
            Some((last, sum)) if *last == socket => *sum += cost,
            _ => draft.flight.received.push((socket, cost)),
        }
        self.used += cost;
        let window = self.sockets.entry(socket).or_insert_with(|| Socket {
            used: 0,
            held: Vec::new(),
        });
        window.used += cost;
        if window.used > SOCKET_WINDOW || self.used > WINDOW {
            window.held.push(held);
            self.starved.insert(socket);
        }
    }

    /// The draft that is being filled.
    fn draft(&mut self) -> &mut Draft<H> {
        if self.drafts.back().is_none_or(Draft::is_full) {
            self.drafts.push_back(Draft::default());
        }
        let last = self.drafts.len() - 1;
        &mut self.drafts[last]
    }

    /// A frame of the client was handled, which had so many bytes; whether it
    /// had messages says whether it counts.
    pub(crate) fn handled(&mut self, has_messages: bool, bytes: usize) {
        if has_messages {
            self.handled += 1;
            self.untold_bytes += bytes;
        }
    }

    /// The client has handled so many frames in all.
    pub(crate) fn acknowledge(&mut self, frames: u64) -> Result<(), Overrun> {
        if frames < self.acknowledged || frames > self.sent {
            return Err(Overrun);
        }
        while self.acknowledged < frames {
            self.acknowledged += 1;
            let flight = self.in_flight.pop_front();
            for (socket, cost) in flight.into_iter().flat_map(|flight| flight.received) {
                self.give_back(socket, cost);
            }
        }
        if self.used <= WINDOW {
            self.starved.retain(|socket| {
                let Some(window) = self.sockets.get_mut(socket) else {
                    return false;
                };
                if window.used > SOCKET_WINDOW {
                    return true;
                }
                window.held.clear();
                false
            });
        }
        Ok(())
    }

    fn give_back(&mut self, socket: u64, cost: usize) {
        self.used -= cost;
        if let Some(window) = self.sockets.get_mut(&socket) {
            window.used -= cost;
            if window.used == 0 {
                self.sockets.remove(&socket);
            }
        }
    }

    /// Whether the client's frames should be read: what it is told must not
    /// grow while it does not take it.
    pub(crate) fn has_room(&self) -> bool {
        self.drafts.len() <= 1
    }

    /// The bytes that wait to be taken by the transport.
    pub(crate) fn waiting(&self) -> usize {
        let drafts = self.drafts.iter();
        drafts
            .map(|draft| draft.messages.len() + draft.data.len())
            .sum()
    }

    /// The next frame to be sent, if one may be.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, Overrun> {
        let waits = self.in_flight.len() as u64 >= FRAMES;
        let may_go = |draft: &Draft<H>| !waits || draft.is_full();
        let draft = match self.drafts.front().is_some_and(may_go) {
            true => self.drafts.pop_front(),
            false => None,
        };
        if draft.is_none() && !self.owes_acknowledgement() {
            return Ok(None);
        }
        let mut keys = Vec::with_capacity(2);
        let ack = format!(r#""ack":{}"#, self.handled);
        if self.told < self.handled {
            self.told = self.handled;
            self.untold_bytes = 0;
            keys.push(ack.as_str());
        }
        let Some(mut draft) = draft else {
            return Ok(Some(frame::write(self.form, &keys, &[])));
        };
        draft.close(self.form);
        draft.messages.push(']');
        keys.push(&draft.messages);
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            return Err(Overrun);
        }
        self.in_flight.push_back(draft.flight);
        self.sent += 1;
        Ok(Some(frame::write(self.form, &keys, &draft.data)))
    }

    fn owes_acknowledgement(&self) -> bool {
        self.handled - self.told >= FRAMES / 2 || self.untold_bytes >= WINDOW / 8
    }

    /// What is held for events that the client has not acknowledged.
    pub(crate) fn into_held(self) -> impl Sized {
        (self.drafts, self.in_flight, self.sockets)
    }
}

#[cfg(test)]
mod tests;
