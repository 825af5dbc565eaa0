//! Rules as text: `accept=EMFILE,every=50`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use crate::testing::faulty::rule::{AddressFilter, Fault, Operation, Rule, RuleError};

/// The fault with its option: `stall,for=200ms`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.keyword())?;
        match *self {
            Fault::Stall(Some(time)) => write!(f, ",for={}", Time(time)),
            Fault::Short(bytes) if bytes > NonZeroUsize::MIN => write!(f, ",bytes={bytes}"),
            _ => Ok(()),
        }
    }
}

/// The first part of a rule. The fault comes before an actor (`panic=clients`), but a
/// stall comes after it, as after other operations (`subscriber=stall`).
pub(super) fn write_fault(
    f: &mut fmt::Formatter<'_>,
    operation: Operation,
    fault: Fault,
) -> fmt::Result {
    match (operation.is_actor(), fault) {
        (false, _) | (_, Fault::Stall(_)) => write!(f, "{operation}={fault}"),
        (true, _) => write!(f, "{fault}={operation}"),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_fault(f, self.operation, self.fault)?;
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
        let missing = || RuleError::MissingFault(text.to_owned());
        let mut parts = text.split(',').map(str::trim);
        let first = parts.next().and_then(|first| first.split_once('='));
        let (operation, fault) = first.ok_or_else(missing)?;
        let (operation, fault) = (operation.trim(), fault.trim());
        let (operation, fault) = match fault.parse::<Operation>() {
            // The fault comes before an actor: `panic=clients`.
            Ok(actor) if actor.is_actor() => (actor, operation.parse()?),
            _ => (operation.parse()?, fault.parse()?),
        };
        let mut rule = Rule::new(operation, fault)?;
        let mut seen = Vec::new();
        for part in parts {
            let unknown = || RuleError::UnknownOption(part.to_owned());
            let (key, value) = part.split_once('=').ok_or_else(unknown)?;
            let (key, value) = (key.trim(), value.trim());
            if seen.contains(&key) {
                return Err(RuleError::Duplicate(key.to_owned()));
            }
            seen.push(key);
            rule = add_option(rule, key, value)?.ok_or_else(unknown)?;
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

/// Without its option: `stall`, `short`.
impl FromStr for Fault {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let unknown = |_| RuleError::UnknownFault(text.to_owned());
        Ok(match text {
            "stall" => Fault::Stall(None),
            "short" => Fault::short(1),
            "reset" => Fault::Reset,
            "end" => Fault::End,
            "panic" => Fault::Panic,
            "stop" => Fault::Stop,
            "arbiter" => Fault::EndArbiter,
            errno => Fault::Error(errno.parse().map_err(unknown)?),
        })
    }
}

const ADDRESS: &str = "an IP address, 127.0.0.1, or one with a port, [::1]:80";
const NUMBER: &str = "a whole number";
const POSITIVE: &str = "a whole number from 1 upward";
const PROBABILITY: &str = "a number from 0 (never) to 1 (always), like 0.001";
const TIME: &str = "a whole number with ns, us, ms, s or min, like 200ms";

/// Adds the option `key=value`. `None`: the rule's fault has no such option.
fn add_option(rule: Rule, key: &str, value: &str) -> Result<Option<Rule>, RuleError> {
    let invalid = |expected| RuleError::InvalidValue {
        key: key.to_owned(),
        value: value.to_owned(),
        expected,
    };
    let address = || address(value).ok_or_else(|| invalid(ADDRESS));
    let number = || value.parse::<u64>().map_err(|_| invalid(NUMBER));
    Ok(Some(match (key, rule.fault) {
        ("listener", _) => rule.listener(address()?)?,
        ("peer", _) => rule.peer(address()?)?,
        ("after", _) => rule.after(number()?),
        ("times", _) => rule.times(number()?),
        ("every", _) => {
            let nth: NonZeroU64 = value.parse().map_err(|_| invalid(POSITIVE))?;
            rule.every(nth.get())
        }
        ("p", _) => match value.parse::<f64>() {
            Ok(p) if (0.0..=1.0).contains(&p) => rule.probability(p),
            _ => return Err(invalid(PROBABILITY)),
        },
        ("for", Fault::Stall(_)) => {
            let Time(time) = value.parse().map_err(|InvalidTime| invalid(TIME))?;
            let fault = Fault::Stall(Some(time));
            Rule { fault, ..rule }
        }
        ("bytes", Fault::Short(_)) => {
            let fault = Fault::Short(value.parse().map_err(|_| invalid(POSITIVE))?);
            Rule { fault, ..rule }
        }
        _ => return Ok(None),
    }))
}

fn address(text: &str) -> Option<AddressFilter> {
    let ip = || text.parse::<IpAddr>().map(AddressFilter::from);
    let address = text.parse::<SocketAddr>().map(AddressFilter::from);
    address.or_else(|_| ip()).ok()
}

impl fmt::Display for AddressFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// A whole number of a unit of time.
struct Time(Duration);

/// The text is not a [`Time`].
struct InvalidTime;

/// The units in nanoseconds, largest first.
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
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .ok_or(InvalidTime)?;
        let (number, name) = text.split_at(end);
        let number: u128 = number.parse().map_err(|_| InvalidTime)?;
        let (_, unit) = UNITS
            .iter()
            .find(|(unit, _)| *unit == name)
            .ok_or(InvalidTime)?;
        let nanos = number.checked_mul(*unit).ok_or(InvalidTime)?;
        let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| InvalidTime)?;
        let rest = u32::try_from(nanos % 1_000_000_000).map_err(|_| InvalidTime)?;
        Ok(Time(Duration::new(seconds, rest)))
    }
}
