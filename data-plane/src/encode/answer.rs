//! The answer to a produce request, written by hand: it is the most frequent answer there is.
//!
//! The shapes are `ProduceAnswer` and `ProduceResults` of the protocol crate; a test holds the
//! writer to them.

use tidegate_proto::api::records::ProduceAnswer;
use tidegate_proto::produce::Acks;

use super::json::{write_number, write_signed};

/// The JSON text of an answer.
pub fn write_answer(answer: &ProduceAnswer) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + answer.partitions.len() * 96);
    out.push(b'{');
    let mut lead: &[u8] = b"\"partitions\":[{\"partition\":";
    for produced in &answer.partitions {
        out.extend_from_slice(lead);
        write_number(&mut out, u64::from(produced.partition));
        out.extend_from_slice(b",\"base_offset\":");
        write_number(&mut out, produced.base_offset);
        out.extend_from_slice(b",\"count\":");
        write_number(&mut out, produced.count);
        out.extend_from_slice(b",\"timestamp\":");
        write_signed(&mut out, produced.timestamp);
        out.push(b'}');
        lead = b",{\"partition\":";
    }
    if !answer.partitions.is_empty() {
        out.extend_from_slice(b"],");
    }
    out.extend_from_slice(b"\"durable\":\"");
    out.extend_from_slice(answer.durable.as_str().as_bytes());
    out.extend_from_slice(b"\"}");
    out
}

/// What a request with these acks is told: with `none` only that, no places.
pub fn trim_answer(mut answer: ProduceAnswer, acks: Acks) -> ProduceAnswer {
    if acks == Acks::None {
        answer.partitions.clear();
        answer.durable = acks.durable();
    }
    answer
}

#[cfg(test)]
mod tests {
    use tidegate_proto::api::records::ProducedPartition;
    use tidegate_proto::produce::Durable;

    use super::*;

    #[test]
    fn the_writer_writes_what_the_shape_says() {
        let produced = |partition| ProducedPartition {
            partition,
            base_offset: 7,
            count: 2,
            timestamp: -1,
        };
        for partitions in [
            vec![],
            vec![produced(0)],
            vec![produced(0), produced(4_294_967_295)],
        ] {
            let answer = ProduceAnswer {
                partitions,
                durable: Durable::Quorum,
            };
            let expected = serde_json::to_vec(&answer).unwrap();
            assert_eq!(write_answer(&answer), expected);
        }
    }
}
