//! Who looks after the host: one connection that is no app, and sees and
//! touches the sockets of all. `docs/protocol.md` tells what is spoken.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::call::Wrong;
use super::end::{Code, End};
use super::frame::{self, Data, Form, Frame, FrameError};
use super::key::Key;
use super::limits::{CARETAKER, CARETAKERS, VERSION};
use super::lobby::Lobby;
use super::outbox::Outbox;
use super::outcome::Outcome;
use super::rounds::{self, Rounds};

/// A caretaker that is in.
pub(super) struct Caretaker {
    state: RefCell<State>,
    rounds: Rounds,
    /// Counted as long as it is there.
    _place: Rc<()>,
    /// The answer to its hello.
    pub(super) welcome: Bytes,
}

struct State {
    outbox: Outbox<()>,
    last_call: u64,
    /// What is left of a frame.
    waiting: Option<Waiting>,
    /// The call that is being carried out: one at a time.
    current: Option<(u64, LocalBoxFuture<'static, Outcome>)>,
    /// Why it ends, found where nobody could be told.
    end: Option<End>,
}

struct Waiting {
    messages: std::vec::IntoIter<Vec<Value>>,
    data: Data,
    has_messages: bool,
    length: usize,
}

impl Caretaker {
    /// Lets in who sends this first frame, if it shows the key.
    pub(super) fn enter(
        lobby: &Lobby,
        key: &Key,
        form: Form,
        bytes: Bytes,
        answer: Form,
    ) -> Result<Self, End> {
        let Frame { header, data } = Frame::read(form, bytes)?;
        data.end()?;
        let hello = match header.hello {
            Some(hello) if header.messages.is_empty() => hello,
            _ => {
                let what = "the first frame is a hello, and nothing else";
                return Err(End::new(Code::BadHello, what));
            }
        };
        if !key.is(hello.key.as_deref()) {
            let what = "missing or wrong admin key: the host prints it when it starts";
            return Err(End::new(Code::Forbidden, what));
        }
        if !hello.protocol.contains(&VERSION) || !hello.caretaker.contains(&CARETAKER) {
            let what = format!(
                "this host speaks version {VERSION} of the protocol, and {CARETAKER} of the admin part"
            );
            return Err(End::new(Code::Version, what));
        }
        let place = lobby.caretakers();
        // One is the lobby's.
        if Rc::strong_count(&place) > CARETAKERS + 1 {
            let what = "too many admin connections";
            return Err(End::new(Code::Busy, what));
        }
        let welcome = json!({
            "protocol": VERSION,
            "admin": CARETAKER,
            "host": lobby.name(),
            "instance": lobby.instance(),
            "limits": lobby.limits(),
        });
        let welcome = format!(r#""welcome":{welcome}"#);
        log::info!("admin connected");
        Ok(Caretaker {
            state: RefCell::new(State {
                outbox: Outbox::new(answer),
                last_call: 0,
                waiting: None,
                current: None,
                end: None,
            }),
            rounds: Rounds {
                lobby: lobby.clone(),
                rest: Rc::new(Cell::new(Instant::now())),
                next_server: Rc::default(),
                asked: Rc::default(),
                drains: Rc::default(),
            },
            _place: place,
            welcome: frame::write(answer, &[&welcome], &[]),
        })
    }

    /// Takes in a frame.
    pub(super) fn take(&self, form: Form, bytes: Bytes) -> Result<(), End> {
        let length = bytes.len();
        let Frame { header, data } = Frame::read(form, bytes)?;
        if header.hello.is_some() {
            return Err(End::new(Code::BadHello, "a hello was said already"));
        }
        let mut state = self.state.borrow_mut();
        if let Some(frames) = header.ack {
            state.outbox.acknowledge(frames)?;
        }
        state.waiting = Some(Waiting {
            has_messages: !header.messages.is_empty(),
            messages: header.messages.into_iter(),
            data,
            length,
        });
        state.go_on(&self.rounds)
    }

    /// Whether the next frame should be read.
    pub(super) fn has_room(&self) -> bool {
        self.state.borrow().waiting.is_none()
    }

    /// What is to be sent now.
    pub(super) fn next_frame(&self) -> Result<Option<Bytes>, End> {
        let mut state = self.state.borrow_mut();
        if let Some(end) = state.end.take() {
            return Err(end);
        }
        let frame = state.outbox.next_frame()?;
        if frame.is_some() {
            // There may be room now.
            state.go_on(&self.rounds)?;
        }
        Ok(frame)
    }

    /// Goes on with the call that is being carried out, until it is. Dropping the
    /// future loses nothing.
    pub(super) async fn news(&self) {
        poll_fn(|cx| {
            let current = self.state.borrow_mut().current.take();
            let Some((id, mut call)) = current else {
                return Poll::Pending;
            };
            let outcome = call.as_mut().poll(cx);
            let mut state = self.state.borrow_mut();
            let Poll::Ready(outcome) = outcome else {
                state.current = Some((id, call));
                return Poll::Pending;
            };
            state.tell(id, outcome);
            if let Err(end) = state.go_on(&self.rounds) {
                state.end = Some(end);
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl State {
    /// Begins the next call of the frame that was read last, when the one before is
    /// answered and there is room for more answers.
    fn go_on(&mut self, rounds: &Rounds) -> Result<(), End> {
        while self.current.is_none()
            && self.outbox.has_room()
            && let Some(mut frame) = self.waiting.take()
        {
            let Some(mut message) = frame.messages.next() else {
                frame.data.end()?;
                self.outbox.handled(frame.has_messages, frame.length);
                return Ok(());
            };
            let [Value::Number(id), call @ ..] = message.as_mut_slice() else {
                return Err(FrameError::Message("it is no call").into());
            };
            let id = id.as_u64().filter(|id| *id > self.last_call);
            let Some(id) = id else {
                let what = "a call's id is not greater than the one before";
                return Err(End::new(Code::Overrun, what));
            };
            self.last_call = id;
            match rounds::read(call, &mut frame.data, rounds) {
                Ok(call) => self.current = Some((id, call)),
                Err(Wrong::Call(text)) => self.tell(id, Outcome::failed(text)),
                Err(Wrong::Frame(error)) => return Err(error.into()),
            }
            self.waiting = Some(frame);
        }
        Ok(())
    }

    fn tell(&mut self, id: u64, outcome: Outcome) {
        for message in outcome.messages(id) {
            self.outbox.push(&message);
        }
    }
}
