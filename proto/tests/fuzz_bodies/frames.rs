//! Arbitrary bytes as frames of replication: nothing panics, and what is read is written back the same.

use bytes::Bytes;
use tidegate_proto::private::replicate::{
    Event, Push, SnapshotPiece, Wish, decode_acks, encode_acks, encode_push,
};
use tidegate_proto::private::{FRAME_HEADER_LEN, Pieces};

fn payload(encode: impl FnOnce(&mut Pieces)) -> Vec<u8> {
    let mut pieces = Pieces::default();
    encode(&mut pieces);
    let mut whole = Vec::new();
    while let Some(piece) = pieces.take() {
        whole.extend_from_slice(&piece);
    }
    whole.split_off(FRAME_HEADER_LEN)
}

/// A kind, and what follows it as a payload of every form.
pub(crate) fn replication_frames(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else {
        return;
    };
    if let Ok(wish) = Wish::decode(*kind, body) {
        assert_eq!(payload(|out| wish.encode(out)), body);
    }
    if let Ok(event) = Event::decode(*kind, body) {
        assert_eq!(payload(|out| event.encode(out)), body);
    }
    if let Ok(acks) = decode_acks(body) {
        assert_eq!(payload(|out| encode_acks(&acks, out)), body);
    }
    let shared = Bytes::copy_from_slice(body);
    if let Ok(push) = Push::decode(shared.clone()) {
        let bounds = (push.high_watermark, push.log_start);
        let again = payload(|out| {
            encode_push(push.handle, bounds, &push.batches, out);
        });
        assert_eq!(again, body);
    }
    if let Ok(piece) = SnapshotPiece::decode(shared) {
        let again = payload(|out| {
            piece.encode(out);
        });
        assert_eq!(again, body);
    }
}
