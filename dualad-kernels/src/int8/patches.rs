//! Convolutions as products of bytes. The rows of the product are pointers into stored maps: with a kernel of one cell, each row has a
//! scale of its own; with a larger one, rows share cells, and a map has one scale.

use std::ops::Range;

use crate::conv::{Cells, ConvArgs, MapSize, Patches, positions};
use crate::gemm::{Epilogue, Residual};
use crate::int8::cells::ByteCells;
use crate::int8::dot::ALIGN;
use crate::int8::isa::DotIsa;
use crate::int8::packed::PackedBytes;
use crate::int8::product::{BytePointers, Target, rows_times_panels};
use crate::int8::quantize::{Scale, Span, row_length, store_cells};
use crate::memory::{Buffer, with_scratch};
use crate::parallel::{SharedOut, map_tasks, part, run_tasks};

/// The most output cells of a task.
const CELLS: usize = 240;
/// The most elements of a task's output, so that it stays in the cache until it is stored as bytes.
const MAX_SCRATCH: usize = 64 << 10;
/// The fewest elements of a map whose storing takes longer than waking up a thread.
const MIN_SHARED: usize = 64 << 10;

/// The maps that the left rows point into.
enum Left<'a> {
    /// Cells with a scale for each.
    Cells(&'a ByteCells),
    /// Maps with a scale for each.
    Maps { stored: StoredMaps, elements: &'a [f32], scales: &'a [Scale] },
}

/// Computes a convolution whose patches have one segment for each cell or each row of the kernel. In the latter case, the input has no
/// padding. The output is written to `floats`, as bytes to `bytes`, or to both.
///
/// # Panics
/// If the input of a kernel of several cells is in bytes, or if bytes are laid out for other instructions.
pub(crate) fn convolve(
    patches: &Patches,
    args: &ConvArgs<Cells<'_>>,
    weights: &PackedBytes,
    floats: Option<&mut [f32]>,
    bytes: Option<&mut ByteCells>,
) {
    let (isa, input, channels) = (weights.isa(), args.input, patches.channels);
    let fits = |cells: &Cells<'_>| matches!(cells, Cells::F32(_)) || matches!(cells, Cells::Bytes(x) if x.isa() == isa);
    let fit = fits(&args.x) && args.residual.iter().all(fits) && bytes.as_deref().is_none_or(|y| y.isa() == isa);
    assert!(fit, "the layout of bytes");
    let outputs = Outputs { patches, args, weights, floats, bytes };
    match args.x {
        Cells::Bytes(x) => {
            assert!(patches.kernel == 1, "cells with scales of their own");
            outputs.compute(&Left::Cells(x));
        }
        Cells::F32(x) if patches.kernel == 1 => {
            let elements = Buffer::zeros(input.cells() * row_length(isa, channels));
            let mut cells = ByteCells::with_isa(isa, input.cells(), channels, elements);
            cells.quantize(x);
            outputs.compute(&Left::Cells(&cells));
        }
        Cells::F32(x) => {
            let stored = StoredMaps::new(patches, input, isa);
            with_scratch(input.batch * stored.map, |elements| {
                let scales = stored.store(x, input.batch, isa, elements);
                outputs.compute(&Left::Maps { stored, elements, scales: &scales });
            });
        }
    }
}

/// Maps as bytes: their pieces, and zeros after each map.
#[derive(Debug, Clone, Copy)]
struct StoredMaps {
    /// The cells of a map.
    cells: usize,
    /// The bytes from a cell to the next one.
    cell: usize,
    /// The pieces of a map, which are stored one after the other and padded each: its cells, or the whole map.
    pieces: usize,
    /// The numbers of a piece.
    length: usize,
    /// The zeros after a map, for cells in the padding and for what pads the last segment.
    zeros: usize,
    /// The elements of f32 from a map to the next one.
    map: usize,
}

impl StoredMaps {
    fn new(patches: &Patches, input: MapSize, isa: DotIsa) -> Self {
        let (cells, channels) = (input.rows * input.columns, patches.channels);
        // Segments of several cells are contiguous.
        let is_whole = patches.length > channels;
        let [pieces, length] = if is_whole { [1, cells * channels] } else { [cells, channels] };
        let zeros = if is_whole { ALIGN } else { channels };
        let cell = if is_whole { channels * isa.element() } else { row_length(isa, channels) * size_of::<f32>() };
        let map = pieces * row_length(isa, length) + row_length(isa, zeros);
        Self { cells, cell, pieces, length, zeros, map }
    }

    /// Stores maps with a scale for each, and returns the scales.
    fn store(self, x: &[f32], batch: usize, isa: DotIsa, elements: &mut [f32]) -> Vec<Scale> {
        let Self { pieces, length, zeros, map, .. } = self;
        let stride = row_length(isa, length);
        // Each thread gets the same number of parts of a map.
        let threads = rayon::current_num_threads();
        let parts = if batch < threads && pieces * length >= MIN_SHARED { threads.min(pieces) } else { 1 };
        let pieces_of = |task: usize| {
            let (image, range) = (task / parts, part(pieces, 1, parts, task % parts));
            (image, range.start, &x[(image * pieces + range.start) * length..][..range.len() * length])
        };
        let spans = map_tasks(batch * parts, |task| Span::of(isa, pieces_of(task).2));
        let scale = |spans: &[Span]| Scale::new(spans.iter().copied().fold(Span::default(), Span::join));
        let scales: Vec<Scale> = spans.chunks_exact(parts).map(scale).collect();
        let shared = SharedOut::new(elements);
        let last = vec![0.0; zeros];
        run_tasks(batch * parts, |task| {
            let (image, first, values) = pieces_of(task);
            let (at, count) = (image * map + first * stride, values.len() / length);
            // SAFETY: `at` checks the places of the pieces; each task stores its own.
            unsafe { store_cells(isa, values, length, scales[image], shared.at(at, count * stride)) };
            if first + count == pieces && count > 0 {
                let to = shared.at(at + count * stride, row_length(isa, zeros));
                // SAFETY: as above, for the zeros after the last piece.
                unsafe { store_cells(isa, &last, zeros, scales[image], to) };
            }
        });
        scales
    }

    /// Returns the bytes from a cell on, or from the zeros after the map.
    fn pointer(self, elements: &[f32], image: usize, cell: Option<usize>) -> *const u8 {
        let map = elements[image * self.map..][..self.map].as_ptr().cast::<u8>();
        match cell {
            Some(cell) => map.wrapping_add((cell - image * self.cells) * self.cell),
            None => map.wrapping_add(self.pieces * self.cell),
        }
    }
}

/// The output of a convolution.
struct Outputs<'a, 'b> {
    patches: &'a Patches,
    args: &'a ConvArgs<Cells<'b>>,
    weights: &'a PackedBytes,
    floats: Option<&'a mut [f32]>,
    bytes: Option<&'a mut ByteCells>,
}

impl Outputs<'_, '_> {
    fn compute(self, left: &Left<'_>) {
        let Self { patches, args, weights, floats, mut bytes } = self;
        let (isa, outputs, count) = (weights.isa(), weights.outputs(), args.output.cells());
        let shared = floats.map(SharedOut::new);
        let places = bytes.as_deref_mut().map(ByteCells::places);
        let most = if places.is_some() { (MAX_SCRATCH / outputs).clamp(isa.rows(), CELLS) } else { CELLS };
        // The same number for every thread.
        let heights = count.div_ceil(most).next_multiple_of(rayon::current_num_threads());
        let scales = map_tasks(heights, |task| {
            let range = part(count, isa.rows(), heights, task);
            if range.is_empty() {
                return Vec::new();
            }
            let size = range.len() * outputs;
            let (pointers, scales) = left_rows(left, patches, args, range.clone(), isa);
            let rows = BytePointers { pointers: &pointers, scales: &scales, first: range.start };
            let run = |out: *mut f32| {
                // SAFETY: `out` is valid for the output of these cells, which no other thread uses.
                let y = unsafe { std::slice::from_raw_parts_mut(out, size) };
                let mut residual = None;
                match args.residual {
                    Some(Cells::F32(values)) => {
                        residual = Some(Residual { values, stride: outputs, period: count, last: false });
                    }
                    // The products are added to it.
                    Some(Cells::Bytes(cells)) => cells.restore(range.start, y),
                    None => {}
                }
                let accumulate = matches!(args.residual, Some(Cells::Bytes(_)));
                let target = Target { out: y.as_mut_ptr(), stride: outputs, accumulate };
                let epilogue = Epilogue { residual, activation: args.activation };
                // SAFETY: each pointer is valid for a stored cell, as `left_rows` checked; `out` as above.
                unsafe { rows_times_panels(&rows, weights, weights.panels(1, 0), target, epilogue) };
                // SAFETY: each task stores its own cells.
                places.map_or_else(Vec::new, |places| unsafe { places.store(range.start, y) })
            };
            match shared {
                Some(shared) => run(shared.at(range.start * outputs, size)),
                None => with_scratch(size, |scratch| run(scratch.as_mut_ptr())),
            }
        });
        if let Some(bytes) = bytes {
            bytes.set_scales(scales.concat());
        }
    }
}

/// Returns the pointers to the segments of some output cells' patches, as in [`BytePointers`], and the scale of each row.
fn left_rows(
    left: &Left<'_>,
    patches: &Patches,
    args: &ConvArgs<Cells<'_>>,
    range: Range<usize>,
    isa: DotIsa,
) -> (Vec<*const u8>, Vec<Scale>) {
    let (tile_rows, segments) = (isa.rows(), patches.segments);
    let mut pointers = vec![std::ptr::null(); range.len().next_multiple_of(tile_rows) * segments];
    let mut scales = Vec::with_capacity(range.len());
    for (index, position) in positions(args.output, range.start).take(range.len()).enumerate() {
        // Tile by tile, segment by segment, row by row.
        let place = index / tile_rows * segments * tile_rows + index % tile_rows;
        let image = position[0];
        patches.input_cells(args, position, |segment, from| {
            let (pointer, scale) = match *left {
                Left::Cells(x) => {
                    // A kernel of one cell has no padding.
                    let from = from.unwrap_or_default();
                    (x.cell(from), x.scales()[from])
                }
                Left::Maps { stored, elements, scales } => (stored.pointer(elements, image, from), scales[image]),
            };
            pointers[place + segment * tile_rows] = pointer;
            if segment == 0 {
                scales.push(scale);
            }
        });
    }
    // The rows of the last tile past the end are the last one.
    let last = range.len() - 1;
    for index in range.len()..range.len().next_multiple_of(tile_rows) {
        for segment in 0..segments {
            let tile = last / tile_rows * segments * tile_rows + segment * tile_rows;
            pointers[tile + index % tile_rows] = pointers[tile + last % tile_rows];
        }
    }
    (pointers, scales)
}
