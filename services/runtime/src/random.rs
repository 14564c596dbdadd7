//! Randomness as a value that is handed in.

use std::fmt::Debug;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Length of [`Random::token`]: 32 characters out of 62 carry 190 bits.
pub const TOKEN_CHARS: usize = 32;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Where random values come from. Held as `Arc<dyn Random>`.
pub trait Random: Debug + Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// Any `u64`, all equally likely.
    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A value below `bound`, for jitter and sampling (its bias is below `bound / 2^64`); 0 if
    /// `bound` is 0.
    fn below(&self, bound: u64) -> u64 {
        let wide = u128::from(self.u64()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// `length` characters of `[0-9A-Za-z]`, all equally likely.
    fn alphanumeric(&self, length: usize) -> String {
        let mut text = String::with_capacity(length);
        let mut bytes = [0; 64];
        while text.len() < length {
            self.fill(&mut bytes);
            let drawn = bytes.iter().filter_map(|byte| letter(*byte));
            text.extend(drawn.take(length - text.len()));
        }
        text
    }

    /// A secret nobody guesses: [`TOKEN_CHARS`] alphanumeric characters.
    fn token(&self) -> String {
        self.alphanumeric(TOKEN_CHARS)
    }
}

/// A letter for the low six bits of a byte; none for the two values beyond the alphabet, which
/// keeps all letters equally likely.
fn letter(byte: u8) -> Option<char> {
    ALPHABET
        .get(usize::from(byte & 0x3f))
        .map(|letter| char::from(*letter))
}

/// A cryptographic generator per thread, seeded and reseeded by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl SystemRandom {
    /// The generator, shared.
    pub fn shared() -> Arc<dyn Random> {
        Arc::new(Self)
    }
}

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// The same values for the same seed, on every machine. For tests and the simulation only.
#[derive(Clone)]
pub struct SeededRandom {
    rng: Arc<Mutex<ChaCha12Rng>>,
}

impl SeededRandom {
    /// A generator that starts at `seed`. Clones share the sequence.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Arc::new(Mutex::new(ChaCha12Rng::seed_from_u64(seed))),
        }
    }
}

impl Debug for SeededRandom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SeededRandom")
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.rng.lock().fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let draw = |seed| SeededRandom::new(seed).token();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn alphanumeric_has_its_length_and_uses_the_whole_alphabet() {
        for length in [0, 1, 63, 64, 65, 1_000] {
            let text = SeededRandom::new(7).alphanumeric(length);
            assert_eq!(text.len(), length);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
        let long = SystemRandom.alphanumeric(20_000);
        assert!(
            ALPHABET
                .iter()
                .all(|letter| long.as_bytes().contains(letter))
        );
    }

    #[test]
    fn below_stays_below() {
        let random = SeededRandom::new(3);
        assert_eq!(random.below(0), 0);
        let drawn: Vec<u64> = (0..1_000).map(|_| random.below(3)).collect();
        assert!(drawn.iter().all(|value| *value < 3));
        assert!([0, 1, 2].iter().all(|value| drawn.contains(value)));
    }

    #[test]
    fn system_tokens_differ() {
        assert_ne!(SystemRandom.token(), SystemRandom.token());
    }
}
