//! The filling of shapes, pixel by pixel.

use std::ops::Range;
use std::path::Path;

use super::memory::buffer;
use crate::error::Result;

/// The number of times that shapes may cover the image. It bounds the time for shapes from a file.
const MAX_COVER: u64 = 64;

/// The bit of a pixel that is marked.
const MARKED: u8 = 1;
/// The bit of a pixel at which a row of the current polygon enters or leaves it.
const EDGE: u8 = 2;

/// A mask that is drawn on. Every function returns `None` once the shapes cover too much.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    /// 1 for a marked pixel.
    pub(super) pixels: Vec<u8>,
    /// The number of pixels that may still be visited.
    room: u64,
}

/// Returns the indices of the pixels whose centers lie in `[low, high)`.
fn centers(low: f64, high: f64, count: usize) -> Range<usize> {
    first_center(low, count)..first_center(high, count)
}

/// Returns the index of the first pixel with a center at or after a coordinate, at most `count`.
fn first_center(coordinate: f64, count: usize) -> usize {
    (coordinate - 0.5).ceil().clamp(0.0, count as f64) as usize
}

impl Canvas {
    pub(super) fn new(file: &Path, (width, height): (u32, u32)) -> Result<Self> {
        let (width, height) = (width as usize, height as usize);
        let pixels = buffer(file, 0, width * height)?;
        // Small images have room for many small shapes.
        let room = (pixels.len() as u64).max(1 << 14) * MAX_COVER;
        Ok(Self { width, height, pixels, room })
    }

    fn spend(&mut self, pixels: usize) -> Option<()> {
        self.room = self.room.checked_sub(pixels as u64)?;
        Some(())
    }

    /// Marks the pixels whose centers are inside, or else those that the outline crosses.
    pub(super) fn polygon(&mut self, points: &[[f32; 2]]) -> Option<()> {
        let extent = |axis: usize| {
            let values = points.iter().map(|point| f64::from(point[axis]));
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
        };
        let ((left, right), (top, bottom)) = (extent(0), extent(1));
        let (rows, columns) = (centers(top, bottom, self.height), centers(left, right, self.width));
        self.spend(points.len() + rows.len() * columns.len())?;
        let inside = (right > 0.0 || left >= 0.0) && (bottom > 0.0 || top >= 0.0);
        if !self.fill(points, rows, columns)? && inside {
            self.line(points)?;
            if let [first, .., last] = points {
                self.line(&[*last, *first])?;
            }
        }
        Some(())
    }

    /// Fills a polygon by the even-odd rule. Returns whether it marks a pixel.
    fn fill(&mut self, points: &[[f32; 2]], rows: Range<usize>, columns: Range<usize>) -> Option<bool> {
        for (index, from) in points.iter().enumerate() {
            let to = points[(index + 1) % points.len()];
            let [[x0, y0], [x1, y1]] = [*from, to].map(|point| point.map(f64::from));
            let ([x0, y0], [x1, y1]) = if y0 <= y1 { ([x0, y0], [x1, y1]) } else { ([x1, y1], [x0, y0]) };
            let crossed = centers(y0, y1, self.height);
            self.spend(crossed.len())?;
            for row in crossed {
                let x = x0 + (row as f64 + 0.5 - y0) / (y1 - y0) * (x1 - x0);
                let column = first_center(x, self.width).max(columns.start);
                if column < columns.end {
                    self.pixels[row * self.width + column] ^= EDGE;
                }
            }
        }
        let mut marks = false;
        for row in rows {
            let start = row * self.width;
            let mut inside = 0;
            for pixel in &mut self.pixels[start + columns.start..start + columns.end] {
                inside ^= *pixel / EDGE;
                *pixel = *pixel & MARKED | inside;
                marks |= inside != 0;
            }
        }
        Some(marks)
    }

    /// Marks the pixels that a line crosses.
    pub(super) fn line(&mut self, points: &[[f32; 2]]) -> Option<()> {
        if let [point] = points {
            return self.segment(*point, *point);
        }
        points.array_windows().try_for_each(|&[from, to]| self.segment(from, to))
    }

    fn segment(&mut self, from: [f32; 2], to: [f32; 2]) -> Option<()> {
        self.spend(1)?;
        let [from, to] = [from, to].map(|point| point.map(f64::from));
        let step = [to[0] - from[0], to[1] - from[1]];
        // The part of the segment inside the image, as shares of its length.
        let (mut begin, mut end) = (0.0f64, 1.0f64);
        for (axis, limit) in [(0, self.width as f64), (1, self.height as f64)] {
            if step[axis] == 0.0 {
                if from[axis] < 0.0 || from[axis] >= limit {
                    return Some(());
                }
                continue;
            }
            let [a, b] = [-from[axis] / step[axis], (limit - from[axis]) / step[axis]];
            (begin, end) = (begin.max(a.min(b)), end.min(a.max(b)));
        }
        if begin > end {
            return Some(());
        }
        // Two visits for each pixel of the longer side leave no gaps.
        let visits = ((end - begin) * step[0].abs().max(step[1].abs()) * 2.0).ceil().max(1.0) as usize;
        self.spend(visits)?;
        for visit in 0..=visits {
            let share = begin + (end - begin) * (visit as f64 / visits as f64);
            let [x, y] = [0, 1].map(|axis| (from[axis] + share * step[axis]).floor().max(0.0) as usize);
            // The far edge of the image belongs to its last pixel.
            let (x, y) = (x.min(self.width - 1), y.min(self.height - 1));
            self.pixels[y * self.width + x] |= MARKED;
        }
        Some(())
    }

    /// Marks the pixels whose centers are inside a disc.
    pub(super) fn disc(&mut self, center: [f32; 2], radius: f32) -> Option<()> {
        let ([x, y], radius) = (center.map(f64::from), f64::from(radius));
        let (rows, columns) =
            (centers(y - radius, y + radius, self.height), centers(x - radius, x + radius, self.width));
        self.spend(1 + rows.len() * columns.len())?;
        for row in rows {
            for column in columns.clone() {
                let (dx, dy) = (column as f64 + 0.5 - x, row as f64 + 0.5 - y);
                if dx * dx + dy * dy <= radius * radius {
                    self.pixels[row * self.width + column] |= MARKED;
                }
            }
        }
        Some(())
    }

    /// Marks every second of these runs, column after column.
    pub(super) fn runs(&mut self, lengths: &[u32]) -> Option<()> {
        let mut position = 0;
        for (index, &length) in lengths.iter().enumerate() {
            let end = (position + length as usize).min(self.pixels.len());
            if index % 2 == 1 {
                self.spend(1 + end - position)?;
                for place in position..end {
                    self.pixels[place % self.height * self.width + place / self.height] |= MARKED;
                }
            }
            position = end;
        }
        Some(())
    }
}
