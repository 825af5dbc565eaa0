//! Sets the actor that `tcp_server/accept/escalation.rs` asks about accept errors.

use actix::prelude::*;

use crate::error::Error;
use crate::registry::state::Registry;
use crate::tcp_server::Escalation;

/// Replaces the actor that decides on escalated accept errors
/// ([`Registry::escalate_to`]). Questions that were sent before are still
/// answered by the previous actor.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct EscalateTo {
    /// The actor; `None` for none.
    pub to: Option<Recipient<Escalation>>,
}

impl Registry {
    /// The actor that decides on the accept errors of server sockets whose policy
    /// says [`Escalate`](crate::tcp_server::AcceptAction::Escalate): none, by
    /// default. [`EscalateTo`] replaces it while the registry is running.
    ///
    /// ```
    /// use actix::prelude::*;
    /// use chrome_sockets::Registry;
    /// use chrome_sockets::tcp_server::{AcceptAction, Escalation};
    ///
    /// /// Ignores an error three times.
    /// struct ThreeAttempts;
    ///
    /// impl Actor for ThreeAttempts {
    ///     type Context = Context<Self>;
    /// }
    ///
    /// impl Handler<Escalation> for ThreeAttempts {
    ///     type Result = MessageResult<Escalation>;
    ///
    ///     fn handle(&mut self, error: Escalation, _: &mut Self::Context) -> Self::Result {
    ///         MessageResult(match error.attempt {
    ///             1..=3 => AcceptAction::Continue,
    ///             _ => AcceptAction::Close,
    ///         })
    ///     }
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let registry = Registry::new().escalate_to(ThreeAttempts.start().recipient());
    /// # drop(registry.start());
    /// # });
    /// ```
    pub fn escalate_to(self, escalation_target: Recipient<Escalation>) -> Self {
        self.escalation_target.set(Some(escalation_target));
        self
    }
}

impl Handler<EscalateTo> for Registry {
    type Result = Result<(), Error>;

    fn handle(&mut self, call: EscalateTo, _: &mut Self::Context) -> Self::Result {
        self.escalation_target.set(call.to);
        Ok(())
    }
}
