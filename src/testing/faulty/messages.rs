//! The faulty network as an actor: its calls as messages.

use actix::prelude::*;

use crate::testing::faulty::network::FaultyNetwork;
use crate::testing::faulty::rule::Rule;
use crate::testing::faulty::rule_set::{RuleId, RuleReport};

/// The actor is a handle like any other: stopping it removes no rule.
impl Actor for FaultyNetwork {
    type Context = Context<Self>;
}

/// Calls [`FaultyNetwork::inject`].
#[derive(Clone, Debug, PartialEq, Message)]
#[rtype(result = "RuleId")]
pub struct Inject(pub Rule);

/// Calls [`FaultyNetwork::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "Option<RuleReport>")]
pub struct Remove(pub RuleId);

/// Calls [`FaultyNetwork::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "bool")]
pub struct Release(pub RuleId);

/// Calls [`FaultyNetwork::clear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "Vec<RuleReport>")]
pub struct Clear;

impl Handler<Inject> for FaultyNetwork {
    type Result = MessageResult<Inject>;

    fn handle(&mut self, Inject(rule): Inject, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.inject(rule))
    }
}

impl Handler<Remove> for FaultyNetwork {
    type Result = MessageResult<Remove>;

    fn handle(&mut self, Remove(id): Remove, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.remove(id))
    }
}

impl Handler<Release> for FaultyNetwork {
    type Result = MessageResult<Release>;

    fn handle(&mut self, Release(id): Release, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.release(id))
    }
}

impl Handler<Clear> for FaultyNetwork {
    type Result = MessageResult<Clear>;

    fn handle(&mut self, _: Clear, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.clear())
    }
}
