//! Convolutions as products of bytes. Each map is quantized once with one scale, and the rows of the product are pointers into it.

use crate::conv::{ConvArgs, Patches};
use crate::gemm::{Epilogue, Residual};
use crate::int8::isa::DotIsa;
use crate::int8::packed::PackedBytes;
use crate::int8::product::{BytePointers, rows_times_panels};
use crate::int8::quantize::{Scale, Span, row_length, store_cells};
use crate::memory::with_scratch;
use crate::parallel::{SharedOut, map_tasks, part, run_tasks};

/// The output cells for which a task makes pointers.
const CELLS: usize = 240;
/// The fewest elements of a map whose storing takes longer than waking up a thread.
const MIN_SHARED: usize = 64 << 10;

/// Stores the maps of a convolution's input, each followed by a cell of zeros, and returns their scales.
fn quantize_maps(args: &ConvArgs<'_>, isa: DotIsa, channels: usize, buffer: &mut [f32]) -> Vec<Scale> {
    let &ConvArgs { x, input, .. } = args;
    let (cells, stride) = (input.rows * input.columns, row_length(isa, channels));
    // Each thread gets the same number of parts of a map.
    let threads = rayon::current_num_threads();
    let parts = if input.batch < threads && cells * channels >= MIN_SHARED { threads } else { 1 };
    let cells_of = |task: usize| {
        let (image, range) = (task / parts, part(cells, 1, parts, task % parts));
        (image, range.start, &x[(image * cells + range.start) * channels..][..range.len() * channels])
    };
    let spans = map_tasks(input.batch * parts, |task| Span::of(isa, cells_of(task).2));
    let scale = |spans: &[Span]| Scale::new(spans.iter().copied().fold(Span::default(), Span::join));
    let scales: Vec<Scale> = spans.chunks_exact(parts).map(scale).collect();
    let shared = SharedOut::new(buffer);
    let zeros = vec![0.0; channels];
    run_tasks(input.batch * parts, |task| {
        let (image, first, values) = cells_of(task);
        let at = (image * (cells + 1) + first) * stride;
        let count = values.len() / channels;
        // SAFETY: `at` checks the places of the cells; each task stores its own.
        unsafe { store_cells(isa, values, channels, scales[image], shared.at(at, count * stride)) };
        if first + count == cells && count > 0 {
            // SAFETY: as above, for the cell after the last one.
            unsafe { store_cells(isa, &zeros, channels, scales[image], shared.at(at + count * stride, stride)) };
        }
    });
    scales
}

/// Computes the output of a convolution whose patches have one segment for each cell of the kernel.
pub(crate) fn product_of_patches(patches: &Patches, args: &ConvArgs<'_>, weights: &PackedBytes, y: &mut [f32]) {
    let &ConvArgs { input, output, residual, activation, .. } = args;
    let &Patches { segments, channels, .. } = patches;
    let (isa, tile_rows, outputs) = (weights.isa(), weights.isa().rows(), weights.outputs());
    // The cells of a map, and one of zeros.
    let cells = input.rows * input.columns;
    let stride = row_length(isa, channels);
    let size = (cells + 1) * stride;
    with_scratch(input.batch * size, |buffer| {
        let scales = quantize_maps(args, isa, channels, buffer);
        let buffer = &*buffer;
        let stored = |image: usize, cell: usize| buffer[image * size + cell * stride..][..stride].as_ptr().cast::<u8>();
        let shared = SharedOut::new(y);
        let (count, map) = (output.cells(), output.rows * output.columns);
        let residual = residual.map(|values| Residual { values, stride: outputs, period: count, last: false });
        let epilogue = Epilogue { residual, activation };
        // The same number for every thread.
        let heights = count.div_ceil(CELLS).next_multiple_of(rayon::current_num_threads());
        run_tasks(heights, |task| {
            let range = part(count, tile_rows, heights, task);
            if range.is_empty() {
                return;
            }
            let padded = range.len().next_multiple_of(tile_rows);
            let mut pointers = vec![std::ptr::null(); padded * segments];
            for (index, pointers) in pointers.chunks_exact_mut(segments * tile_rows).enumerate() {
                for (row, cell) in (range.start + index * tile_rows..).take(tile_rows).enumerate() {
                    let cell = cell.min(range.end - 1);
                    let image = cell / map;
                    patches.input_cells(args, cell, |segment, from| {
                        let from = from.map_or(cells, |from| from - image * cells);
                        pointers[segment * tile_rows + row] = stored(image, from);
                    });
                }
            }
            let scales: Vec<Scale> = range.clone().map(|cell| scales[cell / map]).collect();
            let rows = BytePointers { pointers: &pointers, scales: &scales, first: range.start };
            // SAFETY: each pointer is valid for a cell of the buffer, as the slices above checked; each task writes its own cells.
            unsafe { rows_times_panels(&rows, weights, weights.panels(1, 0), shared, outputs, epilogue) };
        });
    });
}
