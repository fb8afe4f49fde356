//! The mapping of values to positions on the page.

/// The range of values that can be drawn: their differences cannot overflow.
pub(super) fn drawable(value: f64) -> bool {
    value.is_finite() && value.abs() < 1e100
}

/// An axis of a chart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

/// The position and the text of a label.
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Axis {
    /// Maps `low` to the position `from` and `high` to `to`. Both must be [`drawable`].
    pub(super) fn new([low, high]: [f64; 2], [from, to]: [f64; 2]) -> Self {
        let [low, high] = spread([low, high]);
        Self { low, high, from, to, logarithmic: false }
    }

    /// Maps on a logarithmic scale; values must be above 0. The axis starts and ends at 1, 2 or 5 times a power of ten.
    pub(super) fn logarithmic([low, high]: [f64; 2], places: [f64; 2]) -> Self {
        let round = |value: f64, up: bool| {
            let (power, part) = (value.log10().floor(), value.log10().rem_euclid(1.0));
            let steps = [0.0, 2f64.log10(), 5f64.log10(), 1.0];
            let step = match up {
                true => steps.into_iter().find(|&step| part <= step + 1e-9),
                false => steps.into_iter().rev().find(|&step| step <= part + 1e-9),
            };
            power + step.unwrap_or(0.0)
        };
        Self { logarithmic: true, ..Self::new([round(low, false), round(high, true)], places) }
    }

    /// Returns the position of a value, clamped to the axis.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.log10() } else { value };
        let part = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + part * (self.to - self.from)
    }

    /// Returns about `count` round values.
    pub(super) fn ticks(&self, count: usize) -> Vec<Tick> {
        if self.logarithmic {
            return self.decades();
        }
        let rough = (self.high - self.low) / count.max(1) as f64;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|factor| factor * magnitude).into_iter().find(|&step| rough <= step);
        let step = step.unwrap_or(10.0 * magnitude);
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let first = (self.low / step).ceil();
        let plain = self.low.abs().max(self.high.abs()) < 1e6 && step > 1e-6;
        let ticks = (0..=2 * count).map(|index| (first + index as f64) * step);
        ticks
            .take_while(|&value| value <= self.high + step * 1e-9)
            .map(|value| {
                // Avoids the label -0.
                let value = if value.abs() < step * 1e-9 { 0.0 } else { value };
                let label = if plain { format!("{value:.decimals$}") } else { format!("{value:.1e}") };
                Tick { value, label }
            })
            .collect()
    }

    /// Returns powers of ten, with 2 and 5 between them if there are few.
    fn decades(&self) -> Vec<Tick> {
        let (first, last) = (self.low.floor() as i32, self.high.ceil() as i32);
        let decades = last - first;
        let factors: &[f64] = if decades <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let every = usize::try_from(decades / 6).unwrap_or(0).max(1);
        let mut ticks = Vec::new();
        for power in (first..=last).step_by(every) {
            for factor in factors {
                let value = factor * 10f64.powi(power);
                if (self.low - 1e-9..=self.high + 1e-9).contains(&value.log10()) {
                    let label = if (-4..6).contains(&power) {
                        format!("{value:.*}", usize::try_from(-power).unwrap_or(0))
                    } else {
                        format!("{value:.0e}")
                    };
                    ticks.push(Tick { value, label });
                }
            }
        }
        ticks
    }
}

/// Returns the two ends, moved apart if they are so close that steps between them could not be distinguished.
pub(super) fn spread([low, high]: [f64; 2]) -> [f64; 2] {
    let size = low.abs().max(high.abs());
    if high - low > size * 1e-9 && high - low > 1e-100 {
        return [low, high];
    }
    let margin = if size < 1e-90 { 0.5 } else { size * 0.1 };
    [low - margin, high + margin]
}
