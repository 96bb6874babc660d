//! The fuzz targets without a fuzzer: their committed seeds, and seeded changes of them.

use std::env;
use std::fs;
use std::path::Path;

use super::{Random, Scene, scaled, seed};
use crate::fuzzing::TARGETS;

/// Numbers that lie beyond something.
const EXTREMES: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, u32::MAX as u64, i64::MAX as u64, u64::MAX];

/// The seeds of a target; the empty input where the crate came without them.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().collect();
    files.sort_by_key(fs::DirEntry::file_name);
    let mut seeds: Vec<_> = files.iter().map(|file| fs::read(file.path()).unwrap()).collect();
    seeds.push(Vec::new());
    seeds
}

/// One change: a bit, a byte, a number, a piece that is gone, doubled, new, or of another seed.
fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let count = random.below(9).min(bytes.len() - at);
    let byte = u8::try_from(random.below(256)).unwrap();
    match random.below(8) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 if at < bytes.len() => bytes[at] = byte,
        3 => drop(bytes.drain(at..at + count)),
        4 => {
            let piece = bytes[at..at + count].to_vec();
            bytes.splice(at..at, piece);
        }
        5 => {
            let number = EXTREMES[random.below(EXTREMES.len())];
            let width = 1 << random.below(4);
            for (place, shift) in bytes.iter_mut().skip(at).take(width).zip((0..).step_by(8)) {
                *place = (number >> shift & 0xff) as u8;
            }
        }
        6 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            let to = (from + random.below(40)).min(other.len());
            bytes.splice(at..at, other[from..to].iter().copied());
        }
        _ => {
            let new = vec![byte; random.below(9)];
            bytes.splice(at..at, new);
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |shown, byte| shown + &format!("{byte:02x}"))
}

#[test]
fn fuzz_targets_stand_their_seeds_and_changes_of_them() {
    let given = env::var("ANNALS_MUTATIONS").ok().map(|n| n.parse().expect("a number"));
    let mutations: usize = given.unwrap_or_else(|| scaled(150, 100_000));
    for (target, run) in TARGETS {
        let seeds = seeds(target);
        for input in &seeds {
            let _scene = Scene(|| format!("a seed of {target}: {}", shown(input)));
            run(input);
        }
        let mut random = Random(seed());
        for _ in 0..mutations {
            let mut input = seeds[random.below(seeds.len())].clone();
            for _ in 0..=random.below(5) {
                change(&mut input, &seeds, &mut random);
            }
            let _scene = Scene(|| format!("seed {}, {target}: {}", seed(), shown(&input)));
            run(&input);
        }
        eprintln!("{target}: {} seeds, {mutations} changed", seeds.len());
    }
}
