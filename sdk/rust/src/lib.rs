//! The native Rust client of Tidegate.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use tidegate_client::{Client, ClientConfig, Consumer, ConsumerConfig, Producer, ProducerConfig};
//! use tidegate_client::{Datum, RecordRef, StartPosition};
//!
//! let client = Client::new(ClientConfig::new("http://127.0.0.1:8080"))?;
//! let producer = Producer::open(client.clone(), "demo".parse()?, ProducerConfig::default()).await?;
//! let record = RecordRef {
//!     timestamp_ms: 1_700_000_000_000,
//!     key: Datum::Utf8("a key"),
//!     value: Datum::Json(r#"{"hello":"world"}"#),
//!     headers: &[],
//! };
//! let delivery = producer.send(&record, None).await?;
//! println!("stored at {:?}", delivery.wait().await?.offset);
//!
//! let from_start = ConsumerConfig { from: StartPosition::Earliest, ..ConsumerConfig::default() };
//! let mut consumer = Consumer::open(client, "demo".parse()?, from_start).await?;
//! while let Some(page) = consumer.next_page().await? {
//!     for received in page.records() {
//!         println!("{:?}", received?.record.value);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Knows the wire format through `tidegate_proto` and nothing of the servers. Tasks live and die
//! with the producer or consumer that started them; every queue and body is bounded by `limits`.

mod clock;
pub mod limits;

mod error;

mod backoff;
mod transport;

mod socket;

mod client;

mod topics;

mod join_tokens;
mod operators;

mod units;

mod append;

mod producer;

mod consumer;

#[cfg(test)]
mod testing;

pub use client::{Client, ClientConfig};
pub use consumer::{AwayPartitions, Consumer, ConsumerConfig, Page, Received};
pub use error::Error;
pub use producer::{Delivered, Delivery, Producer, ProducerConfig, ProducerProgress};
pub use topics::{PartitionOffsets, TopicFacts, WriteOptions, Written};

pub use tidegate_proto::api::records::{ProduceAnswer, ProducedPartition};
pub use tidegate_proto::batch::{BatchBuilder, ClientBatch};
pub use tidegate_proto::compression::Codec;
pub use tidegate_proto::error::{ErrorCode, Problem};
pub use tidegate_proto::id::{OperationId, PartitionId, SpuId, TopicId};
pub use tidegate_proto::name::{SpuGroupName, TopicName};
pub use tidegate_proto::position::{LeaderEpoch, Offset, StartPosition};
pub use tidegate_proto::produce::Acks;
pub use tidegate_proto::record::{Datum, RecordRef, RecordView};
