//! Medians and how sure they are.

use wrapwatch::trace::synth::SplitMix;

/// How often the rounds are drawn again.
const DRAWS: usize = 4_000;

/// A median and its 95 % interval, by bootstrap over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// Median of the rounds.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How many rounds.
    pub rounds: usize,
}

/// Of the values of all rounds; none without any.
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    let middle = median(values)?;
    let mut random = SplitMix(0x5eed);
    let mut medians: Vec<f64> = (0..DRAWS)
        .filter_map(|_| {
            let drawn: Vec<f64> =
                values.iter().filter_map(|_| values.get(below(&mut random, values.len())).copied()).collect();
            median(&drawn)
        })
        .collect();
    medians.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| medians.get(medians.len() * part / 1000).copied().unwrap_or(middle);
    Some(Estimate { median: middle, low: at(25), high: at(975), rounds: values.len() })
}

/// The middle value, or the middle of the two middle ones.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

fn below(random: &mut SplitMix, n: usize) -> usize {
    usize::try_from(random.below(n as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_median_and_narrows_with_agreement() {
        let far = estimate(&[0.8, 0.9, 1.0, 1.1, 1.2]).unwrap();
        assert_eq!(Some(far.median), Some(1.0));
        assert!(far.low < 1.0 && far.high > 1.0 && far.low >= 0.8 && far.high <= 1.2, "{far:?}");
        let near = estimate(&[0.99, 1.0, 1.0, 1.0, 1.01]).unwrap();
        assert!(near.high - near.low < far.high - far.low);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(estimate(&[]), None);
    }
}
