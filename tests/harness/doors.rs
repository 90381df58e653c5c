//! A client that knows several doors to the same thing and follows the documented rule: what had no side
//! effects is sent again, at the next door; what may have had some is only repeated where that is harmless.
//!
//! It tells every attempt that came to nothing, so that a test can say which of them a user may see.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::http::{Answer, Connection, Target};
use crate::random::Random;
use crate::wait::{pause, within};

/// Between two attempts, at most; the server's `Retry-After` is in whole seconds and more than a test on
/// one machine needs.
const PAUSE_MS_MAX: u64 = 100;

/// How one attempt went.
#[derive(Debug)]
pub enum Attempt {
    Answered(Answer),
    /// It reached nobody: the connection was refused, or ended before the request went out.
    NotSent(String),
    /// It went out, and no whole answer came.
    Lost(String),
}

/// An attempt that has to be made again, for the count of what a client met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mishap {
    /// Nobody got the request.
    NotSent,
    /// A problem that says `side_effects: none` and to try again.
    Refused,
    /// A problem that leaves open what happened.
    Unknown,
    /// A connection that broke under a request.
    Lost,
}

/// Several doors, one of which is used until it fails.
#[derive(Debug)]
pub struct Doors {
    targets: Vec<Target>,
    at: usize,
    connection: Option<Connection>,
}

impl Doors {
    /// Begins at door `first`.
    #[must_use]
    pub const fn new(targets: Vec<Target>, first: usize) -> Self {
        Self {
            targets,
            at: first,
            connection: None,
        }
    }

    /// The door in use.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.targets[self.at % self.targets.len()]
    }

    /// Goes on at the next door.
    pub fn leave(&mut self) {
        self.connection = None;
        self.at += 1;
    }

    /// One attempt. The next one is at another door when nothing came of it.
    pub async fn attempt(
        &mut self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Bytes,
    ) -> Attempt {
        let made = within(path, self.try_once(method, path, headers, body)).await;
        if !matches!(made, Attempt::Answered(_)) {
            self.leave();
        }
        made
    }

    /// Sends a request and hangs up after `patience`, as clients do whose users went away.
    pub async fn attempt_and_hang_up(
        &mut self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Bytes,
        patience: Duration,
    ) -> Attempt {
        let sent = self.attempt(method, path, headers, body);
        if let Ok(attempt) = tokio::time::timeout(patience, sent).await {
            return attempt;
        }
        self.leave();
        Attempt::Lost("hung up".to_owned())
    }

    async fn try_once(
        &mut self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Bytes,
    ) -> Attempt {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match Connection::open(self.target()).await {
                Ok(connection) => connection,
                Err(error) => return Attempt::NotSent(format!("{error:#}")),
            },
        };
        let sent = connection.send(method.clone(), path, headers, body.clone());
        match sent.await {
            Ok(answer) => {
                self.connection = Some(connection);
                Attempt::Answered(answer)
            }
            Err(error) => {
                let reason = format!("{error:#}");
                let cause = error.downcast_ref::<hyper::Error>();
                // Not sent, says the connection: it was closed before it took the request.
                if cause.is_some_and(|error| error.is_canceled() || error.is_closed()) {
                    Attempt::NotSent(reason)
                } else {
                    Attempt::Lost(reason)
                }
            }
        }
    }
}

/// What an attempt means to whoever made it: an answer for good, or a reason to think about another one.
///
/// # Errors
/// The mishap, with words for a report.
pub fn judge(attempt: Attempt) -> Result<Answer, (Mishap, String)> {
    let answer = match attempt {
        Attempt::Answered(answer) => answer,
        Attempt::NotSent(reason) => return Err((Mishap::NotSent, reason)),
        Attempt::Lost(reason) => return Err((Mishap::Lost, reason)),
    };
    if answer.status.is_success() {
        return Ok(answer);
    }
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let words = format!("{} {}", answer.status, answer.text());
    match (
        problem["side_effects"].as_str(),
        problem["retryable"].as_bool(),
    ) {
        (Some("none"), Some(true)) => Err((Mishap::Refused, words)),
        (Some("none"), Some(false)) => Ok(answer),
        _ => Err((Mishap::Unknown, words)),
    }
}

/// Waits a little before the next attempt.
pub async fn back_off(random: &mut Random) {
    pause(Duration::from_millis(1 + random.below(PAUSE_MS_MAX))).await;
}
