//! Poses, signed distances (negative inside) and antialiased edges.

use super::noise::{Point, mix};
use crate::random::Sequence;

/// A linear RGB color, 0 to 1.
pub(super) type Color = [f32; 3];

/// The pose of a part in an outer frame.
pub(super) struct Pose {
    shift: Point,
    cosine: f32,
    sine: f32,
    scale: f32,
}

impl Pose {
    /// Creates a pose. `angle` is in radians.
    pub(super) fn new(shift: Point, angle: f32, scale: f32) -> Self {
        Self { shift, cosine: angle.cos(), sine: angle.sin(), scale }
    }

    /// Draws a random pose with up to `shift`, `angle` radians and a scale of 1 ± `scale`.
    pub(super) fn jitter(random: &mut Sequence, shift: f32, angle: f32, scale: f32) -> Self {
        let mut off = |by: f32| random.range(-by, by);
        Self::new([off(shift), off(shift)], off(angle), 1.0 + off(scale))
    }

    /// Maps a point of the outer frame to the frame of the part.
    pub(super) fn to_part(&self, [x, y]: Point) -> Point {
        self.turn_in([(x - self.shift[0]) / self.scale, (y - self.shift[1]) / self.scale])
    }

    /// Maps a circle of the frame of the part to the outer frame.
    pub(super) fn circle_out(&self, (middle, radius): (Point, f32)) -> (Point, f32) {
        let [x, y] = self.turn_out(middle);
        ([x * self.scale + self.shift[0], y * self.scale + self.shift[1]], radius * self.scale)
    }

    /// Returns whether a point of the outer frame is in a square of this half side around the part.
    pub(super) fn near(&self, point: Point, half: f32) -> bool {
        (point[0] - self.shift[0]).abs().max((point[1] - self.shift[1]).abs()) < half
    }

    /// Maps a direction of the outer frame to the frame of the part.
    pub(super) fn turn_in(&self, [x, y]: Point) -> Point {
        [self.cosine * x + self.sine * y, self.cosine * y - self.sine * x]
    }

    /// Maps a direction of the frame of the part to the outer frame.
    pub(super) fn turn_out(&self, [x, y]: Point) -> Point {
        [self.cosine * x - self.sine * y, self.cosine * y + self.sine * x]
    }
}

pub(super) fn length([x, y]: Point) -> f32 {
    (x * x + y * y).sqrt()
}

pub(super) fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

/// Returns the signed distance to a box of half sides `half` with rounded corners.
pub(super) fn rounded_box([x, y]: Point, half: Point, radius: f32) -> f32 {
    let (x, y) = (x.abs() - half[0] + radius, y.abs() - half[1] + radius);
    length([x.max(0.0), y.max(0.0)]) + x.max(y).min(0.0) - radius
}

pub(super) fn segment(point: Point, from: Point, to: Point) -> f32 {
    segment_square(point, from, to).sqrt()
}

/// Returns the squared distance to a line segment.
pub(super) fn segment_square(point: Point, from: Point, to: Point) -> f32 {
    let (along, p) = (minus(to, from), minus(point, from));
    let square = along[0] * along[0] + along[1] * along[1];
    let t = ((p[0] * along[0] + p[1] * along[1]) / square.max(1e-12)).clamp(0.0, 1.0);
    let off = [p[0] - t * along[0], p[1] - t * along[1]];
    off[0] * off[0] + off[1] * off[1]
}

/// Returns the share of a pixel inside a shape, 0 to 1, by the signed distance of its center.
pub(super) fn cover(distance: f32, pixel: f32) -> f32 {
    (0.5 - distance / pixel).clamp(0.0, 1.0)
}

/// Paints `top` over `under`.
pub(super) fn over(under: Color, top: Color, cover: f32) -> Color {
    std::array::from_fn(|channel| mix(under[channel], top[channel], cover))
}

pub(super) fn scale(color: Color, factor: f32) -> Color {
    color.map(|value| value * factor)
}

pub(super) fn times(a: Color, b: Color) -> Color {
    std::array::from_fn(|channel| a[channel] * b[channel])
}
