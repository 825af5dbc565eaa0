//! Bounds the concurrent name look-ups of each app and of a registry. Apps take turns.
//!
//! The system's resolver occupies a thread until it answers, even if the caller has gone. There are
//! few such threads.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::ids::AppId;
use crate::tcp::{LOOKUPS, LOOKUPS_OF_APP};

/// The look-ups of one registry.
#[derive(Default)]
pub(crate) struct Lookups(Mutex<LookupState>);

#[derive(Default)]
struct LookupState {
    active: usize,
    apps: HashMap<AppId, AppLookups>,
    /// Apps that have a waiting call and may start a look-up, each once.
    ready_apps: VecDeque<AppId>,
    sequence: u64,
}

/// The look-ups of one app. An app without any has no entry.
#[derive(Default)]
struct AppLookups {
    active: usize,
    /// By the order of the calls.
    waiting: BTreeMap<u64, oneshot::Sender<LookupPermit>>,
    is_ready: bool,
}

/// The permit for one look-up, until it is dropped.
pub(crate) struct LookupPermit {
    app: AppId,
    lookups: Arc<Lookups>,
}

/// A call that waits for a permit, until this is dropped.
struct QueuedLookup<'a> {
    app: &'a AppId,
    sequence: u64,
    lookups: &'a Arc<Lookups>,
}

impl Lookups {
    /// Waits for a permit for one look-up of `app`.
    pub(crate) async fn acquire(self: &Arc<Self>, app: &AppId) -> Option<LookupPermit> {
        let (sender, permit) = oneshot::channel();
        let sequence = self.0.lock().wait(app, sender);
        let _waiting = QueuedLookup {
            app,
            sequence,
            lookups: self,
        };
        self.grant_permits();
        permit.await.ok()
    }

    /// Gives permits to waiting calls.
    fn grant_permits(self: &Arc<Self>) {
        loop {
            let Some((app, sender)) = self.0.lock().next() else {
                return;
            };
            let permit = LookupPermit {
                app,
                lookups: self.clone(),
            };
            // If the call was just cancelled, the permit is dropped and goes to the next one.
            drop(sender.send(permit));
        }
    }
}

impl LookupState {
    fn wait(&mut self, app: &AppId, sender: oneshot::Sender<LookupPermit>) -> u64 {
        self.sequence += 1;
        let app_lookups = self.apps.entry(app.clone()).or_default();
        app_lookups.waiting.insert(self.sequence, sender);
        self.update_ready(app);
        self.sequence
    }

    /// Queues the app if it may start a look-up, and forgets it if it has none.
    fn update_ready(&mut self, app: &AppId) {
        let Some(app_lookups) = self.apps.get_mut(app) else {
            return;
        };
        let waits = !app_lookups.waiting.is_empty();
        if waits && app_lookups.active < LOOKUPS_OF_APP && !app_lookups.is_ready {
            app_lookups.is_ready = true;
            self.ready_apps.push_back(app.clone());
        } else if !waits && app_lookups.active == 0 && !app_lookups.is_ready {
            self.apps.remove(app);
        }
    }

    /// The next call that gets a permit.
    fn next(&mut self) -> Option<(AppId, oneshot::Sender<LookupPermit>)> {
        while self.active < LOOKUPS {
            let app = self.ready_apps.pop_front()?;
            let app_lookups = self.apps.get_mut(&app)?;
            app_lookups.is_ready = false;
            let next = app_lookups.waiting.pop_first();
            if next.is_some() {
                app_lookups.active += 1;
                self.active += 1;
            }
            self.update_ready(&app);
            if let Some((_, sender)) = next {
                return Some((app, sender));
            }
        }
        None
    }
}

impl Drop for LookupPermit {
    fn drop(&mut self) {
        let mut state = self.lookups.0.lock();
        state.active -= 1;
        if let Some(app_lookups) = state.apps.get_mut(&self.app) {
            app_lookups.active -= 1;
        }
        state.update_ready(&self.app);
        drop(state);
        self.lookups.grant_permits();
    }
}

impl Drop for QueuedLookup<'_> {
    fn drop(&mut self) {
        let mut state = self.lookups.0.lock();
        let waiting = state.apps.get_mut(self.app);
        let cancelled = waiting.and_then(|app_lookups| app_lookups.waiting.remove(&self.sequence));
        state.update_ready(self.app);
        drop(state);
        drop(cancelled);
    }
}

#[cfg(test)]
mod tests {
    use actix_rt::task::yield_now;
    use futures::FutureExt;
    use futures::future::{BoxFuture, join_all};

    use super::*;

    fn acquire<'a>(
        lookups: &'a Arc<Lookups>,
        app: &'a AppId,
    ) -> BoxFuture<'a, Option<LookupPermit>> {
        lookups.acquire(app).boxed()
    }

    #[actix_rt::test]
    async fn an_app_has_a_limit_and_the_next_lookup_starts_when_one_ends() {
        let lookups = Arc::<Lookups>::default();
        let (one, other) = (AppId::from("one"), AppId::from("other"));
        let mut active = join_all((0..LOOKUPS_OF_APP).map(|_| acquire(&lookups, &one))).await;
        let mut next = acquire(&lookups, &one);
        let mut last = acquire(&lookups, &one);
        assert!((&mut next).now_or_never().is_none());
        assert!((&mut last).now_or_never().is_none());
        // Another app does not wait for them.
        assert!(acquire(&lookups, &other).now_or_never().flatten().is_some());
        drop(active.pop());
        assert!((&mut last).now_or_never().is_none(), "it came later");
        let next = next.now_or_never().flatten();
        assert!(next.is_some());
        drop((next, active));
        assert!(last.now_or_never().flatten().is_some());
        assert!(lookups.0.lock().apps.is_empty());
    }

    #[actix_rt::test]
    async fn apps_take_turns_when_the_registry_is_full() {
        let lookups = Arc::<Lookups>::default();
        let full: Vec<_> = (0..LOOKUPS / LOOKUPS_OF_APP)
            .map(|number| AppId::from(format!("app {number}")))
            .collect();
        let of = |app| (0..LOOKUPS_OF_APP).map(move |_| app);
        let all = full.iter().flat_map(of);
        let mut active = join_all(all.map(|app| acquire(&lookups, app))).await;
        // Tokio's budget for this turn is used up.
        yield_now().await;
        let (many, few) = (AppId::from("many"), AppId::from("few"));
        let mut waiting: Vec<_> = (0..5).map(|_| acquire(&lookups, &many)).collect();
        for waits in &mut waiting {
            assert!(waits.now_or_never().is_none(), "all are taken");
        }
        let mut late = acquire(&lookups, &few);
        assert!((&mut late).now_or_never().is_none());
        active.truncate(LOOKUPS - 1);
        assert!((&mut late).now_or_never().is_none(), "it came later");
        let first = (&mut waiting[0]).now_or_never().flatten();
        assert!(first.is_some());
        active.truncate(LOOKUPS - 2);
        assert!(
            late.now_or_never().flatten().is_some(),
            "it waited for one turn"
        );
    }

    #[actix_rt::test]
    async fn a_cancelled_call_leaves_no_trace() {
        let lookups = Arc::<Lookups>::default();
        let app = AppId::from("app");
        let active = join_all((0..LOOKUPS_OF_APP).map(|_| acquire(&lookups, &app))).await;
        for _ in 0..1000 {
            let mut waits = acquire(&lookups, &app);
            assert!((&mut waits).now_or_never().is_none());
        }
        assert!(lookups.0.lock().apps[&app].waiting.is_empty());
        drop(active);
        assert!(lookups.0.lock().apps.is_empty());
        assert_eq!(lookups.0.lock().active, 0);
        assert!(acquire(&lookups, &app).now_or_never().flatten().is_some());
    }
}
