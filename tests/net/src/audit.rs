//! What must be when all is over: copies that are equal byte by byte, and a history that fits them.

use tidegate_log::Log;
use tidegate_proto::batch::Batch;
use tidegate_proto::position::{LogPosition, ReplicaKey};

use crate::history::records;
use crate::options::UNITS;
use crate::shared::Inside;

const READ_BYTES: usize = 1 << 20;

/// What is not at rest yet.
pub(crate) fn unrest(inside: &Inside) -> Option<String> {
    for key in inside.keys() {
        let row = inside.control.model.partition(key)?;
        let partition = key.partition;
        if row.leader.is_none() {
            return Some(format!("{partition} has no leader"));
        }
        if row.isr.len() < row.replicas.len() {
            return Some(format!("{partition}: {} copies are in sync", row.isr.len()));
        }
        let end = |unit| {
            let log = inside.logs.get(&unit)?;
            Some(log.replica(key)?.durable_position())
        };
        let ends: Vec<_> = (1..=UNITS).map(end).collect();
        if ends.iter().any(|end| end.is_none() || *end != ends[0]) {
            return Some(format!("{partition}: copies end at {ends:?}"));
        }
    }
    (inside.keys().is_empty()).then(|| "there is no topic".to_owned())
}

/// Reads all copies to the end and judges. Bytes of one copy of each partition together.
pub(crate) fn audit(inside: &mut Inside) -> Result<u64, String> {
    let mut bytes = 0;
    for (number, key) in (0..).zip(inside.keys()) {
        let mut first: Option<Vec<u8>> = None;
        for unit in 1..=UNITS {
            let log = inside.logs.get(&unit).ok_or("a unit is away")?.clone();
            let (start, batches) = read(&log, key)?;
            let found = records(&batches, start)?;
            inside.history.scan(unit, number, start, &found);
            let mut encoded = Vec::new();
            for batch in &batches {
                batch.verify().map_err(|error| error.to_string())?;
                batch.encode_into(&mut encoded);
            }
            match &first {
                None => {
                    bytes += encoded.len() as u64;
                    first = Some(encoded);
                }
                Some(first) if *first != encoded => {
                    return Err(format!("partition {number}: unit {unit} holds other bytes"));
                }
                Some(_) => {}
            }
        }
    }
    inside.history.judge()?;
    Ok(bytes)
}

fn read(log: &Log, key: ReplicaKey) -> Result<(u64, Vec<Batch>), String> {
    let replica = log.replica(key).ok_or("a copy is away")?;
    let start = replica.log_start();
    let mut at = LogPosition {
        end: start,
        last_epoch: None,
    };
    let mut all = Vec::new();
    loop {
        let some = replica.read_after(at, READ_BYTES);
        let some = some.map_err(|error| error.to_string())?;
        let Some(last) = some.last() else {
            return Ok((start.get(), all));
        };
        at = LogPosition {
            end: last.next_offset().max(at.end),
            last_epoch: Some(last.placement.leader_epoch),
        };
        all.extend(some);
    }
}
