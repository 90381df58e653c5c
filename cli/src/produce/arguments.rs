//! The flags of `tidegate produce`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tidegate_client::{Acks, Codec, ProducerConfig, TopicName};

use crate::produce::line::{InputFormat, LineRule, pointer_tokens};
use crate::topic::AcksChoice;
use crate::units;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CodecChoice {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl CodecChoice {
    pub(crate) fn codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Gzip => Codec::Gzip,
            Self::Snappy => Codec::Snappy,
            Self::Lz4 => Codec::Lz4,
            Self::Zstd => Codec::Zstd,
        }
    }
}

/// How a producer batches and waits: shared by `produce` and `bench`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Delivery")]
pub(crate) struct DeliveryArguments {
    /// What an acknowledgement waits for [default: as the topic says].
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) acks: Option<AcksChoice>,

    /// Compress batches before they are sent.
    #[arg(long, value_enum, value_name = "CODEC", default_value = "none")]
    pub(crate) compression: CodecChoice,

    /// A batch is sent when it has this many bytes.
    #[arg(long, value_name = "SIZE", default_value = "256KiB", value_parser = units::bytes)]
    pub(crate) batch_bytes: u64,

    /// A batch is sent this long after its first record.
    #[arg(long, value_name = "MS", default_value_t = 5)]
    pub(crate) linger_ms: u64,

    /// How long a batch is retried before the command fails.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = units::milliseconds)]
    pub(crate) delivery_timeout: u64,
}

impl DeliveryArguments {
    pub(crate) fn config(&self) -> ProducerConfig {
        ProducerConfig {
            acks: self.acks.map(acks),
            compression: self.compression.codec(),
            batch_bytes: usize::try_from(self.batch_bytes).unwrap_or(usize::MAX),
            linger: Duration::from_millis(self.linger_ms),
            delivery_timeout: Duration::from_millis(self.delivery_timeout),
            ..ProducerConfig::default()
        }
    }
}

pub(crate) fn acks(choice: AcksChoice) -> Acks {
    match choice {
        AcksChoice::None => Acks::None,
        AcksChoice::Leader => Acks::Leader,
        AcksChoice::Quorum => Acks::Quorum,
    }
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate produce demo notes.txt                              # one record per line\n  \
    echo 'alice:hello' | tidegate produce demo --key-separator : # with keys\n  \
    tidegate produce flights rows.ndjson --format ndjson --key-pointer /origin --compression zstd\n\n\
    Every record is stored exactly once: what fails on the way is sent again under the same\n\
    sequence number. Records of one partition keep the order of the input.")]
pub(crate) struct ProduceArguments {
    /// Topic to write to.
    pub(crate) topic: TopicName,

    /// File to read; standard input when absent or `-`.
    pub(crate) file: Option<PathBuf>,

    /// What a line is.
    #[arg(long, value_enum, default_value = "lines")]
    pub(crate) format: InputFormat,

    /// Text between key and value of a line (with --format lines).
    #[arg(long, value_name = "TEXT", conflicts_with = "key_pointer")]
    pub(crate) key_separator: Option<String>,

    /// JSON pointer to the key, such as /user/id (with --format ndjson).
    #[arg(long, value_name = "POINTER", value_parser = parse_pointer)]
    pub(crate) key_pointer: Option<Pointer>,

    /// Write to this partition, instead of choosing by key or in turn.
    #[arg(long, short = 'p', value_name = "N")]
    pub(crate) partition: Option<u32>,

    /// No progress, no summary.
    #[arg(long, short = 'q')]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) delivery: DeliveryArguments,
}

/// A JSON pointer as tokens.
#[derive(Clone, Debug)]
pub(crate) struct Pointer(pub(crate) Vec<String>);

fn parse_pointer(text: &str) -> Result<Pointer, String> {
    pointer_tokens(text).map(Pointer)
}

impl ProduceArguments {
    /// The rule for lines, or what contradicts.
    pub(crate) fn rule(&self) -> Result<LineRule, &'static str> {
        if self.key_pointer.is_some() && self.format != InputFormat::Ndjson {
            return Err("--key-pointer looks into JSON: add --format ndjson");
        }
        if self.key_separator.is_some() && self.format != InputFormat::Lines {
            return Err("--key-separator is for --format lines; with ndjson use --key-pointer");
        }
        if self.key_separator.as_deref() == Some("") {
            return Err("--key-separator needs at least one character");
        }
        Ok(LineRule {
            format: self.format,
            separator: self.key_separator.clone(),
            pointer: self.key_pointer.clone().map(|pointer| pointer.0),
        })
    }
}
