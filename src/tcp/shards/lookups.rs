//! Bounds the name look-ups of each app and of a registry. The apps take turns.
//!
//! The system's resolver takes a thread for each name, of which there are few.
//! A thread is taken until the resolver answers, even if nobody waits any more.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::ids::AppId;
use crate::tcp::{LOOKUPS, LOOKUPS_OF_APP};

/// The look-ups of one registry.
#[derive(Default)]
pub(crate) struct Lookups(Mutex<State>);

#[derive(Default)]
struct State {
    going: usize,
    apps: HashMap<AppId, OfApp>,
    /// Those that have a call waiting and may begin another one, each once.
    turns: VecDeque<AppId>,
    number: u64,
}

/// Those of one app; there is none of an app that has nothing here.
#[derive(Default)]
struct OfApp {
    going: usize,
    /// In the order of their calls.
    waiting: BTreeMap<u64, oneshot::Sender<Lookup>>,
    has_turn: bool,
}

/// A look-up that goes on, until this is dropped.
pub(in crate::tcp) struct Lookup {
    app: AppId,
    lookups: Arc<Lookups>,
}

/// A call that waits for its turn, until this is dropped.
struct Waiting<'a> {
    app: &'a AppId,
    number: u64,
    lookups: &'a Arc<Lookups>,
}

impl Lookups {
    /// Waits until this app may look up another name.
    pub(in crate::tcp) async fn begin(self: &Arc<Self>, app: &AppId) -> Option<Lookup> {
        let (sender, turn) = oneshot::channel();
        let number = self.0.lock().wait(app, sender);
        let _waiting = Waiting {
            app,
            number,
            lookups: self,
        };
        self.go_on();
        turn.await.ok()
    }

    /// Begins what may begin.
    fn go_on(self: &Arc<Self>) {
        loop {
            let Some((app, sender)) = self.0.lock().next() else {
                return;
            };
            let lookup = Lookup {
                app,
                lookups: self.clone(),
            };
            // If the call was given up just now, this drops it, and goes on.
            drop(sender.send(lookup));
        }
    }
}

impl State {
    fn wait(&mut self, app: &AppId, sender: oneshot::Sender<Lookup>) -> u64 {
        self.number += 1;
        let of_app = self.apps.entry(app.clone()).or_default();
        of_app.waiting.insert(self.number, sender);
        self.look_at(app);
        self.number
    }

    /// Gives the app a turn if it can use one, and forgets one that has
    /// nothing here.
    fn look_at(&mut self, app: &AppId) {
        let Some(of_app) = self.apps.get_mut(app) else {
            return;
        };
        let waits = !of_app.waiting.is_empty();
        if waits && of_app.going < LOOKUPS_OF_APP && !of_app.has_turn {
            of_app.has_turn = true;
            self.turns.push_back(app.clone());
        } else if !waits && of_app.going == 0 && !of_app.has_turn {
            self.apps.remove(app);
        }
    }

    /// The call that may begin now.
    fn next(&mut self) -> Option<(AppId, oneshot::Sender<Lookup>)> {
        while self.going < LOOKUPS {
            let app = self.turns.pop_front()?;
            let of_app = self.apps.get_mut(&app)?;
            of_app.has_turn = false;
            let next = of_app.waiting.pop_first();
            if next.is_some() {
                of_app.going += 1;
                self.going += 1;
            }
            self.look_at(&app);
            if let Some((_, sender)) = next {
                return Some((app, sender));
            }
        }
        None
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let mut state = self.lookups.0.lock();
        state.going -= 1;
        if let Some(of_app) = state.apps.get_mut(&self.app) {
            of_app.going -= 1;
        }
        state.look_at(&self.app);
        drop(state);
        self.lookups.go_on();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.lookups.0.lock();
        let waiting = state.apps.get_mut(self.app);
        let given_up = waiting.and_then(|of_app| of_app.waiting.remove(&self.number));
        state.look_at(self.app);
        drop(state);
        drop(given_up);
    }
}

#[cfg(test)]
mod tests {
    use actix_rt::task::yield_now;
    use futures::FutureExt;
    use futures::future::{BoxFuture, join_all};

    use super::*;

    fn begin<'a>(lookups: &'a Arc<Lookups>, app: &'a AppId) -> BoxFuture<'a, Option<Lookup>> {
        lookups.begin(app).boxed()
    }

    #[actix_rt::test]
    async fn an_app_has_so_many_and_the_next_begins_when_one_ends() {
        let lookups = Arc::<Lookups>::default();
        let (one, other) = (AppId::from("one"), AppId::from("other"));
        let mut going = join_all((0..LOOKUPS_OF_APP).map(|_| begin(&lookups, &one))).await;
        let mut next = begin(&lookups, &one);
        let mut last = begin(&lookups, &one);
        assert!((&mut next).now_or_never().is_none());
        assert!((&mut last).now_or_never().is_none());
        // Another app's goes past them.
        assert!(begin(&lookups, &other).now_or_never().flatten().is_some());
        drop(going.pop());
        assert!((&mut last).now_or_never().is_none(), "it came later");
        let next = next.now_or_never().flatten();
        assert!(next.is_some());
        drop((next, going));
        assert!(last.now_or_never().flatten().is_some());
        assert!(lookups.0.lock().apps.is_empty());
    }

    #[actix_rt::test]
    async fn apps_take_turns_where_all_wait() {
        let lookups = Arc::<Lookups>::default();
        let full: Vec<_> = (0..LOOKUPS / LOOKUPS_OF_APP)
            .map(|number| AppId::from(format!("app {number}")))
            .collect();
        let of = |app| (0..LOOKUPS_OF_APP).map(move |_| app);
        let all = full.iter().flat_map(of);
        let mut going = join_all(all.map(|app| begin(&lookups, app))).await;
        // Tokio has had this task look at enough for one turn.
        yield_now().await;
        let (many, few) = (AppId::from("many"), AppId::from("few"));
        let mut waiting: Vec<_> = (0..5).map(|_| begin(&lookups, &many)).collect();
        for waits in &mut waiting {
            assert!(waits.now_or_never().is_none(), "all are taken");
        }
        let mut late = begin(&lookups, &few);
        assert!((&mut late).now_or_never().is_none());
        going.truncate(LOOKUPS - 1);
        assert!((&mut late).now_or_never().is_none(), "it came later");
        let first = (&mut waiting[0]).now_or_never().flatten();
        assert!(first.is_some());
        going.truncate(LOOKUPS - 2);
        assert!(
            late.now_or_never().flatten().is_some(),
            "it waited for one turn"
        );
    }

    #[actix_rt::test]
    async fn a_call_that_is_given_up_leaves_no_trace() {
        let lookups = Arc::<Lookups>::default();
        let app = AppId::from("app");
        let going = join_all((0..LOOKUPS_OF_APP).map(|_| begin(&lookups, &app))).await;
        for _ in 0..1000 {
            let mut waits = begin(&lookups, &app);
            assert!((&mut waits).now_or_never().is_none());
        }
        assert!(lookups.0.lock().apps[&app].waiting.is_empty());
        drop(going);
        assert!(lookups.0.lock().apps.is_empty());
        assert_eq!(lookups.0.lock().going, 0);
        assert!(begin(&lookups, &app).now_or_never().flatten().is_some());
    }
}
