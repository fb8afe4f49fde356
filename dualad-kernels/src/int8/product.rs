//! Matrix products with weights of bytes: `act(x W^T + bias + residual)`, with the rows of x quantized on the way.

use std::ops::Range;

use crate::gemm::store::TileEpilogue;
use crate::gemm::{Epilogue, Rows, divide};
use crate::int8::packed::PackedBytes;
use crate::int8::quantize::{Scale, quantize_rows, row_length};
use crate::int8::tile::{BytePanelProduct, multiply_bytes};
use crate::memory::with_scratch;
use crate::parallel::{SharedOut, part, run_tasks};

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
    let is_small = count * inputs * outputs < MIN_PARALLEL_PRODUCTS;
    let [heights, widths] = divide(count, isa.rows(), outputs.div_ceil(isa.panel()), is_small);
    let out = SharedOut::new(y);
    run_tasks(heights * widths, |task| {
        let height = part(count, isa.rows(), heights, task / widths);
        if height.is_empty() {
            return;
        }
        let row = row_length(isa, inputs);
        with_scratch(height.len() * row, |buffer| {
            let scales = quantize_rows(isa, x, height.clone().map(|row| rows.offset(row)), inputs, buffer);
            // The rows of the last tile past the end are the last one.
            let padded = (0..height.len().next_multiple_of(isa.rows())).map(|index| index.min(height.len() - 1));
            let pointers: Vec<*const u8> = padded.map(|index| buffer[index * row..][..row].as_ptr().cast()).collect();
            let rows = BytePointers { pointers: &pointers, scales: &scales, first: height.start };
            let panels = weights.panels(widths, task % widths);
            let out = out.at(height.start * stride, (height.len() - 1) * stride + outputs);
            let target = Target { out, stride, accumulate: false };
            // SAFETY: each pointer is valid for a row of the buffer with its padding; `out` for these rows, as `at` checked; each task
            // writes its own rows and panels.
            unsafe { rows_times_panels(&rows, weights, panels, target, epilogue) };
        });
    });
}

/// The left rows of a product: for each tile, the pointers to the segments of its rows, as in [`BytePanelProduct`].
pub(super) struct BytePointers<'a> {
    pub(super) pointers: &'a [*const u8],
    /// The scale of each row.
    pub(super) scales: &'a [Scale],
    /// The row of the residual that belongs to the first left row.
    pub(super) first: usize,
}

/// The memory that a product is written to.
pub(super) struct Target {
    /// The first element of the row that belongs to the first left row.
    pub(super) out: *mut f32,
    /// The distance between two rows, in elements.
    pub(super) stride: usize,
    /// True to add the product to what is there.
    pub(super) accumulate: bool,
}

/// Multiplies left rows by some panels.
///
/// # Safety
/// Each pointer is valid for a segment with its padding, and the target for all outputs in each row. No other thread uses the columns
/// of these panels in these rows.
pub(super) unsafe fn rows_times_panels(
    rows: &BytePointers<'_>,
    weights: &PackedBytes,
    panels: Range<usize>,
    Target { out, stride, accumulate }: Target,
    epilogue: Epilogue<'_>,
) {
    let (isa, segments) = (weights.isa(), weights.segments());
    let &BytePointers { pointers, scales, first } = rows;
    let count = scales.len();
    assert!(count > 0 && pointers.len() == count.next_multiple_of(isa.rows()) * segments, "the left rows of a product");
    for panel in panels.clone() {
        let columns = weights.columns(panel);
        let at = panel * isa.panel();
        let (steps, sums, bias) = weights.columns_of(panel);
        let (mut residual, mut period, mut residual_stride) = (std::ptr::null(), 1, 0);
        if let Some(added) = epilogue.residual {
            (period, residual_stride) = (added.period, added.stride);
            residual = added.pointer([first, count], [at, columns]);
        }
        let job = BytePanelProduct {
            rows: count,
            pointers: pointers.as_ptr(),
            segments,
            length: weights.segment(),
            scales: scales.as_ptr(),
            panel: weights.panel(panel),
            next_panel: if panel + 1 < panels.end { weights.panel(panel + 1) } else { std::ptr::null() },
            steps,
            sums,
            epilogue: TileEpilogue {
                out: out.wrapping_add(at),
                stride,
                columns,
                accumulate,
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
        // SAFETY: there is a pointer for each segment of each row of whole tiles, as asserted above, and each is valid, as the caller
        // promises; the panel, the scales and the sums are those of the weights; `out` has the columns in each row, as the
        // caller promises, and so has the residual, as `pointer` checked.
        unsafe { multiply_bytes(isa, &job) };
    }
}
