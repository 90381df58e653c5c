//! What clients were told where they hoped for a success: counted by client, and held against the documented
//! errors.
//!
//! Invariant: an answer that is no problem, or whose status, code and promise do not belong together, ends the test
//! that met it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tidegate_proto::error::ErrorCode;

/// The fields of a problem by which programs go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Terms {
    status: u16,
    code: String,
    has_side_effects: bool,
    is_retryable: bool,
}

/// All refusals of one run.
#[derive(Debug, Default)]
pub struct Refusals {
    told: Mutex<BTreeMap<(u32, Terms), u64>>,
}

impl Refusals {
    /// Notes an answer: its status, and its problem.
    ///
    /// # Panics
    /// When it is none that the documentation knows.
    pub fn note(&self, client: u32, words: &str) {
        let terms = terms(words).unwrap_or_else(|fault| panic!("{fault}: {words}"));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told.entry((client, terms)).or_default() += 1;
    }

    /// How many answers those clients got that were none of success.
    #[must_use]
    pub fn of(&self, clients: &Range<u32>) -> u64 {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = told.iter().filter(|((one, _), _)| clients.contains(one));
        theirs.map(|(_, count)| count).sum()
    }

    /// All of them by what was said, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: BTreeMap<&Terms, u64> = BTreeMap::new();
        for ((_, terms), count) in &*told {
            *counts.entry(terms).or_default() += count;
        }
        let lines = counts.iter().map(|(terms, count)| {
            let (status, code) = (terms.status, &terms.code);
            let effects = if terms.has_side_effects {
                "perhaps"
            } else {
                "not"
            };
            format!("{status} {code}: {effects} stored, {count} times\n")
        });
        lines.collect()
    }
}

/// What an answer says, if that is allowed.
fn terms(words: &str) -> Result<Terms, String> {
    let status = words.split(' ').next().unwrap_or_default();
    let status: u16 = status.parse().map_err(|_| "no status".to_owned())?;
    let body = words.find('{').map_or("", |at| &words[at..]);
    let body: Value = serde_json::from_str(body).map_err(|_| "no problem".to_owned())?;
    let name = body["code"].as_str().unwrap_or_default();
    let code: ErrorCode = name.parse().map_err(|_| "no documented code".to_owned())?;
    if status != code.status() || body["status"] != status {
        return Err(format!("the status of {code} is {}", code.status()));
    }
    let has_side_effects = match body["side_effects"].as_str() {
        Some("none") => false,
        Some("possible") => true,
        _ => return Err("nothing about side effects".to_owned()),
    };
    if code.is_definite() && has_side_effects {
        return Err(format!("{code} says that nothing was stored"));
    }
    if code == ErrorCode::OutcomeUnknown && !has_side_effects {
        return Err(format!("{code} says that nobody knows"));
    }
    Ok(Terms {
        status,
        code: name.to_owned(),
        has_side_effects,
        is_retryable: body["retryable"]
            .as_bool()
            .ok_or("nothing about repeating")?,
    })
}

#[cfg(test)]
mod tests {
    use super::terms;

    #[test]
    fn answers_are_told_apart_from_what_no_page_of_errors_knows() {
        let problem = |status: u16, code: &str, effects: &str| {
            format!(
                r#"{status} X {{"status":{status},"code":"{code}","retryable":true,"side_effects":"{effects}"}}"#
            )
        };
        assert!(terms(&problem(503, "not_leader", "none")).is_ok());
        assert!(terms(&problem(504, "outcome_unknown", "possible")).is_ok());
        for wrong in [
            problem(500, "not_leader", "none"),
            problem(503, "not_leader", "possible"),
            problem(504, "outcome_unknown", "none"),
            problem(503, "gone_fishing", "none"),
            problem(503, "not_leader", "maybe"),
            "502 Bad Gateway <html>".to_owned(),
            "nothing".to_owned(),
        ] {
            assert!(terms(&wrong).is_err(), "{wrong}");
        }
    }
}
