//! `tidegate topic delete`.
//!
//! Asks for the name again when a person is there; a script says `--yes`.

use clap::Args;
use tidegate_client::TopicName;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::topic::caution::Caution;
use crate::written;

#[derive(Args, Debug)]
pub(crate) struct DeleteArguments {
    /// Topic to delete, with all its records.
    pub(crate) name: TopicName,

    #[command(flatten)]
    pub(crate) caution: Caution,
}

pub(crate) async fn run(
    arguments: DeleteArguments,
    connection: &Connection,
    output: Output,
) -> Result<(), Failure> {
    let DeleteArguments { name, caution } = arguments;
    let doing = format!("deleting topic {name} deletes its records");
    caution.ask(&name, &doing, connection).await?;
    let client = connection.client()?;
    let outcome = client.delete_topic(&name, caution.options()).await?;
    written::show("topic", &name, &outcome, caution.dry_run, output)
}
