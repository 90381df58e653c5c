//! Binary messages of the WebSocket's batch subprotocol: a few fields in front of whole batches.
//!
//! Only the fields are read here; what the batches hold is for the batch codec to say. Invariant: no
//! input makes reading panic, and nothing is copied.

use bytes::Bytes;
use thiserror::Error;

use crate::bytes::Reader;

/// First byte of a message with records, from the server.
pub const KIND_RECORDS: u8 = 1;
/// First byte of a message that appends batches, from the client.
pub const KIND_PRODUCE: u8 = 2;
/// Bytes in front of the batches of a records message: the kind and the topic's number.
pub const RECORDS_HEADER_LEN: usize = 5;
/// Bytes of a produce message in front of the batches, but for the topic's name: kind, id, length of
/// the name, partition.
pub const PRODUCE_HEADER_LEN: usize = 11;

/// What is wrong with the fields of a binary message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BinaryFault {
    /// It ends within its fields.
    #[error("the message ends within its fields")]
    Short,
    /// The first byte is none of the kinds that the reader knows.
    #[error("unknown kind of message: {0}")]
    UnknownKind(u8),
    /// The topic's name is not UTF-8.
    #[error("the topic's name is not text")]
    NotText,
}

/// Records, from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsMessage {
    /// The number that `subscribed` told for the topic.
    pub topic_number: u32,
    /// Whole stored batches of one partition, one after the other, at least one.
    pub batches: Bytes,
}

impl RecordsMessage {
    /// The bytes in front of the batches.
    #[must_use]
    pub fn header(topic_number: u32) -> [u8; RECORDS_HEADER_LEN] {
        let mut header = [KIND_RECORDS; RECORDS_HEADER_LEN];
        header[1..].copy_from_slice(&topic_number.to_le_bytes());
        header
    }

    /// Reads a message of the server.
    pub fn parse(message: &Bytes) -> Result<Self, BinaryFault> {
        let mut reader = Reader::new(message);
        match reader.u8().ok_or(BinaryFault::Short)? {
            KIND_RECORDS => {}
            other => return Err(BinaryFault::UnknownKind(other)),
        }
        let topic_number = reader.u32().ok_or(BinaryFault::Short)?;
        Ok(Self {
            topic_number,
            batches: message.slice(RECORDS_HEADER_LEN..),
        })
    }
}

/// Batches to be appended, from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceMessage<'a> {
    /// The client's own number, repeated in the answer.
    pub id: u32,
    /// The topic's name, not checked beyond being text.
    pub topic: &'a str,
    /// The partition.
    pub partition: u32,
    /// Batches, as in the body of a produce request.
    pub batches: Bytes,
}

impl<'a> ProduceMessage<'a> {
    /// Reads a message of a client; a fault comes with the id, when that could be read.
    pub fn parse(message: &'a Bytes) -> Result<Self, (Option<u32>, BinaryFault)> {
        let mut reader = Reader::new(message);
        match reader.u8().ok_or((None, BinaryFault::Short))? {
            KIND_PRODUCE => {}
            other => return Err((None, BinaryFault::UnknownKind(other))),
        }
        let id = reader.u32().ok_or((None, BinaryFault::Short))?;
        let short = (Some(id), BinaryFault::Short);
        let len = reader.u16().ok_or(short)?;
        let topic = reader.take(usize::from(len)).ok_or(short)?;
        let topic = std::str::from_utf8(topic).map_err(|_| (Some(id), BinaryFault::NotText))?;
        let partition = reader.u32().ok_or(short)?;
        let batches = message.slice(PRODUCE_HEADER_LEN + usize::from(len)..);
        Ok(Self {
            id,
            topic,
            partition,
            batches,
        })
    }

    /// The bytes in front of the batches; `None` for a name longer than any topic's.
    #[must_use]
    pub fn header(id: u32, topic: &str, partition: u32) -> Option<Vec<u8>> {
        let len = u16::try_from(topic.len()).ok()?;
        let mut header = Vec::with_capacity(PRODUCE_HEADER_LEN + topic.len());
        header.push(KIND_PRODUCE);
        header.extend_from_slice(&id.to_le_bytes());
        header.extend_from_slice(&len.to_le_bytes());
        header.extend_from_slice(topic.as_bytes());
        header.extend_from_slice(&partition.to_le_bytes());
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were_written() {
        let mut message = RecordsMessage::header(0x0102_0304).to_vec();
        assert_eq!(message, [1, 4, 3, 2, 1]);
        message.extend_from_slice(b"batches");
        let read = RecordsMessage::parse(&Bytes::from(message)).unwrap();
        assert_eq!(
            (read.topic_number, &read.batches[..]),
            (0x0102_0304, &b"batches"[..])
        );

        let mut message = ProduceMessage::header(7, "t1", 3).unwrap();
        assert_eq!(message, *b"\x02\x07\0\0\0\x02\0t1\x03\0\0\0");
        message.extend_from_slice(b"batches");
        let message = Bytes::from(message);
        let read = ProduceMessage::parse(&message).unwrap();
        assert_eq!((read.id, read.topic, read.partition), (7, "t1", 3));
        assert_eq!(read.batches, "batches");
    }

    #[test]
    fn a_message_that_ends_in_its_fields_is_refused_at_every_length() {
        let whole = ProduceMessage::header(7, "topic", 3).unwrap();
        for len in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..len]);
            let id = (len >= 5).then_some(7);
            assert_eq!(
                ProduceMessage::parse(&cut),
                Err((id, BinaryFault::Short)),
                "{len}"
            );
        }
        assert!(ProduceMessage::parse(&Bytes::from(whole)).is_ok());
        for len in 0..RECORDS_HEADER_LEN {
            let cut = Bytes::copy_from_slice(&RecordsMessage::header(1)[..len]);
            assert_eq!(RecordsMessage::parse(&cut), Err(BinaryFault::Short));
        }
    }

    #[test]
    fn lengths_kinds_and_names_that_lie_are_refused() {
        let parse = |bytes: &'static [u8]| {
            ProduceMessage::parse(&Bytes::from_static(bytes)).map(|message| message.id)
        };
        assert_eq!(
            parse(b"\x02\x07\0\0\0\xff\xfft\0\0\0\0"),
            Err((Some(7), BinaryFault::Short))
        );
        assert_eq!(
            parse(b"\x02\x07\0\0\0\x01\0\xff\0\0\0\0"),
            Err((Some(7), BinaryFault::NotText))
        );
        assert_eq!(
            parse(b"\x01\x07\0\0\0"),
            Err((None, BinaryFault::UnknownKind(1)))
        );
        assert_eq!(
            parse(b"{\"op\":1}"),
            Err((None, BinaryFault::UnknownKind(b'{')))
        );
        assert!(ProduceMessage::header(1, &"x".repeat(65_536), 0).is_none());
    }
}
