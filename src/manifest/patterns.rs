//! A pattern, or a list of patterns.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, Deserializer, IntoDeserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::host::Host;
use super::pattern::Pattern;

/// The longest list of patterns.
pub const MAX_PATTERNS: usize = 1000;

/// The patterns of one operation. An empty list permits nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Patterns(Vec<Pattern>);

impl Patterns {
    pub(super) fn any() -> Self {
        Patterns(vec![Pattern::ANY])
    }

    pub(super) fn as_slice(&self) -> &[Pattern] {
        &self.0
    }

    pub(super) fn any_matches(&self, host: Option<&Host>, port: i32) -> bool {
        self.0
            .iter()
            .any(|pattern| pattern.matches_host(host, port))
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Patterns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pattern, as \"host:port\", or a list of patterns")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Patterns, E> {
                let text: StrDeserializer<'_, E> = text.into_deserializer();
                Ok(Patterns(vec![Pattern::deserialize(text)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Patterns, A::Error> {
                let mut patterns = Vec::new();
                while let Some(pattern) = list.next_element()? {
                    if patterns.len() == MAX_PATTERNS {
                        return Err(de::Error::custom(format_args!(
                            "more than {MAX_PATTERNS} patterns; write fewer that cover more, \
                             as `*.example.com`"
                        )));
                    }
                    patterns.push(pattern);
                }
                Ok(Patterns(patterns))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}
