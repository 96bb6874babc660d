//! Medians, spreads, and the three quantiles of latencies.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::Result;

/// What one run of a work gave.
#[derive(Clone, Debug)]
pub struct Sample {
    pub value: f64,
    /// p50, p99 and p99.9 of single calls, in microseconds.
    pub tail: Option<[f64; 3]>,
}

impl Sample {
    pub fn of(value: f64) -> Self {
        Self { value, tail: None }
    }

    pub fn rate(events: u64, spent: Duration) -> Self {
        Self::of(events as f64 / spent.as_secs_f64().max(1e-9))
    }

    pub fn with(mut self, calls: &Histogram<u64>) -> Self {
        let at = |quantile| calls.value_at_quantile(quantile) as f64 / 1e3;
        self.tail = Some([at(0.5), at(0.99), at(0.999)]);
        self
    }
}

/// A histogram of nanoseconds, up to a minute.
pub fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

pub fn nanos(spent: Duration) -> u64 {
    u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// All runs of a work by one store.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub tail: Option<[f64; 3]>,
}

impl Summary {
    pub fn of(samples: &[Sample]) -> Option<Self> {
        let mut values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        let median = median(&mut values)?;
        let tail = |index: usize| {
            let mut values: Vec<f64> =
                samples.iter().filter_map(|sample| Some(sample.tail?[index])).collect();
            self::median(&mut values)
        };
        let tail = match (tail(0), tail(1), tail(2)) {
            (Some(p50), Some(p99), Some(p999)) => Some([p50, p99, p999]),
            _ => None,
        };
        Some(Self { median, low: *values.first()?, high: *values.last()?, tail })
    }
}

/// The median; sorts the values on the way. Of an even number, the mean of the two in the middle.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_the_middle_and_the_ends() {
        let samples = [3.0, 1.0, 2.0, 10.0].map(Sample::of);
        let summary = Summary::of(&samples).unwrap();
        assert_eq!((summary.low, summary.median, summary.high), (1.0, 2.5, 10.0));
        assert!(summary.tail.is_none());
        assert!(Summary::of(&[]).is_none());
    }

    #[test]
    fn quantiles_are_in_microseconds() {
        let mut calls = histogram().unwrap();
        for micros in 1..=1000 {
            calls.record(micros * 1000).unwrap();
        }
        let [p50, p99, p999] = Sample::of(1.0).with(&calls).tail.unwrap();
        assert!((499.0..502.0).contains(&p50) && (989.0..992.0).contains(&p99), "{p50} {p99}");
        assert!((998.0..1001.0).contains(&p999), "{p999}");
    }
}
