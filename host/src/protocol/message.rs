//! One message of a client, cut into its parts. Pure; what it reads is anybody's.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::LAST_CALL;
use crate::protocol::close_reason::{CloseReason, Code};

/// A string, without a copy where it has no escapes.
#[derive(Deserialize, Clone, Debug)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The parts of a message that are looked at: no call has more.
const PARTS: usize = 8;

/// A message: its parts are text until somebody knows what they have to be.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    parts: [Option<&'a RawValue>; PARTS],
    count: usize,
    /// There are more parts, and not only `null`.
    has_more: bool,
}

/// The parts of a call after its function.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    message: Message<'a>,
    at: usize,
}

/// What a message begins with.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A call, with its id.
    Call(u64),
    /// A call whose id none can be: not a positive integer up to 2⁵³−1.
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
                let mut parts = [None; PARTS];
                let mut count = 0;
                for part in &mut parts {
                    *part = list.next_element::<&RawValue>()?;
                    if part.is_none() {
                        break;
                    }
                    count += 1;
                }
                let mut has_more = false;
                if count == PARTS {
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
    /// `None`: it is no message.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let first = self.parts[0]?.get();
        match first.as_bytes().first()? {
            b'-' | b'0'..=b'9' => {
                let id = first.parse().ok();
                let id = id.filter(|id| (1..=LAST_CALL).contains(id));
                Some(id.map_or(Kind::BadId, Kind::Call))
            }
            b'"' => {
                let word: Text<'_> = serde_json::from_str(first).ok()?;
                (word.0 == "listen" && self.count == 2 && !self.has_more).then_some(Kind::Listen)
            }
            _ => None,
        }
    }

    /// What `listen` listens for: each name is shown. `None`: it is no list of strings.
    pub(crate) fn names(&self, show: impl FnMut(&str)) -> Option<()> {
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
        deserializer.deserialize_seq(Names(show)).ok()
    }

    /// A call's function and the arguments. `None`: it names none.
    pub(crate) fn into_call(self) -> Option<(Cow<'a, str>, Parts<'a>)> {
        let function: Text<'a> = serde_json::from_str(self.parts[1]?.get()).ok()?;
        let parts = Parts {
            message: self,
            at: 2,
        };
        Some((function.0, parts))
    }
}

impl<'a> Parts<'a> {
    /// The next one; `None` if there is none or it is `null`.
    pub(crate) fn next(&mut self) -> Option<&'a RawValue> {
        let part = self.message.parts.get(self.at).copied().flatten();
        self.at += 1;
        part.filter(|part| part.get() != "null")
    }

    /// Whether nothing but `null` is left.
    pub(crate) fn is_over(&self) -> bool {
        let left = self.message.parts.get(self.at..).unwrap_or_default();
        let mut left = left.iter().flatten();
        !self.message.has_more && left.all(|part| part.get() == "null")
    }
}

/// The end of a client whose call has such an id.
pub(crate) fn bad_id() -> CloseReason {
    let what = "a call's id is not an integer up to 2^53-1, or not greater than the one before";
    CloseReason::new(Code::Overrun, what)
}
