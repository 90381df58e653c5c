//! Packs the records of one request for one partition into batches.
//!
//! Invariant: where a batch ends depends on the records alone, never on time, so that a repeated
//! request makes the same batches with the same sequence numbers.

use tidegate_proto::batch::{BatchBuilder, BatchError, ClientBatch, ProducerStamp};
use tidegate_proto::compression::Codec;
use tidegate_proto::control::{TopicCompression, TopicSpec};
use tidegate_proto::error::Problem;
use tidegate_proto::record::RecordRef;

use crate::decode::record::{record_too_large, refuse};

/// What makes a request recognisable when it is repeated.
#[derive(Clone, Debug, Default)]
pub struct RequestStamp {
    /// The producer and the sequence number of the first record.
    pub producer: Option<ProducerStamp>,
    /// The digest of an `Idempotency-Key`.
    pub request_key: Option<[u8; 16]>,
}

/// Takes records one by one, gives batches.
#[derive(Debug)]
pub(crate) struct Assembler {
    codec: Codec,
    record_bytes_max: usize,
    stamp: RequestStamp,
    builder: Option<BatchBuilder>,
    finished: Vec<ClientBatch>,
}

/// A record was not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    Refused(BatchError),
    TooLarge { len: usize, limit: usize },
}

impl NotTaken {
    /// The problem, for a record at `pointer`.
    pub(crate) fn at(self, pointer: &str) -> Problem {
        match self {
            Self::Refused(error) => refuse(error, pointer),
            Self::TooLarge { len, limit } => record_too_large(len, limit, pointer),
        }
    }
}

impl Assembler {
    pub(crate) fn new(topic: &TopicSpec, stamp: RequestStamp) -> Self {
        let codec = match topic.config.compression {
            TopicCompression::Producer => Codec::None,
            TopicCompression::Codec(codec) => codec,
        };
        Self {
            codec,
            record_bytes_max: topic.config.max_record_bytes as usize,
            stamp,
            builder: None,
            finished: Vec::new(),
        }
    }

    /// Takes one record.
    pub(crate) fn push(&mut self, record: &RecordRef<'_>) -> Result<(), NotTaken> {
        let len = record.payload_len();
        if len > self.record_bytes_max {
            return Err(NotTaken::TooLarge {
                len,
                limit: self.record_bytes_max,
            });
        }
        match self.builder().push(record) {
            Err(BatchError::TooLong { .. }) if !self.builder().is_empty() => {
                self.cut().map_err(NotTaken::Refused)?;
                self.builder().push(record).map_err(NotTaken::Refused)
            }
            other => other.map_err(NotTaken::Refused),
        }
    }

    /// Bytes of the batch that is being filled.
    pub(crate) fn len_bytes(&self) -> usize {
        self.builder.as_ref().map_or(0, BatchBuilder::len_bytes)
    }

    /// All batches since the last call, in order. What is pushed later goes on behind them.
    pub(crate) fn take(&mut self) -> Result<Vec<ClientBatch>, Problem> {
        self.cut()?;
        Ok(std::mem::take(&mut self.finished))
    }

    fn builder(&mut self) -> &mut BatchBuilder {
        self.builder.get_or_insert_with(|| {
            let mut builder = BatchBuilder::new(self.codec);
            if let Some(producer) = self.stamp.producer {
                builder = builder.producer(producer);
            }
            if let Some(key) = self.stamp.request_key {
                builder = builder.request_key(key);
            }
            builder
        })
    }

    fn cut(&mut self) -> Result<(), BatchError> {
        let Some(builder) = self.builder.take() else {
            return Ok(());
        };
        if builder.is_empty() {
            return Ok(());
        }
        if let Some(producer) = &mut self.stamp.producer {
            producer.seq = producer.seq.wrapping_add(builder.record_count());
        }
        // Most requests make one batch and no more.
        if self.finished.is_empty() {
            self.finished.reserve_exact(1);
        }
        self.finished.push(builder.finish()?);
        Ok(())
    }
}
