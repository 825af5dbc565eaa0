//! Draining: connections end by themselves until a deadline, and then are
//! ended.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::time::{sleep, timeout};
use futures::future::{Either, join_all, select};

use super::state::{AppState, Registry};
use crate::connections::{ConnectionCounter, DrainGuard};
use crate::draining::{Drain, DrainAll, DrainInfo, Drained, PROGRESS};
use crate::error::Error;
use crate::ids::ServerSocketId;
use crate::supervision::StableAddr;
use crate::tcp::{self, AppShards};
use crate::tcp_server::{self, EndedHandshakes, ServerSocket};

/// What is drained.
struct DrainTarget {
    app_shards: Arc<AppShards>,
    app_listeners: Arc<tcp_server::AppListeners>,
    servers: Vec<Arc<StableAddr<ServerSocket>>>,
    /// `None`: all that the app has.
    socket_id: Option<ServerSocketId>,
}

impl DrainTarget {
    fn app(state: &AppState) -> Self {
        DrainTarget {
            app_shards: state.app_shards.clone(),
            app_listeners: state.on_accept.clone(),
            servers: state.servers().map(|server| server.place.clone()).collect(),
            socket_id: None,
        }
    }

    /// It waits for nobody but the sockets, and keeps no registry alive.
    async fn drain(self, deadline: Duration) -> Result<Drained, Error> {
        let mut late = pin!(sleep(deadline));
        let stopping = self.servers.iter();
        let stopping = stopping.map(|server| server.ask(tcp_server::StopListening));
        let stopped = join_all(stopping.collect::<Vec<_>>()).await;
        let mut stopped: Vec<_> = stopped.into_iter().flatten().flatten().collect();
        let draining = match self.socket_id {
            None => DrainGuard::new(self.app_shards.counter.clone()),
            Some(_) => match stopped.first() {
                Some(stopped) => DrainGuard::new(stopped.draining.counter().clone()),
                None => return Err(Error::SocketNotFound),
            },
        };
        let counter = draining.counter();
        // What was accepted and called before counts.
        self.app_shards.ask(&tcp::CatchUp).await;
        let mut tally =
            DrainProgress::new(self.app_shards.clone(), counter.clone(), self.socket_id);
        tally.never_accepted = stopped.iter().map(|it| it.never_accepted).sum();

        let settled = stopped.iter_mut().map(|it| &mut it.settled);
        let settled = join_all(settled.collect::<Vec<_>>());
        let gone = pin!(async {
            settled.await;
            self.app_shards.ask(&tcp::CatchUp).await;
            counter.wait_until_none().await;
        });
        let mut gone = gone;
        loop {
            tally.tell(&self.app_listeners);
            match timeout(PROGRESS, select(gone.as_mut(), late.as_mut())).await {
                Ok(Either::Left(_)) => break,
                Ok(Either::Right(_)) => {
                    tally.ended = self.force(counter).await;
                    break;
                }
                Err(_) => {}
            }
        }
        if self.app_shards.activity.registry_link().has_ended() {
            // It has closed the connections, which so have not finished.
            return Err(Error::Stopped);
        }
        tally.tell_last(&self.app_listeners);
        Ok(tally.receipt())
    }

    /// Ends what is left, and says what no `onAccept` listener had heard of.
    async fn force(&self, counter: &Arc<ConnectionCounter>) -> EndedHandshakes {
        let ended = self.servers.iter();
        let ended = ended.map(|server| server.ask(tcp_server::EndHandshakes));
        let ended = join_all(ended.collect::<Vec<_>>()).await;
        // One that stands still for a handover goes or comes back before long.
        while !self
            .app_shards
            .ask(&tcp::Force(counter.clone()))
            .await
            .is_empty()
            && timeout(PROGRESS, counter.wait_until_none()).await.is_err()
        {}
        let mut all = EndedHandshakes::default();
        for one in ended.into_iter().flatten() {
            all.unfinished += one.unfinished;
            all.undelivered += one.undelivered;
        }
        all
    }
}

/// How far it has come.
struct DrainProgress {
    app_shards: Arc<AppShards>,
    counter: Arc<ConnectionCounter>,
    socket_id: Option<ServerSocketId>,
    /// How many connections there had been when it began, and how many of them
    /// were over or had been forced by another drain.
    over_before: usize,
    forced_before: usize,
    never_accepted: usize,
    ended: EndedHandshakes,
    told: Option<(usize, usize, usize)>,
    handled: Arc<()>,
}

impl DrainProgress {
    fn new(
        app_shards: Arc<AppShards>,
        counter: Arc<ConnectionCounter>,
        socket_id: Option<ServerSocketId>,
    ) -> Self {
        DrainProgress {
            app_shards,
            over_before: counter.closed_total(),
            forced_before: counter.forced_total(),
            counter,
            socket_id,
            never_accepted: 0,
            ended: EndedHandshakes::default(),
            told: None,
            handled: Arc::default(),
        }
    }

    /// How many are open, have finished and were forced.
    fn now(&self) -> (usize, usize, usize) {
        let forced = self.counter.forced_total() - self.forced_before;
        let over = self.counter.closed_total() - self.over_before;
        (self.counter.open(), over.saturating_sub(forced), forced)
    }

    fn tell(&mut self, app_listeners: &tcp_server::AppListeners) {
        let is_handled = Arc::strong_count(&self.handled) == 1;
        if self.told != Some(self.now()) && is_handled {
            self.tell_last(app_listeners);
        }
    }

    fn tell_last(&mut self, app_listeners: &tcp_server::AppListeners) {
        // A suspended app hears nothing.
        if self.app_shards.activity.is_suspended() {
            return;
        }
        let (open, finished, forced) = self.now();
        self.told = Some((open, finished, forced));
        app_listeners.on_drain.dispatch(|_| DrainInfo {
            app: self.app_shards.app_context.app.clone(),
            socket_id: self.socket_id,
            open,
            finished,
            forced,
            _handled: self.handled.clone(),
        });
    }

    fn receipt(&self) -> Drained {
        let (_, finished, _) = self.now();
        let mut forced = self.counter.forced_since(self.forced_before);
        forced.sort_unstable();
        Drained {
            finished,
            forced,
            never_accepted: self.never_accepted,
            unfinished_handshakes: self.ended.unfinished,
            undelivered: self.ended.undelivered,
        }
    }
}

impl Handler<tcp_server::Drain> for Registry {
    type Result = ResponseFuture<Result<Drained, Error>>;

    fn handle(&mut self, call: tcp_server::Drain, _: &mut Self::Context) -> Self::Result {
        let server = self.apps.server(&call.app, call.socket_id);
        let server = server.map(|server| server.place.clone());
        let scope = server.and_then(|server| {
            let state = self.apps.get(&call.app).ok_or(Error::SocketNotFound)?;
            Ok(DrainTarget {
                servers: vec![server],
                socket_id: Some(call.socket_id),
                ..DrainTarget::app(state)
            })
        });
        Box::pin(async move { scope?.drain(call.deadline).await })
    }
}

impl Handler<Drain> for Registry {
    type Result = ResponseFuture<Result<Drained, Error>>;

    fn handle(&mut self, call: Drain, _: &mut Self::Context) -> Self::Result {
        let scope = self.apps.get(&call.app).map(DrainTarget::app);
        Box::pin(async move {
            match scope {
                Some(scope) => scope.drain(call.deadline).await,
                // It has nothing.
                None => Ok(Drained::default()),
            }
        })
    }
}

impl Handler<DrainAll> for Registry {
    type Result = ResponseFuture<Result<Drained, Error>>;

    fn handle(&mut self, call: DrainAll, _: &mut Self::Context) -> Self::Result {
        let scopes = self.apps.states().map(DrainTarget::app);
        let drains: Vec<_> = scopes.map(|scope| scope.drain(call.deadline)).collect();
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
