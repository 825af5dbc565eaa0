//! A listener that is slow, panics or dies, before one that is sound.

use std::sync::Arc;

use actix::fut::wrap_future;
use actix::prelude::*;
use futures::future::pending;

use crate::testing::faulty::plan::{Asked, Effect, Plan};
use crate::testing::faulty::rule::{Call, Operation};
use crate::testing::faulty::{FaultyNetwork, end_arbiter};

/// Hands every event on, one after the other, unless it fails.
struct Subscriber<E: Message<Result = ()> + Send + 'static> {
    recipient: Recipient<E>,
    plan: Arc<Plan>,
}

impl FaultyNetwork {
    /// A listener that hands every event on to `recipient`, and that fails by
    /// the rules about [`Operation::Subscriber`]: add it instead of
    /// `recipient`. It is an actor in the current arbiter.
    ///
    /// It hands on one event after the other, each when the one before has been
    /// handled. While it stalls it holds the event, with its credit, and
    /// everything behind it, in order. When it panics or stops it is dead, as
    /// any listener: the event that it had in hand and those in its mailbox have
    /// reached nobody. Its app has to start another one;
    /// [`Recipient::connected`] tells whether it lives. It stops by itself when
    /// `recipient` is dead; an event that it had handed on then counts as
    /// handled, unless `recipient` has panicked.
    ///
    /// # Panics
    /// Outside an actix system, as every actor that starts.
    ///
    /// ```
    /// # use actix::prelude::*;
    /// # use chrome_sockets::testing::FaultyNetwork;
    /// # use chrome_sockets::{App, tcp::ReceiveInfo};
    /// fn listen(app: &App, network: &FaultyNetwork, listener: Recipient<ReceiveInfo>) {
    ///     app.tcp.on_receive.add_listener(network.subscriber(listener));
    /// }
    /// ```
    pub fn subscriber<E>(&self, recipient: Recipient<E>) -> Recipient<E>
    where
        E: Message<Result = ()> + Send + 'static,
    {
        let plan = self.plan.clone();
        Subscriber { recipient, plan }.start().recipient()
    }
}

impl<E: Message<Result = ()> + Send + 'static> Actor for Subscriber<E> {
    type Context = Context<Self>;
}

impl<E: Message<Result = ()> + Send + 'static> Handler<E> for Subscriber<E> {
    type Result = ();

    fn handle(&mut self, event: E, ctx: &mut Self::Context) {
        let passing = pass(self.plan.clone(), self.recipient.clone(), event);
        let passing = wrap_future::<_, Self>(passing).map(|passed, _, ctx| match passed {
            Passed::On => {}
            Passed::NobodyLives => ctx.stop(),
            Passed::Stopped(event) => {
                // It has not been handled: it goes when the mailbox is closed.
                let kept = async move {
                    let _event = event;
                    pending().await
                };
                ctx.spawn(wrap_future(kept));
                ctx.stop();
            }
        });
        // Nothing else is handled meanwhile.
        ctx.wait(passing);
    }
}

/// What became of an event.
enum Passed<E> {
    On,
    NobodyLives,
    Stopped(E),
}

async fn pass<E>(plan: Arc<Plan>, recipient: Recipient<E>, event: E) -> Passed<E>
where
    E: Message<Result = ()> + Send + 'static,
{
    let call = Call {
        operation: Operation::Subscriber,
        listener: None,
        peer: None,
    };
    let mut asked = Asked::default();
    while let Some(effect) = plan.ask(&call, &mut asked) {
        match effect {
            Effect::Stall(released) => released.await,
            Effect::Stop => return Passed::Stopped(event),
            Effect::EndArbiter => end_arbiter(),
            // No rule about a subscriber has these.
            Effect::Error(_) | Effect::Short(_) | Effect::Reset | Effect::End => {}
        }
    }
    match recipient.send(event).await {
        Ok(()) => Passed::On,
        Err(_) => Passed::NobodyLives,
    }
}
