//! `tidegate log verify`.

use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tidegate_log::OsVfs;
use tidegate_log::inspect::{self, Finding, Progress, Verified};

use super::{place, shown};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::units;

/// Findings in one JSON document; more are counted.
const FINDINGS_MAX: usize = 10_000;

#[derive(Args, Debug)]
#[command(
    after_help = "Stop the server first; while it runs it checks its files by itself. Nothing is written.\n\n\
    Each finding names the file, the bytes and the offsets:\n  \
    rot         stored bytes changed; the server will not serve these offsets\n  \
    missing     a file, or the end of one, is gone\n  \
    unreadable  the disk cannot read it: see the kernel's log\n  \
    index       only reads get slower: `tidegate log repair-index` makes it anew\n  \
    snapshot    only the next start gets slower\n  \
    stray       not known to the log: the next start moves it to quarantine/\n  \
    torn        harmless: cut short by a crash, was never acknowledged, the next start cuts it\n  \
    leftover    harmless: the next start removes it\n\n\
    Exit codes: 0 nothing but harmless findings, 1 problems found, 2 usage, 4 a server runs on the\n\
    directory, 5 the directory cannot be read."
)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    pub(crate) place: place::PlaceArguments,
}

pub(crate) fn run(arguments: &VerifyArguments, output: Output) -> Result<(), Failure> {
    let dir = arguments.place.log_dir();
    let bar = bar();
    let mut findings = Vec::new();
    let mut printed = Ok(());
    let mut hear = |progress: Progress<'_>| {
        match progress {
            Progress::Checked { bytes, of } => {
                bar.set_length(of);
                bar.set_position(bytes);
            }
            Progress::Found(finding) if output == Output::Json => {
                if findings.len() < FINDINGS_MAX {
                    findings.push(shown::finding(finding));
                }
            }
            Progress::Found(finding) => {
                printed = bar.suspend(|| output::print(&line(finding)));
            }
        }
        printed.is_ok()
    };
    let verified = inspect::verify(Arc::new(OsVfs), &dir, &mut hear);
    bar.finish_and_clear();
    printed?;
    let verified = verified.map_err(|error| place::failure(&error))?;
    match output {
        Output::Json => output::print_json(&document(&verified, findings))?,
        Output::Table => output::print(&summary(&verified))?,
    }
    if verified.problems == 0 {
        return Ok(());
    }
    let advice = "problems found. Keep a copy of the directory before anything else is done with it; \
                  what is good in it is still served by `tidegate up`.";
    Err(Failure::failed(format!("{} {advice}", verified.problems)))
}

/// Shows how far it is, to a person.
fn bar() -> ProgressBar {
    if !output::is_interactive() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let style = "{bytes} of {total_bytes} checked, {bytes_per_sec}, {eta} to go";
    let style = ProgressStyle::with_template(style);
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn line(finding: &Finding) -> String {
    finding.to_string()
}

fn summary(verified: &Verified) -> String {
    let state = if verified.clean {
        "closed in order".to_owned()
    } else {
        format!(
            "not closed in order: the next start reads {} and writes {}",
            units::counted(verified.rounds, "journal round"),
            counted_batches(verified.to_replay)
        )
    };
    format!(
        "{}, {}, {}: {} with {}: good\n{state}\n{}, {}",
        units::counted(verified.replicas, "replica"),
        units::counted(verified.segments, "segment"),
        units::show_bytes(verified.bytes),
        counted_batches(verified.batches),
        units::counted(verified.records, "record"),
        units::counted(verified.problems, "problem"),
        units::counted(verified.harmless, "harmless finding"),
    )
}

fn counted_batches(count: u64) -> String {
    let noun = if count == 1 { "batch" } else { "batches" };
    format!("{} {noun}", units::show_count(count))
}

fn document(verified: &Verified, findings: Vec<Value>) -> Value {
    let told = verified.problems + verified.harmless;
    json!({
        "storage_id": verified.storage_id.map(|id| id.0.to_string()),
        "clean": verified.clean,
        "checkpoint": verified.checkpoint,
        "journal_rounds": verified.rounds,
        "batches_to_replay": verified.to_replay,
        "replicas": verified.replicas,
        "segments": verified.segments,
        "bytes": verified.bytes,
        "batches": verified.batches,
        "records": verified.records,
        "problems": verified.problems,
        "harmless": verified.harmless,
        "findings_left_out": told.saturating_sub(findings.len() as u64),
        "findings": findings,
    })
}
