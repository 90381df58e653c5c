//! Makes checksums good in bytes that a fuzzer changed, so that what is behind them is reached too.
//!
//! Knows the formats by their documents, not by the code that is tested.

use tidegate_proto::batch::PLACEMENT_LEN;

const HEADER_LEN: usize = 48;
const ROUND_ALIGN: usize = 4096;
const ENTRY_LEN: usize = 32;

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    four.try_into().ok().map(u32::from_le_bytes)
}

/// Both checksums of every batch that begins with the right letters.
pub(super) fn reseal_batches(bytes: &mut [u8]) {
    let mut at = 0;
    while at + PLACEMENT_LEN <= bytes.len() {
        if !bytes[at..].starts_with(b"TGB1") {
            at += 1;
            continue;
        }
        let len = u32_at(bytes, at + 4).unwrap_or(0) as usize;
        let from = at + PLACEMENT_LEN;
        let end = from.saturating_add(len).min(bytes.len());
        let payload = crc32c::crc32c(&bytes[from..end]);
        put(bytes, at + 64, &payload.to_le_bytes());
        let header = crc32c::crc32c(&bytes[at..at + 68]);
        put(bytes, at + 68, &header.to_le_bytes());
        at = end.max(at + 1);
    }
}

/// The checksum of every index entry.
pub(super) fn reseal_entries(bytes: &mut [u8]) {
    for entry in bytes.chunks_exact_mut(ENTRY_LEN) {
        let crc = crc32c::crc32c(&entry[..28]);
        put(entry, 28, &crc.to_le_bytes());
    }
}

/// Length and checksum of a file that is replaced whole.
pub(super) fn reseal_file(bytes: &mut [u8]) {
    if bytes.len() < 16 {
        return;
    }
    let crc = crc32c::crc32c(&bytes[16..]);
    let len = (bytes.len() - 16) as u64;
    put(bytes, 4, &crc.to_le_bytes());
    put(bytes, 8, &len.to_le_bytes());
}

/// Who wrote a round: file, number of the first round, directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) file_seq: u64,
    pub(super) round_seq: u64,
    pub(super) storage_id: [u8; 16],
}

/// A journal file of that length out of rounds with their lengths before them.
pub(super) fn rounds(mut input: &[u8], mode: u8, names: &Names, file_len: usize) -> Vec<u8> {
    let mut file = Vec::with_capacity(file_len);
    let mut number = 0;
    while let Some((len, rest)) = input.split_first_chunk::<2>() {
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (round, rest) = rest.split_at(len);
        input = rest;
        let mut round = round.to_vec();
        if mode & 2 != 0 {
            put(&mut round, 0, b"TGJR");
            put(&mut round, 8, &names.file_seq.to_le_bytes());
            put(&mut round, 16, &(names.round_seq + number).to_le_bytes());
            put(&mut round, 24, &names.storage_id);
        }
        if mode & 1 != 0 && round.len() >= HEADER_LEN {
            let body_len = u32::try_from(round.len() - HEADER_LEN).unwrap_or(0);
            put(&mut round, 40, &body_len.to_le_bytes());
            let crc = crc32c::crc32c(&round[8..]);
            put(&mut round, 4, &crc.to_le_bytes());
        }
        if mode & 4 != 0 && input.is_empty() {
            let half = round.len() / 2;
            round[half..].fill(0);
        }
        file.extend_from_slice(&round);
        file.resize(file.len().next_multiple_of(ROUND_ALIGN), 0);
        number += 1;
    }
    file.resize(file_len.max(file.len()), 0);
    file
}

/// A journal file as an input: the rounds without what fills them up.
pub(super) fn unpack(file: &[u8]) -> Vec<u8> {
    let mut input = Vec::new();
    let mut at = 0;
    while at + HEADER_LEN <= file.len() && file[at..].starts_with(b"TGJR") {
        let len = HEADER_LEN + u32_at(file, at + 40).unwrap_or(0) as usize;
        let end = (at + len).min(file.len());
        let round = &file[at..end];
        input.extend(u16::try_from(round.len()).unwrap_or(u16::MAX).to_le_bytes());
        input.extend_from_slice(round);
        at = end.next_multiple_of(ROUND_ALIGN);
    }
    input
}
