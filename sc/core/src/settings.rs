//! What a topic request asks for, merged over what the topic has, with every fault found.
//!
//! Absent keeps, `null` is the default again (for the retention bounds: no bound), a value replaces.
//! Only looks at the request and the topic's row, never at other topics.

use tidegate_proto::api::topic::{PlacementPolicy, Setting, TopicConfigRequest, TopicRequest};
use tidegate_proto::control::TopicConfig;
use tidegate_proto::limits::{
    INTEGER_MAX, PARTITIONS_PER_TOPIC_MAX, RECORD_BYTES_MAX, REPLICATION_FACTOR_MAX,
    SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};

use crate::limits::{PARTITIONS_DEFAULT, REPLICATION_FACTOR_DEFAULT, SEGMENT_MS_MIN};
use crate::refusal::{Fault, Refusal};
use crate::rows::TopicRow;

/// The part of a topic that requests decide on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) partitions: u32,
    pub(crate) replication_factor: u16,
    pub(crate) min_in_sync: Option<u16>,
    pub(crate) placement: PlacementPolicy,
    pub(crate) config: TopicConfig,
}

impl Settings {
    /// What a topic gets that asks for nothing, with `at_hand` storage units.
    pub(crate) fn defaults(at_hand: usize) -> Self {
        let at_hand = u16::try_from(at_hand).unwrap_or(u16::MAX);
        Self {
            partitions: PARTITIONS_DEFAULT,
            replication_factor: at_hand.clamp(1, REPLICATION_FACTOR_DEFAULT),
            min_in_sync: None,
            placement: PlacementPolicy::default(),
            config: TopicConfig::default(),
        }
    }

    /// What the topic has.
    pub(crate) fn of(row: &TopicRow) -> Self {
        Self {
            partitions: row.partitions,
            replication_factor: row.replication_factor,
            min_in_sync: row.min_in_sync,
            placement: row.placement,
            config: row.config.clone(),
        }
    }

    /// These settings with the request laid over them; all faults are reported at once.
    pub(crate) fn merge(mut self, request: &TopicRequest, at_hand: usize) -> Result<Self, Refusal> {
        let defaults = Self::defaults(at_hand);
        let mut faults = Faults::default();
        let before = self.partitions;
        lay(
            &mut self.partitions,
            request.partitions,
            defaults.partitions,
        );
        lay(
            &mut self.replication_factor,
            request.replication_factor,
            defaults.replication_factor,
        );
        lay(&mut self.min_in_sync, request.min_in_sync.map(Some), None);
        lay(&mut self.placement, request.placement, defaults.placement);
        match &request.config {
            Setting::Absent => {}
            Setting::Null => self.config = defaults.config,
            Setting::Value(config) => lay_config(&mut self.config, config),
        }
        if (1..before).contains(&self.partitions) {
            let what = format!(
                "the topic has {before} partitions and their number only grows; \
                 ask for {before} or more"
            );
            faults.add("/partitions", what);
        } else {
            faults.range("/partitions", self.partitions, 1, PARTITIONS_PER_TOPIC_MAX);
        }
        faults.range(
            "/replication_factor",
            self.replication_factor,
            1,
            REPLICATION_FACTOR_MAX,
        );
        self.check_min_in_sync(request, &mut faults);
        check_config(&self.config, &mut faults);
        faults.refuse_if_any()?;
        Ok(self)
    }

    fn check_min_in_sync(&self, request: &TopicRequest, faults: &mut Faults) {
        let Some(min_in_sync) = self.min_in_sync else {
            return;
        };
        let copies = self.replication_factor;
        if min_in_sync == 0 {
            faults.add("/min_in_sync", "at least 1".to_owned());
        } else if min_in_sync > copies && request.min_in_sync.is_absent() {
            faults.add("/replication_factor", format!(
                "min_in_sync is {min_in_sync} and cannot be above {copies}; lower it in the same request"
            ));
        } else if min_in_sync > copies {
            faults.add(
                "/min_in_sync",
                format!("at most the replication factor, {copies}"),
            );
        }
    }
}

/// Lays one setting of a request over what there is.
pub(crate) fn lay<T>(field: &mut T, setting: Setting<T>, default: T) {
    match setting {
        Setting::Absent => {}
        Setting::Null => *field = default,
        Setting::Value(value) => *field = value,
    }
}

fn lay_config(config: &mut TopicConfig, request: &TopicConfigRequest) {
    let default = TopicConfig::default();
    // `null` means "for ever" here, as in answers: what GET gave can be PUT again and loses nothing.
    lay(
        &mut config.retention_ms,
        request.retention_ms.map(Some),
        None,
    );
    lay(
        &mut config.retention_bytes,
        request.retention_bytes.map(Some),
        None,
    );
    lay(
        &mut config.segment_bytes,
        request.segment_bytes,
        default.segment_bytes,
    );
    lay(
        &mut config.segment_ms,
        request.segment_ms,
        default.segment_ms,
    );
    lay(
        &mut config.durability,
        request.durability,
        default.durability,
    );
    lay(&mut config.acks, request.acks, default.acks);
    lay(
        &mut config.compression,
        request.compression,
        default.compression,
    );
    lay(&mut config.cleanup, request.cleanup, default.cleanup);
    lay(
        &mut config.delete_retention_ms,
        request.delete_retention_ms,
        default.delete_retention_ms,
    );
    lay(
        &mut config.max_record_bytes,
        request.max_record_bytes,
        default.max_record_bytes,
    );
    lay(&mut config.timestamp, request.timestamp, default.timestamp);
}

fn check_config(config: &TopicConfig, faults: &mut Faults) {
    if let Some(retention_ms) = config.retention_ms {
        faults.range("/config/retention_ms", retention_ms, 1, INTEGER_MAX);
    }
    if let Some(retention_bytes) = config.retention_bytes {
        faults.range("/config/retention_bytes", retention_bytes, 1, INTEGER_MAX);
    }
    let segment_bytes = config.segment_bytes;
    faults.range(
        "/config/segment_bytes",
        segment_bytes,
        SEGMENT_BYTES_MIN,
        SEGMENT_BYTES_MAX,
    );
    faults.range(
        "/config/segment_ms",
        config.segment_ms,
        SEGMENT_MS_MIN,
        INTEGER_MAX,
    );
    faults.range(
        "/config/delete_retention_ms",
        config.delete_retention_ms,
        0,
        INTEGER_MAX,
    );
    let record_bytes = config.max_record_bytes as usize;
    faults.range(
        "/config/max_record_bytes",
        record_bytes,
        1,
        RECORD_BYTES_MAX,
    );
}

#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, pointer: &'static str, what: String) {
        self.0.push(Fault::new(pointer, what));
    }

    fn range<N: PartialOrd + std::fmt::Display>(
        &mut self,
        pointer: &'static str,
        found: N,
        min: N,
        max: N,
    ) {
        if found < min || found > max {
            self.add(pointer, format!("from {min} to {max}, not {found}"));
        }
    }

    fn refuse_if_any(self) -> Result<(), Refusal> {
        Refusal::unless_good(self.0)
    }
}
