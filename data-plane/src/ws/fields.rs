//! The members of one client message, taken out one by one with a pointer to what is wrong.
//!
//! Shapes of fields only; what an op means is [`super::protocol`]'s business.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde_json::value::RawValue;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::name::TopicName;

use super::limits::OP_FIELDS_MAX;

/// A 400 for the field at a JSON pointer.
pub(crate) fn invalid(pointer: &str, what: &str) -> Problem {
    Problem::new(
        ErrorCode::InvalidParameter,
        format!("{}: {what}", &pointer[1..]),
    )
    .at(pointer, what)
}

/// The members of one JSON object, each still as text.
pub(crate) struct Fields<'a> {
    members: Vec<(String, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, Problem> {
        serde_json::from_str(text).map_err(|error| {
            Problem::new(
                ErrorCode::MalformedJson,
                format!("not one JSON object: {error}"),
            )
        })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(member, _)| member == name)
    }

    /// A member that is absent or null is `None`.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(index) = self.members.iter().position(|(member, _)| member == name) else {
            return Ok(None);
        };
        let (_, value) = self.members.swap_remove(index);
        serde_json::from_str(value.get()).map_err(|error| {
            let unknown = error.to_string().starts_with("unknown field");
            let code = if unknown {
                ErrorCode::UnknownField
            } else {
                ErrorCode::InvalidParameter
            };
            let what = without_place(&error);
            Problem::new(code, format!("{name}: {what}")).at(format!("/{name}"), what)
        })
    }

    pub(crate) fn require<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Problem> {
        self.take(name)?
            .ok_or_else(|| invalid(&format!("/{name}"), "missing"))
    }

    pub(crate) fn topic(&mut self) -> Result<TopicName, Problem> {
        let text: String = self.require("topic")?;
        TopicName::parse(&text).map_err(|error| {
            Problem::new(ErrorCode::InvalidName, format!("topic: {error}"))
                .at("/topic", error.to_string())
        })
    }

    pub(crate) fn finish(&self) -> Result<(), Problem> {
        let Some((name, _)) = self.members.first() else {
            return Ok(());
        };
        let shown: String = name.chars().take(40).collect();
        Err(Problem::new(
            ErrorCode::UnknownField,
            format!("unknown field \"{shown}\""),
        )
        .at(format!("/{shown}"), "unknown field"))
    }
}

/// serde_json's text counts columns from the start of the member, which would mislead.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Self::Value = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if members.len() == OP_FIELDS_MAX {
                        return Err(serde::de::Error::custom("too many fields"));
                    }
                    if members.iter().any(|(member, _)| *member == name) {
                        return Err(serde::de::Error::custom("a field is there twice"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }
        deserializer
            .deserialize_map(Members)
            .map(|members| Fields { members })
    }
}

/// `from` as a string or a bare number.
pub(crate) struct StartText(pub(crate) String);

impl<'de> Deserialize<'de> for StartText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = String;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a position: earliest, latest, an offset, -<n> or @<epoch ms>")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
                Ok(text.to_owned())
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<String, E> {
                Ok(number.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<String, E> {
                Ok(number.to_string())
            }
        }
        deserializer.deserialize_any(Text).map(StartText)
    }
}

/// One cursor or a list of them.
pub(crate) struct CursorTexts(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for CursorTexts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Vec<String>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a cursor or a list of cursors")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(vec![text.to_owned()])
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(texts)
            }
        }
        deserializer.deserialize_any(Texts).map(CursorTexts)
    }
}
