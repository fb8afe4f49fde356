//! Convolutions as matrix products whose left rows are pointers into the input: no matrix of patches is made.

use crate::activation::Activation;
use crate::conv::shape::{ConvArgs, MapSize};
use crate::gemm::store::TileEpilogue;
use crate::gemm::tile::{Lhs, PanelProduct, multiply_panels};
use crate::gemm::{DEPTH, Packed};
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
        let offsets = self.offsets(args);
        let reach = offsets.last().map_or(0, |last| last * self.channels + length);
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
                    let pointers = pointers[row..].iter_mut().step_by(tile_rows);
                    if let Some(from) = self.cell_inside(args, position) {
                        let patch = x[from * self.channels..][..reach].as_ptr();
                        pointers
                            .zip(&offsets)
                            .for_each(|(to, offset)| *to = patch.wrapping_add(offset * self.channels));
                        continue;
                    }
                    for (to, from) in pointers.zip(self.input_cells(args, position)) {
                        if let Some(from) = from {
                            *to = x[from * self.channels..][..length].as_ptr();
                        }
                    }
                }
            }
            let panels = weights.panels(1, 0);
            // As many segments at a time as are no deeper than that.
            let taken = (DEPTH / length).clamp(1, segments);
            let parts = (0..segments).step_by(taken).map(|first| first..segments.min(first + taken));
            for (part, panel) in parts.flat_map(|part| panels.clone().map(move |panel| (part.clone(), panel))) {
                let is_last = part.end == segments;
                let lines = |panel: usize| weights.panel(panel)[part.start * length * weights.isa().panel()..].as_ptr();
                let columns = weights.columns(panel);
                let at = range.start * weights.outputs() + panel * weights.isa().panel();
                let span = (range.len() - 1) * weights.outputs() + columns;
                let residual = residual.map_or(std::ptr::null(), |residual| residual[at..][..span].as_ptr());
                let job = PanelProduct {
                    rows: range.len(),
                    lhs: Lhs::Pointers {
                        pointers: pointers[part.start * tile_rows..].as_ptr(),
                        segments: part.len(),
                        stride: segments,
                    },
                    depth: part.len() * length,
                    panel: lines(panel),
                    panels: 1,
                    panel_stride: 0,
                    last_columns: columns,
                    next_panel: if panel + 1 < panels.end { lines(panel + 1) } else { std::ptr::null() },
                    epilogue: TileEpilogue {
                        out: shared.at(at, span),
                        stride: weights.outputs(),
                        columns,
                        accumulate: part.start > 0,
                        bias: if part.start == 0 { weights.bias(panel) } else { std::ptr::null() },
                        activation: if is_last { activation } else { Activation::Identity },
                        residuals: std::ptr::null(),
                        residual_last: false,
                    },
                    residual: if is_last { residual } else { std::ptr::null() },
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

    /// The segments in a row of the kernel: one, or one for each cell.
    fn segments_of_row(&self) -> usize {
        self.segments / self.kernel
    }

    /// Returns the distance of each segment from the first one, in cells of the input.
    pub(crate) fn offsets<M>(&self, args: &ConvArgs<M>) -> Vec<usize> {
        let rights = self.segments_of_row();
        (0..self.segments).map(|segment| segment / rights * args.input.columns + segment % rights).collect()
    }

    /// Returns the input cell at which an output cell's patch begins, or `None` if a part of the patch lies in the padding. The
    /// position of the cell is that of [`positions`].
    #[inline(always)]
    pub(crate) fn cell_inside<M>(&self, args: &ConvArgs<M>, [image, row, column]: [usize; 3]) -> Option<usize> {
        let &ConvArgs { input, padding, .. } = args;
        let y = (row * self.stride).checked_sub(padding.top)?;
        let x = (column * self.stride).checked_sub(padding.left)?;
        let is_inside = y + self.kernel <= input.rows && x + self.segments_of_row() <= input.columns;
        is_inside.then(|| (image * input.rows + y) * input.columns + x)
    }

    /// Returns the input cell at which each segment of an output cell's patch begins, or `None` if that lies in the padding. The
    /// position of the cell is that of [`positions`].
    #[inline(always)]
    pub(crate) fn input_cells<M>(
        &self,
        args: &ConvArgs<M>,
        [image, row, column]: [usize; 3],
    ) -> impl Iterator<Item = Option<usize>> {
        let &ConvArgs { input, padding, .. } = args;
        let rights = self.segments_of_row();
        // Wraps around in the padding.
        let first = [(row * self.stride).wrapping_sub(padding.top), (column * self.stride).wrapping_sub(padding.left)];
        (0..self.segments).map(move |segment| {
            let (y, x) = (first[0].wrapping_add(segment / rights), first[1].wrapping_add(segment % rights));
            (y < input.rows && x < input.columns).then(|| (image * input.rows + y) * input.columns + x)
        })
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
