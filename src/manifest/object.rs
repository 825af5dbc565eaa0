//! Objects of the manifest: all keys are optional, and unknown keys are ignored.

/// Declares an object. A derived `Deserialize` would accept a list in place of it, which Chrome
/// does not. Fields behind a semicolon are not of the object: they are neither read nor written.
macro_rules! object {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $($field:ident: $type:ty = $key:literal,)*
            $(; $($other:ident: $other_type:ty,)*)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
        $visibility struct $name {
            $(
                #[serde(rename = $key, skip_serializing_if = "super::object::is_default")]
                $field: $type,
            )*
            $($(
                #[serde(skip)]
                $other: $other_type,
            )*)?
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D>(deserializer: D) -> Result<Self, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                const KEYS: &[&str] = &[$($key),*];

                struct Keys;

                impl<'de> serde::de::Visitor<'de> for Keys {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(f, "an object with the optional keys {}", KEYS.join(", "))
                    }

                    fn visit_map<A>(self, mut map: A) -> Result<$name, A::Error>
                    where
                        A: serde::de::MapAccess<'de>,
                    {
                        $(let mut $field: Option<$type> = None;)*
                        while let Some(key) = map.next_key::<String>()? {
                            match key.as_str() {
                                $(
                                    $key if $field.is_some() => {
                                        return Err(serde::de::Error::duplicate_field($key));
                                    }
                                    $key => $field = Some(map.next_value()?),
                                )*
                                // As in Chrome; `read` makes a warning of it.
                                _ => drop(map.next_value::<serde::de::IgnoredAny>()?),
                            }
                        }
                        Ok($name {
                            $($field: $field.unwrap_or_default(),)*
                            $($($other: Default::default(),)*)?
                        })
                    }
                }

                deserializer.deserialize_map(Keys)
            }
        }
    };
}
pub(super) use object;

/// A key with the default value is omitted.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
