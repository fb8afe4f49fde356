//! Defects that are drawn over an image, and the mask that they make.

use std::path::{Path, PathBuf};

use super::canvas::Canvas;
use super::limits::Limits;
use super::raster::Mask;
use crate::error::{Error, Result};

/// The largest number of points and run lengths in a drawing.
const MAX_POINTS: usize = 1 << 22;

/// The largest coordinate, in pixels. Nothing beyond it is in an image, and up to it positions are exact.
const MAX_COORDINATE: f32 = 16_777_216.0;

/// A shape over an image. Coordinates are in pixels, x to the right and y down: (0, 0) is the upper left corner of the first
/// pixel, whose center is (0.5, 0.5).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Shape {
    /// A closed polygon. It marks the pixels whose centers lie inside, by the even-odd rule. If it contains no center, it marks
    /// the pixels that its outline crosses, so that a thin scratch is not lost.
    Polygon(Vec<[f32; 2]>),
    /// A line through points. It marks the pixels that it crosses. A single point marks its pixel.
    Line(Vec<[f32; 2]>),
    /// A disc. It marks the pixels whose centers lie inside.
    Disc {
        /// The center.
        center: [f32; 2],
        /// The radius in pixels.
        radius: f32,
    },
    /// Runs of unmarked and marked pixels in turn, column after column: the run-length encoding of COCO.
    Runs {
        /// The width and height. They must be those of the image.
        size: (u32, u32),
        /// The lengths of the runs. The first run is unmarked, and may have the length 0.
        lengths: Vec<u32>,
    },
}

impl Shape {
    /// Returns the polygon of an upright box: the corner with the smallest coordinates, the width and the height.
    pub fn rectangle([x, y, width, height]: [f32; 4]) -> Self {
        Self::Polygon(vec![[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    }

    /// Returns the number of stored points or lengths.
    fn len(&self) -> usize {
        match self {
            Self::Polygon(points) | Self::Line(points) => points.len(),
            Self::Disc { .. } => 1,
            Self::Runs { lengths, .. } => lengths.len(),
        }
    }

    /// Returns the fault of a shape.
    fn fault(&self) -> Option<String> {
        // False for NaN, too.
        let known = |points: &[[f32; 2]]| points.iter().flatten().all(|value| value.abs() <= MAX_COORDINATE);
        match self {
            Self::Polygon(points) | Self::Line(points) if points.is_empty() => Some("a shape has no points".into()),
            Self::Polygon(points) | Self::Line(points) if !known(points) => {
                Some(format!("a coordinate is not a number, or is beyond {MAX_COORDINATE}; give pixels"))
            }
            Self::Disc { center, radius } if !known(&[*center]) || !(0.0..=MAX_COORDINATE).contains(radius) => {
                Some(format!("a center or radius is not a number, or is beyond {MAX_COORDINATE}; give pixels"))
            }
            Self::Runs { size: (width, height), lengths } => {
                let pixels = u64::from(*width) * u64::from(*height);
                let sum: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
                let what = format!("its runs have {sum} pixels, but {width}x{height} (width x height) has {pixels}");
                (sum != pixels).then_some(what)
            }
            _ => None,
        }
    }
}

/// The defects of an image as shapes. A pixel is defective if any of the shapes marks it.
///
/// ```
/// use dualad_data::image::{Drawing, Limits, Shape};
///
/// let drawing = Drawing::new("labels.json", Some((4, 2)), vec![Shape::rectangle([1.0, 0.0, 2.0, 1.0])])?;
/// let mask = drawing.mask((4, 2), &Limits::default())?;
/// assert_eq!(mask.pixels(), [0, 1, 1, 0, 0, 0, 0, 0]);
/// # Ok::<(), dualad_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    file: PathBuf,
    size: Option<(u32, u32)>,
    shapes: Vec<Shape>,
}

/// No coordinate is NaN.
impl Eq for Drawing {}

impl Drawing {
    /// Creates a drawing. `file` has the annotations, and stands for them in errors. `size` is the width and height of the image
    /// that they were drawn on, if the file tells it.
    ///
    /// # Errors
    /// [`Error::Annotations`] for a shape without points, a coordinate that is not a number or beyond 2^24, runs that do not fill their size, and
    /// more than 4 million points and runs.
    pub fn new(file: impl Into<PathBuf>, size: Option<(u32, u32)>, shapes: Vec<Shape>) -> Result<Self> {
        let file = file.into();
        let points = shapes.iter().map(Shape::len).sum::<usize>();
        let many = (points > MAX_POINTS).then(|| {
            format!(
                "an image has {points} points and runs of shapes, but the limit is {MAX_POINTS}; simplify the shapes"
            )
        });
        match many.or_else(|| shapes.iter().find_map(Shape::fault)) {
            Some(reason) => Err(Error::Annotations { path: file, reason }),
            None => Ok(Self { file, size, shapes }),
        }
    }

    /// Returns the file with the annotations.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the width and height of the image that the shapes were drawn on, if the annotations tell it.
    pub fn size(&self) -> Option<(u32, u32)> {
        let of_runs = |shape: &Shape| match shape {
            Shape::Runs { size, .. } => Some(*size),
            _ => None,
        };
        self.size.or_else(|| self.shapes.iter().find_map(of_runs))
    }

    /// Returns the shapes.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Returns the smallest x and y and the largest x and y of the shapes, apart from runs.
    pub(crate) fn range(&self) -> Option<[f32; 4]> {
        let of_shape = |shape: &Shape| match shape {
            Shape::Polygon(points) | Shape::Line(points) => points.clone(),
            Shape::Disc { center: [x, y], radius } => vec![[x - radius, y - radius], [x + radius, y + radius]],
            Shape::Runs { .. } => Vec::new(),
        };
        let points = self.shapes.iter().flat_map(of_shape);
        points.map(|[x, y]| [x, y, x, y]).reduce(|[a, b, c, d], [x, y, ..]| [a.min(x), b.min(y), c.max(x), d.max(y)])
    }

    /// Draws the shapes as a mask of this width and height. The result is the same on every machine.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the limits, [`Error::Decode`] for a size of 0, [`Error::Io`] without memory, [`Error::Annotations`] if runs have another size, or if the shapes together cover
    /// the image more than 64 times.
    pub fn mask(&self, size: (u32, u32), limits: &Limits) -> Result<Mask> {
        limits.check_pixels(&self.file, size)?;
        let fault = |reason: String| Error::Annotations { path: self.file.clone(), reason };
        let mut canvas = Canvas::new(&self.file, size)?;
        for shape in &self.shapes {
            let drawn = match shape {
                Shape::Polygon(points) => canvas.polygon(points),
                Shape::Line(points) => canvas.line(points),
                Shape::Disc { center, radius } => canvas.disc(*center, *radius),
                Shape::Runs { size: own, .. } if *own != size => {
                    let ((w, h), (width, height)) = (own, size);
                    return Err(fault(format!(
                        "runs of {w}x{h} pixels are drawn on an image of {width}x{height} (width x height); export the \
                         annotations again for these images"
                    )));
                }
                Shape::Runs { lengths, .. } => canvas.runs(lengths),
            };
            if drawn.is_none() {
                return Err(fault(
                    "the shapes of an image together cover it more than 64 times; remove repeated shapes".into(),
                ));
            }
        }
        Mask::new(size.0, size.1, canvas.pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(shapes: Vec<Shape>, (width, height): (u32, u32)) -> Vec<String> {
        let drawing = Drawing::new("a.json", None, shapes).unwrap();
        let mask = drawing.mask((width, height), &Limits::default()).unwrap();
        let row = |row: &[u8]| row.iter().map(|&pixel| if pixel == 0 { '.' } else { '#' }).collect();
        mask.pixels().chunks(width as usize).map(row).collect()
    }

    #[test]
    fn a_polygon_marks_the_pixels_whose_centers_are_inside() {
        assert_eq!(rows(vec![Shape::rectangle([1.0, 1.0, 2.0, 2.0])], (4, 4)), ["....", ".##.", ".##.", "...."]);
        // Half a pixel more on each side: the centers at its edge belong to the upper left.
        assert_eq!(rows(vec![Shape::rectangle([0.5, 0.5, 2.0, 2.0])], (4, 4)), ["##..", "##..", "....", "...."]);
        let triangle = Shape::Polygon(vec![[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]);
        assert_eq!(rows(vec![triangle], (4, 4)), ["###.", "##..", "#...", "...."]);
        // A ring of two squares in one outline: the inner one is a hole.
        let outer = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0], [0.0, 0.0]];
        let inner = [[1.0, 1.0], [3.0, 1.0], [3.0, 3.0], [1.0, 3.0], [1.0, 1.0]];
        assert_eq!(rows(vec![Shape::Polygon([outer, inner].concat())], (4, 4)), ["####", "#..#", "#..#", "####"]);
        // Two shapes are joined, and neighbors with a common edge share no pixel and leave none out.
        let halves = vec![Shape::rectangle([0.0, 0.0, 1.5, 2.0]), Shape::rectangle([1.5, 0.0, 1.5, 2.0])];
        assert_eq!(rows(halves, (4, 2)), ["###.", "###."]);
    }

    #[test]
    fn a_thin_polygon_and_a_line_mark_the_pixels_that_they_cross() {
        let thin = Shape::Polygon(vec![[0.0, 1.1], [4.0, 1.1], [4.0, 1.2]]);
        assert_eq!(rows(vec![thin], (4, 3)), ["....", "####", "...."]);
        assert_eq!(rows(vec![Shape::Line(vec![[0.5, 0.5], [3.5, 3.5]])], (4, 4)), ["#...", ".#..", "..#.", "...#"]);
        assert_eq!(rows(vec![Shape::Line(vec![[2.2, 1.9]])], (4, 2)), ["....", "..#."]);
        // What is outside is cut off, however far it goes.
        assert_eq!(rows(vec![Shape::Line(vec![[-1e7, 0.5], [1e7, 0.5]])], (3, 2)), ["###", "..."]);
        assert_eq!(rows(vec![Shape::rectangle([-9.0, -9.0, 9.0, 9.0])], (3, 2)), ["...", "..."]);
        assert_eq!(rows(vec![Shape::rectangle([-5.0, 1.0, 1e7, 1e7])], (3, 2)), ["...", "###"]);
        assert_eq!(rows(vec![Shape::Line(vec![[9.0, 9.0]])], (3, 2)), ["...", "..."]);
    }

    #[test]
    fn a_disc_and_runs() {
        let disc = Shape::Disc { center: [2.0, 2.0], radius: 1.6 };
        assert_eq!(rows(vec![disc], (4, 4)), [".##.", "####", "####", ".##."]);
        // Column after column: two pixels of the first column are unmarked, three are marked, one is not.
        assert_eq!(rows(vec![Shape::Runs { size: (2, 3), lengths: vec![2, 3, 1] }], (2, 3)), [".#", ".#", "#."]);
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        let faults = [
            Shape::Polygon(Vec::new()),
            Shape::Line(vec![[f32::NAN, 0.0]]),
            Shape::Line(vec![[0.0, 1e9]]),
            Shape::Disc { center: [0.0, 0.0], radius: -1.0 },
            Shape::Runs { size: (2, 2), lengths: vec![5] },
            Shape::Runs { size: (2, 2), lengths: vec![3] },
        ];
        for shape in faults {
            assert!(matches!(Drawing::new("a.json", None, vec![shape]), Err(Error::Annotations { .. })));
        }
        let many = vec![Shape::rectangle([0.0, 0.0, 100.0, 100.0]); 200];
        let error = Drawing::new("a.json", None, many).unwrap().mask((100, 100), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("64 times"), "{error}");
        let runs = Drawing::new("a.json", None, vec![Shape::Runs { size: (2, 2), lengths: vec![4] }]).unwrap();
        assert!(runs.mask((2, 3), &Limits::default()).unwrap_err().to_string().contains("2x2"));
        assert_eq!(runs.size(), Some((2, 2)));
        let limits = Limits::default().with_pixels(5);
        assert!(matches!(runs.mask((2, 3), &limits), Err(Error::TooLarge { .. })));
    }
}
