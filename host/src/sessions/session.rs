//! One client that has come in: its calls go down to its app, what the app's
//! sockets tell goes up to it.

use std::cell::RefCell;
use std::rc::Rc;

use actix::WeakAddr;
use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::protocol::close_reason::CloseReason;
use crate::protocol::frame::Encoding;
use crate::sessions::budget::Charge;
use crate::sessions::event_sink::{EventSink, Leave};
use crate::sessions::state::{Setup, State};
use crate::sessions::stats::SocketStats;
use crate::sessions::turn::Turn;
use chrome_sockets::App;
use chrome_sockets::Error;

/// A client's session, in the hands of its transport.
pub(crate) struct Session {
    state: Rc<RefCell<State>>,
    news: Rc<Notify>,
    ear: Addr<EventSink>,
    gone: oneshot::Receiver<()>,
}

impl Session {
    /// Begins with nobody listening.
    ///
    /// # Errors
    /// The registry has ended.
    pub(crate) async fn begin(setup: Setup) -> Result<Self, Error> {
        // Those that have waited for it.
        look_up(&setup.app, &setup.socket_stats, &setup.sockets).await?;
        let news = Rc::new(Notify::new());
        let (here, gone) = oneshot::channel();
        let state = Rc::new(RefCell::new(State::new(setup)));
        let ear = EventSink {
            state: state.clone(),
            news: news.clone(),
            _here: here,
        };
        let ear = ear.start();
        Ok(Session {
            state,
            news,
            ear,
            gone,
        })
    }

    /// Takes in a frame of the client, and begins with it.
    pub(crate) fn take(
        &self,
        form: Encoding,
        bytes: Bytes,
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        let mut state = self.state.borrow_mut();
        state.take(form, bytes)?;
        turn.goes_on();
        state.go_on(&self.ear, turn)
    }

    /// Goes on with a frame of which not all is carried out.
    pub(crate) fn go_on(&self, turn: &mut Turn) -> Result<(), CloseReason> {
        self.state.borrow_mut().go_on(&self.ear, turn)
    }

    /// Whether it could go on.
    pub(crate) fn has_work(&self) -> bool {
        self.state.borrow().has_work()
    }

    /// Whether the next frame of the client should be read.
    pub(crate) fn has_room(&self) -> bool {
        !self.state.borrow().is_waiting()
    }

    /// What is to be sent now.
    pub(crate) fn next_frame(&self) -> Result<Option<Bytes>, CloseReason> {
        let mut state = self.state.borrow_mut();
        state.next_frame()
    }

    /// Waits until there may be something to be sent.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// The client is gone: what it has not heard of waits for the next one,
    /// and its app is suspended, or forgotten if it has nothing left.
    pub(crate) async fn leave(self) {
        let Session {
            state, ear, gone, ..
        } = self;
        ear.do_send(Leave);
        // It is dropped with the actor, whose mailbox is closed then: events
        // that are dropped from here on have reached nobody.
        let _ = gone.await;
        let (app, socket_stats, sockets, held) = state.borrow_mut().leave();
        drop(held);
        if let Err(error) = app.suspend().await {
            log::warn!("app {}: {error}", app.id());
        }
        let has_looked = look_up(&app, &socket_stats, &sockets).await.is_ok();
        let is_empty = socket_stats.borrow().is_empty();
        // What apps leave behind is bounded like what they have: else a client could fill the
        // memory under one name after the other.
        let is_too_much = !is_empty && sockets.borrow().is_full();
        if is_too_much {
            log::warn!(
                "app {}: its persistent sockets are closed: the host has too many",
                app.id()
            );
        }
        if has_looked && (is_empty || is_too_much) {
            // Its registry may have ended: then there is nothing to forget.
            let _ = app.unload().await;
            let _ = look_up(&app, &socket_stats, &sockets).await;
        }
    }

    /// Where it can be told something.
    pub(crate) fn ear(&self) -> WeakAddr<EventSink> {
        self.ear.downgrade()
    }
}

/// Writes down which sockets the app has.
async fn look_up(
    app: &App,
    socket_stats: &RefCell<SocketStats>,
    sockets: &RefCell<Charge>,
) -> Result<(), Error> {
    let length = |name: &Option<String>| name.as_ref().map_or(0, String::len);
    let servers = app.tcp_server.get_sockets().await?;
    let clients = app.tcp.get_sockets().await?;
    let servers = servers.iter();
    let servers = servers.map(|info| (info.socket_id.get(), length(&info.name)));
    let clients = clients.iter();
    let clients = clients.map(|info| (info.socket_id.get(), length(&info.name), info.buffer_size));
    let mut socket_stats = socket_stats.borrow_mut();
    socket_stats.found(servers, clients);
    sockets.borrow_mut().set(socket_stats.cost());
    Ok(())
}
