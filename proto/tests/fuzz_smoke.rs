//! Runs the fuzz targets on some thousand inputs, each a seed with a few bytes changed, cut or repeated.
//!
//! The same inputs every time. For a real search use `cargo fuzz`, as fuzz/README.md says.

mod fuzz_bodies;

use bytes::Bytes;
use tidegate_proto::private::replicate::{
    ACKS, Event, PUSH, Push, SNAPSHOT, SnapshotPiece, Wish, decode_acks,
};

use fuzz_bodies::{Body, batch_decode, cursor, json_check, replication_frames};

/// Inputs per target: about a second each in an unoptimised build.
const INPUTS: u64 = 12_000;

/// xorshift64*: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        // Small numbers, the top bit and full bytes make more varints and lengths than chance does.
        let bytes = self.roll().to_le_bytes();
        match bytes[0] % 4 {
            0 => bytes[1],
            1 => bytes[1] & 0x0f,
            2 => 0x80 | (bytes[1] & 0x03),
            _ => [0x00, 0xff, 0x7f, b'"'][usize::from(bytes[1] % 4)],
        }
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(input.len());
            match self.below(6) {
                0 if !input.is_empty() => input[at] = self.byte(),
                1 if !input.is_empty() => input[at] ^= 1 << self.below(8),
                2 => input.insert(at, self.byte()),
                3 if !input.is_empty() => drop(input.remove(at)),
                4 => input.truncate(at),
                _ => {
                    let from = self.below(input.len());
                    let run = input[from..input.len().min(from + 1 + self.below(40))].to_vec();
                    input.splice(at..at, run);
                }
            }
        }
    }
}

fn run(body: Body, seeds: &[&[u8]]) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for seed in seeds {
        body(seed);
    }
    for _ in 0..INPUTS {
        let mut input = seeds[dice.below(seeds.len())].to_vec();
        dice.mutate(&mut input);
        body(&input);
    }
}

macro_rules! seeds {
    ($folder:literal: $($name:literal)+) => {
        &[$(include_bytes!(concat!("../../fuzz/seeds/", $folder, "/", $name)).as_slice()),+]
    };
}

#[test]
fn changed_batches_do_no_harm() {
    run(
        batch_decode,
        seeds!("batch_decode": "hello" "kinds" "gzip" "snappy" "lz4" "zstd" "epoch-marker" "hello.part" "kinds.part" "gzip.part" "snappy.part" "lz4.part" "zstd.part"),
    );
}

#[test]
fn changed_cursors_do_no_harm() {
    run(cursor, seeds!("cursor": "one" "three" "three.body"));
}

#[test]
fn changed_json_is_judged_as_a_full_parser_does() {
    run(
        json_check,
        seeds!("json_check": "object" "numbers" "strings"),
    );
}

#[test]
fn changed_frames_of_replication_do_no_harm() {
    let seeds: &[&[u8]] = seeds!("replication_frames": "attach" "detach" "acks" "sign-of-life" "credit" "attached" "diverged" "reset" "refused" "snapshot" "push" "push-of-nothing" "moved" "ended" "heartbeat");
    let are_frames = |seed: &&[u8]| is_frame(seed[0], &seed[1..]);
    assert!(
        seeds.iter().all(are_frames),
        "a seed is of another form than frames are now"
    );
    run(replication_frames, seeds);
}

/// Whether it reads as a frame of that kind.
fn is_frame(kind: u8, payload: &[u8]) -> bool {
    let shared = Bytes::copy_from_slice(payload);
    match kind {
        ACKS => decode_acks(payload).is_ok(),
        PUSH => Push::decode(shared).is_ok(),
        SNAPSHOT => SnapshotPiece::decode(shared).is_ok(),
        _ => Wish::decode(kind, payload).is_ok() || Event::decode(kind, payload).is_ok(),
    }
}
