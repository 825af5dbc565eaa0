//! Who decides on accept errors that a policy leaves to others.

use actix::prelude::*;

use super::state::Registry;
use crate::error::Error;
use crate::tcp_server::Escalation;

/// Names who decides from now on, in place of who did
/// ([`Registry::escalate_to`]). Those that were asked before still answer.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct EscalateTo {
    /// `None`: nobody.
    pub to: Option<Recipient<Escalation>>,
}

impl Registry {
    /// Who decides on the accept errors of server sockets whose policy says
    /// [`Escalate`](crate::tcp_server::AcceptAction::Escalate): nobody, unless
    /// this is called. [`EscalateTo`] changes it while it runs.
    ///
    /// ```
    /// use actix::prelude::*;
    /// use chrome_sockets::Registry;
    /// use chrome_sockets::tcp_server::{AcceptAction, Escalation};
    ///
    /// /// Bears an error three times.
    /// struct Warden;
    ///
    /// impl Actor for Warden {
    ///     type Context = Context<Self>;
    /// }
    ///
    /// impl Handler<Escalation> for Warden {
    ///     type Result = MessageResult<Escalation>;
    ///
    ///     fn handle(&mut self, error: Escalation, _: &mut Self::Context) -> Self::Result {
    ///         MessageResult(match error.attempt {
    ///             1..=3 => AcceptAction::GoOn,
    ///             _ => AcceptAction::Close,
    ///         })
    ///     }
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let registry = Registry::new().escalate_to(Warden.start().recipient());
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
