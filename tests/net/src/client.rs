//! Writers and a reader of one host: they ask whom they believe to lead, and note what they are told.
//!
//! A writer with an identity sends a batch again until it is told what became of it, before the next; one
//! without sends each once. Invariant: a request is noted before it is sent.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use http::Request;
use tidegate_kit::channel::{Channel, ChannelConfig};
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_kit::tls::Expect;
use tidegate_proto::batch::{BatchBuilder, ProducerStamp};
use tidegate_proto::compression::Codec;
use tidegate_proto::error::Problem;
use tidegate_proto::id::{ProducerId, SpuId};
use tidegate_proto::record::{Datum, RecordRef};
use tokio::time::{sleep, timeout};
use tracing::info_span;

use crate::doors::Found;
use crate::history::End;
use crate::identities::tls;
use crate::options::{UNITS, unit_name};
use crate::random::Random;
use crate::serving::PORT;
use crate::shared::{Phase, Shared};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 1 << 22;

/// What became of one sending.
enum Told {
    Done(u64),
    /// Nothing was done.
    No,
    Nobody,
}

struct Client {
    number: u32,
    shared: Shared,
    channels: Vec<Channel>,
}

pub(crate) async fn run(number: u32, shared: Shared) -> turmoil::Result {
    let tasks = Tasks::new();
    let tls = tls(&format!("client-{number}"), &shared.wires)?;
    let channel = |unit: u32| {
        Channel::new(&ChannelConfig {
            endpoints: vec![format!("{}:{PORT}", unit_name(unit))],
            tls: tls.clone(),
            expect: Expect::spu(SpuId(unit)),
            tasks: tasks.clone(),
        })
    };
    let channels = (1..=UNITS).map(channel).collect::<Result<Vec<_>, _>>()?;
    let client = Arc::new(Client {
        number,
        shared: shared.clone(),
        channels,
    });
    let (count, stamped) = shared.options.writers;
    let (done, mut all_done) = tokio::sync::mpsc::channel(8);
    for writer in 0..count {
        let (client, done) = (Arc::clone(&client), done.clone());
        let writing = async move {
            client.write(writer, writer < stamped).await;
            let _ = done.send(()).await;
        };
        tasks.spawn(TaskKind::Request, info_span!("writer"), writing);
    }
    drop(done);
    let reading = Arc::clone(&client).read();
    tasks.spawn(TaskKind::Request, info_span!("reader"), reading);
    while all_done.recv().await.is_some() {}
    shared.lock().ended += 1;
    std::future::pending().await
}

impl Client {
    async fn write(&self, writer: u32, has_identity: bool) {
        let name = self.number * 100 + writer;
        let mut random = Random::new(self.shared.options.seed ^ (u64::from(name) << 40));
        let partitions = self.shared.options.partitions;
        let mut next = vec![0_u32; partitions as usize];
        while self.shared.phase() < Phase::Quiet {
            sleep(Duration::from_millis(random.between(5, 120))).await;
            let partition = u32::try_from(random.between(0, u64::from(partitions) - 1));
            let partition = partition.unwrap_or_default();
            let Some(seq) = next.get_mut(partition as usize) else {
                continue;
            };
            let stamp = has_identity.then_some(ProducerStamp {
                id: ProducerId(1_000 + u64::from(name)),
                epoch: 0,
                seq: *seq,
                unordered: false,
            });
            let count = random.between(1, 5);
            let values: Vec<u64> = {
                let mut inside = self.shared.lock();
                (0..count).map(|_| inside.history.value()).collect()
            };
            let bytes = random.between(16, self.shared.options.record_max);
            let Some(batch) = batch(&values, stamp, bytes) else {
                continue;
            };
            let op = self
                .shared
                .lock()
                .history
                .begin(name, partition, stamp, &values);
            let end = self.send(partition, batch, has_identity, &mut random).await;
            let mut inside = self.shared.lock();
            inside.history.end(name, op, partition, end);
            *seq += u32::try_from(count).unwrap_or(1);
            if has_identity && !matches!(end, End::Done { .. }) {
                let what = format!("writer {name}: a repeated batch ended {end:?}");
                inside.found(what);
                return;
            }
        }
    }

    /// With `again` until the answer is yes.
    async fn send(&self, partition: u32, batch: Bytes, again: bool, random: &mut Random) -> End {
        let mut is_certain = true;
        loop {
            let unit = self.leader(partition, random);
            match self.append(unit, partition, batch.clone()).await {
                Told::Done(base_offset) => return End::Done { base_offset },
                Told::No => {}
                Told::Nobody => is_certain = false,
            }
            if !again {
                return if is_certain {
                    End::Refused
                } else {
                    End::Unknown
                };
            }
            sleep(Duration::from_millis(random.between(20, 300))).await;
        }
    }

    /// Who leads, as one knows who sometimes looks at old news.
    fn leader(&self, partition: u32, random: &mut Random) -> u32 {
        let any = u32::try_from(random.between(1, UNITS.into())).unwrap_or(1);
        if random.hits(50) {
            return any;
        }
        let inside = self.shared.lock();
        let key = inside.keys().get(partition as usize).copied();
        let leader = key.and_then(|key| inside.leader(key));
        leader.map_or(any, |spu| spu.0)
    }

    async fn append(&self, unit: u32, partition: u32, batch: Bytes) -> Told {
        let request = Request::post(format!("/sim/append/{partition}")).body(Body::from(batch));
        let Ok(request) = request else {
            return Told::No;
        };
        match self.ask(unit, request).await {
            Ok((true, bytes)) => match serde_json::from_slice(&bytes) {
                Ok(base_offset) => Told::Done(base_offset),
                Err(_) => Told::Nobody,
            },
            Ok((false, bytes)) => {
                let problem = serde_json::from_slice::<Problem>(&bytes);
                if problem.is_ok_and(|problem| problem.code().is_definite()) {
                    Told::No
                } else {
                    Told::Nobody
                }
            }
            Err(true) => Told::No,
            Err(false) => Told::Nobody,
        }
    }

    /// Whether it is a success, and the body; without an answer, whether it certainly was not sent.
    async fn ask(&self, unit: u32, request: Request<Body>) -> Result<(bool, Bytes), bool> {
        let at = unit.saturating_sub(1) as usize;
        let channel = self.channels.get(at).ok_or(true)?;
        let asking = async {
            let answer = channel.send(request).await;
            let answer = answer.map_err(|error| error.is_unsent())?;
            let is_good = answer.status().is_success();
            let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await;
            Ok((is_good, body.map_err(|_| false)?))
        };
        timeout(PATIENCE, asking).await.unwrap_or(Err(false))
    }

    async fn read(self: Arc<Self>) {
        let mut random = Random::new(self.shared.options.seed ^ u64::from(self.number));
        let name = 10_000 + self.number;
        let mut readers: Vec<(u64, u64)> = (0..self.shared.options.partitions)
            .map(|partition| (self.shared.lock().history.reads(name, partition), 0))
            .collect();
        loop {
            sleep(Duration::from_millis(random.between(50, 300))).await;
            for (partition, (reader, from)) in (0..).zip(&mut readers) {
                let unit = self.leader(partition, &mut random);
                let Some(found) = self.fetch(unit, partition, *from).await else {
                    continue;
                };
                if !found.records.is_empty() {
                    let mut inside = self.shared.lock();
                    let (records, until) = (&found.records, found.high_watermark);
                    inside.history.read(name, *reader, records, until);
                }
                *from = found.next.max(*from);
            }
        }
    }

    async fn fetch(&self, unit: u32, partition: u32, from: u64) -> Option<Found> {
        let request = Request::get(format!("/sim/read/{partition}/{from}"));
        let answer = self.ask(unit, request.body(Body::empty()).ok()?).await;
        match answer {
            Ok((true, bytes)) => serde_json::from_slice(&bytes).ok(),
            Ok((false, _)) | Err(_) => None,
        }
    }
}

fn batch(values: &[u64], stamp: Option<ProducerStamp>, bytes: u64) -> Option<Bytes> {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some(stamp) = stamp {
        builder = builder.producer(stamp);
    }
    for value in values {
        let width = usize::try_from(bytes).unwrap_or(16);
        let text = format!("{value:016x}{}", "x".repeat(width.saturating_sub(16)));
        let record = RecordRef {
            timestamp_ms: 1_000,
            key: Datum::Absent,
            value: Datum::Utf8(&text),
            headers: &[],
        };
        builder.push(&record).ok()?;
    }
    Some(builder.finish().ok()?.as_bytes().clone())
}
