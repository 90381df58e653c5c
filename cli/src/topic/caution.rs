//! What commands that take records away have in common: they ask, they may be bound to a version, and
//! they can say what they would do.

use clap::Args;
use tidegate_client::{TopicName, WriteOptions};

use crate::connection::Connection;
use crate::failure::Failure;
use crate::topic::confirm::confirm;

#[derive(Args, Debug)]
pub(crate) struct Caution {
    /// Do not ask.
    #[arg(long, short = 'y')]
    yes: bool,

    /// Only when the topic still has this version (see `topic describe`).
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,

    /// Say what would happen, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Caution {
    /// Has a person type the name of a topic that exists, unless nothing would happen or a script
    /// answers for it. `doing` says what is lost.
    pub(crate) async fn ask(
        &self,
        name: &TopicName,
        doing: &str,
        connection: &Connection,
    ) -> Result<(), Failure> {
        if self.yes || self.dry_run {
            return Ok(());
        }
        // A name that does not exist should fail before anybody types it twice.
        connection.client()?.topic(name).await?;
        confirm(name, doing, connection.url())
    }

    pub(crate) fn options(&self) -> WriteOptions {
        WriteOptions {
            if_version: self.if_version,
            dry_run: self.dry_run,
        }
    }
}
