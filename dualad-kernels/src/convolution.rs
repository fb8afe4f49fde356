//! Convolutions of maps `[batch, rows, columns, channels]` with everything that follows them: `act(conv(x) + bias + residual)`.

use crate::Activation;
use crate::depthwise::Depthwise;
use crate::memory::{Target, part, run_tasks, with_scratch};
use crate::product::{After, Packed, Residual, Rows, product};
use crate::simd::Isa;
use crate::tile::{Column, Finish, LeftColumn, column as column_of};
use crate::winograd::Winograd;

/// What a convolution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// 1, or as many as there are channels (depthwise).
    pub groups: usize,
}

/// Maps' sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Images.
    pub batch: usize,
    /// Rows of a map.
    pub rows: usize,
    /// Columns of a map.
    pub columns: usize,
}

impl Size {
    /// Cells of all maps.
    pub fn cells(self) -> usize {
        self.batch * self.rows * self.columns
    }
}

/// A convolution whose weights are laid out for the way it is done.
///
/// ```
/// use dualad_kernels::{Activation, Convolution, Isa, Shape, Size};
///
/// // The sum of each cell and its neighbours, zeros beyond the border.
/// let shape = Shape { inputs: 1, outputs: 1, kernel: 3, stride: 1, groups: 1 };
/// let size = Size { batch: 1, rows: 3, columns: 3 };
/// let sum = Convolution::new(Isa::best(), shape, &[1.0; 9], &[0.0], size);
/// let mut y = [0.0; 9];
/// sum.run(&[1.0; 9], size, [1, 1], &mut y, size, None, Activation::Identity);
/// assert_eq!(y, [4.0, 6.0, 4.0, 6.0, 9.0, 6.0, 4.0, 6.0, 4.0]);
/// ```
#[derive(Debug, Clone)]
pub struct Convolution {
    shape: Shape,
    way: Way,
}

#[derive(Debug, Clone)]
enum Way {
    /// 1x1: a product.
    Pointwise(Packed),
    /// 3x3 in steps of one.
    Winograd(Winograd),
    /// Each cell of the kernel is a segment of the left rows: no matrix of patches is made.
    Direct(Packed),
    /// Few channels: each row of the kernel is one.
    Rows(Packed),
    Depthwise(Depthwise),
}

/// Fewer channels than that make segments too short for a kernel's every cell.
const FEW: usize = 8;

impl Convolution {
    /// `weight` is `[outputs, inputs / groups, kernel, kernel]`, `bias` one for each output. `size` is what maps it is mostly
    /// given: the fastest way depends on it, and no result does but for rounding.
    ///
    /// # Panics
    /// If a length is not what the shape makes it, a side is 0, or groups are neither 1 nor one for each channel.
    pub fn new(isa: Isa, shape: Shape, weight: &[f32], bias: &[f32], size: Size) -> Self {
        let Shape { inputs, outputs, kernel, stride, groups } = shape;
        assert!(inputs > 0 && outputs > 0 && kernel > 0 && stride > 0, "a convolution's shape");
        assert!(groups == 1 || (groups == inputs && groups == outputs), "a convolution's groups");
        assert_eq!(weight.len(), outputs * (inputs / groups) * kernel * kernel, "a convolution's weights");
        assert_eq!(bias.len(), outputs, "a convolution's bias");
        let cells = kernel * kernel;
        let at = |output: usize, input: usize, cell: usize| weight[(output * inputs + input) * cells + cell];
        let way = if groups > 1 {
            Way::Depthwise(Depthwise::new(isa, shape, weight, bias))
        } else if kernel == 1 {
            Way::Pointwise(Packed::new(isa, weight, inputs, Some(bias)))
        } else if kernel == 3 && stride == 1 && inputs >= FEW {
            Way::Winograd(Winograd::new(isa, [inputs, outputs], weight, bias, size))
        } else {
            // Kernel cells outside, channels inside: as they lie in the maps.
            let packed = Packed::from_fn(isa, outputs, inputs * cells, Some(bias), |output, k| {
                at(output, k % inputs, k / inputs)
            });
            if inputs < FEW { Way::Rows(packed) } else { Way::Direct(packed) }
        };
        Self { shape, way }
    }

    /// The matrices that it multiplies with, for [`Packed::gather`].
    pub fn packed(&mut self) -> &mut [Packed] {
        match &mut self.way {
            Way::Pointwise(packed) | Way::Direct(packed) | Way::Rows(packed) => std::slice::from_mut(packed),
            Way::Winograd(winograd) => winograd.packed(),
            Way::Depthwise(_) => &mut [],
        }
    }

    /// `x` `[batch, rows, columns, inputs]` to `y` `[batch, rows', columns', outputs]`, with so many zeros above and to the left
    /// of each map and as many below and to the right as `out` needs; `residual` has y's shape. Runs on the current
    /// thread pool; the result is the same on any number of threads.
    ///
    /// # Panics
    /// If a buffer's length is not what the sizes make it.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        x: &[f32],
        size: Size,
        padding: [usize; 2],
        y: &mut [f32],
        out: Size,
        residual: Option<&[f32]>,
        activation: Activation,
    ) {
        let Shape { inputs, outputs, stride, .. } = self.shape;
        assert_eq!(x.len(), size.cells() * inputs, "a convolution's input");
        assert!(y.len() == out.cells() * outputs && size.batch == out.batch, "a convolution's output");
        assert!(residual.is_none_or(|residual| residual.len() == y.len()), "a convolution's residual");
        if y.is_empty() {
            return;
        }
        match &self.way {
            Way::Pointwise(weights) => {
                let rows = if stride == 1 {
                    Rows::Dense { stride: inputs }
                } else {
                    Rows::Stepped { stride: inputs, map: [size.rows, size.columns], step: stride }
                };
                let taken = [size.rows.div_ceil(stride), size.columns.div_ceil(stride)];
                assert!(padding == [0, 0] && taken == [out.rows, out.columns], "a 1x1 convolution's output");
                let count = out.cells();
                let residual = residual.map(|values| Residual { values, stride: outputs, period: count, last: false });
                product(x, rows, count, weights, y, outputs, After { residual, activation });
            }
            Way::Winograd(winograd) => winograd.run(x, size, padding, y, out, residual, activation),
            Way::Direct(weights) => {
                let patches = Patches { kernel: self.shape.kernel, stride, padding, channels: inputs, size, out };
                patches.product(x, weights, y, residual, activation, self.shape.kernel.pow(2), inputs);
            }
            Way::Rows(weights) => {
                let kernel = self.shape.kernel;
                // With its zeros around it, so that a row of the kernel lies side by side everywhere.
                let padded = Size {
                    batch: size.batch,
                    rows: ((out.rows - 1) * stride + kernel).max(size.rows + padding[0]),
                    columns: ((out.columns - 1) * stride + kernel).max(size.columns + padding[1]),
                };
                with_scratch(padded.cells() * inputs, |scratch| {
                    pad(x, size, padding, scratch, padded, inputs);
                    let patches = Patches { kernel, stride, padding: [0, 0], channels: inputs, size: padded, out };
                    patches.product(scratch, weights, y, residual, activation, kernel, kernel * inputs);
                });
            }
            Way::Depthwise(depthwise) => depthwise.run(x, size, padding, y, out, residual, activation),
        }
    }
}

/// Copies maps into larger ones of zeros.
fn pad(x: &[f32], size: Size, padding: [usize; 2], to: &mut [f32], padded: Size, channels: usize) {
    let line = padded.columns * channels;
    for (index, to) in to.chunks_exact_mut(line).enumerate() {
        let (image, row) = (index / padded.rows, index % padded.rows);
        let Some(row) = row.checked_sub(padding[0]).filter(|&row| row < size.rows) else {
            to.fill(0.0);
            continue;
        };
        let (from, length) = (((image * size.rows + row) * size.columns) * channels, size.columns * channels);
        let (before, rest) = to.split_at_mut(padding[1] * channels);
        let (line, after) = rest.split_at_mut(length);
        before.fill(0.0);
        line.copy_from_slice(&x[from..from + length]);
        after.fill(0.0);
    }
}

/// The left rows of a convolution as pointers into its input.
struct Patches {
    kernel: usize,
    stride: usize,
    padding: [usize; 2],
    channels: usize,
    size: Size,
    out: Size,
}

/// Cells of the output that a task's pointers are made for.
const CELLS: usize = 96;

impl Patches {
    #[allow(clippy::too_many_arguments)]
    fn product(
        &self,
        x: &[f32],
        weights: &Packed,
        y: &mut [f32],
        residual: Option<&[f32]>,
        activation: Activation,
        segments: usize,
        length: usize,
    ) {
        let cells = self.out.cells();
        let tile_rows = weights.isa().rows();
        // As many for each thread as for the others.
        let heights = cells.div_ceil(CELLS).next_multiple_of(rayon::current_num_threads());
        let zeros = vec![0.0f32; length];
        let target = Target::new(y);
        run_tasks(heights, |task| {
            let range = part(cells, tile_rows, heights, task);
            if range.is_empty() {
                return;
            }
            let mut pointers = vec![zeros.as_ptr(); range.len().div_ceil(tile_rows) * segments * tile_rows];
            for (index, pointers) in pointers.chunks_exact_mut(segments * tile_rows).enumerate() {
                let first = range.start + index * tile_rows;
                for cell in first..range.end.min(first + tile_rows) {
                    for segment in 0..segments {
                        if let Some(offset) = self.offset(cell, segment, segments) {
                            pointers[segment * tile_rows + cell - first] = x[offset..][..length].as_ptr();
                        }
                    }
                }
            }
            let panels = weights.panels(1, 0);
            for panel in panels.clone() {
                let columns = weights.columns(panel);
                let at = range.start * weights.outputs() + panel * weights.isa().panel();
                let span = (range.len() - 1) * weights.outputs() + columns;
                let residual = residual.map_or(std::ptr::null(), |residual| residual[at..][..span].as_ptr());
                let column = Column {
                    rows: range.len(),
                    left: LeftColumn::Pointers { pointers: pointers.as_ptr(), segments },
                    depth: segments * length,
                    panel: weights.panel(panel).as_ptr(),
                    panels: 1,
                    panel_stride: 0,
                    last_columns: columns,
                    next_panel: if panel + 1 < panels.end {
                        weights.panel(panel + 1).as_ptr()
                    } else {
                        std::ptr::null()
                    },
                    finish: Finish {
                        out: target.at(at, span),
                        stride: weights.outputs(),
                        columns,
                        accumulate: false,
                        bias: weights.bias(panel),
                        activation,
                        residuals: std::ptr::null(),
                        residual_last: false,
                    },
                    residual,
                    residual_stride: weights.outputs(),
                    period: range.len(),
                    first: 0,
                };
                // SAFETY: each pointer is to `length` numbers of the input or of zeros, as the slices above were checked for, the
                // panels have a line for each of the segments' numbers, out and residual have the columns in each row, and
                // tasks write cells of their own.
                unsafe { column_of(weights.isa(), &column) };
            }
        });
    }

    /// Where a segment of an output cell's patch begins in the input, if it does not lie beyond its borders.
    fn offset(&self, cell: usize, segment: usize, segments: usize) -> Option<usize> {
        let (column, row) = (cell % self.out.columns, cell / self.out.columns);
        let (image, row) = (row / self.out.rows, row % self.out.rows);
        // Either one row of the kernel is a segment, or one cell.
        let (down, right) =
            if segments == self.kernel { (segment, 0) } else { (segment / self.kernel, segment % self.kernel) };
        let y = (row * self.stride + down).checked_sub(self.padding[0]).filter(|&y| y < self.size.rows)?;
        let x = (column * self.stride + right).checked_sub(self.padding[1]).filter(|&x| x < self.size.columns)?;
        Some(((image * self.size.rows + y) * self.size.columns + x) * self.channels)
    }
}
