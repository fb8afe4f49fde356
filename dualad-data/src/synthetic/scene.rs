//! The interface of everything that can be drawn.

use super::category::Defect;
use super::noise::Point;
use super::shape::Color;
use crate::random::Sequence;

/// A scene that can be drawn.
pub(super) trait Scene {
    /// Returns the linear light from a point. `pixel` is the side of a pixel in the units of the point.
    fn shade(&self, at: Point, pixel: f32) -> Color;

    /// Returns the center and radius of a circle that contains all changes by the flaw, if it is known.
    fn reach(&self, pixel: f32) -> Option<(Point, f32)>;
}

/// A defect to draw, with its own random values. The random values of the scene stay the same.
pub(super) struct Flaw {
    pub(super) defect: Defect,
    pub(super) random: Sequence,
}
