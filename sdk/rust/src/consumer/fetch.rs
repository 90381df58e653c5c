//! The task behind a consumer: asks for page after page, ahead of the reader, and takes up again
//! where it was when a connection breaks.
//!
//! The cursor is made from positions that were received whole, so that a broken page is asked for
//! again and nothing is lost or seen twice.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, HeaderValue};
use tidegate_proto::api::records::{HEADER_AWAY, MEDIA_TYPE_BATCH};
use tidegate_proto::cursor::{Cursor, CursorPosition};
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::StartPosition;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff;
use crate::client::Client;
use crate::clock;
use crate::consumer::away::Away;
use crate::consumer::feed::{self, Feed, Over};
use crate::consumer::page::{Page, take_batches};
use crate::consumer::span::Spans;
use crate::consumer::start::{self, Begin, Found};
use crate::error::Error;
use crate::limits::{
    AWAY_REFRESH, DEADLINE_GRACE, FETCH_PATH_BYTES_MAX, PARTITIONS_REFRESH, REQUEST_TIMEOUT_DEFAULT,
};
use crate::topics::topic_path;
use crate::transport::Call;

pub(crate) struct Fetcher {
    pub(crate) client: Client,
    pub(crate) topic: TopicName,
    pub(crate) topic_id: TopicId,
    pub(crate) spans: Spans,
    pub(crate) away: Away,
    /// Goes on at the end.
    pub(crate) follows: bool,
    pub(crate) page_bytes: usize,
    pub(crate) wait: Duration,
    pub(crate) way: Way,
    pub(crate) patience: Option<Duration>,
    /// Partitions that are added are to be read as well, from their beginning.
    pub(crate) grows: bool,
    pub(crate) pages: mpsc::Sender<Item>,
}

/// How records come.
#[derive(Debug)]
pub(crate) enum Way {
    /// Over a socket, when one is open.
    Socket(Option<Box<Feed>>),
    /// Page by page.
    Pages,
}

/// What the reader is sent. The last one is `End` or `Failed`: a channel that closes without them
/// tells of a task that broke off.
#[derive(Debug)]
pub(crate) enum Item {
    Page(Page),
    End,
    Failed(Error),
}

/// Attempts that have failed one after the other.
struct Outage {
    failures: u32,
    since: Instant,
}

impl Fetcher {
    /// Runs until everything wanted was sent, the reader is gone, or an error is final.
    pub(crate) async fn run(mut self) {
        let mut outage = None;
        let mut looked = clock::now();
        let mut stuck = None;
        while !self.spans.all_done() || self.away.waits() {
            if let Some(error) = self.give_up(&mut stuck) {
                // Without a reader there is nobody to tell.
                let _ = self.pages.send(Item::Failed(error)).await;
                return;
            }
            let outcome = match self.look_for_partitions(&mut looked).await {
                Ok(()) => match self.look_for_awaited().await {
                    Ok(()) => self.next().await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            let item = match outcome {
                Ok(page) => {
                    outage = None;
                    if page.is_empty() {
                        continue;
                    }
                    Item::Page(page)
                }
                // Reading has no effect, and a following reader waits for a server that restarts.
                Err(error) => match self.pause(&error, &mut outage) {
                    Some(pause) => tokio::select! {
                        () = tokio::time::sleep(pause) => continue,
                        () = self.pages.closed() => return,
                    },
                    None => Item::Failed(error),
                },
            };
            let last = matches!(item, Item::Failed(_));
            if self.pages.send(item).await.is_err() || last {
                return;
            }
        }
        // Without a reader there is nobody to tell.
        let _ = self.pages.send(Item::End).await;
    }

    /// How long to wait before asking again; `None` when the error is to be told.
    fn pause(&self, error: &Error, outage: &mut Option<Outage>) -> Option<Duration> {
        if !error.is_retryable() {
            return None;
        }
        let now = clock::now();
        let outage = outage.get_or_insert(Outage {
            failures: 0,
            since: now,
        });
        outage.failures += 1;
        let is_patient = self
            .patience
            .is_none_or(|patience| now - outage.since < patience);
        is_patient.then(|| backoff::pause(outage.failures, error, backoff::random()))
    }

    /// Now and then: partitions that were added since are read from their first record.
    async fn look_for_partitions(&mut self, looked: &mut Instant) -> Result<(), Error> {
        // A socket of all partitions tells of them by itself.
        let is_told = matches!(self.way, Way::Socket(_)) && !self.away.waits();
        if !self.grows || is_told || clock::now() - *looked < PARTITIONS_REFRESH {
            return Ok(());
        }
        let facts = self.client.topic_facts(&self.topic).await?;
        // Another topic of the same name is not ours to read: the cursor will say so.
        if facts.id == self.topic_id {
            let known = |partition: &PartitionId| {
                self.spans.0.contains_key(partition) || self.away.waits_for(*partition)
            };
            let begin = Begin::At(StartPosition::Earliest);
            let added: Vec<_> = (0..facts.partitions)
                .map(PartitionId)
                .filter(|partition| !known(partition))
                .map(|partition| (partition, begin))
                .collect();
            let found = start::find(&self.client, &self.topic, &added, true).await?;
            self.take_found(found);
        }
        *looked = clock::now();
        Ok(())
    }

    /// Now and then: those that could not be looked up may be back.
    async fn look_for_awaited(&mut self) -> Result<(), Error> {
        if !self.away.waits() || clock::now() < self.away.look_at {
            return Ok(());
        }
        let awaited: Vec<_> = self.away.awaited().collect();
        match start::find(&self.client, &self.topic, &awaited, self.follows).await {
            Ok(found) => self.take_found(found),
            // All of them are still away.
            Err(error) if start::is_absence(&error) => self.away.look_later(),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn take_found(&mut self, found: Found) {
        let spans = self.away.sort_out(found);
        // An open socket was asked for without them.
        if let Way::Socket(feed) = &mut self.way
            && !spans.0.is_empty()
        {
            *feed = None;
        }
        self.spans.0.extend(spans.0);
    }

    /// Why nobody waits any longer, when all that is left to read is away and was for long enough.
    fn give_up(&self, stuck: &mut Option<Instant>) -> Option<Error> {
        let patience = self.patience?;
        let mut left = self.spans.0.iter().filter(|(_, span)| !span.is_done());
        if !left.all(|(partition, _)| self.away.is_away(*partition)) {
            *stuck = None;
            return None;
        }
        let now = clock::now();
        let since = *stuck.get_or_insert(now);
        (now - since >= patience).then(|| self.away.why()).flatten()
    }

    /// How long to wait for records before looking at those that are away.
    fn wait(&self) -> Option<Duration> {
        let looks = self.away.waits() || self.patience.is_some();
        looks.then_some(self.wait.min(AWAY_REFRESH))
    }

    /// All others were read to their end.
    async fn wait_for_awaited(&mut self) -> Result<Page, Error> {
        tokio::select! {
            () = sleep_until(self.away.look_at) => Ok(Page::new(Vec::new())),
            () = self.pages.closed() => Err(Error::Closed),
        }
    }

    /// The next records, over the socket or in a page.
    async fn next(&mut self) -> Result<Page, Error> {
        if self.spans.all_done() {
            return match self.away.waits() {
                true => self.wait_for_awaited().await,
                false => Ok(Page::new(Vec::new())),
            };
        }
        let mut feed = match &mut self.way {
            Way::Pages => return self.fetch().await,
            Way::Socket(feed) => feed.take(),
        };
        let pages = self.pages.clone();
        let came = tokio::select! {
            came = self.by_socket(&mut feed) => came,
            () = pages.closed() => return Err(Error::Closed),
        };
        match came {
            Ok(page) => {
                self.way = Way::Socket(feed);
                Ok(page)
            }
            // The next one begins where this one ended.
            Err(Over::Broken(error)) => Err(error),
            Err(Over::Refused) => {
                self.way = Way::Pages;
                Ok(Page::new(Vec::new()))
            }
        }
    }

    async fn by_socket(&mut self, feed: &mut Option<Box<Feed>>) -> Result<Page, Over> {
        let feed = match feed {
            Some(feed) => feed,
            None => {
                let path = self.path(&format!("ws?codecs={}&", feed::codecs()))?;
                feed.insert(Box::new(Feed::open(&self.client, &path).await?))
            }
        };
        let wait = self.wait();
        let next = feed.next(&mut self.spans, &self.away, self.grows, self.page_bytes);
        match wait {
            None => next.await,
            Some(wait) => timeout(wait, next)
                .await
                .unwrap_or_else(|_| Ok(Page::new(Vec::new()))),
        }
    }

    async fn fetch(&mut self) -> Result<Page, Error> {
        let wait = self.wait().unwrap_or(self.wait);
        let (bytes, wait_ms) = (self.page_bytes, wait.as_millis());
        let path = self.path(&format!("records?max_bytes={bytes}&wait_ms={wait_ms}&"))?;
        let call = Call {
            method: Method::GET,
            path: path.clone(),
            headers: vec![(ACCEPT, HeaderValue::from_static(MEDIA_TYPE_BATCH))],
            body: Bytes::new(),
            timeout: self.wait + REQUEST_TIMEOUT_DEFAULT + DEADLINE_GRACE,
        };
        let answer = tokio::select! {
            answer = self.client.call(call) => answer?,
            () = self.pages.closed() => return Err(Error::Closed),
        };
        let away = answer.header(HEADER_AWAY).unwrap_or_default();
        let away = away.split(',').filter_map(|text| text.parse().ok());
        self.away.are(&away.collect::<Vec<u32>>());
        let mut parts = Vec::new();
        let taken = take_batches(answer.body, &mut self.spans, false, &mut parts);
        taken.map_err(|reason| Error::Protocol {
            request: path,
            reason,
        })?;
        Ok(Page::new(parts))
    }

    /// Where the next page is, or a socket. Names the partitions that are still wanted beside their cursor:
    /// what a cursor leaves out, the server takes for younger than it and sends from the beginning. That
    /// is as well for a socket of all partitions.
    fn path(&self, what: &str) -> Result<String, Error> {
        let too_many =
            || Error::Config("too many partitions for one consumer: name some of them".to_owned());
        let wanted = || self.spans.0.iter().filter(|(_, span)| !span.is_done());
        let positions = wanted().map(|(partition, span)| {
            let at = CursorPosition {
                offset: span.next,
                leader_epoch: span.leader_epoch,
            };
            (*partition, at)
        });
        let mut cursor = Cursor::new(self.topic_id);
        cursor.positions.extend(positions);
        let partitions: Vec<String> = wanted()
            .map(|(partition, _)| partition.to_string())
            .collect();
        let topic = topic_path(&self.topic);
        let cursor = cursor.encode().map_err(|_| too_many())?;
        let mut path = format!("{topic}/{what}cursor={cursor}");
        let wants_all = self.grows && matches!(self.way, Way::Socket(_)) && !self.away.waits();
        if !wants_all {
            path.push_str(&format!("&partitions={}", partitions.join(",")));
        }
        if path.len() > FETCH_PATH_BYTES_MAX {
            return Err(too_many());
        }
        Ok(path)
    }
}
