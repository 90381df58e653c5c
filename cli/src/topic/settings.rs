//! The flags that describe a topic, and the request body they make.
//!
//! A flag that is not given leaves its field out of the body: the server then keeps what is, or
//! takes its default. Values are checked by the server, which knows the rules and names the field.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use crate::units::{self, Bounded};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DurabilityChoice {
    /// An acknowledgement waits for the disk.
    Ack,
    /// It does not, and survives kill -9 all the same; a power loss takes 50 ms of it at most.
    Interval,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum AcksChoice {
    None,
    Leader,
    Quorum,
}

impl AcksChoice {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Leader => "leader",
            Self::Quorum => "quorum",
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CompressionChoice {
    /// As the producer sent it.
    Producer,
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CleanupChoice {
    Delete,
    Compact,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TimestampChoice {
    /// The producer's clock.
    Create,
    /// The leader's clock.
    Append,
}

/// What a topic is to be like.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Topic")]
pub(crate) struct SettingsArguments {
    /// Number of partitions; it only grows.
    #[arg(long, short = 'p', value_name = "N")]
    pub(crate) partitions: Option<u32>,

    /// Copies of each partition.
    #[arg(long, short = 'r', value_name = "N")]
    pub(crate) replication_factor: Option<u16>,

    /// Copies that must have a record before `acks=quorum` is answered.
    #[arg(long, value_name = "N")]
    pub(crate) min_in_sync: Option<u16>,

    /// How long records are kept: 12h, 7d, forever.
    #[arg(long, value_name = "DURATION", value_parser = units::bounded_milliseconds)]
    pub(crate) retention: Option<Bounded>,

    /// Bytes kept per partition: 10GiB, unlimited.
    #[arg(long, value_name = "SIZE", value_parser = units::bounded_bytes)]
    pub(crate) retention_bytes: Option<Bounded>,

    /// Size at which a segment is closed: 64MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) segment_bytes: Option<u64>,

    /// Age at which the active segment is closed: 1d.
    #[arg(long, value_name = "DURATION", value_parser = units::milliseconds)]
    pub(crate) segment_age: Option<u64>,

    /// Whether an acknowledgement waits for the disk.
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) durability: Option<DurabilityChoice>,

    /// What an acknowledgement waits for when the producer does not say.
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) acks: Option<AcksChoice>,

    /// How batches are stored.
    #[arg(long, value_enum, value_name = "CODEC")]
    pub(crate) compression: Option<CompressionChoice>,

    /// What happens to old records.
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) cleanup: Option<CleanupChoice>,

    /// With --cleanup compact, how long a tombstone stays after what it deletes: 24h.
    #[arg(long, value_name = "DURATION", value_parser = units::milliseconds)]
    pub(crate) delete_retention: Option<u64>,

    /// Largest record: 1MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) max_record_bytes: Option<u64>,

    /// Whose clock a record's timestamp is.
    #[arg(long, value_enum, value_name = "CLOCK")]
    pub(crate) timestamp: Option<TimestampChoice>,

    /// Any setting by its API name: retention_ms=3600000, acks=leader; `null` is the default
    /// again (for retention: no bound). Repeatable.
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) config: Vec<(String, Value)>,
}

impl SettingsArguments {
    /// The request body, without a name.
    pub(crate) fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        insert(&mut body, "partitions", self.partitions);
        insert(&mut body, "replication_factor", self.replication_factor);
        insert(&mut body, "min_in_sync", self.min_in_sync);
        let mut config = Map::new();
        insert(
            &mut config,
            "retention_ms",
            self.retention.map(|bound| bound.0),
        );
        insert(
            &mut config,
            "retention_bytes",
            self.retention_bytes.map(|bound| bound.0),
        );
        insert(&mut config, "segment_bytes", self.segment_bytes);
        insert(&mut config, "segment_ms", self.segment_age);
        insert(
            &mut config,
            "durability",
            self.durability.map(|choice| word(&choice)),
        );
        insert(&mut config, "acks", self.acks.map(|choice| word(&choice)));
        insert(
            &mut config,
            "compression",
            self.compression.map(|choice| word(&choice)),
        );
        insert(
            &mut config,
            "cleanup",
            self.cleanup.map(|choice| word(&choice)),
        );
        insert(&mut config, "delete_retention_ms", self.delete_retention);
        insert(&mut config, "max_record_bytes", self.max_record_bytes);
        insert(
            &mut config,
            "timestamp",
            self.timestamp.map(|choice| word(&choice)),
        );
        config.extend(self.config.iter().cloned());
        if !config.is_empty() {
            body.insert("config".to_owned(), Value::Object(config));
        }
        body
    }
}

fn insert(map: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value.into());
    }
}

/// The word by which the API calls a choice.
fn word(choice: &impl ValueEnum) -> String {
    choice
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// `key=value`, the value as JSON where it is JSON, else as text.
fn key_value(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("expected KEY=VALUE, such as acks=leader")?;
    if key.is_empty() {
        return Err("the key before = is missing".to_owned());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: SettingsArguments,
    }

    fn body(arguments: &[&str]) -> Value {
        let line = Line::try_parse_from(std::iter::once(&"x").chain(arguments)).unwrap();
        Value::Object(line.settings.body())
    }

    #[test]
    fn what_is_not_given_is_not_in_the_body() {
        assert_eq!(body(&[]), json!({}));
        assert_eq!(body(&["-p", "3"]), json!({"partitions": 3}));
    }

    #[test]
    fn durations_sizes_and_words_become_api_values() {
        let arguments = [
            "--retention",
            "7d",
            "--retention-bytes",
            "unlimited",
            "--segment-bytes",
            "64MiB",
        ];
        assert_eq!(
            body(&arguments),
            json!({"config": {"retention_ms": 604_800_000, "retention_bytes": null,
                "segment_bytes": 67_108_864}})
        );
        assert_eq!(
            body(&[
                "--acks",
                "leader",
                "--compression",
                "lz4",
                "--cleanup",
                "compact"
            ]),
            json!({"config": {"acks": "leader", "compression": "lz4", "cleanup": "compact"}})
        );
    }

    #[test]
    fn any_setting_can_be_given_by_name_and_wins() {
        assert_eq!(
            body(&[
                "--acks",
                "leader",
                "--config",
                "acks=none",
                "--config",
                "retention_ms=null"
            ]),
            json!({"config": {"acks": "none", "retention_ms": null}})
        );
        assert!(key_value("acks").is_err());
        assert!(key_value("=1").is_err());
    }
}
