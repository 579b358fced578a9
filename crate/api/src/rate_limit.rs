//! How many requests one user, one server, or one address of nobody known may make. Spec: Client-Server API, section
//! 'Rate limiting'.
//!
//! A bucket of tokens for each key, refilled over time. It limits what costs: sign-in and writes; reads
//! and `/sync` are free.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// How many limited requests are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Requests per second in the long run.
    pub per_second: f64,
    /// Requests at once after a pause.
    pub burst: f64,
}

/// The most keys that are remembered; with more, those that have been silent longest are forgotten.
const MAX_BUCKETS: usize = 10_000;

/// The state of the limit for each key.
#[derive(Default)]
pub(crate) struct RateLimiter {
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    tokens: f64,
    /// Milliseconds since the epoch.
    filled_at: u64,
}

impl RateLimiter {
    /// Takes one request of `key` at `now` (milliseconds). `Err` holds the milliseconds to wait.
    pub(crate) fn take(&self, limit: RateLimit, key: &str, now: u64) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(key) {
            forget_silent(&mut buckets);
        }
        let full = Bucket {
            tokens: limit.burst,
            filled_at: now,
        };
        buckets.entry(key.to_owned()).or_insert(full).take(limit, now)
    }
}

/// Drops the longer silent half.
fn forget_silent(buckets: &mut HashMap<String, Bucket>) {
    let mut times: Vec<u64> = buckets.values().map(|bucket| bucket.filled_at).collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or(u64::MAX);
    buckets.retain(|_, bucket| bucket.filled_at > median);
}

impl Bucket {
    fn take(&mut self, limit: RateLimit, now: u64) -> Result<(), u64> {
        let elapsed = now.saturating_sub(self.filled_at) as f64 / 1000.0;
        self.tokens = (self.tokens + elapsed * limit.per_second).min(limit.burst);
        self.filled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(((1.0 - self.tokens) / limit.per_second * 1000.0).ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit {
        per_second: 2.0,
        burst: 3.0,
    };

    #[test]
    fn refills_over_time() {
        let limiter = RateLimiter::default();
        for _ in 0..3 {
            assert_eq!(limiter.take(LIMIT, "a", 1000), Ok(()));
        }
        assert_eq!(limiter.take(LIMIT, "a", 1000), Err(500));
        assert_eq!(limiter.take(LIMIT, "b", 1000), Ok(()));
        assert_eq!(limiter.take(LIMIT, "a", 1500), Ok(()));
        assert_eq!(limiter.take(LIMIT, "a", 1500), Err(500));
    }

    #[test]
    fn remembers_a_bounded_number_of_keys() {
        let limiter = RateLimiter::default();
        for key in 0..2 * MAX_BUCKETS as u64 {
            assert_eq!(limiter.take(LIMIT, &key.to_string(), key), Ok(()));
        }
        assert!(
            limiter
                .buckets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .len()
                <= MAX_BUCKETS
        );
    }
}
