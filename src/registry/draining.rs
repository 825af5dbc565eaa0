//! Drains: connections end by themselves until a deadline, and then are ended.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::time::{sleep, timeout};
use futures::future::{Either, join_all, select};

use crate::connections::{ConnectionCounter, DrainGuard};
use crate::draining::{Drain, DrainAll, DrainInfo, Drained, PROGRESS_INTERVAL};
use crate::error::Error;
use crate::ids::ServerSocketId;
use crate::registry::state::{AppState, Registry};
use crate::supervision::{StableAddr, ask_all};
use crate::tcp::{self, AppShards};
use crate::tcp_server::{self, AbortedSetups, ServerSocket};
use crate::telemetry::DrainEnd;

/// The sockets of a drain.
struct DrainTarget {
    app_shards: Arc<AppShards>,
    app_listeners: Arc<tcp_server::AppListeners>,
    servers: Vec<Arc<StableAddr<ServerSocket>>>,
    /// `None` for all sockets of the app.
    socket_id: Option<ServerSocketId>,
}

impl DrainTarget {
    fn app(state: &AppState) -> Self {
        DrainTarget {
            app_shards: state.app_shards.clone(),
            app_listeners: state.app_listeners.clone(),
            servers: state.server_addrs(),
            socket_id: None,
        }
    }

    /// Carries out the drain. It depends on the sockets only, and does not keep
    /// the registry alive.
    async fn drain(self, deadline: Duration) -> Result<Drained, Error> {
        let mut deadline = pin!(sleep(deadline));
        let stopped = ask_all(&self.servers, &tcp_server::StopListening).await;
        let mut stopped: Vec<_> = stopped.into_iter().flatten().collect();
        let draining = match self.socket_id {
            None => DrainGuard::new(self.app_shards.counter.clone()),
            Some(_) => match stopped.first() {
                Some(stopped) => DrainGuard::new(stopped.draining.counter().clone()),
                None => return Err(Error::SocketNotFound),
            },
        };
        let telemetry = &self.app_shards.activity.registry_link().telemetry;
        let running = telemetry.begin_drain();
        let counter = draining.counter();
        // Connections that were accepted or requested before this drain count.
        self.app_shards.ask(&tcp::FlushCalls).await;
        let never_accepted = stopped.iter().map(|it| it.never_accepted).sum();
        let mut progress = DrainProgress::new(&self, counter.clone());

        let settled = stopped.iter_mut().map(|it| &mut it.setups_done);
        let settled = join_all(settled.collect::<Vec<_>>());
        let mut all_ended = pin!(async {
            // Handshakes may still become connections.
            settled.await;
            self.app_shards.ask(&tcp::FlushCalls).await;
            counter.wait_until_none().await;
        });
        let mut aborted = AbortedSetups::default();
        loop {
            progress.report_if_changed();
            match timeout(
                PROGRESS_INTERVAL,
                select(all_ended.as_mut(), deadline.as_mut()),
            )
            .await
            {
                Ok(Either::Left(_)) => break,
                Ok(Either::Right(_)) => {
                    aborted = self.end_connections(counter).await;
                    break;
                }
                Err(_) => {}
            }
        }
        if self.app_shards.activity.registry_link().has_ended() {
            // The registry has closed the connections, so they have not finished.
            return Err(Error::Stopped);
        }
        progress.report();
        let (_, finished, _) = progress.now();
        let mut forced = counter.forced_since(progress.forced_before);
        forced.sort_unstable();
        running.count_ended(DrainEnd::Finished, finished);
        running.count_ended(DrainEnd::Forced, forced.len());
        Ok(Drained {
            finished,
            forced,
            never_accepted,
            unfinished_handshakes: aborted.unfinished,
            undelivered: aborted.undelivered,
        })
    }

    /// Ends the open connections and unfinished handshakes. Returns how many
    /// connections no `onAccept` listener had heard of.
    async fn end_connections(&self, counter: &Arc<ConnectionCounter>) -> AbortedSetups {
        let ended = ask_all(&self.servers, &tcp_server::AbortSetups).await;
        // A connection that is being handed over cannot be ended: its handover
        // ends soon, and then it is gone or can be.
        while !self
            .app_shards
            .ask(&tcp::ForceClose(counter.clone()))
            .await
            .is_empty()
            && timeout(PROGRESS_INTERVAL, counter.wait_until_none())
                .await
                .is_err()
        {}
        let mut all = AbortedSetups::default();
        for one in ended {
            all.unfinished += one.unfinished;
            all.undelivered += one.undelivered;
        }
        all
    }
}

/// The progress of a drain.
struct DrainProgress<'a> {
    target: &'a DrainTarget,
    counter: Arc<ConnectionCounter>,
    /// The counter's totals when the drain began. Connections that other drains
    /// have forced count too.
    closed_before: usize,
    forced_before: usize,
    last_reported: Option<(usize, usize, usize)>,
    /// Shared with the events in flight.
    unhandled: Arc<()>,
}

impl<'a> DrainProgress<'a> {
    fn new(target: &'a DrainTarget, counter: Arc<ConnectionCounter>) -> Self {
        DrainProgress {
            target,
            closed_before: counter.closed_total(),
            forced_before: counter.forced_total(),
            counter,
            last_reported: None,
            unhandled: Arc::default(),
        }
    }

    /// How many connections are open, have finished and were forced.
    fn now(&self) -> (usize, usize, usize) {
        let forced = self.counter.forced_total() - self.forced_before;
        let closed = self.counter.closed_total() - self.closed_before;
        // A connection is recorded as forced before it is closed.
        (self.counter.open(), closed.saturating_sub(forced), forced)
    }

    /// Raises `onDrain` if something has changed and the last event was handled.
    fn report_if_changed(&mut self) {
        let is_handled = Arc::strong_count(&self.unhandled) == 1;
        if self.last_reported != Some(self.now()) && is_handled {
            self.report();
        }
    }

    fn report(&mut self) {
        let DrainTarget {
            app_shards,
            app_listeners,
            socket_id,
            ..
        } = self.target;
        // A suspended app gets no event.
        if app_shards.activity.is_suspended() {
            return;
        }
        let (open, finished, forced) = self.now();
        self.last_reported = Some((open, finished, forced));
        app_listeners.on_drain.dispatch(|_| DrainInfo {
            app: app_shards.app_context.app.clone(),
            socket_id: *socket_id,
            open,
            finished,
            forced,
            _unhandled: self.unhandled.clone(),
        });
    }
}

impl Handler<tcp_server::Drain> for Registry {
    type Result = ResponseFuture<Result<Drained, Error>>;

    fn handle(&mut self, call: tcp_server::Drain, _: &mut Self::Context) -> Self::Result {
        let server = self.server(&call.app, call.socket_id);
        let server = server.map(|server| server.stable_addr.clone());
        let target = server.and_then(|server| {
            let state = self.apps.get(&call.app).ok_or(Error::SocketNotFound)?;
            Ok(DrainTarget {
                servers: vec![server],
                socket_id: Some(call.socket_id),
                ..DrainTarget::app(state)
            })
        });
        Box::pin(async move { target?.drain(call.deadline).await })
    }
}

impl Handler<Drain> for Registry {
    type Result = ResponseFuture<Result<Drained, Error>>;

    fn handle(&mut self, call: Drain, _: &mut Self::Context) -> Self::Result {
        let target = self.apps.get(&call.app).map(DrainTarget::app);
        Box::pin(async move {
            match target {
                Some(target) => target.drain(call.deadline).await,
                // An unknown app has no sockets.
                None => Ok(Drained::default()),
            }
        })
    }
}

impl Handler<DrainAll> for Registry {
    type Result = ResponseFuture<Result<Drained, Error>>;

    fn handle(&mut self, call: DrainAll, _: &mut Self::Context) -> Self::Result {
        let targets = self.apps.values().map(DrainTarget::app);
        let drains: Vec<_> = targets.map(|it| it.drain(call.deadline)).collect();
        Box::pin(async move {
            let mut all = Drained::default();
            for drained in join_all(drains).await {
                let drained = drained?;
                all.finished += drained.finished;
                all.forced.extend(drained.forced);
                all.never_accepted += drained.never_accepted;
                all.unfinished_handshakes += drained.unfinished_handshakes;
                all.undelivered += drained.undelivered;
            }
            all.forced.sort_unstable();
            Ok(all)
        })
    }
}
