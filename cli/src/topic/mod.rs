//! `tidegate topic ..`: create, look at, change and truncate and delete topics.

mod caution;
mod confirm;
mod partitions;
mod settings;

mod alter;
mod create;
mod delete;
mod describe;
mod list;
mod truncate;

use clap::Subcommand;

pub(crate) use partitions::show as show_partitions;
pub(crate) use settings::AcksChoice;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic.
    Create(Box<create::CreateArguments>),
    /// List topics.
    #[command(visible_alias = "ls")]
    List(list::ListArguments),
    /// Show one topic: settings, partitions, offsets.
    Describe(describe::DescribeArguments),
    /// Change settings or add partitions, while the topic is in use.
    Alter(Box<alter::AlterArguments>),
    /// Delete the oldest records of a partition.
    Truncate(truncate::TruncateArguments),
    /// Delete a topic and its records.
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArguments),
}

pub(crate) async fn run(
    command: TopicCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    match command {
        TopicCommand::Create(arguments) => create::run(*arguments, connection, output).await,
        TopicCommand::List(arguments) => list::run(arguments, connection, output).await,
        TopicCommand::Describe(arguments) => describe::run(arguments, connection, output).await,
        TopicCommand::Alter(arguments) => alter::run(*arguments, connection, output).await,
        TopicCommand::Truncate(arguments) => truncate::run(arguments, connection, output).await,
        TopicCommand::Delete(arguments) => delete::run(arguments, connection, output).await,
    }
}
