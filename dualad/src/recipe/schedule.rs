//! The learning rate over a run.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the learning rate goes over a run, as a factor of [`crate::recipe::AdamWConfig::learning_rate`].
///
/// ```
/// use dualad::recipe::{Curve, Schedule};
///
/// // The paper's: a tenth after epoch 1000 of 1200, here with 10 steps an epoch.
/// let schedule = Schedule::new(Curve::Step { after_epoch: 1000, factor: 0.1 });
/// assert_eq!(schedule.factor(9_999, 12_000, 10), 1.0);
/// assert_eq!(schedule.factor(10_000, 12_000, 10), 0.1);
///
/// let schedule: Schedule = serde_json::from_str(r#"{"curve": {"kind": "cosine"}, "warmup_steps": 50}"#)?;
/// assert_eq!(schedule.factor(0, 500, 10), 1.0 / 50.0);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Schedule {
    /// The curve after the warm-up.
    pub curve: Curve,
    /// Steps in which the factor first rises from near 0 to 1.
    #[serde(default)]
    pub warmup_steps: u64,
    /// The factor never falls below it after the warm-up; from 0 to 1.
    #[serde(default)]
    pub floor: f64,
}

/// The shape of a [`Schedule`] after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Curve {
    /// 1 all the time.
    Constant,
    /// 1 up to the end of an epoch, `factor` from then on.
    Step {
        /// Epochs at full rate, counted from the run's start.
        after_epoch: u64,
        /// The factor after them.
        factor: f64,
    },
    /// From 1 to the floor on a straight line.
    Linear,
    /// From 1 to the floor on half a cosine (Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts).
    Cosine,
    /// From a 25th to 1 on half a cosine, then from 1 to the floor on another (Smith and Topin, "Super-Convergence", 2019).
    OneCycle {
        /// The share of the steps that the rise takes.
        rise: f64,
    },
}

/// Where one cycle starts.
const ONE_CYCLE_START: f64 = 1.0 / 25.0;

impl Schedule {
    /// Without warm-up, down to 0.
    pub fn new(curve: Curve) -> Self {
        Self { curve, warmup_steps: 0, floor: 0.0 }
    }

    /// The same with a warm-up.
    #[must_use]
    pub fn warmup(mut self, steps: u64) -> Self {
        self.warmup_steps = steps;
        self
    }

    /// The same with a floor.
    #[must_use]
    pub fn floor(mut self, floor: f64) -> Self {
        self.floor = floor;
        self
    }

    /// Whether this is a schedule.
    ///
    /// # Errors
    /// [`Error::Config`] that names the first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let (field, value, reason) = match self.curve {
            _ if !share(self.floor) => ("schedule.floor", self.floor, "must be from 0 to 1"),
            Curve::Step { factor, .. } if !share(factor) => ("schedule.curve.factor", factor, "must be from 0 to 1"),
            Curve::OneCycle { rise } if !(0.0..1.0).contains(&rise) => {
                ("schedule.curve.rise", rise, "must be at least 0 and below 1")
            }
            _ => return Ok(()),
        };
        Err(Error::Config { field, value: value.to_string(), reason: reason.into() })
    }

    /// The factor of step `step` (from 0) of `total`, where an epoch has `steps_per_epoch`.
    pub fn factor(&self, step: u64, total: u64, steps_per_epoch: u64) -> f64 {
        if step < self.warmup_steps {
            return (step + 1) as f64 / self.warmup_steps as f64;
        }
        // From 0 at the first step after the warm-up to just under 1 at the last.
        let left = total.saturating_sub(self.warmup_steps).max(1);
        let progress = ((step - self.warmup_steps) as f64 / left as f64).min(1.0);
        let falling = |share: f64| self.floor + (1.0 - self.floor) * share;
        let half_cosine = |progress: f64| 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        match self.curve {
            Curve::Constant => 1.0,
            Curve::Step { after_epoch, factor } => {
                if step < after_epoch.saturating_mul(steps_per_epoch) {
                    1.0
                } else {
                    factor.max(self.floor)
                }
            }
            Curve::Linear => falling(1.0 - progress),
            Curve::Cosine => falling(half_cosine(progress)),
            Curve::OneCycle { rise } if progress < rise => {
                let start = ONE_CYCLE_START.max(self.floor);
                1.0 - (1.0 - start) * half_cosine(progress / rise)
            }
            Curve::OneCycle { rise } => falling(half_cosine((progress - rise) / (1.0 - rise))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CURVES: [Curve; 5] = [
        Curve::Constant,
        Curve::Step { after_epoch: 3, factor: 0.1 },
        Curve::Linear,
        Curve::Cosine,
        Curve::OneCycle { rise: 0.3 },
    ];

    #[test]
    fn each_curve_starts_and_ends_where_it_should() {
        let ends = |curve| {
            let schedule = Schedule::new(curve).floor(0.05);
            [0, 500, 999].map(|step| schedule.factor(step, 1000, 100))
        };
        let close = |found: [f64; 3], expected: [f64; 3]| {
            found.iter().zip(expected).for_each(|(f, e)| assert!((f - e).abs() < 2e-3, "{found:?} {expected:?}"));
        };
        close(ends(CURVES[0]), [1.0, 1.0, 1.0]);
        close(ends(CURVES[1]), [1.0, 0.1, 0.1]);
        close(ends(CURVES[2]), [1.0, 0.525, 0.05]);
        close(ends(CURVES[3]), [1.0, 0.525, 0.05]);
        close(ends(CURVES[4]), [0.05, 0.05 + 0.95 * 0.811, 0.05]);
        let peak = Schedule::new(CURVES[4]).factor(300, 1000, 100);
        assert!((peak - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (schedule, field) in [
            (Schedule::new(Curve::Cosine).floor(1.5), "floor"),
            (Schedule::new(Curve::Cosine).floor(f64::NAN), "floor"),
            (Schedule::new(Curve::Step { after_epoch: 1, factor: -0.1 }), "factor"),
            (Schedule::new(Curve::OneCycle { rise: 1.0 }), "rise"),
        ] {
            assert!(schedule.validate().unwrap_err().to_string().contains(field));
        }
    }

    #[test]
    fn json_says_what_it_holds_and_refuses_the_rest() {
        for curve in CURVES {
            let schedule = Schedule::new(curve).warmup(7).floor(0.01);
            let text = serde_json::to_string(&schedule).unwrap();
            assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule, "{text}");
        }
        let error = serde_json::from_str::<Schedule>(r#"{"curve": {"kind": "cosine"}, "warmup": 5}"#).unwrap_err();
        assert!(error.to_string().contains("warmup"), "{error}");
    }

    proptest! {
        /// Any numbers give a factor that a rate can be multiplied by.
        #[test]
        fn a_factor_is_from_0_to_1(
            step in any::<u64>(), total in any::<u64>(), epoch in any::<u64>(), warmup in 0u64..1000, floor in 0.0..=1.0f64,
            which in 0usize..5,
        ) {
            let factor = Schedule::new(CURVES[which]).warmup(warmup).floor(floor).factor(step, total, epoch);
            prop_assert!((0.0..=1.0 + 1e-12).contains(&factor), "{factor}");
        }
    }
}
