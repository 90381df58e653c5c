//! What a node must be told. Read once by the program, passed down as it is.

use std::path::PathBuf;
use std::time::Duration;

use tidegate_kit::memory::Memory;
use tidegate_log::SpaceConfig;
use tidegate_proto::control::NodeSite;
use tidegate_proto::id::SpuId;
use tidegate_proto::name::SpuGroupName;

use crate::limits::{CATCH_UP_READS_MAX, SCRUB_PERIOD_DEFAULT, SCRUB_RATE_DEFAULT, SHARDS_MAX};

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
    /// How stored bytes are looked at for rot; `None` when they are not.
    pub scrub: Option<ScrubConfig>,
    /// When the disk counts as full, and what is held back for then.
    pub space: SpaceConfig,
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
            scrub: Some(ScrubConfig::weekly()),
            space: SpaceConfig::BY_SIZE,
        }
    }
}
