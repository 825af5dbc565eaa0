//! Rules as text: `accept=EMFILE,every=50`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use crate::testing::faulty::rule::{Fault, Operation, Place, Rule};

/// Why a text or a combination is no [`Rule`], and what to write.
#[derive(Clone, Debug, PartialEq, Eq, derive_more::Display, derive_more::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// It does not begin as a rule does.
    #[display("{_0:?} says no fault: write OPERATION=FAULT, like accept=EMFILE")]
    NoFault(#[error(not(source))] String),
    /// Nothing that can fail has this name.
    #[display("{_0:?} is no operation: write one of {}", operations())]
    UnknownOperation(#[error(not(source))] String),
    /// Nothing fails like this.
    #[display(
        "{_0:?} is no fault: write the name of an errno (EMFILE), its number (24), stall, \
         short, reset, end or panic; or panic, stop or arbiter before an actor: panic=clients"
    )]
    UnknownFault(#[error(not(source))] String),
    /// This operation does not fail like this.
    #[display("{operation}={} is not possible: {}", fault.word(), fault.is_for())]
    NotPossible {
        /// What should fail.
        operation: Operation,
        /// How it cannot.
        fault: Fault,
    },
    /// It has no listener.
    #[display("{_0} has no listener: it takes peer=ADDRESS if it is a connect, or neither")]
    NoListener(#[error(not(source))] Operation),
    /// It has no peer, or does not know it yet.
    #[display("{_0} knows no peer: it takes listener=ADDRESS if it is an accept or a listen")]
    NoPeer(#[error(not(source))] Operation),
    /// Nothing of this name can be added to the fault.
    #[display(
        "{_0:?} is no part of such a rule: write one of listener=ADDRESS, peer=ADDRESS, after=N, \
         every=N, p=PROBABILITY, times=N; for=TIME after stall; bytes=N after short"
    )]
    UnknownKey(#[error(not(source))] String),
    /// It says two things for one.
    #[display("{_0}= stands twice: write it once")]
    Twice(#[error(not(source))] &'static str),
    /// What stands after the `=` cannot stand there.
    #[display("{key}={value:?} cannot be: write {expected}")]
    BadValue {
        /// Before the `=`.
        key: &'static str,
        /// After it.
        value: String,
        /// What may stand there.
        expected: &'static str,
    },
}

fn operations() -> String {
    Operation::ALL
        .map(|operation| operation.to_string())
        .join(", ")
}

impl Fault {
    /// What stands after the operation.
    fn word(&self) -> String {
        match self {
            Fault::Error(errno) => errno.to_string(),
            Fault::Stall(_) => "stall".to_owned(),
            Fault::Short(_) => "short".to_owned(),
            Fault::Reset => "reset".to_owned(),
            Fault::End => "end".to_owned(),
            Fault::Panic => "panic".to_owned(),
            Fault::Stop => "stop".to_owned(),
            Fault::EndArbiter => "arbiter".to_owned(),
        }
    }

    fn is_for(&self) -> &'static str {
        match self {
            Fault::Error(_) => {
                "an errno is for operations; of an actor write panic, stop or arbiter"
            }
            Fault::Panic => "write an operation",
            Fault::Stop | Fault::EndArbiter => {
                "write stop=server, stop=clients, stop=registry or stop=subscriber, or arbiter="
            }
            Fault::Stall(_) => {
                "neither listen nor an actor of the crate waits; stall any other operation"
            }
            Fault::Short(_) => "short is for read and write",
            Fault::Reset => {
                "reset is for read and write; elsewhere write ECONNRESET, or ECONNABORTED for accept"
            }
            Fault::End => "end is for read; elsewhere write EPIPE or ECONNRESET",
        }
    }
}

/// As it stands in a rule: `stall,for=200ms`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word())?;
        match *self {
            Fault::Stall(Some(time)) => write!(f, ",for={}", Time(time)),
            Fault::Short(bytes) if bytes > NonZeroUsize::MIN => write!(f, ",bytes={bytes}"),
            _ => Ok(()),
        }
    }
}

/// As a rule begins: of an actor, what happens comes first, but for a stall:
/// `panic=clients`, `subscriber=stall`.
pub(super) fn begin(f: &mut fmt::Formatter<'_>, operation: Operation, fault: Fault) -> fmt::Result {
    match (operation.is_actors(), fault) {
        (false, _) | (_, Fault::Stall(_)) => write!(f, "{operation}={fault}"),
        (true, _) => write!(f, "{fault}={operation}"),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        begin(f, self.operation, self.fault)?;
        if let Some(listener) = self.listener {
            write!(f, ",listener={listener}")?;
        }
        if let Some(peer) = self.peer {
            write!(f, ",peer={peer}")?;
        }
        if self.after > 0 {
            write!(f, ",after={}", self.after)?;
        }
        if self.every > 1 {
            write!(f, ",every={}", self.every)?;
        }
        if self.probability < 1.0 {
            write!(f, ",p={}", self.probability)?;
        }
        match self.times {
            Some(times) => write!(f, ",times={times}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let no_fault = || RuleError::NoFault(text.to_owned());
        let mut parts = text.split(',').map(str::trim);
        let first = parts.next().and_then(|first| first.split_once('='));
        let (operation, fault) = first.ok_or_else(no_fault)?;
        let (operation, fault) = (operation.trim(), fault.trim());
        // Of an actor, what happens comes first: `panic=clients`.
        let (operation, fault) = match fault.parse::<Operation>() {
            Ok(actor) if actor.is_actors() => (actor, operation.parse()?),
            _ => (operation.parse()?, fault.parse()?),
        };
        let mut rule = Rule::new(operation, fault)?;
        let mut seen = Vec::new();
        for part in parts {
            let unknown = || RuleError::UnknownKey(part.to_owned());
            let (key, value) = part.split_once('=').ok_or_else(unknown)?;
            let key = Key::named(key.trim(), fault).ok_or_else(unknown)?;
            if seen.contains(&key.name()) {
                return Err(RuleError::Twice(key.name()));
            }
            seen.push(key.name());
            rule = key.add(rule, value.trim())?;
        }
        Ok(rule)
    }
}

impl FromStr for Operation {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        Operation::ALL
            .into_iter()
            .find(|operation| operation.to_string() == text)
            .ok_or_else(|| RuleError::UnknownOperation(text.to_owned()))
    }
}

/// Without its time or size: `stall`, `short`.
impl FromStr for Fault {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        Ok(match text {
            "stall" => Fault::Stall(None),
            "short" => Fault::short(1),
            "reset" => Fault::Reset,
            "end" => Fault::End,
            "panic" => Fault::Panic,
            "stop" => Fault::Stop,
            "arbiter" => Fault::EndArbiter,
            errno => Fault::Error(
                errno
                    .parse()
                    .map_err(|_| RuleError::UnknownFault(text.to_owned()))?,
            ),
        })
    }
}

/// What may follow the fault.
#[derive(Clone, Copy)]
enum Key {
    Listener,
    Peer,
    After,
    Every,
    Probability,
    Times,
    For,
    Bytes,
}

impl Key {
    const ALL: [Key; 8] = [
        Key::Listener,
        Key::Peer,
        Key::After,
        Key::Every,
        Key::Probability,
        Key::Times,
        Key::For,
        Key::Bytes,
    ];

    fn name(self) -> &'static str {
        match self {
            Key::Listener => "listener",
            Key::Peer => "peer",
            Key::After => "after",
            Key::Every => "every",
            Key::Probability => "p",
            Key::Times => "times",
            Key::For => "for",
            Key::Bytes => "bytes",
        }
    }

    /// The key of this name that may follow this fault.
    fn named(name: &str, fault: Fault) -> Option<Self> {
        Self::ALL.into_iter().find(|key| {
            let fits = match key {
                Key::For => matches!(fault, Fault::Stall(_)),
                Key::Bytes => matches!(fault, Fault::Short(_)),
                _ => true,
            };
            fits && key.name() == name
        })
    }

    fn expected(self) -> &'static str {
        match self {
            Key::Listener | Key::Peer => "an IP address, 127.0.0.1, or one with a port, [::1]:80",
            Key::After | Key::Times => "a whole number",
            Key::Every | Key::Bytes => "a whole number from 1 upward",
            Key::Probability => "a number from 0 (never) to 1 (always), like 0.001",
            Key::For => "a whole number with ns, us, ms, s or min, like 200ms",
        }
    }

    fn add(self, mut rule: Rule, text: &str) -> Result<Rule, RuleError> {
        let bad = || RuleError::BadValue {
            key: self.name(),
            value: text.to_owned(),
            expected: self.expected(),
        };
        let number = || text.parse::<u64>().map_err(|_| bad());
        match self {
            Key::Listener => return rule.listener(place(text).ok_or_else(bad)?),
            Key::Peer => return rule.peer(place(text).ok_or_else(bad)?),
            Key::After => rule.after = number()?,
            Key::Every => match number()? {
                0 => return Err(bad()),
                nth => rule.every = nth,
            },
            Key::Probability => match text.parse::<f64>() {
                Ok(p) if (0.0..=1.0).contains(&p) => rule = rule.probability(p),
                _ => return Err(bad()),
            },
            Key::Times => rule.times = Some(number()?),
            Key::For => {
                let Time(time) = text.parse().map_err(|NotATime| bad())?;
                rule.fault = Fault::Stall(Some(time));
            }
            Key::Bytes => rule.fault = Fault::Short(text.parse().map_err(|_| bad())?),
        }
        Ok(rule)
    }
}

fn place(text: &str) -> Option<Place> {
    let address = text.parse::<SocketAddr>().map(Place::from);
    address
        .or_else(|_| text.parse::<IpAddr>().map(Place::from))
        .ok()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// A whole number of a unit of time.
struct Time(Duration);

/// Text that says no [`Time`].
struct NotATime;

/// Largest first, in nanoseconds.
const UNITS: [(&str, u128); 5] = [
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        let whole = UNITS.iter().find(|(_, unit)| nanos.is_multiple_of(*unit));
        let (name, unit) = whole.unwrap_or(&("ns", 1));
        write!(f, "{}{name}", nanos / unit)
    }
}

impl FromStr for Time {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let end = text.find(|c: char| !c.is_ascii_digit()).ok_or(NotATime)?;
        let (number, name) = text.split_at(end);
        let number: u128 = number.parse().map_err(|_| NotATime)?;
        let (_, unit) = UNITS
            .iter()
            .find(|(unit, _)| *unit == name)
            .ok_or(NotATime)?;
        let nanos = number.checked_mul(*unit).ok_or(NotATime)?;
        let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| NotATime)?;
        let rest = u32::try_from(nanos % 1_000_000_000).map_err(|_| NotATime)?;
        Ok(Time(Duration::new(seconds, rest)))
    }
}
