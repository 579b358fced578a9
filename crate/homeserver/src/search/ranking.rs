//! Which of the events found come first.

use super::matching::{Found, Hit};

/// How soon more of the same word stops to count (BM25's k1).
const SATURATION: f64 = 1.2;
/// How much long events are held back (BM25's b).
const LENGTH: f64 = 0.75;

impl Found {
    /// The events that fit best first, each with its rank.
    pub(super) fn ranked(&self, hits: Vec<Hit>) -> Vec<(f64, Hit)> {
        let mut hits: Vec<_> = hits.into_iter().map(|hit| (self.rank(&hit), hit)).collect();
        hits.sort_by(|(rank, hit), (other_rank, other)| {
            let newer = (other.order, hit.room).cmp(&(hit.order, other.room));
            other_rank.total_cmp(rank).then(newer)
        });
        hits
    }

    /// How well an event fits, by Okapi BM25: rare words count more, and repeated ones ever less.
    pub(super) fn rank(&self, hit: &Hit) -> f64 {
        let average = self.words as f64 / self.events.max(1) as f64;
        let length = 1.0 - LENGTH + LENGTH * hit.length as f64 / average.max(1.0);
        let terms = hit.counts.iter().zip(&self.seen);
        let scores = terms.map(|(count, seen)| {
            let count = *count as f64;
            self.rarity(*seen) * count * (SATURATION + 1.0) / (count + SATURATION * length)
        });
        scores.sum()
    }

    /// How much is told by a word that was seen in so many events.
    fn rarity(&self, seen: u64) -> f64 {
        let (all, seen) = (self.events.max(seen) as f64, seen as f64);
        ((all - seen + 0.5) / (seen + 0.5) + 1.0).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(order: i64, counts: &[u64], length: u64) -> Hit {
        Hit {
            room: 0,
            order,
            counts: counts.to_vec(),
            length,
        }
    }

    #[test]
    fn rare_words_often_in_short_events_come_first() {
        let found = Found {
            terms: vec!["common".into(), "rare".into()],
            hits: vec![
                hit(1, &[3, 1], 10),
                hit(2, &[1, 3], 10),
                hit(3, &[1, 3], 100),
                hit(4, &[1, 1], 10),
            ],
            seen: vec![500, 4],
            events: 1000,
            words: 10_000,
        };
        let ranked = found.ranked(found.hits.clone());
        let orders: Vec<_> = ranked.iter().map(|(_, hit)| hit.order).collect();
        assert_eq!(orders, [2, 1, 4, 3]);
        assert!(ranked.iter().all(|(rank, _)| *rank > 0.0));
    }
}
