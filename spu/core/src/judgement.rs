//! What is to be done with a request to append: producers, request key, expected end (A1, D1, D2, D6, D7).
//!
//! It reads what the replica has and changes nothing, so that a request is refused as a whole or taken as a
//! whole. The in-sync set is asked by whoever knows it.

use tidegate_proto::batch::ClientBatch;
use tidegate_proto::id::ProducerId;
use tidegate_proto::limits::REQUEST_KEY_WINDOW_MS;
use tidegate_proto::position::Offset;
use tidegate_proto::produce::Acks;

use crate::effect::Refusal;
use crate::input::{Append, Now};
use crate::ledger::records_digest;
use crate::producer::{Reached, Verdict};
use crate::request_key::KeyVerdict;
use crate::standing::Standing;

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Judgement {
    /// Append all batches but the first `seen`, which stand at `seen_at` already.
    Append {
        seen: usize,
        seen_at: Option<(Offset, i64)>,
    },
    /// All of it stands in the log already.
    Duplicate {
        base_offset: Offset,
        timestamp_ms: i64,
        end: Offset,
    },
    /// A gap before it; hold it for a moment.
    Park {
        producer: ProducerId,
        refusal: Refusal,
    },
    /// Nothing happens.
    Refuse(Refusal),
}

/// Judges a request in the order of A1. `shortage` is what the in-sync set has and needs, where it is too
/// small: then nothing is appended; what stands in the log already is answered as ever.
pub(crate) fn judge(
    standing: &Standing,
    now: Now,
    append: &Append,
    shortage: Option<(u16, u16)>,
) -> Judgement {
    if append.deadline_ms <= now.monotonic_ms {
        return Judgement::Refuse(Refusal::DeadlinePassed);
    }
    let mut judgement = judge_producers(standing, &append.batches);
    if let Judgement::Append { seen: 0, .. } = judgement
        && let Some(by_key) = judge_request_key(standing, now, &append.batches)
    {
        judgement = by_key;
    }
    if let (Acks::Quorum, Some((in_sync, required))) = (append.acks, shortage)
        && matches!(judgement, Judgement::Append { .. } | Judgement::Park { .. })
    {
        return Judgement::Refuse(Refusal::NotEnoughReplicas { in_sync, required });
    }
    let Judgement::Append { seen, .. } = judgement else {
        return judgement;
    };
    let before: u64 = records_of(append.batches.get(..seen).unwrap_or_default());
    let matches = append
        .expected_end
        .is_none_or(|at| at.checked_add(before) == Some(standing.end));
    if matches {
        judgement
    } else {
        Judgement::Refuse(Refusal::PreconditionFailed { end: standing.end })
    }
}

pub(crate) fn records_of(batches: &[ClientBatch]) -> u64 {
    batches
        .iter()
        .map(|batch| u64::from(batch.record_count()))
        .sum()
}

/// D1, D2, D7: the batches in line, as if those before them had been appended.
fn judge_producers(standing: &Standing, batches: &[ClientBatch]) -> Judgement {
    let mut reached: Vec<Reached> = Vec::new();
    let (mut seen, mut seen_at, mut seen_end) = (0, None, Offset::ZERO);
    for (at, batch) in batches.iter().enumerate() {
        let Some(stamp) = batch.producer() else {
            continue;
        };
        let count = batch.record_count();
        let out_of_order = |expected| Refusal::OutOfOrder {
            expected,
            received: stamp.seq,
        };
        match standing.ledger.producers.judge(&stamp, count, &reached) {
            // Only what follows asks for it.
            Verdict::New if at + 1 == batches.len() => {}
            Verdict::New => {
                let next_seq = stamp.seq.wrapping_add(count);
                reached.push(Reached {
                    id: stamp.id,
                    epoch: stamp.epoch,
                    next_seq,
                });
            }
            Verdict::Duplicate {
                base_offset,
                timestamp_ms,
            } if seen == at => {
                seen += 1;
                seen_at = seen_at.or(Some((base_offset, timestamp_ms)));
                seen_end = seen_end.max(base_offset.plus(u64::from(count)));
            }
            Verdict::Duplicate { .. } => return Judgement::Refuse(out_of_order(stamp.seq)),
            Verdict::Early { expected, known } => {
                let unknown = Refusal::UnknownProducer { producer: stamp.id };
                let refusal = if known {
                    out_of_order(expected)
                } else {
                    unknown
                };
                // Inside a request nothing can come in between: only the first may wait.
                return if at == 0 {
                    Judgement::Park {
                        producer: stamp.id,
                        refusal,
                    }
                } else {
                    Judgement::Refuse(refusal)
                };
            }
            Verdict::Behind { expected } => return Judgement::Refuse(out_of_order(expected)),
            Verdict::Fenced { current } => return Judgement::Refuse(Refusal::Fenced { current }),
            Verdict::Full if stamp.unordered => return Judgement::Refuse(Refusal::Unordered),
            Verdict::Full => return Judgement::Refuse(Refusal::TooManyProducers),
        }
    }
    match seen_at {
        Some((base_offset, timestamp_ms)) if seen == batches.len() => Judgement::Duplicate {
            base_offset,
            timestamp_ms,
            end: seen_end,
        },
        _ => Judgement::Append { seen, seen_at },
    }
}

/// D6: none when the request has no key or the key is new.
fn judge_request_key(standing: &Standing, now: Now, batches: &[ClientBatch]) -> Option<Judgement> {
    let key = batches.first()?.request_key()?;
    let parts = batches
        .iter()
        .map(|batch| (records_digest(batch), batch.record_count()));
    let forgotten = standing.forgotten(now, REQUEST_KEY_WINDOW_MS);
    match standing.ledger.keys.judge(&key, parts, forgotten) {
        KeyVerdict::New => None,
        KeyVerdict::Reused => Some(Judgement::Refuse(Refusal::KeyReused)),
        KeyVerdict::Duplicate(seen) => Some(Judgement::Duplicate {
            base_offset: seen.base_offset,
            timestamp_ms: seen.at_ms,
            end: seen.end,
        }),
        KeyVerdict::Begun { seen, batches } => Some(Judgement::Append {
            seen: batches,
            seen_at: Some((seen.base_offset, seen.at_ms)),
        }),
    }
}
