//! `tidegate produce`: lines of a file or of standard input become records.
//!
//! Reading, parsing and sending overlap; memory is bounded by the producer, which makes reading
//! wait. An interrupt stops the reading, and what was read is still delivered.

mod blocks;
mod line;
mod meter;

mod arguments;

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use serde_json::json;
use tidegate_client::{Datum, PartitionId, Producer, RecordRef};
use tidegate_kit::clock;
use tidegate_kit::signal::Signals;
use tidegate_proto::limits::BATCH_BYTES_MAX;
use tokio::sync::mpsc;

pub(crate) use arguments::{CodecChoice, ProduceArguments, acks};

use crate::connection::Connection;
use crate::failure::{Failure, interrupts};
use crate::output::{self, Output};
use crate::units;
use blocks::{Block, Blocks};
use line::LineRule;
use meter::Meter;

/// Blocks read ahead of the producer.
const BLOCKS_AHEAD: usize = 8;

pub(crate) async fn run(
    arguments: ProduceArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let rule = arguments.rule().map_err(Failure::usage)?;
    let (input, length) = open(arguments.file.as_ref())?;
    let config = arguments.delivery.config();
    let producer = Producer::open(connection.client()?, arguments.topic.clone(), config).await?;
    let meter = Meter::new(length, arguments.quiet);
    let mut signals = interrupts()?;
    let started = clock::monotonic();
    let partition = arguments.partition.map(PartitionId);
    let mut job = Job {
        producer: &producer,
        rule: &rule,
        partition,
        meter: &meter,
        bytes: 0,
    };
    let sent = job.send_all(input, &mut signals).await;
    let flushed = tokio::select! {
        flushed = producer.flush() => flushed.map_err(Failure::from),
        _ = signals.recv() => Err(Failure::new(
            Failure::INTERRUPTED,
            "interrupted: what was not acknowledged may or may not be stored",
        )),
    };
    meter.finish();
    let elapsed = started.elapsed();
    let progress = *producer.progress().borrow();
    if !arguments.quiet {
        let mut text = meter::summary(progress.delivered_records, job.bytes, elapsed);
        if progress.repeats > 0 {
            let was = if progress.repeats == 1 { "was" } else { "were" };
            let requests = units::counted(progress.repeats, "request");
            text.push_str(&format!("; {requests} {was} repeated"));
        }
        if progress.failed_records > 0 {
            let was = if progress.failed_records == 1 {
                "was"
            } else {
                "were"
            };
            let records = units::counted(progress.failed_records, "record");
            text.push_str(&format!("; {records} {was} NOT stored"));
        }
        output::say(&text);
    }
    if output == Output::Json {
        output::print_json(&json!({
            "records": progress.delivered_records,
            "failed_records": progress.failed_records,
            "bytes": job.bytes,
            "repeated_requests": progress.repeats,
            "elapsed_ms": elapsed.as_secs_f64() * 1000.0,
        }))?;
    }
    flushed?;
    sent
}

fn open(file: Option<&PathBuf>) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    let Some(path) = file.filter(|path| path.as_os_str() != "-") else {
        if output::is_typed() {
            output::say("reading records from the terminal, one per line; end with Ctrl-D");
        }
        return Ok((Box::new(io::stdin()), None));
    };
    let cannot =
        |error: io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let file = File::open(path).map_err(cannot)?;
    let facts = file.metadata().map_err(cannot)?;
    if facts.is_dir() {
        return Err(Failure::usage(format!("{} is a directory", path.display())));
    }
    Ok((Box::new(file), facts.is_file().then_some(facts.len())))
}

/// One run over the input.
struct Job<'a> {
    producer: &'a Producer,
    rule: &'a LineRule,
    partition: Option<PartitionId>,
    meter: &'a Meter,
    bytes: u64,
}

impl Job<'_> {
    async fn send_all(
        &mut self,
        input: Box<dyn Read + Send>,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let (tx, mut blocks) = mpsc::channel(BLOCKS_AHEAD);
        // Not awaited: a read of a terminal cannot be broken off, and the process ends over it.
        let _reader = tokio::task::spawn_blocking(move || read_blocks(input, &tx));
        let progress = self.producer.progress();
        loop {
            let block = tokio::select! {
                block = blocks.recv() => block,
                _ = signals.recv() => return Err(interrupted()),
            };
            let Some(block) = block else {
                return Ok(());
            };
            let block = block
                .map_err(|error| Failure::failed(format!("cannot read the input: {error}")))?;
            // Sending waits while the producer's memory is full.
            tokio::select! {
                sent = self.send_block(&block) => sent?,
                _ = signals.recv() => return Err(interrupted()),
            }
            let delivered = progress.borrow().delivered_records;
            self.meter.advance(block.bytes.len() as u64, delivered);
            if let Some(error) = self.producer.failure() {
                return Err(error.into());
            }
        }
    }

    async fn send_block(&mut self, block: &Block) -> Result<(), Failure> {
        let timestamp_ms = clock::now_ms();
        for (number, line) in block.lines() {
            let named = |reason: &dyn std::fmt::Display| {
                Failure::failed(format!("line {number} was not sent: {reason}"))
            };
            let Some(parsed) = self.rule.parse(line).map_err(|reason| named(&reason))? else {
                continue;
            };
            let key = parsed.key.as_deref().map_or(Datum::Absent, Datum::Bytes);
            let record = RecordRef {
                timestamp_ms,
                key,
                value: parsed.value,
                headers: &[],
            };
            let sent = self.producer.send(&record, self.partition).await;
            sent.map_err(|error| named(&error))?;
            self.bytes += (key.as_bytes().map_or(0, <[u8]>::len)
                + parsed.value.as_bytes().map_or(0, <[u8]>::len)) as u64;
        }
        Ok(())
    }
}

fn interrupted() -> Failure {
    Failure::new(
        Failure::INTERRUPTED,
        "interrupted: the rest of the input was not sent",
    )
}

fn read_blocks(input: Box<dyn Read + Send>, tx: &mpsc::Sender<io::Result<Block>>) {
    let mut blocks = Blocks::new(input, BATCH_BYTES_MAX);
    loop {
        let item = match blocks.next_block() {
            Ok(Some(block)) => Ok(block),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let failed = item.is_err();
        if tx.blocking_send(item).is_err() || failed {
            return;
        }
    }
}
