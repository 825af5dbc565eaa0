//! The session of one client: passes its calls to its app, and the app's events to it.

use std::cell::RefCell;
use std::rc::Rc;

use actix::WeakAddr;
use actix::prelude::*;
use bytes::Bytes;
use chrome_sockets::{App, Error};
use tokio::sync::{Notify, oneshot};

use crate::protocol::close_reason::CloseReason;
use crate::protocol::frame::Encoding;
use crate::sessions::budget::Charge;
use crate::sessions::event_sink::{EventSink, Stop};
use crate::sessions::frame_handler::FrameHandler;
use crate::sessions::state::{SessionContext, SessionState};
use crate::sessions::stats::SocketStats;
use crate::sessions::turn::Turn;

pub(crate) struct Session {
    state: Rc<RefCell<SessionState>>,
    output: Rc<Notify>,
    sink: Addr<EventSink>,
    sink_stopped: oneshot::Receiver<()>,
}

impl Session {
    /// Starts a session. At first it listens only for failed handshakes and PROXY headers, to log
    /// them.
    ///
    /// # Errors
    /// The registry has ended.
    pub(crate) async fn start(context: SessionContext) -> Result<Self, Error> {
        // Persistent sockets may have waited for this client.
        sync_sockets(&context.app, &context.socket_stats, &context.socket_charge).await?;
        let output = Rc::new(Notify::new());
        let (stopped, sink_stopped) = oneshot::channel();
        let state = Rc::new(RefCell::new(SessionState::new(context)));
        let sink = EventSink {
            state: state.clone(),
            output: output.clone(),
            _stopped: stopped,
        };
        let sink = sink.start();
        let handshake_errors = sink.clone().recipient();
        let app = state.borrow().app().clone();
        app.tcp_server
            .on_handshake_error
            .do_add_listener(handshake_errors);
        let proxy_errors = sink.clone().recipient();
        app.tcp_server.on_proxy_error.do_add_listener(proxy_errors);
        Ok(Session {
            state,
            output,
            sink,
            sink_stopped,
        })
    }

    /// Ends the session. Events that the client has not acknowledged return to the app for the
    /// next client. The app is suspended, or unloaded if it has no sockets left.
    pub(crate) async fn close(self) {
        self.sink.do_send(Stop);
        // The sender is dropped with the actor, after its mailbox has closed. Events that are
        // dropped from then on count as undelivered.
        let _ = self.sink_stopped.await;
        let (context, retained) = self.state.borrow_mut().close();
        drop(retained);
        let SessionContext {
            app,
            socket_stats,
            socket_charge,
            ..
        } = context;
        if let Err(error) = app.suspend().await {
            log::warn!("app {}: {error}", app.id());
        }
        let is_synced = sync_sockets(&app, &socket_stats, &socket_charge)
            .await
            .is_ok();
        let is_empty = socket_stats.borrow().is_empty();
        // Otherwise a client could fill the memory with the sockets of one app after another.
        let is_over_budget = !is_empty && socket_charge.borrow().is_full();
        if is_over_budget {
            let id = app.id();
            log::warn!("app {id}: closing its persistent sockets: the host's memory is used up");
        }
        if is_synced && (is_empty || is_over_budget) {
            // An error means that the registry has ended, and its sockets with it.
            let _ = app.unload().await;
            let _ = sync_sockets(&app, &socket_stats, &socket_charge).await;
        }
    }

    pub(crate) fn sink(&self) -> WeakAddr<EventSink> {
        self.sink.downgrade()
    }
}

impl FrameHandler for Session {
    fn receive(
        &self,
        encoding: Encoding,
        bytes: Bytes,
        turn: &mut Turn,
    ) -> Result<(), CloseReason> {
        let mut state = self.state.borrow_mut();
        state.receive(encoding, bytes)?;
        turn.try_step();
        state.process(&self.sink, turn)
    }

    fn process(&self, turn: &mut Turn) -> Result<(), CloseReason> {
        self.state.borrow_mut().process(&self.sink, turn)
    }

    fn has_work(&self) -> bool {
        self.state.borrow().has_work()
    }

    fn is_ready(&self) -> bool {
        self.state.borrow().is_ready()
    }

    fn next_frame(&self) -> Result<Option<Bytes>, CloseReason> {
        self.state.borrow_mut().next_frame()
    }

    async fn wait_for_output(&self) {
        self.output.notified().await;
    }
}

/// Records which sockets the app has.
async fn sync_sockets(
    app: &App,
    socket_stats: &RefCell<SocketStats>,
    socket_charge: &RefCell<Charge>,
) -> Result<(), Error> {
    let length = |name: &Option<String>| name.as_ref().map_or(0, String::len);
    let servers = app.tcp_server.get_sockets().await?;
    let clients = app.tcp.get_sockets().await?;
    let udp = app.udp.get_sockets().await?;
    let servers = servers.iter();
    let servers = servers.map(|info| (info.socket_id.get(), length(&info.name)));
    let clients = clients.iter();
    let clients = clients.map(|info| (info.socket_id.get(), length(&info.name), info.buffer_size));
    let udp = udp.iter();
    let udp = udp.map(|info| (info.socket_id.get(), length(&info.name)));
    let mut socket_stats = socket_stats.borrow_mut();
    socket_stats.sync(servers, clients, udp);
    socket_charge.borrow_mut().set(socket_stats.cost());
    Ok(())
}
