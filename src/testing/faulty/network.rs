//! [`FaultyNetwork`]: wraps a network and injects faults into its operations.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::{fmt, io};

use actix::prelude::*;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::address::UnixAddress;
use crate::os::{
    self, Checkpoint, DatagramSocket, Listener, MulticastOptions, Network, NetworkInterface,
    Resolving, Stream,
};
use crate::testing::faulty::datagram::FaultyDatagrams;
use crate::testing::faulty::listener::FaultyListener;
use crate::testing::faulty::rule::{CallSite, Fault, Operation, Rule};
use crate::testing::faulty::rule_set::{
    Effect, InjectedFault, RuleCursor, RuleId, RuleReport, RuleSet, stop_current_arbiter,
};
use crate::testing::faulty::stream::FaultyStream;
use crate::testing::faulty::subscriber;

/// A [`Network`] that injects faults into the operations of another one, by
/// [`Rule`]s.
///
/// It is a handle; clones are the same network. Every clone can inject and remove
/// rules while the network runs, from any thread. It is also an actor, which
/// takes the messages [`Inject`](super::Inject), [`Remove`](super::Remove),
/// [`Release`](super::Release) and [`Clear`](super::Clear).
///
/// **The seed decides which calls fail.** It depends on the seed, on how many
/// rules were injected before this one, and on how many calls the rule has
/// evaluated. The same calls in the same order meet the same faults. A call
/// evaluates rules in the order of their injection, up to the first one that
/// triggers.
///
/// **A call** is a listen, a bind, a resolve, a connect, or an accept, a read, a
/// write, a receive or a send from its first poll to its result. A call that waits evaluates rules that
/// are injected meanwhile when it is polled next. Injecting a rule wakes no task,
/// so a fault for a waiting accept comes with the next client. Peeking, options
/// and addresses never fail by a rule. A listener fails if it is a
/// [`subscriber`](Self::subscriber); then each event is a call.
///
/// An accept fails before the OS is called, so the client stays in the backlog.
/// [`Fault`](super::Fault) says what follows on a connection. Sockets that another
/// process hands over follow the rules of this network. No listener accepted
/// them here.
///
/// ```
/// use chrome_sockets::Registry;
/// use chrome_sockets::os::TokioNetwork;
/// use chrome_sockets::testing::FaultyNetwork;
///
/// let network = FaultyNetwork::new(TokioNetwork, 7);
/// let rule = network.inject("accept=EMFILE,times=3".parse()?);
/// let registry = Registry::with_network(network.clone());
/// // … the app's next accepts meet three errors …
/// assert!(network.triggered(rule) <= 3);
/// network.clear();
/// # Ok::<_, chrome_sockets::testing::RuleError>(())
/// ```
#[derive(Clone)]
pub struct FaultyNetwork {
    network: Arc<dyn Network>,
    rules: Arc<RuleSet>,
}

impl FaultyNetwork {
    /// Wraps `network`. No operation fails until a rule is injected.
    pub fn new(network: impl Network, seed: u64) -> Self {
        FaultyNetwork {
            network: Arc::new(network),
            rules: Arc::new(RuleSet::new(seed)),
        }
    }

    /// Adds a rule, which is evaluated after the rules that were injected before.
    pub fn inject(&self, rule: Rule) -> RuleId {
        self.rules.inject(rule)
    }

    /// Removes a rule: it triggers no more, and calls that it stalls go on.
    /// Connections that it broke stay broken. `None` if there is no such rule.
    pub fn remove(&self, id: RuleId) -> Option<RuleReport> {
        self.rules.remove(id)
    }

    /// Removes every rule.
    pub fn clear(&self) -> Vec<RuleReport> {
        self.rules.clear()
    }

    /// Lets the calls go on that this rule stalls now; later calls stall again.
    /// `false` if there is no such rule.
    pub fn release(&self, id: RuleId) -> bool {
        self.rules.release(id)
    }

    /// A report of each rule, in the order of injection.
    pub fn report(&self) -> Vec<RuleReport> {
        self.rules.report()
    }

    /// How many calls evaluated this rule; 0 if there is no such rule.
    pub fn evaluated(&self, id: RuleId) -> u64 {
        self.rules
            .report_of(id)
            .map_or(0, |report| report.evaluated)
    }

    /// How many calls failed by this rule; 0 if there is no such rule.
    pub fn triggered(&self, id: RuleId) -> u64 {
        self.rules
            .report_of(id)
            .map_or(0, |report| report.triggered)
    }

    /// How many calls this rule stalls now. A call whose future was dropped does
    /// not count.
    pub fn stalled(&self, id: RuleId) -> usize {
        self.rules.stalled(id)
    }

    /// Every call that failed, in order, also by rules that were removed since.
    /// At most [`MAX_INJECTED_FAULTS`](super::MAX_INJECTED_FAULTS), the latest ones.
    pub fn injected_faults(&self) -> Vec<InjectedFault> {
        self.rules.injected_faults()
    }

    /// A listener that forwards every event to `recipient`, and fails by the rules
    /// for [`Operation::Subscriber`]. Add it in place of `recipient`. It is an
    /// actor in the current arbiter.
    ///
    /// It forwards one event at a time, in order, and waits until `recipient`
    /// has handled it. While it stalls it holds the event with its credit, and
    /// the events behind it wait in its mailbox. When it panics or stops it is
    /// dead, like any listener: the event in hand and the events in its mailbox
    /// were not delivered, and its app has to start another one.
    /// [`Recipient::connected`] tells whether it lives. It stops when
    /// `recipient` is dead; an event that it had forwarded then counts as
    /// handled, unless `recipient` panicked.
    ///
    /// # Panics
    /// Outside an actix system.
    ///
    /// ```
    /// # use actix::prelude::*;
    /// # use chrome_sockets::testing::FaultyNetwork;
    /// # use chrome_sockets::{App, tcp::ReceiveInfo};
    /// fn listen(app: &App, network: &FaultyNetwork, listener: Recipient<ReceiveInfo>) {
    ///     app.tcp.on_receive.do_add_listener(network.subscriber(listener));
    /// }
    /// ```
    pub fn subscriber<E>(&self, recipient: Recipient<E>) -> Recipient<E>
    where
        E: Message<Result = ()> + Send + 'static,
    {
        subscriber::start(self.rules.clone(), recipient)
    }

    fn listen_with(
        &self,
        address: Option<SocketAddr>,
        listen: impl FnOnce(&dyn Network) -> io::Result<Box<dyn Listener>>,
    ) -> io::Result<Box<dyn Listener>> {
        let site = CallSite {
            listener: address,
            ..Operation::Listen.into()
        };
        if let Some(Effect::Fail(Fault::Error(errno))) =
            self.rules.evaluate(&site, &mut RuleCursor::default())
        {
            return Err(errno.into());
        }
        let listener = listen(&*self.network)?;
        Ok(Box::new(FaultyListener::new(listener, self.rules.clone())))
    }

    fn connect_by(
        &self,
        peer: Option<SocketAddr>,
        connect: impl FnOnce(&dyn Network) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>
        + Send
        + 'static,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let site = CallSite {
            peer,
            ..Operation::Connect.into()
        };
        let FaultyNetwork { network, rules } = self.clone();
        async move {
            Self::apply_rules(&rules, site).await?;
            let stream = connect(&*network).await?;
            let stream = FaultyStream::new(stream, rules, None, peer);
            Ok(Box::new(stream) as Box<dyn Stream>)
        }
        .boxed()
    }

    /// Waits out the stalls of a resolve or connect, and fails if a rule says so.
    async fn apply_rules(rules: &RuleSet, site: CallSite) -> io::Result<()> {
        let mut cursor = RuleCursor::default();
        while let Some(effect) = rules.evaluate(&site, &mut cursor) {
            match effect {
                Effect::Stall(released) => released.await,
                Effect::Fail(Fault::Error(errno)) => return Err(errno.into()),
                // `Rule::new` allows no other fault for a resolve or a connect.
                Effect::Fail(_) => {}
            }
        }
        Ok(())
    }
}

/// Shows the report of each rule.
impl fmt::Debug for FaultyNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyNetwork")
            .field("rules", &self.report())
            .finish_non_exhaustive()
    }
}

impl Network for FaultyNetwork {
    fn listen(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.listen_with(Some(address), |network| network.listen(address, backlog))
    }

    fn listen_shared(&self, address: SocketAddr, backlog: u32) -> io::Result<Box<dyn Listener>> {
        self.listen_with(Some(address), |network| {
            network.listen_shared(address, backlog)
        })
    }

    fn listen_ipv6_only(
        &self,
        address: SocketAddr,
        backlog: u32,
        shared: bool,
    ) -> io::Result<Box<dyn Listener>> {
        self.listen_with(Some(address), |network| {
            network.listen_ipv6_only(address, backlog, shared)
        })
    }

    fn scope_id(&self, interface: &str) -> io::Result<u32> {
        self.network.scope_id(interface)
    }

    fn interfaces(&self) -> io::Result<Vec<NetworkInterface>> {
        self.network.interfaces()
    }

    fn resolve(&self, host: &str) -> Resolving {
        self.resolve_with_permit(host, Box::new(()))
    }

    fn resolve_with_permit(&self, host: &str, permit: Box<dyn Send>) -> Resolving {
        let FaultyNetwork { network, rules } = self.clone();
        let host = host.to_owned();
        async move {
            Self::apply_rules(&rules, Operation::Resolve.into()).await?;
            network.resolve_with_permit(&host, permit).await
        }
        .boxed()
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.connect_by(Some(address), move |network| network.connect(address))
    }

    fn connect_from(
        &self,
        local: SocketAddr,
        address: SocketAddr,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.connect_by(Some(address), move |network| {
            network.connect_from(local, address)
        })
    }

    // Rules for an address are for IP addresses.
    fn listen_unix(
        &self,
        address: &UnixAddress,
        mode: Option<u32>,
        backlog: u32,
    ) -> io::Result<Box<dyn Listener>> {
        self.listen_with(None, |network| network.listen_unix(address, mode, backlog))
    }

    fn connect_unix(
        &self,
        address: &UnixAddress,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let address = address.clone();
        self.connect_by(None, move |network| network.connect_unix(&address))
    }

    fn bind_datagram(
        &self,
        address: SocketAddr,
        options: MulticastOptions,
    ) -> io::Result<Box<dyn DatagramSocket>> {
        let site = CallSite {
            listener: Some(address),
            ..Operation::Bind.into()
        };
        if let Some(Effect::Fail(Fault::Error(errno))) =
            self.rules.evaluate(&site, &mut RuleCursor::default())
        {
            return Err(errno.into());
        }
        let socket = self.network.bind_datagram(address, options)?;
        Ok(Box::new(FaultyDatagrams::new(socket, self.rules.clone())))
    }

    fn adopt_datagram(&self, socket: OwnedFd) -> io::Result<Box<dyn DatagramSocket>> {
        let socket = self.network.adopt_datagram(socket)?;
        Ok(Box::new(FaultyDatagrams::new(socket, self.rules.clone())))
    }

    fn adopt_listener(&self, listener: OwnedFd) -> io::Result<Box<dyn Listener>> {
        let listener = self.network.adopt_listener(listener)?;
        Ok(Box::new(FaultyListener::new(listener, self.rules.clone())))
    }

    fn adopt_stream(&self, stream: OwnedFd) -> io::Result<Box<dyn Stream>> {
        let peer = os::peer_of(&stream);
        let stream = self.network.adopt_stream(stream)?;
        let stream = FaultyStream::new(stream, self.rules.clone(), None, peer);
        Ok(Box::new(stream))
    }

    /// Faults have to meet what a busy server does.
    fn polls_every_connection(&self) -> bool {
        true
    }

    fn checkpoint(&self, actor: Checkpoint) -> bool {
        let operation = match actor {
            Checkpoint::Registry => Operation::Registry,
            Checkpoint::ServerSocket => Operation::Server,
            Checkpoint::ClientSockets => Operation::ClientSockets,
            Checkpoint::UdpSockets => Operation::UdpSockets,
        };
        let effect = self
            .rules
            .evaluate(&operation.into(), &mut RuleCursor::default());
        if let Some(Effect::Fail(Fault::EndArbiter)) = effect {
            stop_current_arbiter();
        }
        matches!(effect, Some(Effect::Fail(Fault::Stop)))
    }
}
