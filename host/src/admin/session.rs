//! Who looks after the host: one connection that is no app, and sees and
//! touches the sockets of all. `docs/protocol.md` tells what is spoken.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use serde_json::json;

use crate::access::admin_key::AdminKey;
use crate::admin::calls;
use crate::admin::calls::AdminCalls;
use crate::limits::{CARETAKER, CARETAKERS, VERSION};
use crate::protocol::call::CallError;
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame;
use crate::protocol::frame::{Data, Encoding, Frame, FrameError, Hello, Messages};
use crate::protocol::message;
use crate::protocol::outbox::Outbox;
use crate::protocol::outcome::Outcome;
use crate::sessions::directory::SessionDirectory;
use crate::sessions::turn::Turn;

/// A caretaker that is in.
pub(crate) struct AdminSession {
    state: RefCell<State>,
    rounds: AdminCalls,
    /// Counted as long as it is there.
    _place: Rc<()>,
    /// The answer to its hello.
    pub(crate) welcome: Bytes,
}

struct State {
    outbox: Outbox<()>,
    last_call: u64,
    /// What is left of a frame.
    waiting: Option<Waiting>,
    /// The call that is being carried out: one at a time.
    current: Option<(u64, LocalBoxFuture<'static, Outcome>)>,
}

struct Waiting {
    messages: Messages,
    data: Data,
    has_messages: bool,
    length: usize,
}

impl AdminSession {
    /// Lets in who sends this first frame, if it shows the key.
    pub(crate) fn enter(
        directory: &SessionDirectory,
        key: &AdminKey,
        form: Encoding,
        bytes: Bytes,
        answer: Encoding,
    ) -> Result<Self, CloseReason> {
        let Some(hello) = Frame::read(form, bytes)?.into_hello()? else {
            let what = "the first frame is a hello, and nothing else";
            return Err(CloseReason::new(Code::BadHello, what));
        };
        let hello: Hello<'_> = frame::object(&hello)?;
        if !key.is(hello.key.as_ref().map(|key| &*key.0)) {
            let what = "missing or wrong admin key: the host prints it when it starts";
            return Err(CloseReason::new(Code::Forbidden, what));
        }
        if !hello.protocol.has(VERSION) || !hello.admin_session.has(CARETAKER) {
            let what = format!(
                "this host speaks version {VERSION} of the protocol, and {CARETAKER} of the admin part"
            );
            return Err(CloseReason::new(Code::Version, what));
        }
        let place = directory.caretakers();
        // One is the lobby's.
        if Rc::strong_count(&place) > CARETAKERS + 1 {
            let what = "too many admin connections";
            return Err(CloseReason::new(Code::Busy, what));
        }
        let welcome = json!({
            "protocol": VERSION,
            "admin": CARETAKER,
            "host": directory.name(),
            "instance": directory.instance(),
            "limits": directory.limits(),
        });
        let welcome = format!(r#""welcome":{welcome}"#);
        log::info!("admin connected");
        Ok(AdminSession {
            state: RefCell::new(State {
                outbox: Outbox::new(answer),
                last_call: 0,
                waiting: None,
                current: None,
            }),
            rounds: AdminCalls {
                directory: directory.clone(),
                next_server: Rc::default(),
                asked: Rc::default(),
                drains: Rc::default(),
            },
            _place: place,
            welcome: frame::write(answer, &[&welcome], &[]),
        })
    }

    /// Takes in a frame.
    pub(crate) fn take(
        &self,
        form: Encoding,
        bytes: Bytes,
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        let length = bytes.len();
        let frame = Frame::read(form, bytes)?;
        if frame.hello.is_some() {
            return Err(CloseReason::new(Code::BadHello, "a hello was said already"));
        }
        let mut state = self.state.borrow_mut();
        if let Some(frames) = frame.ack {
            state.outbox.acknowledge(frames)?;
        }
        state.waiting = Some(Waiting {
            has_messages: !frame.messages.is_empty(),
            messages: frame.messages,
            data: frame.data,
            length,
        });
        turn.goes_on();
        state.go_on(&self.rounds, turn)
    }

    /// Goes on with a frame of which not all is carried out.
    pub(crate) fn go_on(&self, turn: &mut Turn) -> Result<(), CloseReason> {
        self.state.borrow_mut().go_on(&self.rounds, turn)
    }

    /// Whether it could go on.
    pub(crate) fn has_work(&self) -> bool {
        let state = self.state.borrow();
        state.waiting.is_some() && state.is_free()
    }

    /// Whether the next frame should be read.
    pub(crate) fn has_room(&self) -> bool {
        self.state.borrow().waiting.is_none()
    }

    /// What is to be sent now.
    pub(crate) fn next_frame(&self) -> Result<Option<Bytes>, CloseReason> {
        Ok(self.state.borrow_mut().outbox.next_frame()?)
    }

    /// Goes on with the call that is being carried out, until it is. Dropping the
    /// future loses nothing.
    pub(crate) async fn news(&self) {
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
            Poll::Ready(())
        })
        .await;
    }
}

impl State {
    /// Whether the next call may begin: when the one before is answered and there is room for more
    /// answers.
    fn is_free(&self) -> bool {
        self.current.is_none() && self.outbox.has_room()
    }

    fn go_on(&mut self, rounds: &AdminCalls, turn: &mut Turn) -> Result<(), CloseReason> {
        while self.is_free()
            && turn.goes_on()
            && let Some(mut frame) = self.waiting.take()
        {
            let Some(message) = frame.messages.next()? else {
                frame.data.end()?;
                self.outbox.handled(frame.has_messages, frame.length);
                break;
            };
            let id = match message.kind() {
                Some(message::Kind::Call(id)) if id > self.last_call => id,
                Some(message::Kind::Call(_) | message::Kind::BadId) => {
                    return Err(message::bad_id());
                }
                _ => return Err(FrameError::Message("it is no call").into()),
            };
            self.last_call = id;
            match calls::read(message, &mut frame.data, rounds) {
                Ok(call) => self.current = Some((id, call)),
                Err(CallError::Call(text)) => self.tell(id, Outcome::failed(text)),
                Err(CallError::Frame(error)) => return Err(error.into()),
            }
            self.waiting = Some(frame);
        }
        Ok(())
    }

    fn tell(&mut self, id: u64, outcome: Outcome) {
        self.outbox.push(&outcome.message(id));
    }
}
