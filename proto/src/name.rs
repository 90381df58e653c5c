//! Names that people give: topics, consumer groups and groups of storage units.
//!
//! A name is checked once, by `parse`, and is good from then on: 1 to 200 characters of
//! `[a-z0-9._-]`, no leading dot or dash. The prefix `__` is the system's; such names parse, and the
//! places where people make things refuse them by [`TopicName::is_internal`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::limits::NAME_LEN_MAX;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name has at least one character")]
    Empty,
    /// The text is longer than [`NAME_LEN_MAX`] bytes.
    #[error("a name has at most {NAME_LEN_MAX} characters, this one has {len} bytes")]
    TooLong {
        /// Length found, in bytes.
        len: usize,
    },
    /// The first character is a dot or a dash.
    #[error("a name does not start with {found:?}")]
    BadStart {
        /// The character found.
        found: char,
    },
    /// A character outside `[a-z0-9._-]`.
    #[error(
        "a name has only a-z, 0-9, dot, underscore and dash; {found:?} at byte {at} is not one"
    )]
    BadCharacter {
        /// The character found.
        found: char,
        /// Its place, in bytes from the start.
        at: usize,
    },
}

fn check(text: &str) -> Result<(), NameError> {
    if text.len() > NAME_LEN_MAX {
        return Err(NameError::TooLong { len: text.len() });
    }
    match text.chars().next() {
        None => return Err(NameError::Empty),
        Some(found @ ('.' | '-')) => return Err(NameError::BadStart { found }),
        Some(_) => {}
    }
    let bad = text
        .char_indices()
        .find(|(_, c)| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'));
    match bad {
        Some((at, found)) => Err(NameError::BadCharacter { found, at }),
        None => Ok(()),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(
            value_type = String, example = $example, min_length = 1, max_length = 200,
            pattern = "^[a-z0-9_][a-z0-9._-]*$"
        ))]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and takes it as a name.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check(text).map(|()| Self(Arc::from(text)))
            }

            /// The name as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// True for names that belong to the system (prefix `__`).
            #[must_use]
            pub fn is_internal(&self) -> bool {
                self.0.starts_with("__")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // Lets maps keyed by name be asked with a plain `&str`.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a name of a-z, 0-9, dot, underscore and dash")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

name_type!(
    /// Name of a topic. Two topics never share one at a time; a deleted topic's name is free at once.
    TopicName,
    "flights"
);
name_type!(
    /// Name of a consumer group.
    GroupName,
    "billing"
);
name_type!(
    /// Name of a group of storage units.
    SpuGroupName,
    "default"
);

impl Default for SpuGroupName {
    /// The group `default`, which is there without being made and takes in any number of units.
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_parse_and_come_back_unchanged() {
        for good in [
            "a",
            "0",
            "_x",
            "__groups",
            "orders.v2-eu_1",
            &"n".repeat(200),
        ] {
            assert_eq!(TopicName::parse(good).unwrap().as_str(), good);
        }
        assert!(TopicName::parse("__groups").unwrap().is_internal());
        assert!(!TopicName::parse("_groups").unwrap().is_internal());
    }

    #[test]
    fn bad_names_say_what_is_wrong() {
        assert_eq!(TopicName::parse(""), Err(NameError::Empty));
        assert_eq!(
            TopicName::parse(".a"),
            Err(NameError::BadStart { found: '.' })
        );
        assert_eq!(
            TopicName::parse("-a"),
            Err(NameError::BadStart { found: '-' })
        );
        assert_eq!(
            TopicName::parse(&"n".repeat(201)),
            Err(NameError::TooLong { len: 201 })
        );
        assert_eq!(
            TopicName::parse("aB"),
            Err(NameError::BadCharacter { found: 'B', at: 1 })
        );
        for bad in ["a/b", "a b", "ä", "a\0", "../x", "a%2e", "é"] {
            assert!(TopicName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn serde_checks_as_parse_does() {
        let name: TopicName = serde_json::from_str("\"orders\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"orders\"");
        assert!(serde_json::from_str::<TopicName>("\"Orders\"").is_err());
    }
}
