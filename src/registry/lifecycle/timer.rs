//! Timers of the registry.

use std::time::Duration;

use actix::prelude::*;
use actix_rt::task::JoinHandle;
use actix_rt::time::sleep;

/// How long is waited before an event page that did not start is tried again:
/// doubled from the first to the last while it fails.
pub(super) const FIRST_REST: Duration = Duration::from_millis(100);
pub(super) const LAST_REST: Duration = Duration::from_secs(30);

/// Sends the registry a message again and again, until it is dropped. Unlike
/// the context's own timers it does not keep the registry from ending with its
/// last address.
pub(in crate::registry) struct Timer(JoinHandle<()>);

impl Timer {
    pub(in crate::registry) fn start<A, M>(
        every: Duration,
        ctx: &Context<A>,
        message: impl Fn() -> M + 'static,
    ) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<M>,
        M: Message<Result = ()> + Send + 'static,
    {
        let registry = ctx.address().downgrade();
        Timer(actix_rt::spawn(async move {
            loop {
                sleep(every).await;
                match registry.upgrade() {
                    Some(registry) => registry.do_send(message()),
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
