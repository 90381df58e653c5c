//! What a consumer can be told.

use std::time::Duration;

use tidegate_proto::id::PartitionId;
use tidegate_proto::position::StartPosition;

use crate::limits::{FETCH_BYTES_DEFAULT, FETCH_WAIT_DEFAULT};

/// Settings of one [`Consumer`](crate::Consumer).
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// Where to begin. A plain offset needs exactly one partition.
    pub from: StartPosition,
    /// All partitions when absent, those added later too.
    pub partitions: Option<Vec<PartitionId>>,
    /// Go on with new records at the end; otherwise stop at the end as it was when starting.
    pub follow: bool,
    /// Bytes of a page, but for a last batch.
    pub page_bytes: usize,
    /// Keeps to requests for pages. Otherwise records come over a WebSocket, and by pages where the server
    /// or something before it opens none.
    pub pages_only: bool,
    /// How long the server may hold a request while there is nothing new.
    pub wait: Duration,
    /// How long a server that cannot be reached is asked again; for ever when absent.
    pub patience: Option<Duration>,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            from: StartPosition::Latest,
            partitions: None,
            follow: true,
            page_bytes: FETCH_BYTES_DEFAULT,
            pages_only: false,
            wait: FETCH_WAIT_DEFAULT,
            patience: None,
        }
    }
}
