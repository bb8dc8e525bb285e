//! What is committed in `corpus/`, and small changes of it: always the same ones, so that a failure is one for everybody.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails where it is surprised")]

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use wrapwatch::trace::synth::SplitMix;
use wrapwatch_fuzz::{TARGETS, Target};

/// Changed inputs of each target, at most, and their bytes: seconds, in a debug build.
const CHANGED: usize = 400;
const CHANGED_BYTES: usize = 512 << 10;
/// Longest input that is changed; longer ones are run as they are.
const CHANGED_MAX: usize = 16 << 10;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// Runs an input; one that fails is kept.
fn try_one((name, run): Target, from: &Path, input: &[u8]) {
    if catch_unwind(|| run(input)).is_err() {
        let path = std::env::temp_dir().join(format!("wrapwatch-fuzz-{name}"));
        std::fs::write(&path, input).unwrap();
        panic!("{name} fails with {}, made from {}", path.display(), from.display());
    }
}

/// A small change: bits, bytes, numbers at their limits, parts left out, doubled, or from elsewhere.
fn change(rng: &mut SplitMix, bytes: &mut Vec<u8>, other: &[u8]) {
    let mut at = |len: usize| usize::try_from(rng.next()).unwrap_or(usize::MAX) % len.max(1);
    let (place, choice, value) = (at(bytes.len()), at(7), at(256));
    let len = at(32).min(bytes.len() - place);
    let part = place..place + len;
    match choice {
        0 => bytes[place] ^= 1 << (value % 8),
        1 => bytes[place] = value.to_le_bytes()[0],
        2 => bytes[part].fill([0, 0xff, 0x7f, b'\n', b':'][value % 5]),
        3 => bytes.truncate(place),
        4 => drop(bytes.drain(part)),
        5 => {
            let copy = bytes[part].to_vec();
            bytes.splice(place..place, copy);
        }
        _ => {
            let from = at(other.len());
            let piece = &other[from..other.len().min(from + len)];
            bytes.splice(part, piece.iter().copied());
        }
    }
}

fn all(name: &str) {
    let target = *TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let files = corpus(name);
    assert!(files.len() >= 5, "{name} has hardly a corpus");
    for (path, input) in &files {
        try_one(target, path, input);
    }
    try_one(target, Path::new("nothing"), &[]);
    let short: Vec<_> = files.iter().filter(|(_, input)| (1..=CHANGED_MAX).contains(&input.len())).collect();
    let (mut rng, mut bytes) = (SplitMix(1), 0);
    for n in 0..CHANGED {
        if bytes > CHANGED_BYTES {
            break;
        }
        let (path, input) = short[n % short.len()];
        let other = &short[usize::try_from(rng.next() % short.len() as u64).unwrap()].1;
        let mut input = input.clone();
        bytes += input.len();
        for _ in 0..=rng.next() % 3 {
            if !input.is_empty() {
                change(&mut rng, &mut input, other);
            }
        }
        try_one(target, path, &input);
    }
}

#[test]
fn record() {
    all("record");
}

#[test]
fn dns() {
    all("dns");
}

#[test]
fn trace() {
    all("trace");
}

#[test]
fn strace() {
    all("strace");
}

#[test]
fn rules() {
    all("rules");
}

#[test]
fn elf() {
    all("elf");
}

#[test]
fn proc() {
    all("proc");
}
