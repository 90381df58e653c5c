//! `tidegate partition ..`: where copies are and who leads.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_client::{Client, PartitionId, SpuId, TopicName, WriteOptions};

use super::begun;
use super::terms::Terms;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::{self, Output, cell};
use crate::topic::show_partitions;
use crate::units;

#[derive(Debug, Subcommand)]
pub(crate) enum PartitionCommand {
    /// List the partitions of a topic: leaders, copies, sizes.
    #[command(visible_alias = "ls")]
    List {
        /// Topic, as `tidegate topic list` shows it.
        topic: TopicName,
    },
    /// Move the copies of a partition to other storage units.
    #[command(after_help = "Examples:\n  \
        tidegate partition reassign flights 0 --to 1,2,3 --dry-run\n  \
        tidegate partition reassign flights 0 --to 1,2,3 --wait   # unit 1 is to lead")]
    Reassign(ReassignArguments),
    /// Let preferred copies lead, the first of each list: of one partition, or of all of a topic.
    Elect {
        /// Topic, as `tidegate topic list` shows it.
        topic: TopicName,
        /// Number of the partition [default: every one whose preferred copy does not lead].
        partition: Option<PartitionId>,
    },
    /// Even out what storage units hold and lead, over all topics.
    #[command(after_help = "Examples:\n  \
        tidegate partition rebalance --dry-run\n  \
        tidegate partition rebalance --wait --partitions-at-once 4")]
    Rebalance {
        #[command(flatten)]
        terms: Terms,
    },
    /// Find a leader for a partition that is offline and cannot elect one.
    #[command(
        after_help = "Its copies are asked what they hold. With enough intact ones, nothing is lost. Without, it \
        waits\nfor them, unless --accept-loss says that records only they hold may be given up."
    )]
    Recover(RecoverArguments),
}

#[derive(Args, Debug)]
pub(crate) struct ReassignArguments {
    /// Topic, as `tidegate topic list` shows it.
    topic: TopicName,

    /// Number of the partition, from 0.
    partition: PartitionId,

    /// Storage units that are to hold it, the preferred leader first; as many as it has copies.
    #[arg(long, value_name = "SPU,..", value_delimiter = ',', required = true)]
    to: Vec<SpuId>,

    #[command(flatten)]
    terms: Terms,
}

#[derive(Args, Debug)]
pub(crate) struct RecoverArguments {
    /// Topic, as `tidegate topic list` shows it.
    topic: TopicName,

    /// Number of the partition, from 0.
    partition: PartitionId,

    /// Give up records that only missing copies have.
    #[arg(long, requires = "yes")]
    accept_loss: bool,

    /// Records may be lost: say that you know. Goes with --accept-loss.
    #[arg(long, short = 'y')]
    yes: bool,

    /// Also when it has a leader, which then leads no more.
    #[arg(long)]
    force: bool,

    /// Stay until it is done.
    #[arg(long, short = 'w')]
    wait: bool,
}

pub(super) async fn run(
    command: PartitionCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let client = connection.client()?;
    match command {
        PartitionCommand::List { topic } => list(&client, &topic, output).await,
        PartitionCommand::Reassign(ReassignArguments {
            topic,
            partition,
            to,
            terms,
        }) => {
            let mut body = terms.body();
            let units: Vec<u32> = to.iter().map(|spu| spu.0).collect();
            body.insert("replicas".to_owned(), Value::from(units));
            let (body, options) = (Value::Object(body), terms.options());
            let answer = client
                .reassign_partition(&topic, partition, &body, options)
                .await?;
            let nothing = "its copies are there already";
            begun::show(&client, &answer, terms.wait, nothing, output).await
        }
        PartitionCommand::Elect { topic, partition } => {
            elect(&client, &topic, partition, output).await
        }
        PartitionCommand::Rebalance { terms } => {
            let body = Value::Object(terms.body());
            let answer = client.rebalance(&body, terms.options()).await?;
            let nothing = "the storage units are even already";
            begun::show(&client, &answer, terms.wait, nothing, output).await
        }
        PartitionCommand::Recover(arguments) => {
            let body = json!({ "accept_loss": arguments.accept_loss, "force": arguments.force });
            let RecoverArguments {
                topic, partition, ..
            } = &arguments;
            let options = WriteOptions::default();
            let answer = client
                .recover_partition(topic, *partition, &body, options)
                .await?;
            begun::show(&client, &answer, arguments.wait, "nothing to do", output).await
        }
    }
}

async fn list(client: &Client, topic: &TopicName, output: Output) -> Result<(), Failure> {
    let partitions = client.partitions(topic).await?;
    if output == Output::Json {
        return output::print_json(&Value::Array(partitions));
    }
    show_partitions(&partitions)
}

/// Of the whole topic, each partition by itself: what cannot be is told and the others go on.
async fn elect(
    client: &Client,
    topic: &TopicName,
    partition: Option<PartitionId>,
    output: Output,
) -> Result<(), Failure> {
    let options = WriteOptions::default();
    if let Some(partition) = partition {
        let done = client.elect_partition(topic, partition, options).await?;
        if output == Output::Json {
            return output::print_json(&done.body);
        }
        output::say(&format!(
            "partition {partition} of topic {topic}: storage unit {} leads ({})",
            cell(done.body.get("leader")),
            done.result
        ));
        return Ok(());
    }
    let partitions = client.partitions(topic).await?;
    let others = partitions.iter().filter(|partition| {
        let preferred = partition.pointer("/replicas/0");
        preferred.is_some() && preferred != partition.get("leader")
    });
    let (mut elected, mut refused) = (Vec::new(), Vec::new());
    for number in others.filter_map(|partition| partition.get("partition")?.as_u64()) {
        let number = PartitionId(u32::try_from(number).unwrap_or(u32::MAX));
        match client.elect_partition(topic, number, options).await {
            Ok(done) => elected.push(done.body),
            Err(error) => refused.push(format!("partition {number}: {error}")),
        }
    }
    if output == Output::Json {
        output::print_json(&Value::Array(elected))?;
    } else {
        let count = units::counted(elected.len() as u64, "partition");
        output::say(&format!("{count} of topic {topic} got another leader"));
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(Failure::failed(refused.join("\n")))
    }
}
