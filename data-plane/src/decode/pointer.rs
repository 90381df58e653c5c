//! JSON pointers (RFC 6901) into a JSON text, without building values.
//!
//! The text must be JSON already. What is found is the text of the member as it stands there; when a
//! name occurs twice, the first counts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tidegate_proto::error::Problem;

use crate::limits::POINTER_TOKENS_MAX;
use crate::query::invalid;

/// A parsed pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    tokens: Vec<String>,
}

impl Pointer {
    /// Parses the value of the query parameter `name`.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(invalid(name, "must be a JSON pointer such as /user/id"));
        }
        let mut tokens = Vec::new();
        for token in text.split('/').skip(1) {
            if tokens.len() == POINTER_TOKENS_MAX {
                return Err(invalid(name, "is too long a JSON pointer"));
            }
            let escapes = token.bytes().filter(|byte| *byte == b'~').count();
            if escapes != token.matches("~0").count() + token.matches("~1").count() {
                return Err(invalid(name, "holds a `~` that is neither ~0 nor ~1"));
            }
            tokens.push(token.replace("~1", "/").replace("~0", "~"));
        }
        Ok(Self { tokens })
    }

    /// The text that the pointer points at; `None` when there is nothing or null.
    pub(crate) fn find<'a>(&self, json: &'a str) -> Option<&'a str> {
        let mut found = json;
        for token in &self.tokens {
            let mut reader = serde_json::Deserializer::from_str(found);
            found = Member(token).deserialize(&mut reader).ok()??.get();
        }
        let found = found.trim_matches([' ', '\t', '\r', '\n']);
        (found != "null").then_some(found)
    }
}

struct Member<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Name<'de>>()? {
            if found.is_none() && name.0 == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let is_index = self.0 == "0" || !self.0.starts_with('0');
        let wanted: Option<usize> = self.0.parse().ok().filter(|_| is_index);
        let mut found = None;
        let mut index = 0;
        loop {
            if wanted == Some(index) {
                found = list.next_element()?;
            } else if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            index += 1;
            if wanted.is_some_and(|wanted| index > wanted) && found.is_none() {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pointer: &str, json: &'static str) -> Option<&'static str> {
        Pointer::parse("key", pointer).unwrap().find(json)
    }

    #[test]
    fn a_pointer_finds_the_text_as_it_stands() {
        assert_eq!(
            find("/a/b", r#"{"x":[1],"a":{"b": {"c" : 1.0} }}"#),
            Some(r#"{"c" : 1.0}"#)
        );
        assert_eq!(find("/a/1", r#"{"a":[1, "two" ,3]}"#), Some(r#""two""#));
        assert_eq!(find("/a~1b/~0", r#"{"a/b":{"~":7}}"#), Some("7"));
        assert_eq!(find("", " 5 "), Some("5"));
        assert_eq!(find("/", r#"{"":1}"#), Some("1"));
        assert_eq!(find("/ä", r#"{"\u00e4":1}"#), Some("1"));
    }

    #[test]
    fn a_pointer_that_leads_nowhere_finds_nothing() {
        assert_eq!(find("/a", r#"{"b":1}"#), None);
        assert_eq!(find("/a", r#"{"a":null}"#), None);
        assert_eq!(find("/a/b", r#"{"a":1}"#), None);
        assert_eq!(find("/2", "[1,2]"), None);
        assert_eq!(find("/01", "[1,2]"), None);
        assert_eq!(find("/-", "[1,2]"), None);
        assert!(Pointer::parse("key", "a").is_err());
        assert!(Pointer::parse("key", "/a~2").is_err());
    }
}
