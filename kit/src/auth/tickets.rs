//! Tickets: credentials for one use within half a minute.
//!
//! Kept in memory of the process that gave them out, by digest. Invariant: a ticket is redeemed at
//! most once, never after its end, and the table never holds more than `TICKETS_MAX`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_proto::error::{ErrorCode, Problem};

use super::grants::{Op, Principal, TopicPattern, require};
use crate::clock;
use crate::limits::{TICKET_TOPICS_MAX, TICKET_TTL, TICKETS_MAX, TOKEN_LEN_MAX};
use crate::secret::{SecretDigest, random_token};

/// A ticket as its owner gets it.
#[derive(Clone)]
pub struct Ticket {
    /// The credential: 43 characters that are safe in URLs and in subprotocol names.
    pub ticket: String,
    /// Its end, in epoch milliseconds.
    pub expires_at_ms: i64,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let expires_at_ms = self.expires_at_ms;
        f.debug_struct("Ticket")
            .field("expires_at_ms", &expires_at_ms)
            .finish_non_exhaustive()
    }
}

struct Entry {
    principal: Principal,
    expires_at_ms: i64,
}

/// The tickets outstanding. Clones share them.
#[derive(Clone)]
pub struct Tickets {
    entries: Arc<Mutex<HashMap<SecretDigest, Entry>>>,
    count_max: usize,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets")
            .field("outstanding", &self.outstanding())
            .finish()
    }
}

impl Default for Tickets {
    fn default() -> Self {
        Self::new()
    }
}

impl Tickets {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::with_count_max(TICKETS_MAX)
    }

    fn with_count_max(count_max: usize) -> Self {
        Self {
            entries: Arc::default(),
            count_max,
        }
    }

    /// A ticket with which its bearer may do `ops` on `topics`, as far as `issuer` may; good for
    /// `ttl`, at most `TICKET_TTL`.
    ///
    /// # Errors
    /// 400 without topics or ops or with too many, 403 for a topic named exactly that the issuer has
    /// no right to, 429 when too many tickets are outstanding.
    pub fn issue(
        &self,
        issuer: &Principal,
        topics: Vec<TopicPattern>,
        ops: &[Op],
        ttl: Duration,
    ) -> Result<Ticket, Problem> {
        self.issue_at(clock::now_ms(), issuer, topics, ops, ttl)
    }

    fn issue_at(
        &self,
        now_ms: i64,
        issuer: &Principal,
        topics: Vec<TopicPattern>,
        ops: &[Op],
        ttl: Duration,
    ) -> Result<Ticket, Problem> {
        check_scope(issuer, &topics, ops)?;
        let ticket = random_token()
            .map_err(|error| Problem::new(ErrorCode::Unavailable, error.to_string()))?;
        let life_ms = i64::try_from(ttl.min(TICKET_TTL).as_millis()).unwrap_or(i64::MAX);
        let expires_at_ms = now_ms.saturating_add(life_ms);
        let grants = issuer.grants.narrowed(ops, topics);
        let principal = Principal {
            name: Arc::clone(&issuer.name),
            grants,
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.count_max {
            entries.retain(|_, entry| entry.expires_at_ms > now_ms);
        }
        if entries.len() >= self.count_max {
            let detail = "too many tickets are outstanding, they expire within seconds";
            return Err(
                Problem::new(ErrorCode::Throttled, detail).retry_after(TICKET_TTL.as_secs())
            );
        }
        entries.insert(
            SecretDigest::of(&ticket),
            Entry {
                principal,
                expires_at_ms,
            },
        );
        Ok(Ticket {
            ticket,
            expires_at_ms,
        })
    }

    /// Takes the ticket back and says who its bearer is. `None` for an unknown, used or expired one.
    #[must_use]
    pub fn redeem(&self, ticket: &str) -> Option<Principal> {
        self.redeem_at(clock::now_ms(), ticket)
    }

    fn redeem_at(&self, now_ms: i64, ticket: &str) -> Option<Principal> {
        if ticket.len() > TOKEN_LEN_MAX {
            return None;
        }
        let digest = SecretDigest::of(ticket);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.remove(&digest)?;
        (entry.expires_at_ms > now_ms).then_some(entry.principal)
    }

    /// Forgets what has expired. The table is bounded without it; this gives memory back earlier.
    pub fn sweep(&self) {
        let now_ms = clock::now_ms();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| entry.expires_at_ms > now_ms);
        entries.shrink_to_fit();
    }

    /// Tickets in the table, expired ones that nobody has come for included.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

fn check_scope(issuer: &Principal, topics: &[TopicPattern], ops: &[Op]) -> Result<(), Problem> {
    let invalid = |detail: &str| Err(Problem::new(ErrorCode::InvalidParameter, detail));
    if topics.is_empty() || ops.is_empty() {
        return invalid("a ticket names at least one topic and one operation");
    }
    if topics.len() > TICKET_TOPICS_MAX {
        return invalid(&format!(
            "a ticket names at most {TICKET_TOPICS_MAX} topics"
        ));
    }
    if ops.contains(&Op::Admin) {
        return invalid("a ticket is for produce, consume and describe only");
    }
    for topic in topics {
        // Prefixes are judged when the ticket is used, on the concrete names.
        if let TopicPattern::Exact(name) = topic {
            for op in ops {
                require(issuer, *op, Some(name))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidegate_proto::name::TopicName;

    use super::super::grants::Grants;
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn admin() -> Principal {
        Principal::new("admin", Grants::all())
    }

    fn topics(texts: &[&str]) -> Vec<TopicPattern> {
        texts
            .iter()
            .map(|text| TopicPattern::parse(text).unwrap())
            .collect()
    }

    #[test]
    fn a_ticket_is_good_once_and_for_its_scope() {
        let tickets = Tickets::new();
        let ticket = tickets
            .issue(&admin(), topics(&["a", "b.*"]), &[Op::Consume], TTL)
            .unwrap();
        let bearer = tickets.redeem(&ticket.ticket).unwrap();
        assert_eq!(&*bearer.name, "admin");
        for (topic, op, is_allowed) in [
            ("a", Op::Consume, true),
            ("b.x", Op::Consume, true),
            ("a", Op::Produce, false),
            ("c", Op::Consume, false),
        ] {
            let topic = TopicName::parse(topic).unwrap();
            assert_eq!(bearer.allows(op, Some(&topic)), is_allowed, "{topic} {op}");
        }
        assert!(tickets.redeem(&ticket.ticket).is_none());
        assert!(tickets.redeem("guess").is_none());
        assert!(!format!("{ticket:?}").contains(&ticket.ticket));
    }

    #[test]
    fn a_ticket_ends_and_never_lives_longer_than_the_limit() {
        let tickets = Tickets::new();
        let issue = |ttl| {
            tickets
                .issue_at(1_000, &admin(), topics(&["a"]), &[Op::Consume], ttl)
                .unwrap()
        };
        let (short, long) = (
            issue(Duration::from_secs(1)),
            issue(Duration::from_secs(9999)),
        );
        assert_eq!((short.expires_at_ms, long.expires_at_ms), (2_000, 31_000));
        assert!(tickets.redeem_at(2_000, &short.ticket).is_none());
        assert!(tickets.redeem_at(30_999, &long.ticket).is_some());
    }

    #[test]
    fn the_table_is_bounded_and_makes_room_for_live_ones() {
        let tickets = Tickets::with_count_max(2);
        let issue =
            |now_ms| tickets.issue_at(now_ms, &admin(), topics(&["a"]), &[Op::Consume], TTL);
        issue(0).unwrap();
        issue(10_000).unwrap();
        let problem = issue(29_999).unwrap_err();
        assert_eq!(
            (problem.code(), problem.retry_after_s()),
            (ErrorCode::Throttled, Some(30))
        );
        issue(30_000).unwrap();
        assert_eq!(tickets.outstanding(), 2);
        tickets.sweep();
        assert_eq!(tickets.outstanding(), 0);
    }

    #[test]
    fn nobody_gives_away_what_they_do_not_have() {
        let tickets = Tickets::new();
        let reader = Principal::new("r", Grants::limited(&[Op::Consume], topics(&["a"])));
        let refused = tickets
            .issue(&reader, topics(&["a"]), &[Op::Produce], TTL)
            .unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Forbidden);
        let wide = tickets
            .issue(&reader, topics(&["*"]), &[Op::Consume], TTL)
            .unwrap();
        let bearer = tickets.redeem(&wide.ticket).unwrap();
        assert!(!bearer.allows(Op::Consume, Some(&TopicName::parse("b").unwrap())));
        for (scope, ops) in [
            (vec![], vec![Op::Consume]),
            (topics(&["a"]), vec![]),
            (topics(&["a"]), vec![Op::Admin]),
        ] {
            let refused = tickets.issue(&admin(), scope, &ops, TTL).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::InvalidParameter);
        }
    }
}
