//! The poller of an arbiter's connections.

use std::task::Context;

use crate::os::net::poller::Poller;
use crate::os::{Readiness, Stream, Token};

/// Made for the first stream that is attached.
#[derive(Default)]
pub(crate) struct ArbiterPoller {
    poller: Option<Poller>,
    /// Whether it was not polled in this thread yet. Until then it wakes no task.
    is_unpolled: bool,
    /// The generation of the last token.
    generation: u32,
}

impl ArbiterPoller {
    /// From now on the poller announces the stream by its slot, if the stream can be polled so.
    pub(crate) fn attach(&mut self, stream: &mut dyn Stream, slot: u32) {
        if self.poller.is_none() {
            match Poller::new() {
                Ok(poller) => {
                    self.poller = Some(poller);
                    self.is_unpolled = true;
                }
                // tokio's event loop watches the stream.
                Err(error) => log::debug!("no poller for connections: {error}"),
            }
        }
        if let Some(poller) = &self.poller {
            self.generation = self.generation.wrapping_add(1);
            stream.attach(poller.handle(), Token::new(slot, self.generation));
        }
    }

    /// The stream is in another slot now.
    pub(crate) fn change_slot(&mut self, stream: &mut dyn Stream, slot: u32) {
        if self.poller.is_some() {
            self.generation = self.generation.wrapping_add(1);
            stream.change_token(Token::new(slot, self.generation));
        }
    }

    /// Whether the poller is new in this thread: it must be polled before the task waits.
    pub(crate) fn is_unpolled(&self) -> bool {
        self.is_unpolled
    }

    /// There are no streams any more: its descriptors are released.
    pub(crate) fn release(&mut self) {
        self.poller = None;
        self.is_unpolled = false;
    }

    /// Announces streams that have become ready, and has `cx` woken when there are more. `false` if
    /// the poller has failed: then all streams must be detached.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        announce: impl FnMut(Token, Readiness),
    ) -> bool {
        let Some(poller) = &mut self.poller else {
            return true;
        };
        self.is_unpolled = false;
        match poller.poll(cx, announce) {
            Ok(true) => cx.waker().wake_by_ref(),
            Ok(false) => {}
            Err(error) => {
                log::error!("the poller of connections has failed: {error}");
                self.poller = None;
                return false;
            }
        }
        true
    }

    /// The arbiter is in another thread now. `false` if the poller is lost: then all streams must
    /// be detached.
    pub(crate) fn reregister(&mut self) -> bool {
        let Some(poller) = self.poller.take() else {
            return true;
        };
        match poller.reregister() {
            Ok(poller) => {
                self.poller = Some(poller);
                self.is_unpolled = true;
                true
            }
            Err(error) => {
                log::error!("the poller of connections is lost: {error}");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::os::{Network, TokioNetwork};

    #[actix_rt::test]
    async fn a_poller_that_is_new_in_its_thread_has_to_be_polled_once() {
        let mut poller = ArbiterPoller::default();
        assert!(!poller.is_unpolled());
        let any = "127.0.0.1:0".parse().expect("an address");
        let listener = TokioNetwork.listen(any, 1).expect("a port");
        let at = listener.local_addr().expect("an address").socket_addr();
        let connected = TokioNetwork.connect(at.expect("an IP address")).await;
        let mut stream = connected.expect("a listener");
        poller.attach(&mut *stream, 0);
        assert!(poller.is_unpolled());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(poller.poll(&mut cx, |_, _| {}));
        assert!(!poller.is_unpolled());
        assert!(poller.reregister());
        assert!(poller.is_unpolled());
        poller.release();
        assert!(!poller.is_unpolled());
    }
}
