//! Options of commands that move copies: how fast, what else, and whether to wait for the end.

use clap::Args;
use serde_json::{Map, Value, json};
use tidegate_client::WriteOptions;

use crate::units;

#[derive(Args, Clone, Debug)]
pub(crate) struct Terms {
    /// Partitions whose new copy is catching up at the same time [default: 16].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    partitions_at_once: Option<u32>,

    /// Most that each unit sends to new copies per second, such as 50MiB [default: no bound].
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    bytes_per_second: Option<u64>,

    /// Move also what is short of copies, and single copies, which then wait until they were copied.
    #[arg(long)]
    force: bool,

    /// Stay until it is done, showing how far it is.
    #[arg(long, short = 'w')]
    pub(crate) wait: bool,

    /// Say what would be moved, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Terms {
    pub(crate) fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        if self.partitions_at_once.is_some() || self.bytes_per_second.is_some() {
            const AT_ONCE_DEFAULT: u32 = 16;
            let at_once = self.partitions_at_once.unwrap_or(AT_ONCE_DEFAULT);
            let throttle = json!({
                "partitions_at_once": at_once,
                "bytes_per_second": self.bytes_per_second,
            });
            body.insert("throttle".to_owned(), throttle);
        }
        if self.force {
            body.insert("force".to_owned(), Value::Bool(true));
        }
        body
    }

    pub(crate) const fn options(&self) -> WriteOptions {
        WriteOptions {
            if_version: None,
            dry_run: self.dry_run,
        }
    }
}
