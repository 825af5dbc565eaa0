//! Starts an app's event page.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::time::timeout;
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::error::Error;
use crate::ids::AppId;
use crate::registry::state::{EventPage, Registry};

/// How long an event page may take to start: 30 seconds.
pub const LOAD_LIMIT: Duration = Duration::from_secs(30);

impl EventPage {
    /// As `EventPage::new`, for a function that needs no `App`.
    pub(crate) fn from_fn<F>(start: F) -> Self
    where
        F: Fn(AppId, Addr<Registry>) -> LocalBoxFuture<'static, Result<(), Error>>,
        F: Send + Sync + 'static,
    {
        EventPage {
            start: Arc::new(start),
            idle_timeout: None,
        }
    }

    /// Suspends the app when it has been idle for this long; never, by default.
    /// An app is idle while it makes no call, no event is raised or in flight,
    /// and no send or `connect` is unanswered. Open connections do not count:
    /// those that are not persistent are closed, as in Chrome. The timeout is
    /// exact to a quarter of its length; zero means one millisecond.
    pub fn idle_timeout(mut self, after: Duration) -> Self {
        self.idle_timeout = Some(after.max(Duration::from_millis(1)));
        self
    }

    pub(super) async fn start(&self, app: &AppId, registry: &Addr<Registry>) -> Result<(), Error> {
        // Unwind safe because only the app's own code can panic in it.
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
