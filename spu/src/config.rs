//! What a node must be told. Read once by the program, passed down as it is.

use std::path::PathBuf;
use std::time::Duration;

use tidegate_kit::memory::Memory;
use tidegate_log::limits::OPEN_FILES_MAX;
use tidegate_log::{LogConfig, SpaceConfig};
use tidegate_proto::control::NodeSite;
use tidegate_proto::id::SpuId;
use tidegate_proto::name::SpuGroupName;

use crate::limits::{
    CATCH_UP_READS_MAX, SCRUB_PERIOD_DEFAULT, SCRUB_RATE_DEFAULT, SHARDS_MAX, TRASH_DELAY_DEFAULT,
};

/// How stored bytes are looked at in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubConfig {
    /// How long a full pass takes, if the rate allows it.
    pub period: Duration,
    /// Bytes read in a second at most.
    pub bytes_per_second: u64,
}

impl ScrubConfig {
    /// Once a week, at most 5 MB a second.
    pub fn weekly() -> Self {
        Self {
            period: SCRUB_PERIOD_DEFAULT,
            bytes_per_second: SCRUB_RATE_DEFAULT,
        }
    }
}

/// Settings of a storage node.
#[derive(Clone, Debug)]
pub struct SpuConfig {
    /// Who this node is in the cluster.
    pub spu_id: SpuId,
    /// The group it is taken into when the controller does not know it; `None`: an operator entered it.
    pub group: Option<SpuGroupName>,
    /// Where it is and how it is reached.
    pub site: NodeSite,
    /// Where its journal and its segments are; made when missing.
    pub data_dir: PathBuf,
    /// Shard tasks; as many as cores is right. At least 1, at most 256.
    pub shards: usize,
    /// What appends and reads may hold; produce requests beyond it are refused with 429.
    pub memory: Memory,
    /// Reads that may be at the disk, or be encoded, at once.
    pub catch_up_reads: usize,
    /// What all readers of the disk together may read; none: as much as it gives.
    pub catch_up_bytes_per_second: Option<u64>,
    /// What followers that catch up may read of it together; none: as much as the disk gives in their turns.
    /// Those at the tail are sent what is in memory and wait for nothing of this.
    pub replication_bytes_per_second: Option<u64>,
    /// How stored bytes are looked at for rot; `None` when they are not.
    pub scrub: Option<ScrubConfig>,
    /// Files with records that may be open; of these it takes no more than half of what the process may.
    pub open_files_max: usize,
    /// When the disk counts as full, and what is held back for then.
    pub space: SpaceConfig,
    /// How long deleted partitions stay in the trash before their files go, looked at once a minute.
    pub trash_delay: Duration,
}

impl SpuConfig {
    /// A node with a shard per core, the default budget, and marks by the size of the disk.
    pub fn new(spu_id: SpuId, data_dir: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            spu_id,
            group: Some(SpuGroupName::default()),
            site: NodeSite::default(),
            data_dir: data_dir.into(),
            shards: cores.min(SHARDS_MAX),
            memory: Memory::default(),
            catch_up_reads: cores.div_ceil(2).min(CATCH_UP_READS_MAX),
            catch_up_bytes_per_second: None,
            replication_bytes_per_second: None,
            scrub: Some(ScrubConfig::weekly()),
            open_files_max: OPEN_FILES_MAX,
            space: SpaceConfig::BY_SIZE,
            trash_delay: TRASH_DELAY_DEFAULT,
        }
    }

    /// Within the log's part of the memory: half of it for readers at the tail, who give way to what is not
    /// in segments yet, which may take all of it.
    pub(crate) fn log(&self) -> LogConfig {
        let bytes_max = self.memory.log.total() as u64;
        let standard = LogConfig::default();
        LogConfig {
            space: self.space,
            open_files_max: self.open_files_max,
            tail_cache_bytes: standard.tail_cache_bytes.min(bytes_max / 2),
            unflushed_bytes_soft: standard.unflushed_bytes_soft.min(bytes_max / 4),
            unflushed_bytes_max: standard.unflushed_bytes_max.min(bytes_max),
            ..standard
        }
    }
}
