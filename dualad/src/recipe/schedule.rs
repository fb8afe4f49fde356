//! The schedule of the learning rate.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The schedule of the learning rate, as a factor of [`crate::recipe::AdamWConfig::learning_rate`].
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
    /// The number of steps in which the factor rises linearly from near 0 to 1.
    #[serde(default)]
    pub warmup_steps: u64,
    /// The lowest factor after the warm-up, from 0 to 1.
    #[serde(default)]
    pub floor: f64,
}

/// The shape of a [`Schedule`] after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Curve {
    /// A constant factor of 1.
    Constant,
    /// A factor of 1 up to the end of an epoch, and `factor` after it.
    Step {
        /// The number of epochs with a factor of 1, counted from the start of the run.
        after_epoch: u64,
        /// The factor of later epochs, from 0 to 1.
        factor: f64,
    },
    /// A linear decay from 1 to the floor.
    Linear,
    /// A cosine decay from 1 to the floor (Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts).
    Cosine,
    /// A cosine rise from 1/25 to 1, and a cosine decay to the floor (Smith and Topin, "Super-Convergence", 2019).
    OneCycle {
        /// The fraction of the steps after the warm-up that the rise takes; at least 0 and below 1.
        rise: f64,
    },
}

/// The first factor of [`Curve::OneCycle`].
const ONE_CYCLE_START: f64 = 1.0 / 25.0;

impl Schedule {
    /// Returns a schedule without warm-up and with a floor of 0.
    pub fn new(curve: Curve) -> Self {
        Self { curve, warmup_steps: 0, floor: 0.0 }
    }

    /// Sets the number of warm-up steps.
    #[must_use]
    pub fn warmup(mut self, steps: u64) -> Self {
        self.warmup_steps = steps;
        self
    }

    /// Sets the floor.
    #[must_use]
    pub fn floor(mut self, floor: f64) -> Self {
        self.floor = floor;
        self
    }

    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Config`] for the first field that is not.
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

    /// Returns the factor of step `step` (from 0) of `total` steps, with `steps_per_epoch` steps in an epoch.
    pub fn factor(&self, step: u64, total: u64, steps_per_epoch: u64) -> f64 {
        if step < self.warmup_steps {
            return (step + 1) as f64 / self.warmup_steps as f64;
        }
        // From 0 at the first step after the warm-up to just below 1 at the last step.
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
    fn each_curve_has_its_start_middle_and_end() {
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
    fn a_field_out_of_range_is_named() {
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
    fn json_round_trips_and_refuses_unknown_fields() {
        for curve in CURVES {
            let schedule = Schedule::new(curve).warmup(7).floor(0.01);
            let text = serde_json::to_string(&schedule).unwrap();
            assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule, "{text}");
        }
        let error = serde_json::from_str::<Schedule>(r#"{"curve": {"kind": "cosine"}, "warmup": 5}"#).unwrap_err();
        assert!(error.to_string().contains("warmup"), "{error}");
    }

    proptest! {
        /// Any steps give a factor from 0 to 1.
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
