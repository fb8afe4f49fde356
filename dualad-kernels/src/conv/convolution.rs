//! Convolutions of maps `[batch, rows, columns, channels]` with their epilogue: `act(conv(x) + bias + residual)`.

use crate::conv::depthwise::Depthwise;
use crate::conv::patches::Patches;
use crate::conv::shape::{Cells, ConvArgs, ConvShape, MapSize, Padding};
use crate::conv::winograd::Winograd;
use crate::gemm::{Epilogue, Packed, Residual, Rows};
use crate::int8::{ByteCells, PackedBytes, convolve};
use crate::matrix::Matrix;
use crate::memory::with_scratch;
use crate::precision::Precision;
use crate::simd::isa::Isa;

/// A convolution whose weights are laid out for the method that computes it.
///
/// ```
/// use dualad_kernels::{Activation, ConvArgs, ConvShape, Convolution, Isa, MapSize, Padding, Precision};
///
/// // The sum of each cell and its neighbors, with zeros around the map.
/// let shape = ConvShape { inputs: 1, outputs: 1, kernel: 3, stride: 1, groups: 1 };
/// let size = MapSize { batch: 1, rows: 3, columns: 3 };
/// let sum = Convolution::new(Isa::best(), Precision::F32, shape, &[1.0; 9], &[0.0], size);
/// let mut y = [0.0; 9];
/// let args = ConvArgs {
///     x: &[1.0; 9][..],
///     input: size,
///     padding: Padding::both(1),
///     output: size,
///     residual: None,
///     activation: Activation::Identity,
/// };
/// sum.run(&args, &mut y);
/// assert_eq!(y, [4.0, 6.0, 4.0, 6.0, 9.0, 6.0, 4.0, 6.0, 4.0]);
/// ```
#[derive(Debug, Clone)]
pub struct Convolution {
    shape: ConvShape,
    method: Method,
}

/// The method that computes a convolution.
#[derive(Debug, Clone)]
enum Method {
    /// 1x1: a matrix product.
    Pointwise(Matrix),
    /// 3x3 with stride 1.
    Winograd(Winograd),
    /// A matrix product whose left rows are read in place, one segment for each cell of the kernel.
    Direct(Packed),
    /// The same in bytes.
    DirectBytes(PackedBytes),
    /// The same method with one segment for each row of the kernel, for inputs of few channels.
    Rows(Packed),
    /// One kernel for each channel.
    Depthwise(Depthwise),
}

/// The fewest input channels that make a good segment by themselves.
const MIN_SEGMENT: usize = 8;

impl Convolution {
    /// Lays out the weights in a precision: `weight` is `[outputs, inputs / groups, kernel, kernel]`, and `bias` has one element for each output.
    /// `size` is the usual size of the output: the fastest method depends on it, results only in their rounding. Depthwise
    /// convolutions, 1x1 convolutions of fewer than 32 channels and larger ones of at most 64 stay in f32.
    ///
    /// # Panics
    /// If the length of `weight` or `bias` does not fit the shape, if a side is 0, or if `groups` is neither 1 nor the number of
    /// channels.
    pub fn new(isa: Isa, precision: Precision, shape: ConvShape, weight: &[f32], bias: &[f32], size: MapSize) -> Self {
        let ConvShape { inputs, outputs, kernel, stride, groups } = shape;
        assert!(inputs > 0 && outputs > 0 && kernel > 0 && stride > 0, "the shape of a convolution");
        assert!(groups == 1 || (groups == inputs && groups == outputs), "the groups of a convolution");
        assert_eq!(weight.len(), outputs * (inputs / groups) * kernel * kernel, "the weights of a convolution");
        assert_eq!(bias.len(), outputs, "the bias of a convolution");
        let cells = kernel * kernel;
        let at = |output: usize, input: usize, cell: usize| weight[(output * inputs + input) * cells + cell];
        let in_bytes = precision == Precision::Int8 && PackedBytes::suits([cells, inputs]);
        let method = if groups > 1 {
            Method::Depthwise(Depthwise::new(isa, shape, weight, bias))
        } else if kernel == 1 {
            Method::Pointwise(Matrix::new(isa, precision, weight, inputs, Some(bias)))
        } else if in_bytes {
            // Winograd's method would need fewer products, but quantizing its transformed tiles takes as long as it saves.
            Method::DirectBytes(PackedBytes::from_fn(isa, outputs, [cells, inputs], Some(bias), |output, k| {
                at(output, k % inputs, k / inputs)
            }))
        } else if kernel == 3 && stride == 1 && inputs >= MIN_SEGMENT {
            Method::Winograd(Winograd::new(isa, shape, weight, bias, size))
        } else {
            // The order of the maps: kernel cells outside, channels inside.
            let packed = Packed::from_fn(isa, outputs, inputs * cells, Some(bias), |output, k| {
                at(output, k % inputs, k / inputs)
            });
            if inputs < MIN_SEGMENT { Method::Rows(packed) } else { Method::Direct(packed) }
        };
        Self { shape, method }
    }

    /// Returns the matrices of the convolution, for [`Packed::gather`].
    pub fn packed(&mut self) -> &mut [Packed] {
        match &mut self.method {
            Method::Pointwise(matrix) => matrix.packed().map(std::slice::from_mut).unwrap_or_default(),
            Method::Direct(packed) | Method::Rows(packed) => std::slice::from_mut(packed),
            Method::Winograd(winograd) => winograd.packed(),
            Method::DirectBytes(_) | Method::Depthwise(_) => &mut [],
        }
    }

    /// Returns the weights as bytes, or `None` if the convolution computes in f32.
    fn bytes(&self) -> Option<&PackedBytes> {
        match &self.method {
            Method::Pointwise(matrix) => matrix.bytes(),
            Method::DirectBytes(bytes) => Some(bytes),
            Method::Winograd(_) | Method::Direct(_) | Method::Rows(_) | Method::Depthwise(_) => None,
        }
    }

    /// Returns `true` if the convolution multiplies bytes, so that [`Self::run_cells`] can be called.
    pub fn is_in_bytes(&self) -> bool {
        self.bytes().is_some()
    }

    /// Returns the patches whose segments are the cells of the kernel.
    fn patches(&self) -> Patches {
        let ConvShape { inputs, kernel, stride, .. } = self.shape;
        Patches { kernel, stride, channels: inputs, segments: kernel.pow(2), length: inputs }
    }

    /// Computes the output maps `[batch, rows, columns, outputs]` of a convolution that multiplies bytes, in f32, as bytes, or both.
    /// With a kernel of one cell, the input may be bytes, and so may the residual of any. The result does not depend on the number of
    /// threads.
    ///
    /// # Panics
    /// If the convolution is one in f32, if maps do not fit their size, if a kernel of one cell has padding, if a larger one has bytes as its
    /// input, or if bytes are laid out for other instructions.
    pub fn run_cells(&self, args: &ConvArgs<Cells<'_>>, floats: Option<&mut [f32]>, bytes: Option<&mut ByteCells>) {
        let ConvShape { inputs, outputs, kernel, .. } = self.shape;
        let &ConvArgs { x, input, padding, output, residual, .. } = args;
        let count = output.cells();
        let is_output = |cells: Cells<'_>| cells.are(count, outputs);
        assert!(x.are(input.cells(), inputs), "the input of a convolution");
        assert!(residual.is_none_or(is_output) && input.batch == output.batch, "the residual of a convolution");
        assert!(floats.as_deref().is_none_or(|y| is_output(Cells::F32(y))), "the output of a convolution");
        assert!(bytes.as_deref().is_none_or(|y| is_output(Cells::Bytes(y))), "the output of a convolution");
        assert!(kernel > 1 || padding == Padding::default(), "the padding of a 1x1 convolution");
        let weights = self.bytes();
        assert!(weights.is_some(), "the precision of a convolution");
        if let Some(weights) = weights.filter(|_| count > 0) {
            convolve(&self.patches(), args, weights, floats, bytes);
        }
    }

    /// Computes the output maps `y`, `[batch, rows, columns, outputs]`. Runs on the current thread pool; the result does not depend
    /// on the number of threads.
    ///
    /// # Panics
    /// If the length of a buffer does not fit its size.
    pub fn run(&self, args: &ConvArgs<&[f32]>, y: &mut [f32]) {
        let ConvShape { inputs, outputs, stride, .. } = self.shape;
        let ConvArgs { x, input, padding, output, residual, activation } = *args;
        assert_eq!(x.len(), input.cells() * inputs, "the input of a convolution");
        assert!(y.len() == output.cells() * outputs && input.batch == output.batch, "the output of a convolution");
        assert!(residual.is_none_or(|residual| residual.len() == y.len()), "the residual of a convolution");
        if y.is_empty() {
            return;
        }
        match &self.method {
            Method::Pointwise(weights) => {
                let rows = if stride == 1 {
                    Rows::Dense { stride: inputs }
                } else {
                    Rows::Subsampled { stride: inputs, map: [input.rows, input.columns], step: stride }
                };
                let taken = [input.rows.div_ceil(stride), input.columns.div_ceil(stride)];
                let fits = padding == Padding::default() && taken == [output.rows, output.columns];
                assert!(fits, "the output of a 1x1 convolution");
                let count = output.cells();
                let residual = residual.map(|values| Residual { values, stride: outputs, period: count, last: false });
                weights.product(x, rows, count, y, outputs, Epilogue { residual, activation });
            }
            Method::Winograd(winograd) => winograd.run(args, y),
            Method::Direct(weights) => {
                self.patches().product(args, weights, y);
            }
            Method::DirectBytes(weights) => {
                convolve(&self.patches(), &args.map(Cells::F32), weights, Some(y), None);
            }
            Method::Rows(weights) => {
                let kernel = self.shape.kernel;
                // The input with its padding, so that every row of the kernel is contiguous.
                let padded = MapSize {
                    batch: input.batch,
                    rows: ((output.rows - 1) * stride + kernel).max(input.rows + padding.top),
                    columns: ((output.columns - 1) * stride + kernel).max(input.columns + padding.left),
                };
                with_scratch(padded.cells() * inputs, |scratch| {
                    pad(x, input, padding, scratch, padded, inputs);
                    let args = ConvArgs { x: &*scratch, input: padded, padding: Padding::default(), ..*args };
                    Patches { kernel, stride, channels: inputs, segments: kernel, length: kernel * inputs }
                        .product(&args, weights, y);
                });
            }
            Method::Depthwise(depthwise) => depthwise.run(args, y),
        }
    }
}

/// Copies maps into larger ones and fills the cells around them with zeros.
fn pad(x: &[f32], size: MapSize, padding: Padding, to: &mut [f32], padded: MapSize, channels: usize) {
    let line = padded.columns * channels;
    for (index, to) in to.chunks_exact_mut(line).enumerate() {
        let (image, row) = (index / padded.rows, index % padded.rows);
        let Some(row) = row.checked_sub(padding.top).filter(|&row| row < size.rows) else {
            to.fill(0.0);
            continue;
        };
        let (from, length) = (((image * size.rows + row) * size.columns) * channels, size.columns * channels);
        let (before, rest) = to.split_at_mut(padding.left * channels);
        let (line, after) = rest.split_at_mut(length);
        before.fill(0.0);
        line.copy_from_slice(&x[from..from + length]);
        after.fill(0.0);
    }
}
