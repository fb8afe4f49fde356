//! The lamp and the exposure of the camera, which vary between pictures.

use super::noise::Point;
use super::shape::Color;
use crate::random::Sequence;

pub(super) struct Light {
    /// The unit vector towards the lamp. z points to the camera.
    direction: [f32; 3],
    exposure: f32,
    /// The gradient of the brightness over the picture.
    tilt: Point,
    balance: Color,
}

impl Light {
    /// Creates a lamp at the upper left, with a variation of half a radian.
    pub(super) fn new(random: &mut Sequence) -> Self {
        let azimuth = -2.2 + random.range(-0.5, 0.5);
        let elevation: f32 = random.range(0.75, 1.0);
        let exposure = random.range(0.86, 1.14);
        let fall = random.range(0.0, 0.16);
        let warm = random.range(-0.03, 0.03);
        Self {
            direction: [azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()],
            exposure,
            tilt: [azimuth.cos() * fall, azimuth.sin() * fall],
            balance: [1.0 + warm, 1.0, 1.0 - warm],
        }
    }

    /// Returns the direction of the lamp in the plane of the picture.
    pub(super) fn across(&self) -> Point {
        [self.direction[0], self.direction[1]]
    }

    /// Returns the brightness of a matte surface of this slope, relative to a flat one.
    pub(super) fn shade(&self, [x, y]: Point) -> f32 {
        let [lx, ly, lz] = self.direction;
        ((lz - x * lx - y * ly) / (lz * (1.0 + x * x + y * y).sqrt())).max(0.0)
    }

    /// Returns the glossy reflection of the lamp, 0 to 1. A higher `gloss` makes it sharper.
    pub(super) fn glint(&self, [x, y]: Point, gloss: f32) -> f32 {
        let [lx, ly, lz] = self.direction;
        // The half vector: a surface with this normal reflects the lamp into the camera.
        let half = [-lx / (1.0 + lz) - x, -ly / (1.0 + lz) - y];
        (-gloss * (half[0] * half[0] + half[1] * half[1])).exp()
    }

    /// Returns the light that reaches the sensor from a point.
    pub(super) fn expose(&self, color: Color, at: Point) -> Color {
        let gain = self.exposure * (1.0 + self.tilt[0] * at[0] + self.tilt[1] * at[1]);
        std::array::from_fn(|channel| color[channel] * gain * self.balance[channel])
    }
}
