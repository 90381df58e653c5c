//! A watcher of the control state, as a careful client is one: it goes on from the last whole revision,
//! at another door when one fails, and finds out when a revision is missing, twice or cut short.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use http_body_util::BodyExt as _;

use crate::doors::{Doors, back_off};
use crate::http::Connection;
use crate::random::Random;
use crate::wait::within;

/// A revision and its changes, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    pub number: u64,
    pub changes: Vec<Bytes>,
}

/// What one watcher saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The last revision.
    pub position: u64,
    /// Over all revisions, for comparing many watchers.
    pub digest: u64,
    /// The revisions themselves, when they were to be kept.
    pub kept: Vec<Revision>,
    /// How often it had to go on elsewhere.
    pub resumed: usize,
}

/// Follows from one revision until the change that ends it.
#[derive(Debug)]
pub struct Watcher {
    doors: Doors,
    random: Random,
    seen: Seen,
    hasher: DefaultHasher,
    keep: bool,
    open: Vec<Bytes>,
}

impl Watcher {
    /// Begins after `from`; `keep` says whether revisions are kept or only summed up.
    #[must_use]
    pub fn new(doors: Doors, from: u64, keep: bool, random: Random) -> Self {
        let seen = Seen {
            position: from,
            digest: 0,
            kept: Vec::new(),
            resumed: 0,
        };
        Self {
            doors,
            random,
            seen,
            hasher: DefaultHasher::new(),
            keep,
            open: Vec::new(),
        }
    }

    /// Follows until a revision changes `last` (a key), telling `attached` when it begins to.
    ///
    /// # Errors
    /// When revisions are not dense, or an answer is none of a watch.
    pub async fn follow(mut self, last: &str, attached: Arc<AtomicUsize>) -> Result<Seen> {
        let ending = format!("\"key\":\"{last}\"");
        let mut is_first = true;
        loop {
            match self.connect().await? {
                Some((connection, body)) => {
                    if std::mem::take(&mut is_first) {
                        attached.fetch_add(1, Ordering::Relaxed);
                    }
                    if self.read(connection, body, &ending).await? {
                        self.seen.digest = self.hasher.finish();
                        return Ok(self.seen);
                    }
                    self.seen.resumed += 1;
                }
                None => back_off(&mut self.random).await,
            }
            self.open.clear();
            self.doors.leave();
        }
    }

    /// A stream, or nothing when this door is shut for now.
    async fn connect(&mut self) -> Result<Option<(Connection, hyper::body::Incoming)>> {
        let path = format!("/v1/watch?from_revision={}", self.seen.position);
        let Ok(mut connection) = Connection::open(self.doors.target()).await else {
            return Ok(None);
        };
        let accept = [("accept", "text/event-stream")];
        let Ok(answer) = within("a watch", connection.stream(&path, &accept)).await else {
            return Ok(None);
        };
        if answer.status().is_success() {
            return Ok(Some((connection, answer.into_body())));
        }
        let status = answer.status();
        let words = answer.into_body().collect().await?.to_bytes();
        // It is not as far as we are, or stops.
        ensure!(
            status == 503,
            "{status} {} after {}",
            String::from_utf8_lossy(&words),
            self.seen.position
        );
        Ok(None)
    }

    /// Reads until the end of the stream, or of everything (then true).
    async fn read(
        &mut self,
        _open: Connection,
        mut body: hyper::body::Incoming,
        ending: &str,
    ) -> Result<bool> {
        let mut text: VecDeque<u8> = VecDeque::new();
        loop {
            let Some(Ok(frame)) = within("a sign of life", body.frame()).await else {
                return Ok(false);
            };
            text.extend(frame.into_data().unwrap_or_default());
            let text_now = text.make_contiguous();
            let whole = text_now.windows(2).rposition(|pair| pair == b"\n\n");
            let Some(whole) = whole else { continue };
            let said: Vec<u8> = text.drain(..whole + 2).collect();
            for event in std::str::from_utf8(&said)?.split("\n\n") {
                if self.take(event)? && self.has_ended(ending) {
                    self.commit()?;
                    return Ok(true);
                }
                if event.starts_with("id:") {
                    self.commit()?;
                }
            }
        }
    }

    /// Takes one event in; whether it ended a revision.
    fn take(&mut self, event: &str) -> Result<bool> {
        let mut id = None;
        let mut kind = "";
        for line in event.lines() {
            match line.split_once(": ") {
                Some(("id", number)) => id = Some(number.parse::<u64>()?),
                Some(("event", name)) => kind = name,
                Some(("data", data)) if kind == "change" => {
                    self.open.push(Bytes::copy_from_slice(data.as_bytes()));
                }
                Some(("data", data)) if kind == "error" => {
                    ensure!(data.contains("\"unavailable\""), "ended by {data}");
                }
                Some(("data", _)) => {}
                _ => bail!("not an event: {line:?}"),
            }
        }
        let Some(id) = id else { return Ok(false) };
        let due = self.seen.position + u64::from(!self.open.is_empty());
        ensure!(id == due, "revision {id} where {due} is due");
        Ok(true)
    }

    fn has_ended(&self, ending: &str) -> bool {
        let mut changes = self.open.iter();
        changes.any(|change| {
            change
                .windows(ending.len())
                .any(|found| found == ending.as_bytes())
        })
    }

    fn commit(&mut self) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let changes = std::mem::take(&mut self.open);
        self.seen.position += 1;
        let number = self.seen.position;
        for change in &changes {
            let value: serde_json::Value = serde_json::from_slice(change)?;
            ensure!(value["revision"] == number, "in revision {number}: {value}");
        }
        let revision = Revision { number, changes };
        sum_up(&mut self.hasher, &revision);
        if self.keep {
            self.seen.kept.push(revision);
        }
        Ok(())
    }
}

fn sum_up(hasher: &mut DefaultHasher, revision: &Revision) {
    revision.number.hash(hasher);
    for change in &revision.changes {
        change.hash(hasher);
    }
}

/// The digest of a watcher that saw just these.
#[must_use]
pub fn digest(revisions: &[Revision]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for revision in revisions {
        sum_up(&mut hasher, revision);
    }
    hasher.finish()
}
