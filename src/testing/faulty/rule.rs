//! A [`Rule`]: which operation fails, how, when and at which address.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::testing::faulty::errno::Errno;

/// An operation that can fail by a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, derive_more::Display)]
#[non_exhaustive]
pub enum Operation {
    /// Binding and listening.
    #[display("listen")]
    Listen,
    /// Accepting a connection.
    #[display("accept")]
    Accept,
    /// Resolving a host name.
    #[display("resolve")]
    Resolve,
    /// Connecting to an address.
    #[display("connect")]
    Connect,
    /// Reading from a connection.
    #[display("read")]
    Read,
    /// Writing to a connection.
    #[display("write")]
    Write,
    /// Binding a datagram socket.
    #[display("bind")]
    Bind,
    /// Receiving a datagram.
    #[display("receive")]
    Receive,
    /// Sending a datagram.
    #[display("send")]
    Send,
    /// A turn of a server socket's actor.
    #[display("server")]
    Server,
    /// A turn of the actor of all client sockets: a call on a client socket, or
    /// a client socket that is ready.
    #[display("clients")]
    ClientSockets,
    /// A turn of the actor of all sockets of `chrome.sockets.udp`: a call on a
    /// socket, or a socket that is ready.
    #[display("udp")]
    UdpSockets,
    /// A message that the registry handles.
    #[display("registry")]
    Registry,
    /// An event that reaches a listener made by
    /// [`FaultyNetwork::subscriber`](crate::testing::faulty::FaultyNetwork::subscriber).
    #[display("subscriber")]
    Subscriber,
}

impl Operation {
    /// All operations.
    pub const ALL: [Operation; 14] = [
        Operation::Listen,
        Operation::Accept,
        Operation::Resolve,
        Operation::Connect,
        Operation::Read,
        Operation::Write,
        Operation::Bind,
        Operation::Receive,
        Operation::Send,
        Operation::Server,
        Operation::ClientSockets,
        Operation::UdpSockets,
        Operation::Registry,
        Operation::Subscriber,
    ];

    /// Whether an actor performs it: one of the crate's own, or a listener.
    pub(super) fn is_actor(self) -> bool {
        matches!(
            self,
            Operation::Server
                | Operation::ClientSockets
                | Operation::UdpSockets
                | Operation::Registry
                | Operation::Subscriber
        )
    }

    fn can_stall(self) -> bool {
        // These are synchronous, and so is a turn of one of the crate's actors.
        let is_synchronous = matches!(self, Operation::Listen | Operation::Bind);
        self == Operation::Subscriber || !(is_synchronous || self.is_actor())
    }

    fn is_io(self) -> bool {
        matches!(self, Operation::Read | Operation::Write)
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The operation fails with this error, and the OS is not called. The
    /// exception is `accept=ECONNABORTED`: the connection is accepted and
    /// reset, as the kernel does it.
    ///
    /// The connection is then in the same state as after a real error:
    ///
    /// - after an error of the connection (`ECONNRESET`, `ECONNABORTED`,
    ///   `ECONNREFUSED`, `ETIMEDOUT`, `EPROTO`, `ENETRESET`, or a network or
    ///   host that is down or unreachable) or of its descriptor (`EBADF`,
    ///   `ENOTSOCK`, `ENOTCONN`) every later read and write fails in the same way;
    /// - after `write=EPIPE` every later write fails, and reads go on;
    /// - any other error (`EINTR`, `EAGAIN`, `ENOBUFS`, `EIO`) affects only this call.
    ///
    /// The peer notices nothing until the app closes its end.
    Error(Errno),
    /// The operation stays pending for this long, or until it is released, and
    /// then goes on. Not possible for `listen` and the crate's own actors.
    Stall(Option<Duration>),
    /// A read or write transfers at most this many bytes.
    Short(NonZeroUsize),
    /// A read or write resets the connection for both ends: later reads and
    /// writes fail with `ECONNRESET`.
    Reset,
    /// This read and every later one returns 0 bytes, as if the peer had shut
    /// down its writing side.
    End,
    /// The operation panics before it has an effect.
    Panic,
    /// The actor stops, as by [`ActorContext::stop`](actix::ActorContext::stop).
    /// Its value is dropped, with the futures that it has spawned and the
    /// messages in its mailbox.
    Stop,
    /// The actor's arbiter stops: its thread ends, and every actor, task and
    /// timer in it is dropped. The system's own arbiter stops only with the
    /// system.
    EndArbiter,
}

impl Fault {
    /// [`Fault::Short`] of this many bytes; 0 counts as 1.
    pub fn short(bytes: usize) -> Self {
        Fault::Short(NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN))
    }

    fn applies_to(self, operation: Operation) -> bool {
        match self {
            Fault::Panic => true,
            Fault::Stop | Fault::EndArbiter => operation.is_actor(),
            Fault::Error(_) => !operation.is_actor(),
            Fault::Stall(_) => operation.can_stall(),
            Fault::Short(_) | Fault::Reset => operation.is_io(),
            Fault::End => operation == Operation::Read,
        }
    }

    /// The fault in the text of a rule, without its options: `stall`.
    pub(super) fn keyword(&self) -> String {
        match self {
            Fault::Error(errno) => return errno.to_string(),
            Fault::Stall(_) => "stall",
            Fault::Short(_) => "short",
            Fault::Reset => "reset",
            Fault::End => "end",
            Fault::Panic => "panic",
            Fault::Stop => "stop",
            Fault::EndArbiter => "arbiter",
        }
        .to_owned()
    }

    /// Where this fault is possible, for [`RuleError::NotPossible`].
    fn hint(&self) -> &'static str {
        match self {
            Fault::Error(_) => {
                "an actor has no errno: write panic, stop or arbiter before its name"
            }
            Fault::Panic => "write an operation",
            Fault::Stop | Fault::EndArbiter => {
                "write stop=server, stop=clients, stop=udp, stop=registry or stop=subscriber, or arbiter="
            }
            Fault::Stall(_) => "listen, bind and the actors of the crate cannot stall",
            Fault::Short(_) => "short is for read and write",
            Fault::Reset => {
                "reset is for read and write; elsewhere write ECONNRESET, or ECONNABORTED for accept"
            }
            Fault::End => "end is for read; elsewhere write EPIPE or ECONNRESET",
        }
    }
}

/// Why a text or a combination is not a [`Rule`], and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, derive_more::Display, derive_more::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The text does not begin with `OPERATION=FAULT`.
    #[display("{_0:?} has no fault: write OPERATION=FAULT, like accept=EMFILE")]
    MissingFault(#[error(not(source))] String),
    /// No operation has this name.
    #[display("{_0:?} is not an operation: write one of {}", Operation::ALL.map(|it| it.to_string()).join(", "))]
    UnknownOperation(#[error(not(source))] String),
    /// No fault has this name.
    #[display(
        "{_0:?} is not a fault: write the name of an errno (EMFILE), its number (24), stall, \
         short, reset, end or panic; or panic, stop or arbiter before an actor: panic=clients"
    )]
    UnknownFault(#[error(not(source))] String),
    /// This operation cannot fail in this way.
    #[display("{operation}={} is not possible: {}", fault.keyword(), fault.hint())]
    NotPossible {
        /// The operation.
        operation: Operation,
        /// The fault.
        fault: Fault,
    },
    /// The operation belongs to no listener.
    #[display("{_0} has no listener: remove listener=, or write peer=ADDRESS after connect")]
    NoListener(#[error(not(source))] Operation),
    /// The operation has no peer, or does not know it yet.
    #[display("{_0} has no peer: remove peer=, or write listener=ADDRESS after accept or listen")]
    NoPeer(#[error(not(source))] Operation),
    /// The fault has no option of this name.
    #[display(
        "{_0:?} is not an option of this rule: write one of listener=ADDRESS, peer=ADDRESS, \
         after=N, every=N, p=PROBABILITY, times=N; for=TIME after stall; bytes=N after short"
    )]
    UnknownOption(#[error(not(source))] String),
    /// An option is given twice.
    #[display("{_0}= is given twice: write it once")]
    Duplicate(#[error(not(source))] String),
    /// The value of an option is invalid.
    #[display("{key}={value:?} is invalid: write {expected}")]
    InvalidValue {
        /// The option.
        key: String,
        /// Its value.
        value: String,
        /// What the option takes.
        expected: &'static str,
    },
}

/// Matches an address with one port, or with any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressFilter {
    pub(super) ip: IpAddr,
    /// `None` matches every port.
    pub(super) port: Option<u16>,
}

impl AddressFilter {
    fn matches(&self, address: SocketAddr) -> bool {
        // On a socket for both families, IPv4 comes as `::ffff:127.0.0.1`.
        self.ip.to_canonical() == address.ip().to_canonical()
            && self.port.is_none_or(|port| port == address.port())
    }
}

impl From<SocketAddr> for AddressFilter {
    fn from(address: SocketAddr) -> Self {
        AddressFilter {
            ip: address.ip(),
            port: Some(address.port()),
        }
    }
}

impl From<IpAddr> for AddressFilter {
    fn from(ip: IpAddr) -> Self {
        AddressFilter { ip, port: None }
    }
}

/// Makes calls of an operation fail: which, how, when and at which address.
///
/// As text a rule is `OPERATION=FAULT`, followed by options in any order:
///
/// | text | meaning |
/// |---|---|
/// | `accept=EMFILE` | every accept fails with `EMFILE`; `accept=24` is the same |
/// | `read=stall` | every read waits until it is released; with `,for=200ms` at most that long |
/// | `write=short` | every write takes one byte; with `,bytes=100` up to 100 |
/// | `read=reset`, `write=reset` | the connection is reset |
/// | `read=end` | the peer seems to have shut down its writing side |
/// | `panic=server`, `panic=clients`, `panic=registry` | an actor panics: of a server socket, of all client sockets, the registry |
/// | `receive=ECONNREFUSED`, `send=ENOBUFS`, `bind=EACCES` | datagrams: a receive, a send or a bind fails |
/// | `panic=udp` | the actor of all sockets of `chrome.sockets.udp` panics |
/// | `resolve=panic` | any operation can panic |
/// | `stop=server`, `arbiter=server` | the actor stops, or its arbiter ends |
/// | `subscriber=stall,for=200ms` | a listener is slow: it holds every event for this time |
/// | `panic=subscriber`, `stop=subscriber` | a listener panics with an event in hand, or stops with it and with all events in its mailbox |
/// | `,listener=127.0.0.1:80` | only at this listener, on connections that it accepted, and on a datagram socket that is bound here; without `:80` at any port |
/// | `,peer=127.0.0.1:5000` | only with this peer; without `:5000` at any port |
/// | `,after=10` | skips the first 10 calls |
/// | `,every=50` | only the 50th call, the 100th … |
/// | `,p=0.001` | with this probability |
/// | `,times=3` | at most three times |
///
/// The options apply in this order: of the calls at these addresses the first
/// `after` succeed, each `every`-th of the others is selected, and fails with the
/// probability `p`, up to `times` calls.
///
/// ```
/// use chrome_sockets::testing::{Errno, Fault, Operation, Rule};
///
/// let rule: Rule = "accept=EMFILE,every=50".parse()?;
/// assert_eq!(rule, Rule::new(Operation::Accept, Fault::Error(Errno::EMFILE))?.every(50));
/// assert_eq!(rule.to_string(), "accept=EMFILE,every=50");
/// # Ok::<_, chrome_sockets::testing::RuleError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub(super) operation: Operation,
    pub(super) fault: Fault,
    pub(super) listener: Option<AddressFilter>,
    pub(super) peer: Option<AddressFilter>,
    pub(super) after: u64,
    pub(super) every: u64,
    pub(super) probability: f64,
    pub(super) times: Option<u64>,
}

impl Rule {
    /// Every call of this operation fails in this way.
    ///
    /// # Errors
    /// [`RuleError::NotPossible`] if this operation cannot fail in this way.
    pub fn new(operation: Operation, fault: Fault) -> Result<Self, RuleError> {
        if !fault.applies_to(operation) {
            return Err(RuleError::NotPossible { operation, fault });
        }
        Ok(Rule {
            operation,
            fault,
            listener: None,
            peer: None,
            after: 0,
            every: 1,
            probability: 1.0,
            times: None,
        })
    }

    /// Only at this listener, and on connections that it accepted.
    ///
    /// # Errors
    /// [`RuleError::NoListener`] for `resolve`, `connect` and actors, which
    /// have none.
    pub fn listener(mut self, address: impl Into<AddressFilter>) -> Result<Self, RuleError> {
        if matches!(self.operation, Operation::Resolve | Operation::Connect)
            || self.operation.is_actor()
        {
            return Err(RuleError::NoListener(self.operation));
        }
        self.listener = Some(address.into());
        Ok(self)
    }

    /// Only with this peer.
    ///
    /// # Errors
    /// [`RuleError::NoPeer`] for `listen`, `accept`, `resolve`, `bind` and
    /// `receive`, which do not know their peer yet, and for actors.
    pub fn peer(mut self, address: impl Into<AddressFilter>) -> Result<Self, RuleError> {
        let has_peer = matches!(self.operation, Operation::Connect | Operation::Send);
        if !has_peer && !self.operation.is_io() {
            return Err(RuleError::NoPeer(self.operation));
        }
        self.peer = Some(address.into());
        Ok(self)
    }

    /// Skips this many calls first.
    pub fn after(mut self, calls: u64) -> Self {
        self.after = calls;
        self
    }

    /// Only every `nth` call; 0 counts as 1.
    pub fn every(mut self, nth: u64) -> Self {
        self.every = nth.max(1);
        self
    }

    /// With this probability, from 0 (never) to 1 (always). A value outside this
    /// range counts as the nearer end, and NaN as 0.
    pub fn probability(mut self, p: f64) -> Self {
        // NaN is not greater than 0.
        self.probability = if p > 0.0 { p.min(1.0) } else { 0.0 };
        self
    }

    /// At most this many calls fail.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// The operation that fails.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// How it fails.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    pub(super) fn matches(&self, site: &CallSite) -> bool {
        let at = |filter: Option<AddressFilter>, address: Option<SocketAddr>| match filter {
            None => true,
            Some(filter) => address.is_some_and(|address| filter.matches(address)),
        };
        self.operation == site.operation
            && at(self.listener, site.listener)
            && at(self.peer, site.peer)
    }
}

/// A call of an operation, and the addresses that rules compare.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallSite {
    pub(super) operation: Operation,
    pub(super) listener: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
}

impl From<Operation> for CallSite {
    /// A call without addresses.
    fn from(operation: Operation) -> Self {
        CallSite {
            operation,
            listener: None,
            peer: None,
        }
    }
}
