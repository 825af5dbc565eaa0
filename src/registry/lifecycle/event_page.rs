//! How an app is started when something waits for it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::time::timeout;
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::error::Error;
use crate::ids::AppId;
use crate::registry::Registry;
use crate::registry::lifecycle::{CheckIdle, LOOKS, Timer};

/// How long an event page may take to start: 30 seconds.
pub const LOAD_LIMIT: Duration = Duration::from_secs(30);

/// How an app is started when something waits for it: Chrome's event page.
///
/// It is called in the registry's arbiter, and has started when its future is
/// done: by then it has added its listeners. An error, a panic, or taking
/// longer than [`LOAD_LIMIT`] means that it did not start: the app stays
/// suspended, what waits for it goes on waiting, and it is tried again after a
/// rest of 100 ms, doubled each time up to 30 s.
///
/// It is called too when something is to be told (`onAccept`, `onAcceptError`,
/// `onReceive` or `onReceiveError`) and nobody hears it because the last of
/// its listeners has died, without a suspension: its actor panicked, for
/// instance. The app's other listeners are forgotten then, as it adds all of
/// them; its sockets, persistent or not, stay, and raise nothing until it has
/// started. Listeners that die soon after each start (within ten rests) have
/// it rest too, 100 ms and twice as long each time up to 30 s. An app that has
/// removed its listeners itself is not loaded.
#[derive(Clone, derive_more::Debug)]
pub struct EventPage {
    #[debug(skip)]
    start: Arc<Start>,
    idle_time_out: Option<Duration>,
}

type Start =
    dyn Fn(AppId, Addr<Registry>) -> LocalBoxFuture<'static, Result<(), Error>> + Send + Sync;

impl EventPage {
    /// As `EventPage::new`, for whom an app's id and its registry will do.
    pub(crate) fn from_fn<F>(start: F) -> Self
    where
        F: Fn(AppId, Addr<Registry>) -> LocalBoxFuture<'static, Result<(), Error>>,
        F: Send + Sync + 'static,
    {
        EventPage {
            start: Arc::new(start),
            idle_time_out: None,
        }
    }

    /// Suspends the app by itself when it has been idle this long (never, by
    /// default). It is idle while it makes no call, hears no event, has
    /// handled every event, and waits for no send and no connection. Open
    /// connections do not count: those that are not persistent are closed, as
    /// Chrome does. The time is kept to a quarter of it; zero is one
    /// millisecond.
    pub fn idle_time_out(mut self, after: Duration) -> Self {
        self.idle_time_out = Some(after.max(Duration::from_millis(1)));
        self
    }
}

impl EventPage {
    /// Looks whether the app is idle, if it is to be suspended then.
    pub(in crate::registry) fn watch(&self, app: &AppId, ctx: &Context<Registry>) -> Option<Timer> {
        let after = self.idle_time_out?;
        let app = app.clone();
        let look = move || CheckIdle(app.clone());
        Some(Timer::start(after / LOOKS, ctx, look))
    }

    pub(in crate::registry) async fn start(
        &self,
        app: &AppId,
        registry: &Addr<Registry>,
    ) -> Result<(), Error> {
        // What panics is the app's own code: nothing of ours is left half done.
        let start = AssertUnwindSafe(async { (self.start)(app.clone(), registry.clone()).await });
        match timeout(LOAD_LIMIT, start.catch_unwind()).await {
            Ok(Ok(started)) => started,
            Ok(Err(_)) => {
                log::error!("app {app}: its event page panicked");
                Err(Error::NotLoaded)
            }
            Err(_) => {
                log::error!("app {app}: its event page did not start within {LOAD_LIMIT:?}");
                Err(Error::NotLoaded)
            }
        }
    }
}
