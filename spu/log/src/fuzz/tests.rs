//! The committed seeds, and some hundred inputs made of each by changing, cutting and repeating bytes:
//! the same every time.

use std::path::PathBuf;

use super::{Body, TARGETS, seeds};
use crate::testing::Dice;

/// Changed inputs per target: some seconds each in an unoptimised build.
const INPUTS: usize = 2_000;

fn folder(target: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../../fuzz/seeds").join(target)
}

fn committed(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(folder(target)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        inputs.push((name, std::fs::read(path).unwrap()));
    }
    inputs.sort();
    inputs
}

fn mutate(dice: &mut Dice, input: &mut Vec<u8>) {
    let below = |dice: &mut Dice, bound: usize| dice.below(bound as u64) as usize;
    for _ in 0..=below(dice, 3) {
        let at = below(dice, input.len().max(1));
        let byte = match dice.below(3) {
            0 => dice.below(256) as u8,
            1 => dice.below(4) as u8,
            _ => [0x00, 0xff, 0x7f, 0x80][below(dice, 4)],
        };
        match dice.below(7) {
            _ if input.is_empty() => input.push(byte),
            0 => input[at] = byte,
            1 => input[at] ^= 1 << dice.below(8),
            2 => input.insert(at, byte),
            3 => drop(input.remove(at)),
            4 => input.truncate(at),
            5 => {
                let end = input.len().min(at + 8);
                input[at..end].fill(byte);
            }
            _ => {
                let from = below(dice, input.len());
                let run = input[from..input.len().min(from + 1 + below(dice, 400))].to_vec();
                input.splice(at..at, run);
            }
        }
    }
}

fn run(target: &str) {
    let body: Body = TARGETS.iter().find(|(name, _)| *name == target).unwrap().1;
    let inputs = committed(target);
    assert!(!inputs.is_empty(), "seeds are committed");
    inputs.iter().for_each(|(_, input)| body(input));
    let mut dice = Dice::new(0x7464);
    for number in 0..INPUTS {
        let (name, seed) = &inputs[number % inputs.len()];
        let mut input = seed.clone();
        mutate(&mut dice, &mut input);
        let held = std::panic::catch_unwind(|| body(&input));
        if held.is_err() {
            let path = std::env::temp_dir().join(format!("tidegate-fuzz-{target}-{number}"));
            std::fs::write(&path, &input).unwrap();
            panic!("input {number}, made of {name}, is in {}", path.display());
        }
    }
}

#[test]
fn any_segment_is_recovered_from_without_harm() {
    run("segment_recovery");
}

#[test]
fn any_journal_is_replayed_without_harm() {
    run("journal_replay");
}

#[test]
fn any_index_costs_no_record() {
    run("index_file");
}

#[test]
fn any_identity_and_checkpoint_open_or_are_refused() {
    run("state_files");
}

#[test]
fn the_seeds_are_what_the_log_writes() {
    for (target, _) in TARGETS {
        let committed = committed(target);
        let written = seeds();
        let missing = written.iter().filter(|(of, name, bytes)| {
            *of == target && !committed.contains(&(name.clone(), bytes.clone()))
        });
        let missing: Vec<_> = missing.map(|(_, name, _)| name).collect();
        assert!(
            missing.is_empty(),
            "{target}: `cargo run -p tidegate-log --features testing \
            --example fuzz_seeds` writes these anew: {missing:?}"
        );
    }
}
