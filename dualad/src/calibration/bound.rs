//! Confidence bounds for a rate by the binomial distribution's tail.

use std::f64::consts::TAU;

/// The relative tolerance within which probabilities count as equal.
const SLACK: f64 = 1.0 + 1e-12;

/// Returns true if `seen` or fewer of `trials` would be improbable (at most `1 - confidence`) at this rate. The rate is then at
/// most `rate`, with this confidence.
fn shows(seen: u64, trials: u64, rate: f64, confidence: f64) -> bool {
    at_most(seen, trials, rate) <= (1.0 - confidence) * SLACK
}

/// Returns the maximum number of `trials` that may be seen for the rate to be at most `rate` with this confidence; `None` if
/// even zero is too many. Rates and confidences are between 0 and 1.
pub(super) fn allowed(trials: u64, rate: f64, confidence: f64) -> Option<u64> {
    if !shows(0, trials, rate, confidence) {
        return None;
    }
    // Bisection: the fewer are seen, the lower the bound.
    let (mut shown, mut not_shown) = (0, trials);
    while not_shown - shown > 1 {
        let middle = shown + (not_shown - shown) / 2;
        *(if shows(middle, trials, rate, confidence) { &mut shown } else { &mut not_shown }) = middle;
    }
    Some(shown)
}

/// Returns the minimum number of trials of which none may be seen for the rate to be at most `rate`; `u64::MAX` for any larger
/// number.
pub(super) fn needed(rate: f64, confidence: f64) -> u64 {
    let needed = ((1.0 - confidence).ln() / (-rate).ln_1p()).ceil() as u64;
    // Rounding may have moved the quotient above a whole number.
    let fewer = needed.saturating_sub(1);
    if fewer > 0 && shows(0, fewer, rate, confidence) { fewer } else { needed.max(1) }
}

/// Returns Clopper and Pearson's upper bound of the rate, with this confidence, when `seen` of `trials` were seen.
pub(super) fn upper(seen: u64, trials: u64, confidence: f64) -> f64 {
    if seen >= trials {
        return 1.0;
    }
    if seen == 0 {
        return -((1.0 - confidence).ln() / trials as f64).exp_m1();
    }
    let (mut low, mut high) = (seen as f64 / trials as f64, 1.0);
    // Bisection to the last bit takes about 60 steps, and never 1100.
    for _ in 0..1100 {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        *(if shows(seen, trials, middle, confidence) { &mut high } else { &mut low }) = middle;
    }
    high
}

/// Returns the probability of at most `seen` of `trials`, each with probability `rate`, which is between 0 and 1.
fn at_most(seen: u64, trials: u64, rate: f64) -> f64 {
    if seen >= trials {
        return 1.0;
    }
    let odds = rate / (1.0 - rate);
    // Sums the smaller tail, from its largest term on, to avoid cancellation. Terms shrink at least as fast as at the start.
    let lower = (seen as f64) < trials as f64 * rate;
    let mut at = if lower { seen } else { seen + 1 };
    let mut term = exactly(at, trials, rate);
    let mut sum = term;
    while term > sum * 1e-17 && at != if lower { 0 } else { trials } {
        if lower {
            term *= at as f64 / ((trials - at + 1) as f64 * odds);
            at -= 1;
        } else {
            term *= (trials - at) as f64 * odds / (at + 1) as f64;
            at += 1;
        }
        sum += term;
    }
    (if lower { sum } else { 1.0 - sum }).clamp(0.0, 1.0)
}

/// Returns the probability of exactly `seen` of `trials` (C. Loader, "Fast and Accurate Computation of Binomial Probabilities",
/// 2000). Factorials would overflow, and differences of their logarithms would cancel.
fn exactly(seen: u64, trials: u64, rate: f64) -> f64 {
    let (all, yes, no) = (trials as f64, seen as f64, (trials - seen) as f64);
    if seen == 0 {
        return (all * (-rate).ln_1p()).exp();
    }
    if seen == trials {
        return (all * rate.ln()).exp();
    }
    let exponent = stirling_error(trials)
        - stirling_error(seen)
        - stirling_error(trials - seen)
        - deviance(yes, all * rate)
        - deviance(no, all * (1.0 - rate));
    (all / (TAU * yes * no)).sqrt() * exponent.exp()
}

/// Returns `ln n!` minus Stirling's formula, for n >= 1.
fn stirling_error(n: u64) -> f64 {
    let x = n as f64;
    if n <= 16 {
        // Exact up to 22!.
        let factorial: f64 = (1..=n).map(|factor| factor as f64).product();
        return factorial.ln() - (x + 0.5) * x.ln() + x - 0.5 * TAU.ln();
    }
    let square = x * x;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / 1680.0 / square) / square) / square) / x
}

/// Returns `x ln(x / mean) + mean - x`, without cancellation where both are nearly equal.
fn deviance(x: f64, mean: f64) -> f64 {
    if (x - mean).abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() + mean - x;
    }
    let v = (x - mean) / (x + mean);
    let mut sum = (x - mean) * v;
    let mut term = 2.0 * x * v;
    // v is below 0.1, so ten terms are enough.
    for odd in (3..40).step_by(2) {
        term *= v * v;
        sum += term / f64::from(odd);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every coefficient a whole number, every power multiplied out.
    fn plain(seen: u64, trials: u64, rate: f64) -> f64 {
        let mut coefficient = 1u64;
        let mut sum = 0.0;
        for k in 0..=seen.min(trials) {
            sum += coefficient as f64 * rate.powi(k as i32) * (1.0 - rate).powi((trials - k) as i32);
            if k < trials {
                coefficient = coefficient * (trials - k) / (k + 1);
            }
        }
        sum
    }

    #[test]
    fn the_tail_is_the_sum() {
        for trials in 1..=40 {
            for rate in [1e-9, 0.001, 0.05, 0.3, 0.5, 0.77, 0.999] {
                for seen in 0..=trials {
                    let (expected, found) = (plain(seen, trials, rate), at_most(seen, trials, rate));
                    assert!((found - expected).abs() <= 1e-13 * expected.max(1e-2), "{seen} {trials} {rate}");
                    // Small ones are as exact as large ones.
                    assert!((found / expected - 1.0).abs() < 1e-11, "{seen} {trials} {rate}: {found} {expected}");
                }
            }
        }
    }

    /// One after another, from none on: as exact as can be had while (1 - rate)^trials is a number.
    #[test]
    fn large_samples_too() {
        for (trials, rate) in [(10_000, 0.02), (1_000_000, 1e-4), (2000, 0.2)] {
            let mut term = (f64::from(trials) * f64::ln_1p(-rate)).exp();
            let mut sum = term;
            for seen in 0..trials {
                let found = at_most(seen as u64, trials as u64, rate);
                assert!((found - sum).abs() < 1e-10 * sum, "{seen} {trials} {rate}: {found} {sum}");
                if sum > 1.0 - 1e-6 {
                    break;
                }
                term *= f64::from(trials - seen) * rate / (f64::from(seen + 1) * (1.0 - rate));
                sum += term;
            }
        }
        // Where it is no number any more: the median is the mean, give or take one.
        assert!((at_most(500_000, 1_000_000, 0.5) - 0.5).abs() < 1e-3);
        assert_eq!(at_most(0, u64::MAX, 0.5), 0.0);
    }

    /// Wilks' numbers: how many are needed to know 95 % of a population at 95 % confidence, with the r-th largest.
    #[test]
    fn what_is_allowed_is_what_wilks_allows() {
        for (allowed_then, trials) in [59, 93, 124, 153, 181, 208].into_iter().enumerate() {
            assert_eq!(allowed(trials, 0.05, 0.95), Some(allowed_then as u64));
            assert_eq!(allowed(trials - 1, 0.05, 0.95), (allowed_then as u64).checked_sub(1));
        }
        assert_eq!((needed(0.05, 0.95), needed(0.01, 0.95), needed(0.01, 0.99)), (59, 299, 459));
        // Equal to the last bit, on paper: 0.5 squared is 0.25.
        assert_eq!((needed(0.5, 0.75), allowed(2, 0.5, 0.75)), (2, Some(0)));
        assert_eq!((needed(0.99, 0.01), allowed(1, 0.99, 0.01)), (1, Some(0)));
        assert_eq!(allowed(0, 0.5, 0.5), None);
        assert!(needed(f64::MIN_POSITIVE, 0.999) == u64::MAX && needed(1.0 - 1e-16, 1.0 - 1e-16) == 1);
    }

    #[test]
    fn the_upper_bound_is_where_the_tail_is_what_is_left() {
        // 1 - 0.05^(1/100), and tables.
        assert!((upper(0, 100, 0.95) - 0.029_513).abs() < 1e-6);
        assert!((upper(1, 100, 0.95) - 0.046_560).abs() < 1e-6);
        for (seen, trials) in [(1, 2), (3, 10), (9, 10), (50, 1000), (7, 1_000_000)] {
            for confidence in [0.5, 0.9, 0.99] {
                let rate = upper(seen, trials, confidence);
                let left = 1.0 - confidence;
                assert!((at_most(seen, trials, rate) - left).abs() < 1e-9 * left, "{seen} {trials} {confidence}");
            }
        }
        assert_eq!((upper(5, 5, 0.95), upper(0, 0, 0.95)), (1.0, 1.0));
        for trials in [59, 93, 500] {
            let seen = allowed(trials, 0.05, 0.95).unwrap();
            assert!(upper(seen, trials, 0.95) <= 0.05 && upper(seen + 1, trials, 0.95) > 0.05);
        }
    }
}
