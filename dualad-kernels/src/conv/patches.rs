//! Convolutions as matrix products whose left rows are pointers into the input: no matrix of patches is made.

use crate::conv::shape::{ConvArgs, MapSize};
use crate::gemm::Packed;
use crate::gemm::tile::{Lhs, PanelProduct, TileEpilogue, multiply_panels};
use crate::parallel::{SharedOut, part, run_tasks};

/// The left rows of a convolution, described by their position in its input.
pub(crate) struct Patches {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// The channels of the input.
    pub(crate) channels: usize,
    /// The segments of a left row: one for each row or for each cell of the kernel.
    pub(crate) segments: usize,
    /// The elements of a segment.
    pub(crate) length: usize,
}

/// The output cells for which a task makes pointers.
const CELLS: usize = 96;

impl Patches {
    /// Computes the output of the convolution.
    pub(crate) fn product(&self, args: &ConvArgs<&[f32]>, weights: &Packed, y: &mut [f32]) {
        let &ConvArgs { x, output, residual, activation, .. } = args;
        let &Self { segments, length, .. } = self;
        let cells = output.cells();
        let tile_rows = weights.isa().rows();
        // The same number for every thread.
        let heights = cells.div_ceil(CELLS).next_multiple_of(rayon::current_num_threads());
        let zeros = vec![0.0f32; length];
        let shared = SharedOut::new(y);
        run_tasks(heights, |task| {
            let range = part(cells, tile_rows, heights, task);
            if range.is_empty() {
                return;
            }
            let mut pointers = vec![zeros.as_ptr(); range.len().div_ceil(tile_rows) * segments * tile_rows];
            for (index, pointers) in pointers.chunks_exact_mut(segments * tile_rows).enumerate() {
                let first = range.start + index * tile_rows;
                let rows = tile_rows.min(range.end - first);
                for (row, position) in positions(output, first).take(rows).enumerate() {
                    self.input_cells(args, position, |segment, from| {
                        if let Some(from) = from {
                            pointers[segment * tile_rows + row] = x[from * self.channels..][..length].as_ptr();
                        }
                    });
                }
            }
            let panels = weights.panels(1, 0);
            for panel in panels.clone() {
                let columns = weights.columns(panel);
                let at = range.start * weights.outputs() + panel * weights.isa().panel();
                let span = (range.len() - 1) * weights.outputs() + columns;
                let residual = residual.map_or(std::ptr::null(), |residual| residual[at..][..span].as_ptr());
                let job = PanelProduct {
                    rows: range.len(),
                    lhs: Lhs::Pointers { pointers: pointers.as_ptr(), segments },
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
                    epilogue: TileEpilogue {
                        out: shared.at(at, span),
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
                // SAFETY: each pointer is valid for `length` elements of the input or of zeros, as the slices above checked; the
                // panels have a line for each element of the segments; `out` and the residual have the columns in each row;
                // each task writes its own cells.
                unsafe { multiply_panels(weights.isa(), &job) };
            }
        });
    }

    /// Calls `each` with every segment of an output cell's patch and the cell of the input at which it begins, or `None` if that lies in
    /// the padding. The position of the cell is that of [`positions`].
    #[inline(always)]
    pub(crate) fn input_cells<M>(
        &self,
        args: &ConvArgs<M>,
        [image, row, column]: [usize; 3],
        mut each: impl FnMut(usize, Option<usize>),
    ) {
        let &ConvArgs { input, padding, .. } = args;
        // A segment is one row of the kernel, or one cell.
        let rights = self.segments / self.kernel;
        // Wraps around in the padding.
        let first = [(row * self.stride).wrapping_sub(padding.top), (column * self.stride).wrapping_sub(padding.left)];
        for down in 0..self.kernel {
            let y = first[0].wrapping_add(down);
            let line = (y < input.rows).then(|| (image * input.rows + y) * input.columns);
            for right in 0..rights {
                let x = first[1].wrapping_add(right);
                each(down * rights + right, line.filter(|_| x < input.columns).map(|line| line + x));
            }
        }
    }
}

/// Returns the image, the row and the column of each cell from `first` on, without end.
pub(crate) fn positions(size: MapSize, first: usize) -> impl Iterator<Item = [usize; 3]> {
    let row = first / size.columns;
    let next = move |&[image, row, column]: &[usize; 3]| {
        Some(match () {
            () if column + 1 < size.columns => [image, row, column + 1],
            () if row + 1 < size.rows => [image, row + 1, 0],
            () => [image + 1, 0, 0],
        })
    };
    std::iter::successors(Some([row / size.rows, row % size.rows, first % size.columns]), next)
}
