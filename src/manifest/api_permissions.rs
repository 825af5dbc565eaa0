//! The key `permissions` of a manifest: which of Chrome's APIs an app may use.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// The part of the list that concerns this crate. Other permissions are ignored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ApiPermissions {
    pub(super) system_network: bool,
}

const SYSTEM_NETWORK: &str = "system.network";

impl<'de> Deserialize<'de> for ApiPermissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = ApiPermissions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of permissions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ApiPermissions, A::Error> {
                let mut permissions = ApiPermissions::default();
                while let Some(Entry { is_system_network }) = list.next_element()? {
                    permissions.system_network |= is_system_network;
                }
                Ok(permissions)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// An entry of the list: a name, or an object with a name and its details.
struct Entry {
    is_system_network: bool,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrObject;

        impl<'de> Visitor<'de> for NameOrObject {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a permission: a string or an object")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Entry, E> {
                let is_system_network = name == SYSTEM_NETWORK;
                Ok(Entry { is_system_network })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                // Chrome takes no details of this permission.
                let is_system_network = false;
                Ok(Entry { is_system_network })
            }
        }

        deserializer.deserialize_any(NameOrObject)
    }
}

impl Serialize for ApiPermissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = self.system_network.then_some(SYSTEM_NETWORK);
        serializer.collect_seq(names)
    }
}
