//! From the names in a path to the topic and partition they mean.
//!
//! Called after the caller was found to have the right to the name, so that a stranger cannot tell
//! a topic that does not exist from one that is not theirs.

use std::sync::Arc;

use tidegate_kit::auth::{Op, Principal, require};
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;

use crate::partitioner::partition_count;
use crate::state::DataPlane;

/// The name in a path segment.
pub(crate) fn parse_name(segment: &str) -> Result<TopicName, Problem> {
    TopicName::parse(segment).map_err(Problem::from)
}

/// 403 unless `principal` may append to `name`, which nobody may when it is the system's.
pub(crate) fn may_produce(principal: &Principal, name: &TopicName) -> Result<(), Problem> {
    require(principal, Op::Produce, Some(name))?;
    if name.is_internal() {
        let detail = "topics whose name starts with `__` are the system's";
        return Err(Problem::new(ErrorCode::Forbidden, detail));
    }
    Ok(())
}

/// The topic of that name.
pub fn find_topic(state: &DataPlane, name: &TopicName) -> Result<Arc<TopicSpec>, Problem> {
    state
        .topology()
        .topic(name)
        .cloned()
        .ok_or_else(|| topic_not_found(name))
}

/// The partition in a path segment or list.
pub(crate) fn parse_partition(topic: &TopicSpec, text: &str) -> Result<PartitionId, Problem> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_plain => check_partition(topic, PartitionId(number)),
        // Digits that no u32 holds name a partition that no topic has.
        Err(_) if is_plain => Err(no_such_partition(topic, text)),
        _ => Err(
            Problem::new(ErrorCode::InvalidParameter, "a partition is a whole number")
                .at("partition", "not a whole number"),
        ),
    }
}

/// `partition`, when the topic has it.
pub fn check_partition(topic: &TopicSpec, partition: PartitionId) -> Result<PartitionId, Problem> {
    match topic.partition(partition) {
        Some(_) => Ok(partition),
        None => Err(no_such_partition(topic, &partition.to_string())),
    }
}

/// What the partitions said of one of them, with the names that its client knows it by.
pub(crate) fn of_partition(problem: Problem, topic: &TopicSpec, partition: PartitionId) -> Problem {
    if problem.extra("partition").is_some() {
        return problem;
    }
    // Whoever asked wrongly knows what they asked about; of what the server has done it is the first question.
    let problem = match problem.status() {
        500.. => {
            let detail = problem.detail();
            let detail = format!("partition {partition} of `{}`: {detail}", topic.name);
            problem.with_detail(detail)
        }
        _ => problem,
    };
    problem
        .with("topic", topic.name.as_str())
        .with("partition", partition.0)
}

/// 404 for a topic.
pub(crate) fn topic_not_found(name: &TopicName) -> Problem {
    Problem::new(
        ErrorCode::TopicNotFound,
        format!("there is no topic `{name}`"),
    )
    .with("topic", name.as_str())
}

fn no_such_partition(topic: &TopicSpec, partition: &str) -> Problem {
    let count = partition_count(topic);
    let detail = format!("`{}` has {count} partitions, counted from 0", topic.name);
    Problem::new(
        ErrorCode::PartitionNotFound,
        format!("no partition {partition}: {detail}"),
    )
    .with("partitions", count)
}
