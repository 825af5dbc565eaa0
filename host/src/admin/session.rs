//! The session of an admin connection. It is not an app; `docs/protocol.md` specifies it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;

use crate::access::admin_key::AdminKey;
use crate::admin::calls;
use crate::admin::calls::AdminCalls;
use crate::admin::list_rate::ListRate;
use crate::limits::{ADMIN_VERSION, ADMINS, VERSION};
use crate::protocol::arguments::CallError;
use crate::protocol::close_reason::{CloseReason, Code};
use crate::protocol::frame::{Encoding, Frame, FrameError, Hello};
use crate::protocol::outbox::Outbox;
use crate::protocol::outcome::{Outcome, OutcomeFuture};
use crate::protocol::{frame, message};
use crate::sessions::directory::SessionDirectory;
use crate::sessions::frame_handler::{FrameHandler, PendingFrame};
use crate::sessions::turn::Turn;

pub(crate) struct AdminSession {
    state: RefCell<AdminState>,
    calls: AdminCalls,
    /// Counts the connection until it is dropped.
    _admin: Rc<()>,
    /// The frame that answers the hello.
    pub(crate) welcome: Bytes,
}

struct AdminState {
    outbox: Outbox<()>,
    last_call: u64,
    pending_frame: Option<PendingFrame>,
    /// The call that is carried out: one at a time.
    current: Option<(u64, OutcomeFuture)>,
}

impl AdminSession {
    /// Opens the session of a client that sent this first frame. `output` is the encoding of
    /// the frames to it.
    ///
    /// # Errors
    /// The key is wrong, the versions do not match, or there are too many admin connections.
    pub(crate) fn open(
        directory: &SessionDirectory,
        key: &AdminKey,
        encoding: Encoding,
        bytes: Bytes,
        output: Encoding,
    ) -> Result<Self, CloseReason> {
        let limits = directory.settings().limits;
        let hello = Frame::read(encoding, bytes, limits.frame)?.into_hello()?;
        let hello: Hello<'_> = frame::parse_object(&hello)?;
        if !key.matches(hello.key.as_ref().map(|key| &*key.0)) {
            let text = "missing or wrong admin key: the host prints it when it starts";
            return Err(CloseReason::new(Code::Forbidden, text));
        }
        if !hello.protocol.contains(VERSION) || !hello.admin.contains(ADMIN_VERSION) {
            let text = format!(
                "this host supports protocol version {VERSION} and admin version {ADMIN_VERSION}"
            );
            return Err(CloseReason::new(Code::Version, text));
        }
        let admin = directory.admins();
        // The directory itself holds one clone.
        if Rc::strong_count(&admin) > ADMINS + 1 {
            return Err(CloseReason::new(Code::Busy, "too many admin connections"));
        }
        log::info!("admin connected");
        Ok(AdminSession {
            state: RefCell::new(AdminState {
                outbox: Outbox::new(output, limits),
                last_call: 0,
                pending_frame: None,
                current: None,
            }),
            calls: AdminCalls {
                directory: directory.clone(),
                next_server: Rc::default(),
                list_rate: ListRate::new(directory.next_list()),
                drains: Rc::default(),
            },
            _admin: admin,
            welcome: directory.welcome_frame(output, &limits, "admin", ADMIN_VERSION.into()),
        })
    }
}

impl FrameHandler for AdminSession {
    fn receive(
        &self,
        encoding: Encoding,
        bytes: Bytes,
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        let mut state = self.state.borrow_mut();
        let frame = PendingFrame::receive(encoding, bytes, &mut state.outbox)?;
        state.pending_frame = Some(frame);
        turn.try_step();
        state.process(&self.calls, turn)
    }

    fn process(&self, turn: &mut Turn) -> Result<(), CloseReason> {
        self.state.borrow_mut().process(&self.calls, turn)
    }

    fn has_work(&self) -> bool {
        let state = self.state.borrow();
        state.pending_frame.is_some() && state.may_process()
    }

    fn is_ready(&self) -> bool {
        self.state.borrow().pending_frame.is_none()
    }

    fn next_frame(&self) -> Result<Option<Bytes>, CloseReason> {
        Ok(self.state.borrow_mut().outbox.next_frame()?)
    }

    /// Polls the current call, and ends when it is answered.
    async fn wait_for_output(&self) {
        poll_fn(|cx| {
            // The call uses the directory, so the state must not be borrowed while it is polled.
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
            state.outbox.push(&outcome.message(id));
            Poll::Ready(())
        })
        .await;
    }
}

impl AdminState {
    /// Whether to process the next call: one at a time, and while there is room for its answer.
    fn may_process(&self) -> bool {
        self.current.is_none() && self.outbox.has_room()
    }

    fn process(&mut self, calls: &AdminCalls, turn: &mut Turn) -> Result<(), CloseReason> {
        while self.may_process()
            && turn.try_step()
            && let Some(mut frame) = self.pending_frame.take()
        {
            let Some(message) = frame.messages.next()? else {
                frame.finish(&mut self.outbox)?;
                break;
            };
            let id = match message.kind() {
                Some(message::Kind::Call(id)) if id > self.last_call => id,
                Some(message::Kind::Call(_) | message::Kind::BadId) => {
                    return Err(CloseReason::bad_call_id());
                }
                _ => return Err(FrameError::Message("not a call").into()),
            };
            self.last_call = id;
            match calls::read(message, &mut frame.data, calls) {
                Ok(call) => self.current = Some((id, call)),
                Err(CallError::Call(text)) => {
                    self.outbox.push(&Outcome::refused(text).message(id));
                }
                Err(CallError::Frame(error)) => return Err(error.into()),
            }
            self.pending_frame = Some(frame);
        }
        Ok(())
    }
}
