//! Query parameters: each known, each once unless it may repeat, each parsed to what it means.
//!
//! A parameter that nobody knows is refused, because a misspelt `wait_ms` that is quietly ignored
//! costs its author an afternoon. Parameters of later versions answer 501.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use tidegate_proto::error::{ErrorCode, Problem};

use crate::limits::QUERY_PARAMETERS_MAX;

/// Known to the reading routes one day.
const NOT_YET: [&str; 2] = ["filter", "group"];

/// The parameters of one request, decoded.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Decodes a query and refuses every name outside `allowed`.
    pub(crate) fn parse(query: Option<&'a str>, allowed: &[&str]) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for part in query
            .unwrap_or("")
            .split('&')
            .filter(|part| !part.is_empty())
        {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !allowed.contains(&name.as_ref()) {
                return Err(unknown(&name, allowed));
            }
            if pairs.len() == QUERY_PARAMETERS_MAX {
                return Err(
                    Problem::new(ErrorCode::InvalidParameter, "too many query parameters")
                        .with("limit", QUERY_PARAMETERS_MAX),
                );
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// Every value of a parameter that may repeat.
    pub(crate) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.pairs
            .iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_ref())
    }

    /// The value of a parameter that may be given once.
    pub(crate) fn one<'q>(&'q self, name: &'q str) -> Result<Option<&'q str>, Problem> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(invalid(name, "given more than once")),
        }
    }

    /// A parameter that parses by itself.
    pub(crate) fn parsed<T>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr,
        T::Err: Display,
    {
        match self.one(name)? {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|error: T::Err| invalid(name, error.to_string())),
        }
    }

    /// A whole number within a range.
    pub(crate) fn number(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if is_plain && range.contains(&number) => Ok(Some(number)),
            _ => {
                let detail = format!(
                    "must be a whole number from {} to {}",
                    range.start(),
                    range.end()
                );
                Err(invalid(name, detail))
            }
        }
    }
}

/// A 400 that names the parameter.
pub(crate) fn invalid(name: &str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    Problem::new(ErrorCode::InvalidParameter, format!("`{name}` {detail}")).at(name, detail)
}

fn unknown(name: &str, allowed: &[&str]) -> Problem {
    if NOT_YET.contains(&name) {
        let detail = format!("the parameter `{name}` is not supported yet");
        return Problem::new(ErrorCode::NotSupported, detail);
    }
    let detail = format!("unknown query parameter; known are: {}", allowed.join(", "));
    Problem::new(ErrorCode::UnknownField, detail).at(name, "unknown")
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(Cow::Borrowed(text));
    }
    let broken = || {
        Problem::new(
            ErrorCode::InvalidParameter,
            "the query is not valid %-encoding",
        )
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || {
                    let digit = rest.next().and_then(|byte| char::from(byte).to_digit(16))?;
                    u8::try_from(digit).ok()
                };
                let (high, low) = (digit().ok_or_else(broken)?, digit().ok_or_else(broken)?);
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_counted() {
        let query = Query::parse(
            Some("from=%401%2B&cursor=a&cursor=b+c&x="),
            &["from", "cursor", "x"],
        );
        let query = query.unwrap();
        assert_eq!(query.one("from").unwrap(), Some("@1+"));
        assert_eq!(query.all("cursor").collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!(
            query.one("cursor").unwrap_err().code(),
            ErrorCode::InvalidParameter
        );
        assert_eq!(query.one("x").unwrap(), Some(""));
        assert_eq!(
            query.number("x", 0..=9).unwrap_err().code(),
            ErrorCode::InvalidParameter
        );
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        let refuse = |text| Query::parse(Some(text), &["from"]).unwrap_err().code();
        assert_eq!(refuse("form=1"), ErrorCode::UnknownField);
        assert_eq!(refuse("filter=x"), ErrorCode::NotSupported);
        assert_eq!(refuse("from=%"), ErrorCode::InvalidParameter);
        assert_eq!(refuse("from=%zz"), ErrorCode::InvalidParameter);
        assert_eq!(refuse("from=%ff"), ErrorCode::InvalidParameter);
    }
}
