//! What fails, how, when and where.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::testing::faulty::errno::Errno;
use crate::testing::faulty::text::RuleError;

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, derive_more::Display)]
#[non_exhaustive]
pub enum Operation {
    /// Binding and listening.
    #[display("listen")]
    Listen,
    /// Accepting a connection.
    #[display("accept")]
    Accept,
    /// Asking for the addresses of a name.
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
    /// A turn of a server socket's actor.
    #[display("server")]
    Server,
    /// A call on a client socket that the actor of all client sockets carries
    /// out, or a look at one that is ready.
    #[display("clients")]
    ClientSockets,
    /// A message that the registry handles.
    #[display("registry")]
    Registry,
    /// An event that a listener is to handle, if it is a
    /// [`FaultyNetwork::subscriber`](crate::testing::faulty::FaultyNetwork::subscriber).
    #[display("subscriber")]
    Subscriber,
}

impl Operation {
    /// Every operation there is.
    pub const ALL: [Operation; 10] = [
        Operation::Listen,
        Operation::Accept,
        Operation::Resolve,
        Operation::Connect,
        Operation::Read,
        Operation::Write,
        Operation::Server,
        Operation::ClientSockets,
        Operation::Registry,
        Operation::Subscriber,
    ];

    /// Whether it is the work of an actor: one of the crate's own, or a
    /// listener.
    pub(super) fn is_actors(self) -> bool {
        matches!(
            self,
            Operation::Server
                | Operation::ClientSockets
                | Operation::Registry
                | Operation::Subscriber
        )
    }

    fn may_wait(self) -> bool {
        self == Operation::Subscriber || (self != Operation::Listen && !self.is_actors())
    }

    fn is_transfer(self) -> bool {
        matches!(self, Operation::Read | Operation::Write)
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// It answers this, and the OS is not asked, but for `accept=ECONNABORTED`:
    /// as the kernel does it, the connection is gone. It is accepted and reset.
    ///
    /// What follows on a connection is what follows when the kernel says so:
    ///
    /// - after an error of the connection (`ECONNRESET`, `ECONNABORTED`,
    ///   `ECONNREFUSED`, `ETIMEDOUT`, `EPROTO`, `ENETRESET`, the net and host
    ///   that are down or out of reach) or of its descriptor (`EBADF`,
    ///   `ENOTSOCK`, `ENOTCONN`) every later read and write answers the same;
    /// - after `write=EPIPE` every later write does, and reads go on;
    /// - any other (`EINTR`, `EAGAIN`, `ENOBUFS`, `EIO`) is that call's alone.
    ///
    /// The peer notices nothing before the app closes its end.
    Error(Errno),
    /// It stays pending for this long, or until it is released, and then goes
    /// on. Not for `listen`, which cannot wait, nor for the crate's own actors.
    Stall(Option<Duration>),
    /// A read or write moves no more than this many bytes.
    Short(NonZeroUsize),
    /// A read or write finds the connection reset, and so does its peer: reads
    /// and writes answer `ECONNRESET` from now on.
    Reset,
    /// A read, and every later one, finds that the peer has ended its side.
    End,
    /// It panics, before it has done anything.
    Panic,
    /// The actor stops, as by [`ActorContext::stop`](actix::ActorContext::stop).
    /// Its value is dropped with all that it has spawned and all that waits in
    /// its mailbox.
    Stop,
    /// The arbiter of the actor is stopped: its thread ends, and every actor,
    /// task and timer in it is dropped. The one that the system itself runs in
    /// ends only with the system.
    EndArbiter,
}

impl Fault {
    /// No more than this many bytes, and at least one.
    pub fn short(bytes: usize) -> Self {
        Fault::Short(NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN))
    }

    fn is_possible(self, operation: Operation) -> bool {
        match self {
            Fault::Panic => true,
            Fault::Stop | Fault::EndArbiter => operation.is_actors(),
            Fault::Error(_) => !operation.is_actors(),
            Fault::Stall(_) => operation.may_wait(),
            Fault::Short(_) | Fault::Reset => operation.is_transfer(),
            Fault::End => operation == Operation::Read,
        }
    }
}

/// An address, or every port of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub(super) ip: IpAddr,
    pub(super) port: Option<u16>,
}

impl Place {
    fn covers(&self, address: SocketAddr) -> bool {
        // On a socket for both families, IPv4 comes as `::ffff:127.0.0.1`.
        self.ip.to_canonical() == address.ip().to_canonical()
            && self.port.is_none_or(|port| port == address.port())
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Place {
            ip: address.ip(),
            port: Some(address.port()),
        }
    }
}

impl From<IpAddr> for Place {
    fn from(ip: IpAddr) -> Self {
        Place { ip, port: None }
    }
}

/// Has operations fail: which, how, when and where.
///
/// Written as text it is `OPERATION=FAULT`, and then, in any order, what there
/// is to add:
///
/// | text | means |
/// |---|---|
/// | `accept=EMFILE` | every accept answers `EMFILE`; `accept=24` is the same |
/// | `read=stall` | every read waits until it is released; `,for=200ms`: so long |
/// | `write=short` | every write takes one byte; `,bytes=100`: no more than 100 |
/// | `read=reset`, `write=reset` | the connection is reset |
/// | `read=end` | the peer seems to have ended its side |
/// | `panic=server`, `panic=clients`, `panic=registry` | an actor panics: of a server socket, of all client sockets, the registry |
/// | `resolve=panic` | any operation panics |
/// | `stop=server`, `arbiter=server` | the actor stops, or its arbiter ends |
/// | `subscriber=stall,for=200ms` | a listener is slow: it holds every event so long |
/// | `panic=subscriber`, `stop=subscriber` | a listener panics with an event in hand, or stops with it and with all that is in its mailbox |
/// | `,listener=127.0.0.1:80` | at this listener, and on what it has accepted; without `:80` at any port |
/// | `,peer=127.0.0.1:5000` | with this peer; without `:5000` at any port |
/// | `,after=10` | not the first 10 times |
/// | `,every=50` | the 50th time, the 100th … |
/// | `,p=0.001` | with this probability |
/// | `,times=3` | three times, and then no more |
///
/// They are looked at in this order: of the calls in these places the first
/// `after` are let pass, each `every`-th of the rest is picked, of those each
/// with the probability `p`, until it was `times` of them.
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
    pub(super) listener: Option<Place>,
    pub(super) peer: Option<Place>,
    pub(super) after: u64,
    pub(super) every: u64,
    pub(super) probability: f64,
    pub(super) times: Option<u64>,
}

impl Rule {
    /// Every call of this operation fails in this way.
    ///
    /// # Errors
    /// [`RuleError::NotPossible`]: this operation cannot fail so.
    pub fn new(operation: Operation, fault: Fault) -> Result<Self, RuleError> {
        if !fault.is_possible(operation) {
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
    /// [`RuleError::NoListener`]: `resolve`, `connect` and actors have none.
    pub fn listener(mut self, place: impl Into<Place>) -> Result<Self, RuleError> {
        if matches!(self.operation, Operation::Resolve | Operation::Connect)
            || self.operation.is_actors()
        {
            return Err(RuleError::NoListener(self.operation));
        }
        self.listener = Some(place.into());
        Ok(self)
    }

    /// Only with this peer.
    ///
    /// # Errors
    /// [`RuleError::NoPeer`]: `listen`, `accept` and `resolve` do not know
    /// theirs yet.
    pub fn peer(mut self, place: impl Into<Place>) -> Result<Self, RuleError> {
        if self.operation != Operation::Connect && !self.operation.is_transfer() {
            return Err(RuleError::NoPeer(self.operation));
        }
        self.peer = Some(place.into());
        Ok(self)
    }

    /// Lets so many calls pass first.
    pub fn after(mut self, calls: u64) -> Self {
        self.after = calls;
        self
    }

    /// Only each so-manyth call; 0 counts as 1.
    pub fn every(mut self, nth: u64) -> Self {
        self.every = nth.max(1);
        self
    }

    /// With this probability, from 0 (never) to 1 (always). What is outside
    /// counts as the nearer of these, and what is no number as 0.
    pub fn probability(mut self, p: f64) -> Self {
        // What is no number is not greater than 0 either.
        self.probability = if p > 0.0 { p.min(1.0) } else { 0.0 };
        self
    }

    /// Strikes no more than so often.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// What fails.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// How it fails.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    pub(super) fn is_about(&self, call: &Call) -> bool {
        let covered = |place: Option<Place>, address: Option<SocketAddr>| match place {
            None => true,
            Some(place) => address.is_some_and(|address| place.covers(address)),
        };
        self.operation == call.operation
            && covered(self.listener, call.listener)
            && covered(self.peer, call.peer)
    }
}

/// An operation that begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    pub(super) listener: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
}
