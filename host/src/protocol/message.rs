//! Splits one message of a client into its parts. No I/O; the input is untrusted.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::MAX_CALL_ID;

/// A string, borrowed unless it contains escapes.
#[derive(Deserialize, Clone, Debug)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The parts of a message that are read: no valid call has more.
const MAX_PARTS: usize = 8;

/// A message. Its parts stay text until their types are known.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    parts: [Option<&'a RawValue>; MAX_PARTS],
    count: usize,
    /// Further parts exist that are not `null`.
    has_more: bool,
}

/// The parts of a call after its function.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    message: Message<'a>,
    position: usize,
}

/// The kind of a message, by its first part.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A call, with its id.
    Call(u64),
    /// A call whose id is not an integer from 1 to 2⁵³−1.
    BadId,
    Listen,
}

impl<'de> Deserialize<'de> for Message<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Message<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Message<'de>, A::Error> {
                let mut parts = [None; MAX_PARTS];
                let mut count = 0;
                for part in &mut parts {
                    *part = list.next_element::<&RawValue>()?;
                    if part.is_none() {
                        break;
                    }
                    count += 1;
                }
                let mut has_more = false;
                if count == MAX_PARTS {
                    while let Some(more) = list.next_element::<Option<IgnoredAny>>()? {
                        has_more |= more.is_some();
                    }
                }
                Ok(Message {
                    parts,
                    count,
                    has_more,
                })
            }
        }

        deserializer.deserialize_seq(List)
    }
}

impl<'a> Message<'a> {
    /// The kind; `None` if the message is invalid.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let first = self.parts[0]?.get();
        match first.as_bytes().first()? {
            b'-' | b'0'..=b'9' => {
                let id = first.parse().ok();
                let id = id.filter(|id| (1..=MAX_CALL_ID).contains(id));
                Some(id.map_or(Kind::BadId, Kind::Call))
            }
            b'"' => {
                let word: Text<'_> = serde_json::from_str(first).ok()?;
                (word.0 == "listen" && self.count == 2 && !self.has_more).then_some(Kind::Listen)
            }
            _ => None,
        }
    }

    /// Calls `visit` with each event name of a `listen`. `None` if they are not a list of strings.
    pub(crate) fn event_names(&self, visit: impl FnMut(&str)) -> Option<()> {
        struct Names<F>(F);

        impl<'de, F: FnMut(&str)> Visitor<'de> for Names<F> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
                while let Some(name) = list.next_element::<Text<'_>>()? {
                    (self.0)(&name.0);
                }
                Ok(())
            }
        }

        let list = self.parts[1]?.get();
        let mut deserializer = serde_json::Deserializer::from_str(list);
        deserializer.deserialize_seq(Names(visit)).ok()
    }

    /// The function and the arguments of a call; `None` if it names no function.
    pub(crate) fn into_call(self) -> Option<(Cow<'a, str>, Parts<'a>)> {
        let function: Text<'a> = serde_json::from_str(self.parts[1]?.get()).ok()?;
        let parts = Parts {
            message: self,
            position: 2,
        };
        Some((function.0, parts))
    }
}

impl<'a> Parts<'a> {
    /// The next part; `None` if it is missing or `null`.
    pub(crate) fn next(&mut self) -> Option<&'a RawValue> {
        let part = self.message.parts.get(self.position).copied().flatten();
        self.position += 1;
        part.filter(|part| part.get() != "null")
    }

    /// Whether only `null` is left.
    pub(crate) fn is_empty(&self) -> bool {
        let rest = self.message.parts.get(self.position..).unwrap_or_default();
        let mut rest = rest.iter().flatten();
        !self.message.has_more && rest.all(|part| part.get() == "null")
    }
}
