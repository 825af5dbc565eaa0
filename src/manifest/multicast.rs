//! The value of `multicastMembership`, which is not a pattern.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// Whether an app may join multicast groups: all or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct MulticastMembership(pub(super) bool);

impl<'de> Deserialize<'de> for MulticastMembership {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EmptyTexts;

        impl<'de> Visitor<'de> for EmptyTexts {
            type Value = MulticastMembership;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"\" or [\"\"], which permits every group")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MulticastMembership, E> {
                match text {
                    "" => Ok(MulticastMembership(true)),
                    _ => Err(E::invalid_value(de::Unexpected::Other("a pattern"), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<MulticastMembership, A::Error> {
                let mut membership = MulticastMembership(false);
                while let Some(text) = list.next_element::<std::borrow::Cow<'de, str>>()? {
                    membership = EmptyTexts.visit_str(&text)?;
                }
                Ok(membership)
            }
        }

        deserializer.deserialize_any(EmptyTexts)
    }
}

impl Serialize for MulticastMembership {
    /// `false` is never written: the key is omitted then.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            true => serializer.serialize_str(""),
            false => serializer.collect_seq(std::iter::empty::<&str>()),
        }
    }
}
