//! A curve that is thinned as its points are added in order.

use super::Point;

/// The maximum distance, in x or in y, between kept points.
const STEP: f64 = 1.0 / 128.0;

/// A curve that keeps each point more than [`STEP`] from the last kept one, and the point before it, so that jumps stay in
/// place: at most about 500 points of a curve from `(0, 0)` to `(1, 1)`.
#[derive(Debug)]
pub(super) struct Thinned {
    points: Vec<Point>,
    /// The last point, if it is not kept.
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

    /// Returns the kept points and the last one.
    pub(super) fn finish(mut self) -> Vec<Point> {
        self.points.extend(self.skipped);
        self.points
    }
}
