//! What was measured, by name.

use std::collections::BTreeMap;

/// Named figures. Names end with their unit: `_ms`, `_us`, `_ratio`, `_count`, before a percentile if there is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Notes `value` as `name`, rounded to three digits after the point.
    pub fn note(&mut self, name: impl Into<String>, value: f64) {
        self.0.insert(name.into(), (value * 1000.0).round() / 1000.0);
    }

    /// Notes the median and the 95th percentile of `times` in milliseconds.
    pub fn note_ms(&mut self, name: &str, times: &Times) {
        self.note(format!("{name}_ms_p50"), times.at(0.5));
        self.note(format!("{name}_ms_p95"), times.at(0.95));
    }

    /// Notes the median and the 95th percentile of `times` in microseconds.
    pub fn note_us(&mut self, name: &str, times: &Times) {
        self.note(format!("{name}_us_p50"), times.at(0.5) * 1000.0);
        self.note(format!("{name}_us_p95"), times.at(0.95) * 1000.0);
    }

    /// Adds all of `others`.
    pub fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The same figures under names that begin with `prefix`.
    #[must_use]
    pub fn prefixed(self, prefix: &str) -> Self {
        let named = self
            .0
            .into_iter()
            .map(|(name, value)| (format!("{prefix}{name}"), value));
        Self(named.collect())
    }

    /// The figure `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// One JSON object.
    pub fn to_json(&self) -> String {
        serde_json::json!(self.0).to_string()
    }
}

/// Times in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// Adds one.
    pub fn push(&mut self, milliseconds: f64) {
        self.0.push(milliseconds);
    }

    /// The time that `share` of all (0 to 1) do not exceed; NaN if there is none.
    pub fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "some thousands at most"
        )]
        let index = (share * sorted.len().saturating_sub(1) as f64) as usize;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let mut times = Times::default();
        assert!(times.median().is_nan());
        for time in [5.0, 1.0, 4.0, 2.0, 3.0] {
            times.push(time);
        }
        assert_eq!((times.at(0.0), times.median(), times.at(1.0)), (1.0, 3.0, 5.0));
    }
}
