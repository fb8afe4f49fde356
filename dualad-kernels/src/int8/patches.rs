//! Convolutions as products of bytes. The rows of the product are pointers into stored maps: with a kernel of one cell, each row has a
//! scale of its own; with a larger one, several rows share a cell, and a map has one scale.

use std::ops::Range;

use crate::conv::{Cells, ConvArgs, Patches, positions};
use crate::gemm::{Epilogue, Residual};
use crate::int8::cells::ByteCells;
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
    /// Maps of `cells` cells with a scale for each map, each followed by a cell of zeros.
    Maps { elements: &'a [f32], scales: &'a [Scale], cells: usize },
}

/// Computes a convolution whose patches have one segment for each cell of the kernel. The output is written to `floats`, as bytes to
/// `bytes`, or to both.
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
            let cells = input.rows * input.columns;
            with_scratch(input.batch * (cells + 1) * row_length(isa, channels), |elements| {
                let scales = store_maps(x, [input.batch, cells, channels], isa, elements);
                outputs.compute(&Left::Maps { elements, scales: &scales, cells });
            });
        }
    }
}

/// Stores maps with a scale for each, each followed by a cell of zeros, and returns their scales.
fn store_maps(x: &[f32], [batch, cells, channels]: [usize; 3], isa: DotIsa, elements: &mut [f32]) -> Vec<Scale> {
    let stride = row_length(isa, channels);
    // Each thread gets the same number of parts of a map.
    let threads = rayon::current_num_threads();
    let parts = if batch < threads && cells * channels >= MIN_SHARED { threads } else { 1 };
    let cells_of = |task: usize| {
        let (image, range) = (task / parts, part(cells, 1, parts, task % parts));
        (image, range.start, &x[(image * cells + range.start) * channels..][..range.len() * channels])
    };
    let spans = map_tasks(batch * parts, |task| Span::of(isa, cells_of(task).2));
    let scale = |spans: &[Span]| Scale::new(spans.iter().copied().fold(Span::default(), Span::join));
    let scales: Vec<Scale> = spans.chunks_exact(parts).map(scale).collect();
    let shared = SharedOut::new(elements);
    let zeros = vec![0.0; channels];
    run_tasks(batch * parts, |task| {
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
    let stride = row_length(isa, patches.channels);
    let offsets: Vec<usize> = patches.offsets(args).iter().map(|cells| cells * stride).collect();
    let reach = offsets.last().map_or(0, |last| last + stride);
    let mut pointers = vec![std::ptr::null(); range.len().next_multiple_of(tile_rows) * segments];
    let mut scales = Vec::with_capacity(range.len());
    for (index, position) in positions(args.output, range.start).take(range.len()).enumerate() {
        // Tile by tile, segment by segment, row by row.
        let place = index / tile_rows * segments * tile_rows + index % tile_rows;
        let pointers = pointers[place..].iter_mut().step_by(tile_rows);
        match *left {
            Left::Cells(x) => {
                // A kernel of one cell has no padding.
                let from = patches.cell_inside(args, position).unwrap_or_default();
                pointers.take(1).for_each(|to| *to = x.cell(from));
                scales.push(x.scales()[from]);
            }
            Left::Maps { elements, scales: of_maps, cells } => {
                let image = position[0];
                scales.push(of_maps[image]);
                // A cell of zeros lies after each map.
                if let Some(from) = patches.cell_inside(args, position) {
                    let patch = elements[(from + image) * stride..][..reach].as_ptr();
                    pointers.zip(&offsets).for_each(|(to, &offset)| *to = patch.wrapping_add(offset).cast());
                    continue;
                }
                for (to, from) in pointers.zip(patches.input_cells(args, position)) {
                    let from = from.map_or((image + 1) * (cells + 1) - 1, |from| from + image);
                    *to = elements[from * stride..][..stride].as_ptr().cast();
                }
            }
        }
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
