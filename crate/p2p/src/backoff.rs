//! Exponential back-off with jitter. Pure: the caller says how often it failed.

use std::time::Duration;

/// A back-off that doubles from `first` up to `most`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    /// The wait in milliseconds after `failures` failures in a row: between three and five quarters of the doubled time.
    pub(crate) fn delay(self, failures: u32, jitter: &mut Jitter) -> u64 {
        let doubled = self
            .first
            .saturating_mul(1 << failures.saturating_sub(1).min(20))
            .min(self.most);
        let whole = u64::try_from(doubled.as_millis()).unwrap_or(u64::MAX / 2);
        whole - whole / 4 + jitter.below(whole / 2 + 1)
    }
}

/// A small generator (SplitMix64) that spreads retries of many nodes in time. It guards no secret.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which is at least 1.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, Duration, Jitter};

    #[test]
    fn doubles_and_stays_within_its_bounds() {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let mut jitter = Jitter::new(1);
        for (failures, middle) in [
            (0, 500),
            (1, 500),
            (2, 1000),
            (5, 8000),
            (7, 30_000),
            (u32::MAX, 30_000),
        ] {
            for _ in 0..100 {
                let delay = backoff.delay(failures, &mut jitter);
                assert!(
                    (middle * 3 / 4..=middle * 5 / 4).contains(&delay),
                    "{failures}: {delay}"
                );
            }
        }
    }
}
