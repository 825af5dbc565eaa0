//! A faulty network as an actor: the same calls, sent.

use actix::prelude::*;

use crate::testing::faulty::{FaultyNetwork, Rule, RuleId, RuleReport};

/// The actor is a handle as any other: stopping it takes no rule back.
impl Actor for FaultyNetwork {
    type Context = Context<Self>;
}

/// [`FaultyNetwork::inject`].
#[derive(Clone, Debug, PartialEq, Message)]
#[rtype(result = "RuleId")]
pub struct Inject(pub Rule);

/// [`FaultyNetwork::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "Option<RuleReport>")]
pub struct Remove(pub RuleId);

/// [`FaultyNetwork::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "bool")]
pub struct Release(pub RuleId);

/// [`FaultyNetwork::clear`].
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
