//! Matrix products with weights of bytes: `act(x W^T + bias + residual)`, with the rows of x quantized on the way.

use std::ops::Range;

use crate::gemm::tile::TileEpilogue;
use crate::gemm::{Epilogue, Residual, Rows};
use crate::int8::packed::PackedBytes;
use crate::int8::quantize::{Quantized, quantize_rows, row_length};
use crate::int8::tile::{BytePanelProduct, multiply_bytes};
use crate::memory::with_scratch;
use crate::parallel::{SharedOut, part, run_tasks};

/// The rows that a task quantizes at a time.
const TASK_ROWS: usize = 240;
/// The fewest multiply-adds that take longer than waking up a thread.
const MIN_PARALLEL_PRODUCTS: usize = 256 << 10;

/// Computes what [`crate::gemm::product`] does, with each row of `x` as bytes.
///
/// # Panics
/// If a buffer is too small for its rows.
pub(crate) fn product(
    x: &[f32],
    rows: Rows,
    count: usize,
    weights: &PackedBytes,
    y: &mut [f32],
    stride: usize,
    epilogue: Epilogue<'_>,
) {
    if count == 0 {
        return;
    }
    let (inputs, outputs, isa) = (weights.inputs(), weights.outputs(), weights.isa());
    assert!(stride >= outputs && (count - 1) * stride + outputs <= y.len(), "the result of a product");
    let threads = rayon::current_num_threads();
    // Every thread gets the same number of parts of the rows. If there are fewer parts than threads, the panels are divided too.
    let heights = match count.div_ceil(TASK_ROWS) {
        0 | 1 => 1,
        heights => heights.next_multiple_of(threads),
    };
    let shared = if count * inputs * outputs < MIN_PARALLEL_PRODUCTS { 1 } else { threads.div_ceil(heights) };
    let widths = shared.min(outputs.div_ceil(isa.panel())).max(1);
    let out = SharedOut::new(y);
    run_tasks(heights * widths, |task| {
        let height = part(count, isa.rows(), heights, task / widths);
        if height.is_empty() {
            return;
        }
        let panels = weights.panels(widths, task % widths);
        with_scratch(height.len() * row_length(isa, inputs), |buffer| {
            let scales = quantize_rows(isa, x, height.clone().map(|row| rows.offset(row)), inputs, buffer);
            let quantized = Quantized::new(isa, buffer, inputs, &scales);
            let to = Target { out, stride, row: height.start, column: panels.start * isa.panel() };
            rows_times_panels(&quantized, weights, panels, to, epilogue);
        });
    });
}

/// The place of a product's results.
#[derive(Debug, Clone, Copy)]
struct Target {
    out: SharedOut,
    /// The distance between two rows, in elements.
    stride: usize,
    /// The row of the first left row.
    row: usize,
    /// The column of the first panel's first column.
    column: usize,
}

/// Multiplies quantized rows by some panels. The rows and columns of a residual are those of the target.
fn rows_times_panels(
    rows: &Quantized<'_>,
    weights: &PackedBytes,
    panels: Range<usize>,
    Target { out, stride, row: first, column }: Target,
    epilogue: Epilogue<'_>,
) {
    let (height, count) = (weights.isa().rows(), rows.scales.len());
    assert!(weights.segments() == 1 && count > 0, "the left rows of a product");
    let pointers: Vec<*const u8> =
        (0..count.next_multiple_of(height)).map(|row| rows.row(row.min(count - 1))).collect();
    for (index, panel) in panels.clone().enumerate() {
        let columns = weights.columns(panel);
        let at = column + index * weights.isa().panel();
        let (steps, sums, bias) = weights.columns_of(panel);
        let (mut residual, mut period, mut residual_stride) = (std::ptr::null(), 1, 0);
        if let Some(Residual { values, stride, period: rows, .. }) = epilogue.residual {
            (period, residual_stride) = (rows, stride);
            assert!(period > 0, "the residual of a product");
            let reached = if first + count > period { period } else { first + count };
            let from = &values[at..];
            assert!((reached - 1) * residual_stride + columns <= from.len(), "the residual of a product");
            residual = from.as_ptr();
        }
        let job = BytePanelProduct {
            rows: count,
            pointers: pointers.as_ptr(),
            segments: 1,
            length: weights.segment(),
            scales: rows.scales.as_ptr(),
            panel: weights.panel(panel),
            next_panel: if panel + 1 < panels.end { weights.panel(panel + 1) } else { std::ptr::null() },
            steps,
            sums,
            epilogue: TileEpilogue {
                out: out.at(first * stride + at, (count - 1) * stride + columns),
                stride,
                columns,
                accumulate: false,
                bias,
                activation: epilogue.activation,
                residuals: std::ptr::null(),
                residual_last: epilogue.residual.is_some_and(|residual| residual.last),
            },
            residual,
            residual_stride,
            period,
            first: first % period,
        };
        // SAFETY: there is a pointer for each row of a whole tile, each to a row of the buffer with its padding; the panel, the scales
        // and the sums are those of the weights; `out` and the residual have the columns in each row, as checked above; each task
        // writes its own rows and panels.
        unsafe { multiply_bytes(weights.isa(), &job) };
    }
}
