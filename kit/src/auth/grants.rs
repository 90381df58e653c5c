//! Operations, what a principal may do, and the decision.
//!
//! Pure. Default deny. Invariant: patterns are compared with names, never with patterns.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::name::{NameError, TopicName};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Create, change and delete topics; see and change the cluster.
    Admin,
    /// Append records.
    Produce,
    /// Read records.
    Consume,
    /// See that a topic is there, its settings and offsets. Comes with produce and consume.
    Describe,
}

impl Op {
    /// The operation as people write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Produce => "produce",
            Self::Consume => "consume",
            Self::Describe => "describe",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is no operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not one of admin, produce, consume, describe")]
pub struct UnknownOp(pub String);

impl FromStr for Op {
    type Err = UnknownOp;

    fn from_str(text: &str) -> Result<Self, UnknownOp> {
        let all = [Self::Admin, Self::Produce, Self::Consume, Self::Describe];
        all.into_iter()
            .find(|op| op.as_str() == text)
            .ok_or_else(|| UnknownOp(text.to_owned()))
    }
}

/// Which topics: one by name, or all that start with a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicPattern {
    /// That topic.
    Exact(TopicName),
    /// Topics whose name starts so. Written with a star at the end: `orders.*`, or `*` for all.
    /// Topics of the system (`__`) are only meant by a prefix that starts so itself.
    Prefix(Arc<str>),
}

/// A text is no topic pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is neither a topic name nor a prefix with a star at its end: {reason}")]
pub struct InvalidPattern {
    /// The text as given.
    pub text: String,
    /// What is wrong with the part before the star, or with the whole.
    pub reason: NameError,
}

impl From<InvalidPattern> for Problem {
    fn from(error: InvalidPattern) -> Self {
        Self::new(ErrorCode::InvalidName, error.to_string())
    }
}

impl TopicPattern {
    /// Reads `orders`, `orders.*` or `*`.
    ///
    /// # Errors
    /// When neither a name nor a prefix of one.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = |reason| InvalidPattern {
            text: text.to_owned(),
            reason,
        };
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Prefix(Arc::from(""))),
            Some(prefix) => TopicName::parse(prefix)
                .map_err(invalid)
                .map(|_| Self::Prefix(Arc::from(prefix))),
            None => TopicName::parse(text).map_err(invalid).map(Self::Exact),
        }
    }

    fn matches(&self, topic: &TopicName) -> bool {
        match self {
            Self::Exact(name) => name == topic,
            Self::Prefix(prefix) => {
                topic.as_str().starts_with(&**prefix)
                    && (!topic.is_internal() || prefix.starts_with("__"))
            }
        }
    }

    fn is_all(&self) -> bool {
        matches!(self, Self::Prefix(prefix) if prefix.is_empty())
    }
}

/// What a principal may do.
#[derive(Debug, Clone)]
pub struct Grants(Kind);

#[derive(Debug, Clone)]
enum Kind {
    All,
    Limited(Arc<Limited>),
}

#[derive(Debug)]
struct Limited {
    // Rights of the issuer, for credentials that were narrowed from another.
    within: Option<Grants>,
    ops: u8,
    topics: Box<[TopicPattern]>,
}

impl Grants {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self(Kind::All)
    }

    /// Those operations on those topics.
    #[must_use]
    pub fn limited(ops: &[Op], topics: Vec<TopicPattern>) -> Self {
        Self::build(None, ops, topics)
    }

    /// What these grants and those limits both allow.
    #[must_use]
    pub fn narrowed(&self, ops: &[Op], topics: Vec<TopicPattern>) -> Self {
        Self::build(Some(self.clone()), ops, topics)
    }

    fn build(within: Option<Self>, ops: &[Op], topics: Vec<TopicPattern>) -> Self {
        let mut bits = ops.iter().fold(0, |bits, op| bits | op.bit());
        if bits & (Op::Produce.bit() | Op::Consume.bit()) != 0 {
            bits |= Op::Describe.bit();
        }
        Self(Kind::Limited(Arc::new(Limited {
            within,
            ops: bits,
            topics: topics.into(),
        })))
    }

    /// Whether `op` is allowed on `topic`, or on the cluster as a whole for `None`.
    #[must_use]
    pub fn allows(&self, op: Op, topic: Option<&TopicName>) -> bool {
        match &self.0 {
            Kind::All => true,
            Kind::Limited(limited) => {
                limited.ops & op.bit() != 0
                    && limited.topics.iter().any(|pattern| match topic {
                        Some(topic) => pattern.matches(topic),
                        None => pattern.is_all(),
                    })
                    && limited
                        .within
                        .as_ref()
                        .is_none_or(|within| within.allows(op, topic))
            }
        }
    }
}

/// Somebody whose credential was checked.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Who, for logs and audit.
    pub name: Arc<str>,
    /// What they may do.
    pub grants: Grants,
}

impl Principal {
    /// A principal with that name and those rights.
    #[must_use]
    pub fn new(name: &str, grants: Grants) -> Self {
        Self {
            name: Arc::from(name),
            grants,
        }
    }

    /// Whether they may do `op` on `topic`, or on the cluster as a whole for `None`.
    #[must_use]
    pub fn allows(&self, op: Op, topic: Option<&TopicName>) -> bool {
        self.grants.allows(op, topic)
    }
}

/// Passes when `principal` may do `op` on `topic` (`None`: the cluster as a whole). To be asked
/// before looking whether the topic exists, so that refusals tell nothing.
///
/// # Errors
/// 403 `forbidden`.
pub fn require(principal: &Principal, op: Op, topic: Option<&TopicName>) -> Result<(), Problem> {
    if principal.allows(op, topic) {
        return Ok(());
    }
    let place = topic.map_or_else(
        || "the cluster".to_owned(),
        |topic| format!("topic {topic}"),
    );
    let detail = format!("{} may not {op} on {place}", principal.name);
    Err(Problem::new(ErrorCode::Forbidden, detail).with("op", op.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    fn patterns(texts: &[&str]) -> Vec<TopicPattern> {
        texts
            .iter()
            .map(|text| TopicPattern::parse(text).unwrap())
            .collect()
    }

    #[test]
    fn the_decision_table_holds() {
        use Op::{Admin, Consume, Describe, Produce};
        let check = |ops: &[Op], topics: &[&str], op, topic: Option<&str>, expected: bool| {
            let grants = Grants::limited(ops, patterns(topics));
            let topic = topic.map(name);
            assert_eq!(
                grants.allows(op, topic.as_ref()),
                expected,
                "{ops:?} {topics:?} {op} {topic:?}"
            );
        };
        check(&[Consume], &["orders"], Consume, Some("orders"), true);
        check(&[Consume], &["orders"], Describe, Some("orders"), true);
        check(&[Consume], &["orders"], Produce, Some("orders"), false);
        check(&[Consume], &["orders"], Admin, Some("orders"), false);
        check(&[Consume], &["orders"], Consume, Some("orders2"), false);
        check(&[Consume], &["orders.*"], Consume, Some("orders.eu"), true);
        check(&[Consume], &["orders.*"], Consume, Some("orders"), false);
        check(&[Consume], &["orders.*"], Consume, None, false);
        check(&[Describe], &["*"], Describe, None, true);
        check(&[Describe], &["*"], Consume, None, false);
        check(&[Produce], &["*"], Produce, Some("__groups"), false);
        check(&[Produce], &["__g*"], Produce, Some("__groups"), true);
        check(&[Admin], &["*"], Produce, Some("a"), false);
        check(&[], &["*"], Describe, Some("a"), false);
        check(&[Consume], &[], Consume, Some("a"), false);
    }

    #[test]
    fn narrowed_rights_never_exceed_the_issuers() {
        let issuer = Grants::limited(&[Op::Consume], patterns(&["orders.*"]));
        let wide = issuer.narrowed(&[Op::Consume, Op::Produce], patterns(&["*"]));
        assert!(wide.allows(Op::Consume, Some(&name("orders.eu"))));
        assert!(!wide.allows(Op::Produce, Some(&name("orders.eu"))));
        assert!(!wide.allows(Op::Consume, Some(&name("billing"))));
        assert!(
            !Grants::all()
                .narrowed(&[Op::Consume], patterns(&["a"]))
                .allows(Op::Consume, None)
        );
    }

    #[test]
    fn patterns_are_names_or_prefixes_with_a_star_at_the_end() {
        for good in ["a", "orders.*", "orders*", "*", "__x*"] {
            assert!(TopicPattern::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "**", "a*b", "*a", "A*", ".*", "a b*", "-*"] {
            assert!(TopicPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_is_forbidden_and_names_both_sides() {
        let nobody = Principal::new("eve", Grants::limited(&[], Vec::new()));
        let problem = require(&nobody, Op::Produce, Some(&name("orders"))).unwrap_err();
        assert_eq!(problem.code(), ErrorCode::Forbidden);
        assert!(problem.detail().contains("eve") && problem.detail().contains("orders"));
        assert_eq!("consume".parse(), Ok(Op::Consume));
        assert!("Consume".parse::<Op>().is_err());
    }
}
