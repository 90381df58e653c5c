//! NDJSON of any length, appended while it comes.
//!
//! Lines are packed per partition and a batch is appended when it is full, one append per partition
//! at a time, so that order holds, while the next batches fill. When something goes wrong, whatever
//! is under way is waited for and the problem tells exactly how much was appended.
//! A line of a slow body waits for company for a moment only.
//! Invariant: what is held is one chunk, one line, [`STREAM_BUFFER_BYTES_MAX`] of unfinished batches
//! and [`STREAM_UNDER_WAY_BYTES_MAX`] of batches under way, taken from the budget when it is much.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Body;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, poll};
use http_body_util::BodyExt as _;
use serde_json::json;
use tidegate_kit::auth::Principal;
use tidegate_kit::budget::BytePermit;
use tidegate_kit::clock;
use tidegate_kit::http::body_problem;
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::{ErrorCode, Problem, SideEffects};
use tidegate_proto::id::PartitionId;
use tidegate_proto::record::RecordRef;

use crate::append::{Produced, answer, append_batches};
use crate::assemble::{Assembler, RequestStamp};
use crate::decode::ndjson::{Lines, read_line};
use crate::decode::pointer::Pointer;
use crate::decode::record::Record;
use crate::limits::{
    STREAM_BATCH_BYTES, STREAM_BUFFER_BYTES_MAX, STREAM_FREE_BYTES, STREAM_LINGER_MS,
    STREAM_PARTITIONS_MAX, STREAM_PERMIT_BYTES, STREAM_UNDER_WAY_BYTES_MAX,
};
use crate::partitioner::for_key;
use crate::partitions::{Appended, BoxFuture};
use crate::plan::AppendOptions;
use crate::produce::request::ProduceRequest;
use crate::state::DataPlane;

/// What one append came to.
struct Landed {
    partition: PartitionId,
    /// The first line of its records.
    line: u64,
    bytes: usize,
    result: Result<Appended, Problem>,
}

/// A failure and the line it belongs to.
struct Failure {
    line: u64,
    problem: Problem,
}

struct Filling {
    assembler: Assembler,
    line: u64,
    bytes: usize,
}

struct Upload<'a> {
    state: &'a DataPlane,
    principal: &'a Principal,
    topic: &'a TopicSpec,
    options: &'a AppendOptions,
    key: Option<&'a Pointer>,
    /// Producers name one partition, so there is one sequence to go on with.
    stamp: RequestStamp,
    now_ms: i64,
    filling: BTreeMap<PartitionId, Filling>,
    buffered_bytes: usize,
    keyless: Option<PartitionId>,
    under_way: FuturesUnordered<BoxFuture<'a, Landed>>,
    busy: BTreeSet<PartitionId>,
    under_way_bytes: usize,
    /// When the oldest unfinished batch has waited long enough.
    deadline: Option<Instant>,
    /// Its share of the budget, while it holds much.
    permit: Option<BytePermit>,
    /// The first place and the number of records of each partition.
    appended: BTreeMap<PartitionId, Appended>,
}

/// Appends a body line by line.
pub(crate) async fn append_stream(
    state: &DataPlane,
    principal: &Principal,
    topic: &TopicSpec,
    asked: &ProduceRequest,
    body: Body,
) -> Result<Produced, Problem> {
    let (options, key) = (&asked.options, asked.key.as_ref());
    let mut upload = Upload {
        state,
        principal,
        topic,
        options,
        key,
        stamp: options.stamp.clone(),
        now_ms: clock::now_ms(),
        filling: BTreeMap::new(),
        buffered_bytes: 0,
        keyless: None,
        under_way: FuturesUnordered::new(),
        busy: BTreeSet::new(),
        under_way_bytes: 0,
        deadline: None,
        permit: None,
        appended: BTreeMap::new(),
    };
    match upload.run(body).await {
        Ok(()) if upload.appended.is_empty() => Err(Problem::new(
            ErrorCode::InvalidParameter,
            "the body holds no records",
        )),
        Ok(()) => {
            let appended: Vec<_> = upload.appended.into_iter().collect();
            Ok(answer(options, &appended))
        }
        Err(failure) => Err(upload.give_up(failure).await),
    }
}

impl<'a> Upload<'a> {
    async fn run(&mut self, mut body: Body) -> Result<(), Failure> {
        let mut lines = Lines::new(self.topic.config.max_record_bytes as usize);
        loop {
            let frame = tokio::select! {
                biased;
                Some(landed) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.land(landed)?;
                    continue;
                }
                () = until(self.deadline) => {
                    self.flush_all().await?;
                    continue;
                }
                frame = body.frame() => frame,
            };
            let at = |line, problem| Failure { line, problem };
            match frame {
                None => break,
                Some(Err(error)) => return Err(at(lines.number() + 1, body_problem(&error))),
                // HTTP/2 may end with an empty frame, and trailers mean nothing here.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => {
                        self.now_ms = clock::now_ms();
                        lines.push(chunk);
                    }
                    Err(_) => continue,
                },
            }
            while let Some(line) = lines.next_line().map_err(|p| at(lines.number(), p))? {
                self.take(&line, lines.number()).await?;
            }
        }
        if let Some(line) = lines.finish().map_err(|problem| Failure {
            line: lines.number(),
            problem,
        })? {
            self.take(&line, lines.number()).await?;
        }
        self.flush_all().await?;
        while let Some(landed) = self.under_way.next().await {
            self.land(landed)?;
        }
        Ok(())
    }

    async fn take(&mut self, line: &[u8], number: u64) -> Result<(), Failure> {
        let failure = |problem: Problem| {
            let detail = format!("line {number}: {}", problem.detail());
            Failure {
                line: number,
                problem: problem.with_detail(detail),
            }
        };
        let record = read_line(line, self.key).map_err(failure)?;
        let partition = self.choose(&record);
        let topic = self.topic;
        let stamp = &self.stamp;
        let filling = self.filling.entry(partition).or_insert_with(|| Filling {
            assembler: Assembler::new(topic, stamp.clone()),
            line: number,
            bytes: 0,
        });
        let record = RecordRef {
            timestamp_ms: self.now_ms,
            key: record.key.datum(),
            value: record.value.datum(),
            headers: &[],
        };
        filling
            .assembler
            .push(&record)
            .map_err(|wrong| failure(wrong.at("")))?;
        let grown = filling.assembler.len_bytes().saturating_sub(filling.bytes);
        filling.bytes += grown;
        self.buffered_bytes += grown;
        let is_full = filling.bytes >= STREAM_BATCH_BYTES;
        self.hold().await?;
        if is_full {
            return self.flush(partition).await;
        }
        if self.buffered_bytes > STREAM_BUFFER_BYTES_MAX
            || self.filling.len() > STREAM_PARTITIONS_MAX
        {
            let largest = self.filling.iter().max_by_key(|(_, filling)| filling.bytes);
            if let Some((&largest, _)) = largest {
                return self.flush(largest).await;
            }
        }
        Ok(())
    }

    /// Keyless records stay together until their batch is full, then move on.
    fn choose(&mut self, record: &Record<'_>) -> PartitionId {
        if let Some(partition) = self.options.partition {
            return partition;
        }
        match record.key.datum().as_bytes() {
            Some(key) => for_key(self.topic, key),
            None => *self
                .keyless
                .get_or_insert_with(|| self.state.next_partition(self.topic)),
        }
    }

    /// Keeps the clock of unfinished batches and the share of the budget. Without a share an upload
    /// goes on in small steps; but where a producer numbers its records, batches end by size alone,
    /// because the same body sent again must make the same batches, so that one waits for its share.
    async fn hold(&mut self) -> Result<(), Failure> {
        let is_stamped = self.stamp.producer.is_some();
        if self.deadline.is_none() && !is_stamped {
            self.deadline = Some(clock::monotonic() + Duration::from_millis(STREAM_LINGER_MS));
        }
        let held = self.buffered_bytes + self.under_way_bytes;
        if self.permit.is_some() || held <= STREAM_FREE_BYTES {
            return Ok(());
        }
        let budget = self.state.body_budget(self.principal);
        self.permit = match budget.try_acquire(STREAM_PERMIT_BYTES) {
            None if is_stamped => budget.acquire(STREAM_PERMIT_BYTES).await,
            taken => taken,
        };
        if self.permit.is_none() && !is_stamped {
            self.flush_all().await?;
            while let Some(landed) = self.under_way.next().await {
                self.land(landed)?;
            }
        }
        Ok(())
    }

    async fn flush_all(&mut self) -> Result<(), Failure> {
        self.deadline = None;
        while let Some((partition, _)) = self.filling.first_key_value() {
            let partition = *partition;
            self.flush(partition).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, partition: PartitionId) -> Result<(), Failure> {
        if self.keyless == Some(partition) {
            self.keyless = None;
        }
        match self.filling.remove(&partition) {
            Some(filling) => self.start(partition, filling).await,
            None => Ok(()),
        }
    }

    async fn start(&mut self, partition: PartitionId, mut filling: Filling) -> Result<(), Failure> {
        let line = filling.line;
        self.buffered_bytes = self.buffered_bytes.saturating_sub(filling.bytes);
        let batches = filling
            .assembler
            .take()
            .map_err(|problem| Failure { line, problem })?;
        let bytes: usize = batches.iter().map(ClientBatch::len).sum();
        while self.busy.contains(&partition)
            || (self.under_way_bytes > 0
                && self.under_way_bytes + bytes > STREAM_UNDER_WAY_BYTES_MAX)
        {
            let Some(landed) = self.under_way.next().await else {
                break;
            };
            self.land(landed)?;
        }
        let (state, topic) = (self.state, self.topic);
        let options = self.options;
        if let Some(producer) = &mut self.stamp.producer {
            let count: u32 = batches.iter().map(ClientBatch::record_count).sum();
            producer.seq = producer.seq.wrapping_add(count);
        }
        self.busy.insert(partition);
        self.under_way_bytes += bytes;
        self.under_way.push(Box::pin(async move {
            let result = append_batches(state, topic, options, partition, batches).await;
            Landed {
                partition,
                line,
                bytes,
                result,
            }
        }));
        // The first poll hands the append over; from then on it goes on by itself.
        if let Poll::Ready(Some(landed)) = poll!(self.under_way.next()) {
            self.land(landed)?;
        }
        Ok(())
    }

    fn land(&mut self, landed: Landed) -> Result<(), Failure> {
        let Landed {
            partition,
            line,
            bytes,
            result,
        } = landed;
        self.busy.remove(&partition);
        self.under_way_bytes = self.under_way_bytes.saturating_sub(bytes);
        if self.buffered_bytes + self.under_way_bytes == 0 {
            self.permit = None;
        }
        let appended = result.map_err(|problem| Failure { line, problem })?;
        self.appended
            .entry(partition)
            .and_modify(|whole| {
                whole.count += appended.count;
                whole.timestamp_ms = appended.timestamp_ms;
                whole.durable = whole.durable.min(appended.durable);
                whole.duplicate &= appended.duplicate;
            })
            .or_insert(appended);
        Ok(())
    }

    async fn give_up(mut self, failure: Failure) -> Problem {
        let Failure { line, mut problem } = failure;
        while let Some(landed) = self.under_way.next().await {
            // The first failure is the one that is told; this one may leave doubts of its own.
            if let Err(later) = self.land(landed)
                && !later.problem.is_definite()
            {
                problem = problem.side_effects(SideEffects::Possible);
            }
        }
        let appended: u64 = self.appended.values().map(|appended| appended.count).sum();
        if appended > 0 {
            problem = problem.side_effects(SideEffects::Possible);
        }
        let partitions: Vec<_> = self
            .appended
            .iter()
            .map(|(partition, appended)| {
                json!({
                    "partition": partition.0,
                    "base_offset": appended.base_offset.get(),
                    "count": appended.count,
                    "timestamp": appended.timestamp_ms,
                })
            })
            .collect();
        problem
            .with("line", line)
            .with("appended", appended)
            .with("partitions", partitions)
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
