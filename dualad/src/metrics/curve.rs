//! A curve kept thin while its points come by in order.

use super::Point;

/// How far, in x or in y, a point may be from the last kept one without being kept.
const STEP: f64 = 1.0 / 128.0;

/// Keeps every point that is more than [`STEP`] from the last kept one, and the point before it, so that jumps stay where
/// they are: at most some 500 points of a curve that ascends from `(0, 0)` to `(1, 1)`.
#[derive(Debug)]
pub(super) struct Thinned {
    points: Vec<Point>,
    /// The last point seen, where it was not kept.
    skipped: Option<Point>,
}

impl Thinned {
    pub(super) fn new() -> Self {
        Self { points: vec![Point { x: 0.0, y: 0.0, threshold: f32::INFINITY }], skipped: None }
    }

    #[inline]
    pub(super) fn push(&mut self, point: Point) {
        let far = self.points.last().is_none_or(|kept| point.x - kept.x > STEP || point.y - kept.y > STEP);
        if far {
            self.points.extend(self.skipped.take());
            self.points.push(point);
        } else {
            self.skipped = Some(point);
        }
    }

    /// All that was kept, and the last point.
    pub(super) fn finish(mut self) -> Vec<Point> {
        self.points.extend(self.skipped);
        self.points
    }
}
