//! `tidegate log dump`: lines for people, or one JSON object a line. Nothing is held but one batch.

use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use tidegate_log::OsVfs;
use tidegate_log::inspect::{Contents, InspectError, Stored};
use tidegate_proto::id::{PartitionId, ReplicaGen, TopicId};
use tidegate_proto::position::{Offset, ReplicaKey};

use super::lines;
use super::place;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Args, Debug)]
#[command(
    after_help = "Without a selection: identity, checkpoint, replicas. With one: the headers of its batches.\n\n\
    Examples:\n  \
    tidegate log dump --data-dir /var/lib/tidegate\n  \
    tidegate log dump --topic-id 0f9c.. --partition 3 --from 1200 --to 1300 --records\n  \
    tidegate log dump --journal -o json | jq 'select(.kind == \"cut\")'\n\n\
    The newest batches may stand in the journal alone, until a start writes them to segments.\n    \
    Topics go by id here, as in the names of directories: `tidegate topic list -o json` has both.\n\
    Stop the server first. Bytes that fail their checks are named and passed over.\n\n\
    Exit codes: 0 done, 2 usage, 4 a server runs on the directory, 5 the directory cannot be read."
)]
pub(crate) struct DumpArguments {
    #[command(flatten)]
    pub(crate) place: place::PlaceArguments,

    /// Only replicas of this topic; their batches are shown.
    #[arg(long, value_name = "UUID")]
    pub(crate) topic_id: Option<uuid::Uuid>,

    /// Only replicas of this partition; their batches are shown.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) partition: Option<u32>,

    /// Batches of all replicas, or of those selected.
    #[arg(long)]
    pub(crate) batches: bool,

    /// From this offset on.
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    pub(crate) from: u64,

    /// Up to this offset, without it.
    #[arg(long, value_name = "OFFSET", default_value_t = u64::MAX)]
    pub(crate) to: u64,

    /// Records, too.
    #[arg(long)]
    pub(crate) records: bool,

    /// Rounds of the journal with their entries, instead.
    #[arg(long, conflicts_with_all = ["topic_id", "partition", "batches", "records"])]
    pub(crate) journal: bool,
}

/// Where lines go, in the form that was asked for.
struct Printer<W: Write> {
    out: W,
    form: Output,
    failed: Option<io::Error>,
}

impl<W: Write> Printer<W> {
    /// False when nobody reads on.
    fn print(&mut self, value: &Value) -> bool {
        let written = match self.form {
            Output::Json => writeln!(self.out, "{value}"),
            Output::Table => writeln!(self.out, "{}", lines::text(value)),
        };
        self.failed = self.failed.take().or(written.err());
        self.failed.is_none()
    }
}

pub(crate) fn run(arguments: &DumpArguments, output: Output) -> Result<(), Failure> {
    let contents = Contents::open(Arc::new(OsVfs), &arguments.place.log_dir())
        .map_err(|error| place::failure(&error))?;
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        form: output,
        failed: None,
    };
    let done = dump(&contents, arguments, &mut printer);
    let flushed = printer.out.flush();
    if let Some(error) = printer.failed.or(flushed.err()) {
        return Err(Failure::output(&error));
    }
    done.map_err(|error| place::failure(&error))
}

fn dump<W: Write>(
    contents: &Contents,
    arguments: &DumpArguments,
    printer: &mut Printer<W>,
) -> Result<(), InspectError> {
    if arguments.journal {
        return contents.journal(&mut |journaled| printer.print(&lines::journaled(&journaled)));
    }
    let overview = contents.overview();
    let selects = arguments.topic_id.is_some() || arguments.partition.is_some();
    if !selects && !arguments.batches && !arguments.records {
        lines::overview(&overview)
            .iter()
            .all(|line| printer.print(line));
        return Ok(());
    }
    let offsets = Offset::new(arguments.from)..Offset::new(arguments.to);
    for (key, replica_gen) in overview.replicas {
        let is_topic = arguments
            .topic_id
            .is_none_or(|id| TopicId(id) == key.topic_id);
        let is_partition = arguments
            .partition
            .is_none_or(|id| PartitionId(id) == key.partition);
        if is_topic && is_partition && printer.failed.is_none() {
            printer.print(&json!({ "kind": "replica", "replica": lines::name(key, replica_gen) }));
            replica(
                contents,
                (key, replica_gen),
                &offsets,
                arguments.records,
                printer,
            )?;
        }
    }
    Ok(())
}

fn replica<W: Write>(
    contents: &Contents,
    (key, replica_gen): (ReplicaKey, ReplicaGen),
    offsets: &Range<Offset>,
    records: bool,
    printer: &mut Printer<W>,
) -> Result<(), InspectError> {
    contents.batches(key, replica_gen, offsets.clone(), &mut |stored| {
        if !printer.print(&lines::stored(&stored)) {
            return false;
        }
        match stored {
            Stored::Batch { batch, .. } if records => {
                lines::records(batch, offsets, &mut |line| printer.print(line))
            }
            Stored::Batch { .. } | Stored::Bad { .. } => true,
        }
    })
}
