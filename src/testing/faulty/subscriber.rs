//! A listener that stalls, panics or stops by rules, and else forwards events to another listener.

use std::sync::Arc;

use actix::fut::wrap_future;
use actix::prelude::*;
use futures::future::pending;

use crate::testing::faulty::rule::{Fault, Operation};
use crate::testing::faulty::rule_set::{Effect, RuleCursor, RuleSet, stop_current_arbiter};

struct Subscriber<E: Message<Result = ()> + Send + 'static> {
    recipient: Recipient<E>,
    rules: Arc<RuleSet>,
}

/// Starts a subscriber in the current arbiter.
pub(super) fn start<E>(rules: Arc<RuleSet>, recipient: Recipient<E>) -> Recipient<E>
where
    E: Message<Result = ()> + Send + 'static,
{
    Subscriber { recipient, rules }.start().recipient()
}

impl<E: Message<Result = ()> + Send + 'static> Actor for Subscriber<E> {
    type Context = Context<Self>;
}

impl<E: Message<Result = ()> + Send + 'static> Handler<E> for Subscriber<E> {
    type Result = ();

    fn handle(&mut self, event: E, ctx: &mut Self::Context) {
        let forwarding = forward(self.rules.clone(), self.recipient.clone(), event);
        let forwarding = wrap_future::<_, Self>(forwarding).map(|outcome, _, ctx| match outcome {
            Outcome::Delivered => {}
            Outcome::RecipientDead => ctx.stop(),
            Outcome::Stopped(event) => {
                // A dropped event counts as handled while the mailbox is open. A future of the
                // actor is dropped after its mailbox is closed.
                let kept = async move {
                    let _event = event;
                    pending().await
                };
                ctx.spawn(wrap_future(kept));
                ctx.stop();
            }
        });
        // Later events wait in the mailbox until this one is handled.
        ctx.wait(forwarding);
    }
}

/// What became of an event.
enum Outcome<E> {
    Delivered,
    RecipientDead,
    Stopped(E),
}

async fn forward<E>(rules: Arc<RuleSet>, recipient: Recipient<E>, event: E) -> Outcome<E>
where
    E: Message<Result = ()> + Send + 'static,
{
    let mut cursor = RuleCursor::default();
    while let Some(effect) = rules.evaluate(&Operation::Subscriber.into(), &mut cursor) {
        match effect {
            Effect::Stall(released) => released.await,
            Effect::Fail(Fault::Stop) => return Outcome::Stopped(event),
            Effect::Fail(Fault::EndArbiter) => stop_current_arbiter(),
            // `Rule::new` allows no other fault for a subscriber.
            Effect::Fail(_) => {}
        }
    }
    match recipient.send(event).await {
        Ok(()) => Outcome::Delivered,
        Err(_) => Outcome::RecipientDead,
    }
}
