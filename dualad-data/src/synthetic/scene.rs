//! The interface of everything that can be drawn.

use super::category::Defect;
use super::noise::Point;
use super::shape::Color;
use crate::random::Sequence;

/// Something that can be looked at.
pub(super) trait Scene {
    /// The light from a point, linear, with the sides of a pixel in the point's units.
    fn shade(&self, at: Point, pixel: f32) -> Color;

    /// A circle outside which its flaw changes nothing, where that is known: its middle and radius.
    fn reach(&self, pixel: f32) -> Option<(Point, f32)>;
}

/// A defect to draw, and the random numbers that shape it: never those of the scene, which stays as it is.
pub(super) struct Flaw {
    pub(super) defect: Defect,
    pub(super) random: Sequence,
}
