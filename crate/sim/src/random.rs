//! Random numbers that a seed repeats.

use std::sync::{Mutex, PoisonError};

use hearth_homeserver::Rng;
use sha2::{Digest, Sha256};

/// A stream of bytes that follows from a seed: SHA-256 in counter mode.
pub(crate) struct Random {
    seed: [u8; 32],
    counter: Mutex<u64>,
}

impl Random {
    /// The stream of `seed` for the use named `purpose`.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let seed = Sha256::new()
            .chain_update(seed.to_be_bytes())
            .chain_update(purpose)
            .finalize()
            .into();
        Self {
            seed,
            counter: Mutex::new(0),
        }
    }

    /// A number below `bound`, or 0 if that is 0.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.block();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
            .checked_rem(bound)
            .unwrap_or_default()
    }

    /// A number below `bound`, or 0 if that is 0.
    pub(crate) fn index(&self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or_default()
    }

    fn block(&self) -> [u8; 32] {
        let mut counter = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        *counter += 1;
        Sha256::new()
            .chain_update(self.seed)
            .chain_update(counter.to_be_bytes())
            .finalize()
            .into()
    }
}

impl Rng for Random {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block = self.block();
            chunk
                .iter_mut()
                .zip(block)
                .for_each(|(byte, random)| *byte = random);
        }
    }
}
