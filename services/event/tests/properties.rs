//! What libFuzzer searches for (`fuzz/`), on its seeds and on a few random inputs: the properties hold,
//! and the inputs get to their ends, where a search then begins.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use hanse_event_fuzz::{auth, json, pdu, resolution};

/// How many seeds there are, and how many got to the end.
fn run(target: &str, check: fn(&[u8]) -> bool) -> (usize, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let seeds = fs::read_dir(folder).unwrap();
    let reached: Vec<bool> = seeds
        .map(|seed| check(&fs::read(seed.unwrap().path()).unwrap()))
        .collect();
    (
        reached.len(),
        reached.iter().filter(|reached| **reached).count(),
    )
}

#[test]
fn canonical_json() {
    let (seeds, read) = run("canonical_json", json::check);
    assert!(read >= 5 && seeds - read >= 5, "{read} of {seeds} are read");
}

#[test]
fn pdu() {
    let (seeds, received) = run("pdu", pdu::check);
    assert!(
        received >= 10 && seeds - received >= 3,
        "{received} of {seeds} are received"
    );
}

/// What the input draws from random bytes is no better or worse than seeds.
fn drawn(check: fn(&[u8]) -> bool) -> usize {
    let mut state = 1_u64;
    let mut byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    let inputs = (0..500).map(|_| (0..512).map(|_| byte()).collect::<Vec<u8>>());
    inputs.filter(|input| check(input)).count()
}

#[test]
fn auth_rules() {
    let known = drawn(auth::check);
    assert!(known > 250, "the oracle knew {known} of 500");
}

#[test]
fn state_resolution() {
    let conflicted = drawn(resolution::check);
    assert!(
        conflicted > 250,
        "{conflicted} of 500 had something to resolve"
    );
}
