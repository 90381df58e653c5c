//! `tidegate consume`: records of a topic on standard output.
//!
//! Follows by default and survives restarts of the server. Ends without noise when the reader of the
//! output goes away, and on an interrupt that takes nothing away: one that comes before the end that
//! was asked for, or while nobody takes the output, is told by the exit code.

mod absence;
mod format;

mod sink;

use std::io;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use tidegate_client::{Consumer, ConsumerConfig, PartitionId, StartPosition, TopicName};
use tidegate_kit::signal::Signals;

use crate::connection::Connection;
use crate::failure::{Failure, interrupts};
use crate::output::{self, Output};
use crate::units;
use absence::Absence;
use format::OutputFormat;
use sink::{Sink, SinkRule};

/// Without following, a server that cannot be reached is waited for this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// After an interrupt, the page that is being written gets this long.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// While nothing comes, the output is asked this often whether its reader is still there.
const READER_CHECK: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate consume demo                                  # what comes from now on\n  \
    tidegate consume demo --from earliest --no-follow      # everything there is, then end\n  \
    tidegate consume demo --from -10 --max 10 --format json\n  \
    tidegate consume demo --from @2026-01-01T00:00:00Z     # since a time\n  \
    tidegate consume demo --partition 2 --from 4711")]
pub(crate) struct ConsumeArguments {
    /// Topic to read.
    pub(crate) topic: TopicName,

    /// Where to begin: earliest, latest, N (an offset, of one partition), -N (that many from the
    /// end of each partition), @TIME (RFC 3339 such as @2026-01-01T00:00:00Z, or epoch milliseconds).
    #[arg(
        long,
        short = 'f',
        default_value = "latest",
        allow_hyphen_values = true
    )]
    pub(crate) from: StartPosition,

    /// End after this many records.
    #[arg(long, short = 'n', visible_alias = "limit", value_name = "N")]
    pub(crate) max: Option<u64>,

    /// Only this partition; repeatable. All of them when absent.
    #[arg(long, short = 'p', value_name = "N")]
    pub(crate) partition: Vec<u32>,

    /// End at what is the end now, instead of waiting for more.
    #[arg(long)]
    pub(crate) no_follow: bool,

    /// What is written per record [default: value, with --output json: json].
    #[arg(long, value_enum)]
    pub(crate) format: Option<OutputFormat>,

    /// Text between key and value (with --format key-value) [default: a tab].
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "\t",
        hide_default_value = true
    )]
    pub(crate) key_separator: String,

    /// No count at the end, and no word of partitions that cannot be reached.
    #[arg(long, short = 'q')]
    pub(crate) quiet: bool,
}

pub(crate) async fn run(
    arguments: ConsumeArguments,
    connection: &Connection,
    output: Output,
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
    let mut consumer = tokio::select! {
        opened = Consumer::open(client, arguments.topic.clone(), config) => opened?,
        _ = signals.recv() => return Err(interrupted("before the first record")),
    };
    let rule = SinkRule {
        format: arguments.format.unwrap_or(match output {
            Output::Table => OutputFormat::Value,
            Output::Json => OutputFormat::Json,
        }),
        key_separator: arguments.key_separator.clone(),
        max: arguments.max.unwrap_or(u64::MAX),
    };
    let mut sink = Sink::start(rule, || io::stdout().lock());
    let outcome = drain(&mut consumer, &mut sink, &arguments, &mut signals).await;
    if !arguments.quiet && output::is_interactive() {
        output::say(&units::counted(sink.written(), "record"));
    }
    outcome
}

async fn drain(
    consumer: &mut Consumer,
    sink: &mut Sink,
    arguments: &ConsumeArguments,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let max = arguments.max.unwrap_or(u64::MAX);
    let mut reader_check = tokio::time::interval(READER_CHECK);
    let mut absence = Absence::new(consumer, arguments.quiet);
    while sink.written() < max {
        let page = {
            let mut next = pin!(consumer.next_page());
            loop {
                tokio::select! {
                    page = &mut next => break page?,
                    _ = signals.recv() => return end_early(arguments),
                    () = absence.changed() => absence.tell(),
                    _ = reader_check.tick() => {
                        if output::is_abandoned() {
                            return Ok(());
                        }
                    }
                }
            }
        };
        let Some(page) = page else { return Ok(()) };
        sink.begin(page);
        tokio::select! {
            finished = sink.finish() => finished?,
            _ = signals.recv() => {
                let finished = tokio::select! {
                    finished = tokio::time::timeout(OUTPUT_GRACE, sink.finish()) => finished.ok(),
                    _ = signals.recv() => None,
                };
                finished.unwrap_or_else(|| Err(interrupted("while nobody took the output")))?;
                return if sink.written() < max { end_early(arguments) } else { Ok(()) };
            }
        }
    }
    Ok(())
}

/// An interrupt is the only end of a reading without one.
fn end_early(arguments: &ConsumeArguments) -> Result<(), Failure> {
    if arguments.no_follow || arguments.max.is_some() {
        return Err(interrupted("before the end"));
    }
    Ok(())
}

fn interrupted(when: &str) -> Failure {
    Failure::new(Failure::INTERRUPTED, format!("interrupted {when}"))
}
