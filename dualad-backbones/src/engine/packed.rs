//! The fast engine of the CPU. Weights are laid out once, maps are `[batch, rows, columns, channels]`, each layer is one pass with
//! its bias, residual and activation, and buffers are kept from call to call. To candle it is one operation from images to
//! maps, or to tokens.

use std::convert::Infallible;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result as CandleResult, Shape as TensorShape, Tensor};
use dualad_kernels::{
    self as kernels, Activation, AttentionShape, AttentionStrides, ConvArgs, ConvShape, Convolution, Epilogue, Isa,
    MapSize, Matrix, MultiHead, Packed, Pool, Precision, Residual, Rows, Workspace, WorkspacePool, product,
};
use rayon::prelude::*;

use crate::engine::interface::Engine;
use crate::engine::position::{Embedding, PerGrid, Rotations};
use crate::engine::stored::{Form, Stored, forms};
use crate::error::Result;
use crate::input::prepare;
use crate::network::{Conv, Network, Op, Value, ValueShape};
use crate::stage::Stage;
use crate::weights::{Affine, LayerWeights};

/// The rows of tokens that a task normalizes or rotates.
const ROWS: usize = 64;

/// The image side that each convolution's method is chosen for.
const TYPICAL_SIDE: usize = 224;

/// Executes a network with the kernels of `dualad-kernels`.
#[derive(Debug)]
pub(crate) struct PackedEngine {
    isa: Isa,
    network: Network,
    /// The operations of the network's layers.
    ops: Vec<PackedOp>,
    /// For each value, the last layer that reads it (`usize::MAX` for outputs).
    last_use: Vec<usize>,
    /// The form of each value.
    forms: Vec<Form>,
    workspaces: WorkspacePool,
}

/// An operation with its packed weights.
#[derive(Debug)]
enum PackedOp {
    Conv { args: Conv, convolution: Convolution },
    MaxPool { kernel: usize, stride: usize, padding: usize },
    SqueezeExcite { channels: usize, reduced: usize, reduce: Packed, expand: Packed },
    Embed { channels: usize, embedding: Embedding, positions: PerGrid<Option<Vec<f32>>> },
    LayerNorm { channels: usize, eps: f64, affine: Affine },
    Linear { in_channels: usize, out_channels: usize, activation: Activation, weights: Matrix },
    Rotary { channels: usize, heads: usize, temperature: f64, rotations: PerGrid<Rotations> },
    SelfAttention { channels: usize, heads: usize },
    TokensToMap { channels: usize },
}

impl PackedOp {
    /// Lays the weights out. `output` is the shape of the output for an image of [`TYPICAL_SIDE`].
    fn new(isa: Isa, precision: Precision, op: &Op, mut weights: LayerWeights, output: ValueShape) -> Self {
        // For one row of each image: there is nothing to gain from int8.
        let packed = |Affine { weight, bias }: Affine, inputs| Packed::new(isa, &weight, inputs, Some(&bias));
        match *op {
            Op::Conv(ref args) => {
                let Conv { in_channels: inputs, out_channels: outputs, kernel, stride, groups, .. } = *args;
                let shape = ConvShape { inputs, outputs, kernel, stride, groups };
                let Affine { weight, bias } = weights.affine();
                let convolution = Convolution::new(isa, precision, shape, &weight, &bias, map_size(output, 1));
                Self::Conv { args: args.clone(), convolution }
            }
            Op::MaxPool { kernel, stride, padding } => Self::MaxPool { kernel, stride, padding },
            Op::SqueezeExcite { channels, reduced, .. } => {
                let (reduce, expand) = (packed(weights.affine(), channels), packed(weights.affine(), reduced));
                Self::SqueezeExcite { channels, reduced, reduce, expand }
            }
            Op::Embed { channels, registers, position } => {
                let embedding = Embedding::new(channels, registers, position, &mut weights);
                Self::Embed { channels, embedding, positions: PerGrid::default() }
            }
            Op::LayerNorm { channels, eps, .. } => Self::LayerNorm { channels, eps, affine: weights.affine() },
            Op::Linear { in_channels, out_channels, activation, .. } => {
                let Affine { weight, bias } = weights.affine();
                let weights = Matrix::new(isa, precision, &weight, in_channels, Some(&bias));
                Self::Linear { in_channels, out_channels, activation, weights }
            }
            Op::Rotary { channels, heads, temperature } => {
                Self::Rotary { channels, heads, temperature, rotations: PerGrid::default() }
            }
            Op::SelfAttention { channels, heads } => Self::SelfAttention { channels, heads },
            Op::TokensToMap { channels } => Self::TokensToMap { channels },
        }
    }

    /// Returns `true` for a convolution that multiplies bytes.
    fn is_in_bytes(&self) -> bool {
        matches!(self, Self::Conv { convolution, .. } if convolution.is_in_bytes())
    }

    /// Returns the packed matrices.
    fn packed(&mut self) -> Vec<&mut Packed> {
        match self {
            Self::Conv { convolution, .. } => convolution.packed().iter_mut().collect(),
            Self::Linear { weights, .. } => weights.packed().into_iter().collect(),
            Self::SqueezeExcite { reduce, expand, .. } => vec![reduce, expand],
            Self::MaxPool { .. }
            | Self::Embed { .. }
            | Self::LayerNorm { .. }
            | Self::Rotary { .. }
            | Self::SelfAttention { .. }
            | Self::TokensToMap { .. } => Vec::new(),
        }
    }
}

impl PackedEngine {
    pub(crate) fn new(isa: Isa, precision: Precision, network: Network, weights: Vec<LayerWeights>) -> Result<Self> {
        let last_use = network.last_use();
        let shapes = network.shapes(TYPICAL_SIDE, TYPICAL_SIDE)?;
        let layers = network.layers().iter().zip(weights).zip(&shapes[1..]);
        let ops = layers.map(|((layer, weights), &output)| PackedOp::new(isa, precision, &layer.op, weights, output));
        let mut ops: Vec<PackedOp> = ops.collect();
        Packed::gather(ops.iter_mut().flat_map(PackedOp::packed));
        let forms = forms(&network, |layer| ops[layer].is_in_bytes());
        Ok(Self { isa, ops, last_use, forms, workspaces: WorkspacePool::default(), network })
    }

    /// Runs the network and passes each output's number, map and shape to `read`.
    fn outputs(&self, images: &[f32], size: MapSize, read: impl FnMut(usize, &[f32], ValueShape) + Send) -> Result<()> {
        let shapes = self.network.shapes(size.rows, size.columns)?;
        self.workspaces.with(|workspace| self.run_layers(images, size, &shapes, workspace, read));
        Ok(())
    }

    fn run_layers(
        &self,
        images: &[f32],
        size: MapSize,
        shapes: &[ValueShape],
        workspace: &mut Workspace,
        mut read: impl FnMut(usize, &[f32], ValueShape),
    ) {
        let mut input = workspace.take(images.len());
        kernels::from_planes(images, size.batch, 3, &mut input);
        let mut values: Vec<Option<Stored>> = shapes.iter().map(|_| None).collect();
        values[0] = Some(Stored::from(input));
        for (index, (layer, op)) in self.network.layers().iter().zip(&self.ops).enumerate() {
            let (shape, form) = (shapes[index + 1], self.forms[index + 1]);
            let run = Run { isa: self.isa, batch: size.batch, input: shapes[layer.input.index()], output: shape };
            let value = |value: Value| values[value.index()].as_ref();
            let (Some(x), residual) = (value(layer.input), layer.residual.and_then(value)) else { continue };
            values[index + 1] = Some(run.stored_layer(op, x, residual, form, workspace));
            for value in std::iter::once(layer.input).chain(layer.residual) {
                if self.last_use[value.index()] == index
                    && let Some(stored) = values[value.index()].take()
                {
                    stored.release(workspace);
                }
            }
        }
        for (index, value) in self.network.outputs().enumerate() {
            read(index, values[value.index()].as_ref().map_or(&[], Stored::floats), shapes[value.index()]);
        }
        values.into_iter().flatten().for_each(|stored| stored.release(workspace));
    }
}

/// Returns the number of elements of a value.
fn elements(shape: ValueShape, batch: usize) -> usize {
    batch * shape.positions() * shape.channels()
}

fn map_size(shape: ValueShape, batch: usize) -> MapSize {
    let (ValueShape::Map { rows, columns, .. } | ValueShape::Tokens { rows, columns, .. }) = shape;
    MapSize { batch, rows, columns }
}

/// The circumstances of one layer's execution.
struct Run {
    isa: Isa,
    batch: usize,
    /// The shape of one image's input.
    input: ValueShape,
    /// The shape of one image's output.
    output: ValueShape,
}

impl Run {
    /// Computes one layer's output in the given form.
    fn stored_layer(
        &self,
        op: &PackedOp,
        x: &Stored,
        residual: Option<&Stored>,
        form: Form,
        workspace: &mut Workspace,
    ) -> Stored {
        let size = [self.batch * self.output.positions(), self.output.channels()];
        match op {
            PackedOp::Conv { args, convolution } if convolution.is_in_bytes() => {
                let mut y = Stored::take(form, self.isa, size, workspace);
                let x = if args.kernel == 1 { x.bytes_or_floats() } else { x.cells() };
                let (floats, bytes) = y.places();
                convolution.run_cells(&self.conv_args(args, x, residual.map(Stored::cells)), floats, bytes);
                y
            }
            op => {
                let mut y = Stored::take(Form { floats: true, ..form }, self.isa, size, workspace);
                if let (Some(y), _) = y.places() {
                    self.layer(op, x.floats(), residual.map(Stored::floats), y, workspace);
                }
                y.settle(form, workspace);
                y
            }
        }
    }

    fn conv_args<M>(&self, conv: &Conv, x: M, residual: Option<M>) -> ConvArgs<M> {
        let (input, output) = (map_size(self.input, self.batch), map_size(self.output, self.batch));
        let before = |length: usize| conv.padding.amounts(length, conv.kernel, conv.stride).0;
        let padding = kernels::Padding { top: before(input.rows), left: before(input.columns) };
        ConvArgs { x, input, padding, output, residual, activation: conv.activation }
    }

    fn layer(&self, op: &PackedOp, x: &[f32], residual: Option<&[f32]>, y: &mut [f32], workspace: &mut Workspace) {
        let (size, out) = (map_size(self.input, self.batch), map_size(self.output, self.batch));
        match *op {
            PackedOp::Conv { ref args, ref convolution } => {
                convolution.run(&self.conv_args(args, x, residual), y);
            }
            PackedOp::MaxPool { kernel, stride, padding } => {
                kernels::max_pool(self.isa, Pool { kernel, stride, padding }, x, size, y, out);
            }
            PackedOp::SqueezeExcite { channels, reduced, ref reduce, ref expand } => {
                let mut mean = workspace.take(self.batch * channels);
                let mut hidden = workspace.take(self.batch * reduced);
                kernels::mean_of_cells(x, size, channels, &mut mean);
                let silu = Epilogue { residual: None, activation: Activation::Silu };
                product(&mean, Rows::Dense { stride: channels }, self.batch, reduce, &mut hidden, reduced, silu);
                let rows = Rows::Dense { stride: reduced };
                product(&hidden, rows, self.batch, expand, &mut mean, channels, Epilogue::NONE);
                kernels::apply_gate(self.isa, x, size, &mut mean, y);
                workspace.release(mean);
                workspace.release(hidden);
            }
            PackedOp::Embed { channels, ref embedding, ref positions } => {
                let grid = [size.rows, size.columns];
                let Ok(positions) = positions.get(grid, || Ok::<_, Infallible>(embedding.cells(grid)));
                let prefix = embedding.prefix();
                let images = y.chunks_exact_mut(self.output.positions() * channels);
                for (x, y) in x.chunks_exact(self.input.positions() * channels).zip(images) {
                    let (first, cells) = y.split_at_mut(prefix.len());
                    first.copy_from_slice(prefix);
                    cells.copy_from_slice(x);
                    if let Some(positions) = &*positions {
                        cells.iter_mut().zip(positions).for_each(|(cell, position)| *cell += position);
                    }
                }
            }
            PackedOp::LayerNorm { channels, eps, affine: Affine { ref weight, ref bias } } => {
                let chunks = y.par_chunks_mut(ROWS * channels).zip(x.par_chunks(ROWS * channels));
                chunks.for_each(|(y, x)| kernels::norm(x, y, weight, bias, eps as f32));
            }
            PackedOp::Linear { in_channels, out_channels, activation, ref weights } => {
                let rows = self.batch * self.input.positions();
                let residual =
                    residual.map(|values| Residual { values, stride: out_channels, period: rows, last: true });
                let epilogue = Epilogue { residual, activation };
                weights.product(x, Rows::Dense { stride: in_channels }, rows, y, out_channels, epilogue);
            }
            PackedOp::Rotary { channels, heads, temperature, ref rotations } => {
                let grid = [size.rows, size.columns];
                let compute = || Ok::<_, Infallible>(Rotations::new(grid, channels / heads, temperature));
                let Ok(rotations) = rotations.get(grid, compute);
                let tokens = self.input.positions();
                let prefix = tokens - size.rows * size.columns;
                let rows = y.par_chunks_mut(3 * channels).zip(x.par_chunks(3 * channels)).with_min_len(ROWS);
                rows.enumerate().for_each(|(row, (y, x))| {
                    y.copy_from_slice(x);
                    if let Some(cell) = (row % tokens).checked_sub(prefix) {
                        rotations.rotate(cell, &mut y[..2 * channels]);
                    }
                });
            }
            PackedOp::SelfAttention { channels, heads } => self.attend(x, y, channels, heads, workspace),
            PackedOp::TokensToMap { channels } => {
                let images = y.chunks_exact_mut(self.output.positions() * channels);
                for (x, y) in x.chunks_exact(self.input.positions() * channels).zip(images) {
                    y.copy_from_slice(&x[x.len() - y.len()..]);
                }
            }
        }
    }

    /// Softmax attention of all heads over `[batch, tokens, 3 * channels]`, where q, k and v are side by side.
    fn attend(&self, x: &[f32], y: &mut [f32], channels: usize, heads: usize, workspace: &mut Workspace) {
        let tokens = self.input.positions();
        let strides = AttentionStrides::all(3 * channels);
        let head = AttentionShape { queries: tokens, keys: tokens, width: channels / heads, strides, mask: None };
        MultiHead { heads, head }.run(x, &x[channels..], &x[2 * channels..], y, workspace);
    }
}

impl Engine for PackedEngine {
    fn token_stride(&self) -> usize {
        self.network.token_stride()
    }

    fn run(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let images = prepare(images, &Device::Cpu, DType::F32, self.token_stride())?;
        let (batch, _, height, width) = images.dims4()?;
        let shapes = self.network.shapes(height, width)?;
        let flat = images.apply_op1_no_bwd(&Maps(self))?;
        let mut start = 0;
        let map = |value: Value| {
            let shape = shapes[value.index()];
            let count = elements(shape, batch);
            let MapSize { rows, columns, .. } = map_size(shape, batch);
            let map = flat.narrow(0, start, count)?.reshape((batch, shape.channels(), rows, columns))?;
            start += count;
            Ok(map)
        };
        self.network.outputs().map(map).collect()
    }

    fn tokens(&self, images: &Tensor, stages: &[Stage]) -> Result<Tensor> {
        let images = prepare(images, &Device::Cpu, DType::F32, self.token_stride())?;
        Ok(images.apply_op1_no_bwd(&Tokens { engine: self, stages })?)
    }
}

/// Returns the images in a tensor, and their size.
fn images<'a>(storage: &'a CpuStorage, layout: &Layout) -> CandleResult<(&'a [f32], MapSize)> {
    let (batch, _, rows, columns) = layout.shape().dims4()?;
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a backbone's images must be contiguous");
    };
    Ok((&storage.as_slice::<f32>()?[start..end], MapSize { batch, rows, columns }))
}

/// The operation from images `[batch, 3, height, width]` to all maps `[batch, channels, rows, columns]`, one after the other.
struct Maps<'a>(&'a PackedEngine);

impl CustomOp1 for Maps<'_> {
    fn name(&self) -> &'static str {
        "backbone maps"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, TensorShape)> {
        let (images, size) = images(storage, layout)?;
        let shapes = self.0.network.shapes(size.rows, size.columns).map_err(candle_core::Error::wrap)?;
        let count = self.0.network.outputs().map(|value| elements(shapes[value.index()], size.batch)).sum();
        let mut maps = Vec::with_capacity(count);
        let read = |_, map: &[f32], shape: ValueShape| {
            let start = maps.len();
            maps.resize(start + map.len(), 0.0);
            kernels::to_planes(map, size.batch, shape.channels(), &mut maps[start..]);
        };
        kernels::in_pool(|| self.0.outputs(images, size, read)).map_err(candle_core::Error::wrap)?;
        Ok((CpuStorage::F32(maps), count.into()))
    }
}

/// The operation from images `[batch, 3, height, width]` to tokens `[batch, tokens, channels]`. The result is that of
/// [`crate::aggregate()`], computed from maps whose channels are last.
struct Tokens<'a> {
    engine: &'a PackedEngine,
    stages: &'a [Stage],
}

impl CustomOp1 for Tokens<'_> {
    fn name(&self) -> &'static str {
        "backbone tokens"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, TensorShape)> {
        let (images, size) = images(storage, layout)?;
        let token_stride = self.engine.token_stride();
        let grid = [size.rows / token_stride, size.columns / token_stride];
        let (count, width) = (grid[0] * grid[1], self.stages.iter().map(|stage| stage.channels).sum::<usize>());
        let mut tokens = vec![0.0f32; size.batch * count * width];
        let mut first = 0;
        let read = |index: usize, map: &[f32], shape: ValueShape| {
            let Stage { channels, stride, .. } = self.stages[index];
            let map_size = map_size(shape, size.batch);
            if stride <= token_stride {
                let side = token_stride / stride;
                kernels::mean_pool_into(map, map_size, channels, side, &mut tokens, first, width);
            } else {
                let scale = stride / token_stride;
                for (index, token) in tokens.chunks_exact_mut(width).enumerate() {
                    let (image, cell) = (index / count, index % count);
                    let (row, column) = (cell / grid[1] / scale, cell % grid[1] / scale);
                    let at = (image * map_size.rows + row) * map_size.columns + column;
                    token[first..first + channels].copy_from_slice(&map[at * channels..][..channels]);
                }
            }
            first += channels;
        };
        kernels::in_pool(|| self.engine.outputs(images, size, read)).map_err(candle_core::Error::wrap)?;
        Ok((CpuStorage::F32(tokens), (size.batch, count, width).into()))
    }
}
