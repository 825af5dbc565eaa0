//! The registry's timers, and the delays between attempts to load an app.

use std::time::Duration;

use actix::prelude::*;
use actix_rt::task::JoinHandle;
use actix_rt::time::sleep;

/// The delay before an event page that did not start is started again. It
/// doubles with each failure, from the first value to the second.
pub(in crate::registry) const MIN_BACKOFF: Duration = Duration::from_millis(100);
pub(in crate::registry) const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Sends an actor a message periodically, until this is dropped. Unlike the
/// timers of an actor's context it does not keep the actor alive.
pub(in crate::registry) struct Timer(JoinHandle<()>);

impl Timer {
    pub(in crate::registry) fn start<A, M>(
        period: Duration,
        ctx: &Context<A>,
        message: impl Fn() -> M + 'static,
    ) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<M>,
        M: Message<Result = ()> + Send + 'static,
    {
        let actor = ctx.address().downgrade();
        Timer(actix_rt::spawn(async move {
            loop {
                sleep(period).await;
                match actor.upgrade() {
                    Some(actor) => actor.do_send(message()),
                    None => return,
                }
            }
        }))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}
