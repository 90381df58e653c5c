//! Every codec there and back, what is no stream of it, and what other programs make of it and it of theirs.
//!
//! Bombs and lies about lengths stop at the caps of the module.

use super::*;

const PACKING: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

#[test]
fn what_was_compressed_comes_back() {
    let text = b"the quick brown fox jumps over the lazy dog ".repeat(100);
    for codec in Codec::ALL {
        for bytes in [&b""[..], b"x", &text] {
            let packed = compress(codec, bytes).unwrap();
            assert_eq!(
                decompress(codec, &packed, bytes.len()).unwrap(),
                bytes,
                "{codec}"
            );
        }
    }
}

#[test]
fn the_cap_holds_to_the_byte() {
    let text = b"abcdefghij".repeat(50);
    for codec in PACKING {
        let packed = compress(codec, &text).unwrap();
        let error = decompress(codec, &packed, text.len() - 1).unwrap_err();
        assert_eq!(
            error,
            CompressionError::TooLarge {
                cap: text.len() - 1
            },
            "{codec}"
        );
    }
}

#[test]
fn a_bomb_stops_at_the_ratio_but_small_ones_pass() {
    // Snappy packs at most twenty-onefold, so a bomb of it is a length that lies.
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let small = compress(codec, &vec![0; 60_000]).unwrap();
        assert_eq!(
            decompress(codec, &small, 1 << 25).unwrap().len(),
            60_000,
            "{codec}"
        );
        let bomb = compress(codec, &vec![0; 16 << 20]).unwrap();
        assert_eq!(
            decompress(codec, &bomb, 1 << 25),
            Err(CompressionError::Ratio),
            "{codec}"
        );
    }
}

#[test]
fn a_snappy_block_that_says_it_is_long_gets_no_room() {
    // 32 MiB as a varint, then one literal byte.
    let lie = [0x80, 0x80, 0x80, 0x10, 0x00, b'a'];
    assert_eq!(
        decompress(Codec::Snappy, &lie, 1 << 26),
        Err(CompressionError::Ratio)
    );
    let lie = [0x80, 0x80, 0x02, 0x00, b'a'];
    assert_eq!(
        decompress(Codec::Snappy, &lie, 1000),
        Err(CompressionError::TooLarge { cap: 1000 })
    );
    let lie = [0x05, 0x00, b'a'];
    assert_eq!(
        decompress(Codec::Snappy, &lie, 1000),
        Err(CompressionError::Malformed(Codec::Snappy))
    );
}

#[test]
fn cut_changed_or_prolonged_streams_are_malformed() {
    let text = b"abcdefghij".repeat(50);
    for codec in PACKING {
        let packed = compress(codec, &text).unwrap();
        let mut prolonged = packed.clone();
        prolonged.extend_from_slice(b"more");
        let twice = packed.repeat(2);
        for bad in [
            &packed[..packed.len() - 1],
            &packed[1..],
            &prolonged,
            &twice[..packed.len() + 1],
            b"",
            b"\0\0\0\0\0\0\0\0",
        ] {
            assert!(decompress(codec, bad, 4096).is_err(), "{codec} {bad:?}");
        }
    }
}

#[test]
fn gzip_is_one_member_with_its_checksum_and_length() {
    let packed = compress(Codec::Gzip, b"abcabcabc").unwrap();
    let malformed = Err(CompressionError::Malformed(Codec::Gzip));
    assert_eq!(
        decompress(Codec::Gzip, &packed.repeat(2), 4096),
        malformed,
        "two members"
    );
    for from_end in 1..=8 {
        let mut wrong = packed.clone();
        let at = wrong.len() - from_end;
        wrong[at] ^= 1;
        assert_eq!(
            decompress(Codec::Gzip, &wrong, 4096),
            malformed,
            "byte {from_end} from the end"
        );
    }
}

/// Made by gzip 1.12 (`printf 'tick tock tick tock' | gzip -n`) and, with a name and a time, by Python's.
#[test]
fn what_other_programs_zip_is_read() {
    let tail = [
        0x2b, 0xc9, 0x4c, 0xce, 0x56, 0x28, 0xc9, 0x07, 0x11, 0x30, 0x16, 0x00, 0x87, 0x2a, 0x43,
        0x6e, 0x13, 0x00, 0x00, 0x00,
    ];
    let plain = [
        &[0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03],
        &tail[..],
    ];
    let named = [
        &[0x1f, 0x8b, 0x08, 0x08, 0x00, 0xf1, 0x53, 0x65, 0x02, 0xff],
        &b"ticks.txt\0"[..],
        &tail[..],
    ];
    for packed in [plain.concat(), named.concat()] {
        let text = decompress(Codec::Gzip, &packed, 100).unwrap();
        assert_eq!(text, b"tick tock tick tock");
    }
}

/// From the format's description: a literal, and copies with one and two bytes of offset.
#[test]
fn snappy_blocks_are_those_of_the_format() {
    let cases: [(&[u8], &[u8]); 3] = [
        (&[0x03, 0x08, b'a', b'b', b'c'], b"abc"),
        // "ab", then 10 bytes from 2 back: 01 in the low bits, length - 4 in the next three.
        (&[0x0c, 0x04, b'a', b'b', 0x19, 0x02], b"abababababab"),
        // The same with a two-byte offset: length - 1 in the upper six bits.
        (&[0x0c, 0x04, b'a', b'b', 0x26, 0x02, 0x00], b"abababababab"),
    ];
    for (packed, plain) in cases {
        assert_eq!(decompress(Codec::Snappy, packed, 100).as_deref(), Ok(plain));
    }
}

/// A reader written from the format's description, to hold our own blocks to it.
fn read_snappy(packed: &[u8]) -> Vec<u8> {
    let (mut at, mut len, mut shift) = (0, 0_usize, 0);
    loop {
        let byte = usize::from(packed[at]);
        at += 1;
        len |= (byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    let little = |at: usize, bytes: usize| {
        (0..bytes).fold(0, |sum, n| sum | usize::from(packed[at + n]) << (8 * n))
    };
    let mut out = Vec::new();
    while at < packed.len() {
        let tag = usize::from(packed[at]);
        at += 1;
        let (count, back) = match tag & 3 {
            0 => {
                let short = tag >> 2;
                let more = short.saturating_sub(59);
                let count = if more == 0 { short } else { little(at, more) } + 1;
                at += more;
                out.extend_from_slice(&packed[at..at + count]);
                at += count;
                continue;
            }
            1 => (((tag >> 2) & 7) + 4, (tag >> 5) << 8 | little(at, 1)),
            2 => ((tag >> 2) + 1, little(at, 2)),
            _ => ((tag >> 2) + 1, little(at, 4)),
        };
        at += [0, 1, 2, 4][tag & 3];
        for _ in 0..count {
            out.push(out[out.len() - back]);
        }
    }
    assert_eq!(out.len(), len);
    out
}

#[test]
fn our_snappy_blocks_are_read_by_the_format() {
    let mut text = b"the quick brown fox jumps over the lazy dog ".repeat(3000);
    text.extend((0..9000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()));
    for len in [0, 1, 59, 60, 61, 300, 70_000, text.len()] {
        let packed = compress(Codec::Snappy, &text[..len]).unwrap();
        assert_eq!(read_snappy(&packed), &text[..len], "{len}");
    }
}
