//! A network that fails by rules, around one that does not.
//!
//! An operation begins when it is polled first and ends with its answer. The
//! rules are asked about it once, when it begins, so what they strike does not
//! depend on how often a task happens to be woken.

mod errno;
mod listener;
mod messages;
mod plan;
mod rule;
mod stream;
mod subscriber;
#[cfg(test)]
mod tests;
mod text;

pub use crate::testing::faulty::errno::{Errno, NotAnErrno};
pub use crate::testing::faulty::messages::{Clear, Inject, Release, Remove};
pub use crate::testing::faulty::plan::{RuleId, RuleReport, STRIKES_KEPT, Strike};
pub use crate::testing::faulty::rule::{Fault, Operation, Place, Rule};
pub use crate::testing::faulty::text::RuleError;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use actix::prelude::*;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::os::{self, Checkpoint, Listener, Network, Stream};
use crate::testing::faulty::listener::FaultyListener;
use crate::testing::faulty::plan::{Asked, Effect, Plan};
use crate::testing::faulty::rule::Call;
use crate::testing::faulty::stream::FaultyStream;

/// A [`Network`] that has operations of another one fail, by [`Rule`]s.
///
/// It is a handle; clones are the same network, and rules are injected and
/// removed by any of them, from any thread, while it runs. It is an actor too,
/// for who would rather send it [`Inject`], [`Remove`], [`Release`] and
/// [`Clear`].
///
/// **Which call fails** is told by the seed: what a rule strikes depends on the
/// seed, on how many rules were injected before it, and on how many calls it
/// was asked about. The same calls in the same order meet the same faults.
/// Rules are asked in the order in which they were injected, and no more after
/// the first one that strikes.
///
/// **What a call is**: a listen, a resolve, a connect; an accept, a read or a
/// write from its first poll to its answer. A call that waits is asked about
/// rules that are injected meanwhile, when it is polled next; injecting wakes
/// nobody, so a fault that hits a waiting accept comes with the next client.
/// Looking whether there is something to read, setting options and addresses
/// never fail by a rule. Listeners fail if they are
/// [`subscriber`](Self::subscriber)s: each event is a call.
///
/// An accept fails before the OS is asked, so the client is still in the
/// backlog. [`Fault`] tells what follows on a connection. What another process
/// hands over fails by the rules of this one; no listener accepted it here.
///
/// ```
/// use chrome_sockets::Registry;
/// use chrome_sockets::os::TokioNetwork;
/// use chrome_sockets::testing::FaultyNetwork;
///
/// let network = FaultyNetwork::new(TokioNetwork, 7);
/// let rule = network.inject("accept=EMFILE,times=3".parse()?);
/// let registry = Registry::with_network(network.clone());
/// // … what the app does now meets three errors …
/// assert!(network.struck(rule) <= 3);
/// network.clear();
/// # Ok::<_, chrome_sockets::testing::RuleError>(())
/// ```
#[derive(Clone)]
pub struct FaultyNetwork {
    network: Arc<dyn Network>,
    plan: Arc<Plan>,
}

impl FaultyNetwork {
    /// As reliable as the network that it wraps, until a rule is injected.
    pub fn new(network: impl Network, seed: u64) -> Self {
        FaultyNetwork {
            network: Arc::new(network),
            plan: Arc::new(Plan::new(seed)),
        }
    }

    /// From now on calls fail by this rule too, after those that were injected
    /// before.
    pub fn inject(&self, rule: Rule) -> RuleId {
        self.plan.inject(rule)
    }

    /// Takes a rule back: no call fails by it any more, and those that it
    /// stalls go on. What has broken stays broken. `None`: it is not there.
    pub fn remove(&self, id: RuleId) -> Option<RuleReport> {
        self.plan.remove(id)
    }

    /// Takes every rule back.
    pub fn clear(&self) -> Vec<RuleReport> {
        self.plan.clear()
    }

    /// Has the calls go on that this rule stalls now; it stalls others. `false`:
    /// the rule is not there.
    pub fn release(&self, id: RuleId) -> bool {
        self.plan.release(id)
    }

    /// What each rule that is there did so far, in the order in which they
    /// were injected.
    pub fn report(&self) -> Vec<RuleReport> {
        self.plan.report()
    }

    /// How many calls this rule was asked about; 0 if it is not there.
    pub fn asked(&self, id: RuleId) -> u64 {
        self.plan.report_of(id).map_or(0, |report| report.asked)
    }

    /// How many calls failed by this rule; 0 if it is not there.
    pub fn struck(&self, id: RuleId) -> u64 {
        self.plan.report_of(id).map_or(0, |report| report.struck)
    }

    /// How many calls this rule stalls now. One that was given up is none.
    pub fn stalled(&self, id: RuleId) -> usize {
        self.plan.stalled(id)
    }

    /// Every call that failed, in order; if there were more than
    /// [`STRIKES_KEPT`], the latest. Those by rules that were taken back stay.
    pub fn strikes(&self) -> Vec<Strike> {
        self.plan.strikes()
    }

    fn listener(
        &self,
        address: SocketAddr,
        listen: impl FnOnce(&dyn Network) -> io::Result<Box<dyn Listener>>,
    ) -> io::Result<Box<dyn Listener>> {
        let call = Call {
            operation: Operation::Listen,
            listener: Some(address),
            peer: None,
        };
        if let Some(Effect::Error(errno)) = self.plan.ask(&call, &mut Asked::default()) {
            return Err(os_error(errno));
        }
        let listener = listen(&*self.network)?;
        Ok(Box::new(FaultyListener::new(listener, self.plan.clone())))
    }

    /// What a call that cannot be short or reset answers, when it has stalled
    /// as long as it should.
    async fn begin(plan: &Plan, call: Call) -> io::Result<()> {
        let mut asked = Asked::default();
        while let Some(effect) = plan.ask(&call, &mut asked) {
            match effect {
                Effect::Error(errno) => return Err(os_error(errno)),
                Effect::Stall(released) => released.await,
                Effect::Short(_) | Effect::Reset | Effect::End => {}
                Effect::Stop | Effect::EndArbiter => {}
            }
        }
        Ok(())
    }
}

/// What its rules did.
impl fmt::Debug for FaultyNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyNetwork")
            .field("rules", &self.report())
            .finish_non_exhaustive()
    }
}

impl Network for FaultyNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.listener(address, |network| network.listen(address, backlog))
    }

    fn listen_shared(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.listener(address, |network| network.listen_shared(address, backlog))
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.resolve_in(host, Box::new(()))
    }

    fn resolve_in(
        &self,
        host: &str,
        place: Box<dyn Send>,
    ) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let call = Call {
            operation: Operation::Resolve,
            listener: None,
            peer: None,
        };
        let FaultyNetwork { network, plan } = self.clone();
        let host = host.to_owned();
        async move {
            Self::begin(&plan, call).await?;
            network.resolve_in(&host, place).await
        }
        .boxed()
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let call = Call {
            operation: Operation::Connect,
            listener: None,
            peer: Some(address),
        };
        let FaultyNetwork { network, plan } = self.clone();
        async move {
            Self::begin(&plan, call).await?;
            let stream = network.connect(address).await?;
            let stream = FaultyStream::new(stream, plan, None, Some(address));
            Ok(Box::new(stream) as Box<dyn Stream>)
        }
        .boxed()
    }

    fn adopt_listener(&self, listener: OwnedFd) -> io::Result<Box<dyn Listener>> {
        let listener = self.network.adopt_listener(listener)?;
        Ok(Box::new(FaultyListener::new(listener, self.plan.clone())))
    }

    fn checkpoint(&self, actor: Checkpoint) -> bool {
        let call = Call {
            operation: match actor {
                Checkpoint::Registry => Operation::Registry,
                Checkpoint::ServerSocket => Operation::Server,
                Checkpoint::ClientSockets => Operation::ClientSockets,
            },
            listener: None,
            peer: None,
        };
        match self.plan.ask(&call, &mut Asked::default()) {
            Some(Effect::Stop) => true,
            Some(Effect::EndArbiter) => {
                end_arbiter();
                false
            }
            _ => false,
        }
    }

    fn adopt_stream(&self, stream: OwnedFd) -> io::Result<Box<dyn Stream>> {
        let peer = os::peer_of(&stream);
        let stream = self.network.adopt_stream(stream)?;
        let stream = FaultyStream::new(stream, self.plan.clone(), None, peer);
        Ok(Box::new(stream))
    }
}

fn end_arbiter() {
    if let Some(arbiter) = Arbiter::try_current() {
        arbiter.stop();
    }
}

fn os_error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.number())
}
