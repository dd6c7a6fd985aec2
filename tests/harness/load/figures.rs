//! What was measured, in numbers.

use std::time::Duration;

/// Times from sending to receiving, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Notes one.
    pub fn note(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// Adds those of another.
    pub fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The time in milliseconds that so many in a thousand did not exceed.
    pub fn ms(&mut self, per_mille: usize) -> f64 {
        self.0.sort_unstable();
        let place = self.0.len().saturating_sub(1) * per_mille / 1_000;
        self.0.get(place).map_or(0.0, |micros| f64::from(*micros) / 1_000.0)
    }
}
