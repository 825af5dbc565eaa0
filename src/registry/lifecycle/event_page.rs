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
use crate::registry::lifecycle::timer::Timer;
use crate::registry::state::{EventPage, Lifecycle, Registry};

/// How long an event page may take to start: 30 seconds.
pub const LOAD_LIMIT: Duration = Duration::from_secs(30);

/// How often an idle time-out is looked at while it runs.
pub(super) const LOOKS: u32 = 4;

#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::registry) struct CheckIdle(pub(super) AppId);

impl Lifecycle {
    pub(in crate::registry) fn has_page(&self) -> bool {
        self.page.is_some()
    }
}

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
