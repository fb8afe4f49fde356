//! Products with packed weights: `act(x W^T + bias + residual)`.

use std::ops::Range;
use std::sync::Arc;

use crate::Activation;
use crate::memory::{Buffer, Target, part, run_tasks, with_scratch};
use crate::simd::Isa;
use crate::tile::{self, Column, Finish, LeftColumn, MOST_ROWS};

/// Numbers of the left rows that are multiplied before the next panel's turn. A tile's sums stay in registers all the while, and
/// both operands are read in long stretches, which the processor fetches ahead: smaller blocks, which the nearest cache would
/// hold, are slower by a tenth. A panel of so many lines still fits the second cache.
const DEPTH: usize = 2048;
/// Left rows that a task packs at a time.
const HEIGHT: usize = 240;
/// Numbers of weights that a tile of rows is multiplied with before the next one's turn, where rows are not packed.
const TOGETHER: usize = 48 << 10;
/// From so many outputs on, packing the left rows costs less than it brings, also where they could be read where they are.
const PACKED_FROM: usize = 768;
/// Products that take longer than it takes to wake a thread up.
const WORTH_SHARING: usize = 64 << 10;

/// A matrix `[outputs, inputs]` with its bias, laid out for an instruction set: panels of some outputs, in each the inputs
/// one after the other.
///
/// ```
/// use dualad_kernels::{Isa, Packed};
///
/// // Two outputs of three inputs, each with its bias.
/// let weights = Packed::new(Isa::best(), &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0], 3, Some(&[0.5, 0.0]));
/// assert_eq!((weights.inputs(), weights.outputs()), (3, 2));
/// ```
#[derive(Debug, Clone)]
pub struct Packed {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    panels: Arc<Buffer>,
    /// Where in the buffer its panels begin.
    start: usize,
    bias: Option<Arc<Buffer>>,
}

impl Packed {
    /// `weight` is `[outputs, inputs]`, row by row.
    ///
    /// # Panics
    /// If a length is not what the others make it, or a side is 0.
    pub fn new(isa: Isa, weight: &[f32], inputs: usize, bias: Option<&[f32]>) -> Self {
        assert!(inputs > 0 && !weight.is_empty() && weight.len().is_multiple_of(inputs), "a packed matrix's sides");
        let outputs = weight.len() / inputs;
        Self::from_fn(isa, outputs, inputs, bias, |output, input| weight[output * inputs + input])
    }

    pub(crate) fn from_fn(
        isa: Isa,
        outputs: usize,
        inputs: usize,
        bias: Option<&[f32]>,
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let width = isa.panel();
        let mut panels = Buffer::zeros(outputs.next_multiple_of(width) * inputs);
        for (panel, lines) in panels.chunks_exact_mut(width * inputs).enumerate() {
            for (input, line) in lines.chunks_exact_mut(width).enumerate() {
                for (output, value) in (panel * width..outputs).zip(line) {
                    *value = weight(output, input);
                }
            }
        }
        let bias = bias.map(|bias| {
            assert_eq!(bias.len(), outputs, "a packed matrix's bias");
            let mut padded = Buffer::zeros(outputs.next_multiple_of(width));
            padded[..outputs].copy_from_slice(bias);
            Arc::new(padded)
        });
        Self { isa, inputs, outputs, panels: panels.into(), start: 0, bias }
    }

    /// Moves small matrices side by side, so that they lie on large pages too. Nothing else changes.
    pub fn gather<'a>(all: impl IntoIterator<Item = &'a mut Self>) {
        /// What is larger has large pages of its own.
        const SMALL: usize = 1 << 20;
        let mut small: Vec<&mut Self> = all.into_iter().filter(|packed| packed.panels.len() <= SMALL).collect();
        let mut together = Buffer::zeros(small.iter().map(|packed| packed.panels.len()).sum());
        let mut start = 0;
        for packed in &mut small {
            together[start..start + packed.panels.len()].copy_from_slice(&packed.panels);
            packed.start = start;
            start += packed.panels.len();
            packed.panels = Arc::default();
        }
        let together = Arc::new(together);
        small.into_iter().for_each(|packed| packed.panels = Arc::clone(&together));
    }

    /// Numbers in a left row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers in a row of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// A panel, and those after it.
    pub(crate) fn panel(&self, panel: usize) -> &[f32] {
        let (width, end) =
            (self.isa.panel(), self.start + self.outputs.next_multiple_of(self.isa.panel()) * self.inputs);
        &self.panels[self.start + panel * width * self.inputs..end]
    }

    /// The bias of a panel and of those after it, or null.
    pub(crate) fn bias(&self, panel: usize) -> *const f32 {
        match &self.bias {
            Some(bias) => bias[panel * self.isa.panel()..].as_ptr(),
            None => std::ptr::null(),
        }
    }

    /// Panels of some outputs, as the first and the number of them: the `index`th of `parts`.
    pub(crate) fn panels(&self, parts: usize, index: usize) -> Range<usize> {
        part(self.outputs.div_ceil(self.isa.panel()), 1, parts, index)
    }

    /// Columns of a panel that are not padding.
    pub(crate) fn columns(&self, panel: usize) -> usize {
        let width = self.isa.panel();
        width.min(self.outputs - panel * width)
    }
}

/// Where rows stand in a buffer.
#[derive(Debug, Clone, Copy)]
pub enum Rows {
    /// Each `stride` after the one before.
    Dense {
        /// From the first number of one to the next one's.
        stride: usize,
    },
    /// Cells of maps `[rows, columns, stride]` whose rows and columns are taken in steps.
    Stepped {
        /// Numbers in a cell.
        stride: usize,
        /// Rows and columns of a map.
        map: [usize; 2],
        /// The step.
        step: usize,
    },
}

impl Rows {
    #[inline(always)]
    fn offset(self, row: usize) -> usize {
        match self {
            Self::Dense { stride } => row * stride,
            Self::Stepped { stride, map: [rows, columns], step } => {
                let taken = [rows.div_ceil(step), columns.div_ceil(step)];
                let (image, cell) = (row / (taken[0] * taken[1]), row % (taken[0] * taken[1]));
                let (y, x) = (cell / taken[1] * step, cell % taken[1] * step);
                ((image * rows + y) * columns + x) * stride
            }
        }
    }
}

/// What is added to a product besides its bias.
#[derive(Debug, Clone, Copy)]
pub struct Residual<'a> {
    /// Rows `stride` apart.
    pub values: &'a [f32],
    /// From one row to the next.
    pub stride: usize,
    /// After so many rows they begin again.
    pub period: usize,
    /// Added after the activation instead of before it.
    pub last: bool,
}

/// What becomes of a product.
#[derive(Debug, Clone, Copy)]
pub struct After<'a> {
    /// What is added to it.
    pub residual: Option<Residual<'a>>,
    /// What the sum goes through.
    pub activation: Activation,
}

impl After<'_> {
    /// Nothing.
    pub const NOTHING: Self = Self { residual: None, activation: Activation::Identity };

    /// A rectifier.
    pub const RELU: Self = Self { residual: None, activation: Activation::Relu };
}

/// `count` rows of `x` times the weights, into rows of `y` that are `stride` apart. Runs on the current thread pool; the result
/// is the same on any number of threads.
///
/// ```
/// use dualad_kernels::{After, Isa, Packed, Rows, product};
///
/// // The sum and the difference of two numbers, where they are not negative.
/// let weights = Packed::new(Isa::best(), &[1.0, 1.0, 1.0, -1.0], 2, None);
/// let mut y = [0.0; 4];
/// product(&[1.0, 2.0, 5.0, 3.0], Rows::Dense { stride: 2 }, 2, &weights, &mut y, 2, After::RELU);
/// assert_eq!(y, [3.0, 0.0, 8.0, 2.0]);
/// ```
///
/// # Panics
/// If a buffer is too small for its rows.
pub fn product(x: &[f32], rows: Rows, count: usize, weights: &Packed, y: &mut [f32], stride: usize, after: After<'_>) {
    if count == 0 {
        return;
    }
    let (inputs, outputs) = (weights.inputs, weights.outputs);
    assert!(rows.offset(count - 1) + inputs <= x.len(), "a product's left rows");
    assert!(stride >= outputs && (count - 1) * stride + outputs <= y.len(), "a product's result");
    if let Some(Residual { values, stride, period, .. }) = after.residual {
        assert!(period > 0 && (period.min(count) - 1) * stride + outputs <= values.len(), "a product's residual");
    }
    let tile_rows = weights.isa.rows();
    let threads = rayon::current_num_threads();
    // As many parts of the rows for each thread as for the others. Where there are fewer, the panels are shared out too; each
    // task packs the rows for itself, so that there are no more than needed.
    let heights = match count.div_ceil(HEIGHT) {
        0 | 1 => 1,
        heights => heights.next_multiple_of(threads),
    };
    let panels = outputs.div_ceil(weights.isa.panel());
    let shared = if count * inputs * outputs < WORTH_SHARING { 1 } else { threads.div_ceil(heights) };
    let widths = shared.min(panels).max(1);
    let target = Target::new(y);
    run_tasks(heights * widths, |task| {
        let height = part(count, tile_rows, heights, task / widths);
        let width = weights.panels(widths, task % widths);
        let block = Block { x, rows, weights, target, stride, after, height, panels: width };
        match rows {
            Rows::Dense { stride } if inputs <= DEPTH && outputs < PACKED_FROM => block.dense(stride),
            _ => block.packed(),
        }
    });
}

/// Some rows and some panels of a product.
struct Block<'a> {
    x: &'a [f32],
    rows: Rows,
    weights: &'a Packed,
    target: Target,
    stride: usize,
    after: After<'a>,
    height: Range<usize>,
    panels: Range<usize>,
}

impl Block<'_> {
    /// Parts of the depth: as even as they can be.
    fn depths(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let inputs = self.weights.inputs;
        let parts = inputs.div_ceil(DEPTH);
        (0..parts).map(move |index| part(inputs, 1, parts, index))
    }

    /// With the left rows packed, a tile's side by side.
    fn packed(&self) {
        let tile_rows = self.weights.isa.rows();
        let deepest = self.weights.inputs.min(DEPTH);
        let tiles = self.height.len().div_ceil(tile_rows);
        with_scratch(tiles * tile_rows * deepest, |scratch| {
            for depth in self.depths() {
                let size = tile_rows * depth.len();
                for (index, packed) in scratch.chunks_exact_mut(size).take(tiles).enumerate() {
                    self.pack(self.height.start + index * tile_rows, &depth, packed);
                }
                for panel in self.panels.clone() {
                    let left = LeftColumn::Packed(scratch[..tiles * size].as_ptr());
                    self.column(left, panel..panel + 1, &depth);
                }
            }
        });
    }

    /// A tile's rows, their first numbers side by side, then the second, ...
    fn pack(&self, first: usize, depth: &Range<usize>, packed: &mut [f32]) {
        /// Numbers of a row that are moved at a time.
        const BLOCK: usize = 8;
        let tile_rows = self.weights.isa.rows();
        // Rows that there are not are not looked at.
        let row = |row: usize| {
            let row = (first + row).min(self.height.end - 1);
            &self.x[self.rows.offset(row) + depth.start..][..depth.len()]
        };
        let rows: [&[f32]; MOST_ROWS] = std::array::from_fn(|index| if index < tile_rows { row(index) } else { &[] });
        let rows = &rows[..tile_rows];
        let mut blocks = packed.chunks_exact_mut(BLOCK * tile_rows);
        for (index, block) in blocks.by_ref().enumerate() {
            for (row, from) in rows.iter().enumerate() {
                let Some(from) = from[index * BLOCK..].first_chunk::<BLOCK>() else { continue };
                for (k, from) in from.iter().enumerate() {
                    block[k * tile_rows + row] = *from;
                }
            }
        }
        let done = depth.len() / BLOCK * BLOCK;
        for (k, block) in (done..).zip(blocks.into_remainder().chunks_exact_mut(tile_rows)) {
            block.iter_mut().zip(rows).for_each(|(to, row)| *to = row[k]);
        }
    }

    fn column(&self, left: LeftColumn, panels: Range<usize>, depth: &Range<usize>) {
        let panel = panels.start;
        let weights = self.weights;
        let width = weights.isa.panel();
        let last_columns = weights.columns(panels.end - 1);
        let columns = (panels.len() - 1) * width + last_columns;
        let (first, rows) = (self.height.start, self.height.len());
        let last = depth.end == weights.inputs;
        let lines = |panel: usize| weights.panel(panel)[depth.start * width..].as_ptr();
        let (mut residual, mut period, mut residual_stride) = (std::ptr::null(), 1, 0);
        if let (Some(added), true) = (self.after.residual, last) {
            (period, residual_stride) = (added.period, added.stride);
            let reached = if first + rows > period { period } else { first + rows };
            let from = &added.values[panel * width..];
            assert!((reached - 1) * residual_stride + columns <= from.len(), "a product's residual");
            residual = from.as_ptr();
        }
        let column = Column {
            rows,
            left,
            depth: depth.len(),
            panel: lines(panel),
            panels: panels.len(),
            panel_stride: width * weights.inputs,
            last_columns,
            next_panel: if panels.end < self.panels.end { lines(panels.end) } else { std::ptr::null() },
            finish: self.finish([first, rows], [panel, columns], depth),
            residual,
            residual_stride,
            period,
            first: first % period,
        };
        // SAFETY: `left` has the rows, packed in whole tiles or where they are, of `depth` numbers, and the panel a line for each; out and residual have
        // the columns in each row, as was checked; each task writes rows and panels of its own.
        unsafe { tile::column(weights.isa, &column) };
    }

    /// What becomes of some rows of some columns from a panel on, without residuals.
    fn finish(&self, [first, rows]: [usize; 2], [panel, columns]: [usize; 2], depth: &Range<usize>) -> Finish {
        let weights = self.weights;
        let width = weights.isa.panel();
        let last = depth.end == weights.inputs;
        Finish {
            out: self.target.at(first * self.stride + panel * width, (rows - 1) * self.stride + columns),
            stride: self.stride,
            columns: width,
            accumulate: depth.start > 0,
            bias: if depth.start == 0 { weights.bias(panel) } else { std::ptr::null() },
            activation: if last { self.after.activation } else { Activation::Identity },
            residuals: std::ptr::null(),
            residual_last: self.after.residual.is_some_and(|residual| residual.last),
        }
    }

    /// With the left rows where they are.
    fn dense(&self, stride: usize) {
        let (first, inputs) = (self.height.start * stride, self.weights.inputs);
        let rows = &self.x[first..][..(self.height.len() - 1) * stride + inputs];
        let left = LeftColumn::Dense { start: rows.as_ptr(), stride };
        // As many panels at a time as the cache holds: rows are read, and the result is written, in longer stretches.
        let together = (TOGETHER / (inputs * self.weights.isa.panel())).max(1);
        let mut panel = self.panels.start;
        while panel < self.panels.end {
            let end = self.panels.end.min(panel + together);
            self.column(left, panel..end, &(0..inputs));
            panel = end;
        }
    }
}
