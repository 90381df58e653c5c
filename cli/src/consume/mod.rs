//! `tidegate consume`: records of a topic on standard output.
//!
//! Follows by default and survives restarts of the server. Ends without noise on an interrupt and
//! when the reader of the output goes away.

mod format;

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use clap::Args;
use tidegate_client::{Consumer, ConsumerConfig, Page, PartitionId, StartPosition, TopicName};

use tidegate_kit::signal::Signals;

use crate::connection::Connection;
use crate::failure::{Failure, interrupts};
use crate::output;
use crate::units::show_count;
use format::OutputFormat;

/// Collected before a write to the pipe or terminal.
const OUTPUT_BUFFER_BYTES: usize = 256 * 1024;

/// Without following, a server that cannot be reached is waited for this long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate consume demo                                  # what comes from now on\n  \
    tidegate consume demo --from earliest --no-follow      # everything there is, then end\n  \
    tidegate consume demo --from -10 --max 10 --format json\n  \
    tidegate consume demo --from @1767225600000            # since a time, in epoch ms\n  \
    tidegate consume demo --partition 2 --from 4711")]
pub(crate) struct ConsumeArguments {
    /// Topic to read.
    pub(crate) topic: TopicName,

    /// Where to begin: earliest, latest, N (an offset, of one partition), -N (that many from the
    /// end of each partition), @MS (a time in epoch milliseconds).
    #[arg(
        long,
        short = 'f',
        default_value = "latest",
        allow_hyphen_values = true
    )]
    pub(crate) from: StartPosition,

    /// End after this many records.
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) max: Option<u64>,

    /// Only this partition; repeatable. All of them when absent.
    #[arg(long, short = 'p', value_name = "N")]
    pub(crate) partition: Vec<u32>,

    /// End at what is the end now, instead of waiting for more.
    #[arg(long)]
    pub(crate) no_follow: bool,

    /// What is written per record.
    #[arg(long, value_enum, default_value = "value")]
    pub(crate) format: OutputFormat,

    /// Text between key and value (with --format key-value) [default: a tab].
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "\t",
        hide_default_value = true
    )]
    pub(crate) key_separator: String,

    /// No count at the end.
    #[arg(long, short = 'q')]
    pub(crate) quiet: bool,
}

pub(crate) async fn run(
    arguments: ConsumeArguments,
    connection: &Connection,
) -> Result<(), Failure> {
    let partitions = arguments
        .partition
        .iter()
        .copied()
        .map(PartitionId)
        .collect::<Vec<_>>();
    let config = ConsumerConfig {
        from: arguments.from,
        partitions: (!partitions.is_empty()).then_some(partitions),
        follow: !arguments.no_follow,
        patience: arguments.no_follow.then_some(PATIENCE),
        ..ConsumerConfig::default()
    };
    // One listener for all of it: a signal that comes during a write is not lost.
    let mut signals = interrupts()?;
    let client = connection.client()?;
    let mut consumer = Consumer::open(client, arguments.topic.clone(), config).await?;
    let mut sink = Sink {
        out: BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, io::stdout().lock()),
        arguments: &arguments,
        written: 0,
    };
    let outcome = sink.drain(&mut consumer, &mut signals).await;
    if !arguments.quiet && output::is_interactive() {
        output::say(&format!("{} records", show_count(sink.written)));
    }
    outcome
}

struct Sink<'a, W: Write> {
    out: BufWriter<W>,
    arguments: &'a ConsumeArguments,
    written: u64,
}

impl<W: Write> Sink<'_, W> {
    async fn drain(
        &mut self,
        consumer: &mut Consumer,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let max = self.arguments.max.unwrap_or(u64::MAX);
        while self.written < max {
            let page = tokio::select! {
                page = consumer.next_page() => page?,
                _ = signals.recv() => return Ok(()),
            };
            let Some(page) = page else { return Ok(()) };
            self.write_page(&page, max)?;
        }
        Ok(())
    }

    /// Written out whole after each page: a follower should see a record when it comes.
    fn write_page(&mut self, page: &Page, max: u64) -> Result<(), Failure> {
        for received in page.records() {
            if self.written >= max {
                break;
            }
            let received = received?;
            format::write(
                &mut self.out,
                &received,
                self.arguments.format,
                &self.arguments.key_separator,
            )
            .map_err(|error| Failure::output(&error))?;
            self.written += 1;
        }
        self.out.flush().map_err(|error| Failure::output(&error))
    }
}
