//! The CPU's own: weights laid out once, maps as `[batch, rows, columns, channels]`, each layer one pass with everything that
//! follows it, buffers kept from call to call. To candle it is one operation from images to maps, or to tokens.

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape as TensorShape, Tensor};
use dualad_kernels::{
    self as kernels, Activation, AttentionShape, AttentionStrides, Buffer, ConvArgs, ConvShape, Convolution, Epilogue,
    Isa, MapSize, MultiHead, Packed, Pool, Residual, Rows, Workspace, WorkspacePool, product,
};
use rayon::prelude::*;

use crate::engine::Engine;
use crate::error::Result;
use crate::network::{Conv, Layer, Network, Op, Shape};
use crate::spec::{Stage, TOKEN_STRIDE};
use crate::vit;
use crate::weights::{Affine, Folded};

/// Sides of the images that ways of convolution are chosen for.
const USUAL_SIDE: usize = 224;

/// Executes a network with kernels of this project.
#[derive(Debug)]
pub(crate) struct PackedEngine {
    isa: Isa,
    network: Network,
    /// One for each layer.
    layers: Vec<Prepared>,
    /// For each value, the last layer that reads it (outputs outlive every layer).
    last_use: Vec<usize>,
    workspaces: WorkspacePool,
}

/// A layer's numbers, laid out.
#[derive(Debug)]
enum Prepared {
    Nothing,
    Convolution(Convolution),
    Linear(Packed),
    Norm(Affine),
    Gate { reduce: Packed, expand: Packed },
    Embed { class: Vec<f32>, position: Vec<f32> },
}

impl Prepared {
    /// The matrices that it multiplies with.
    fn packed(&mut self) -> Vec<&mut Packed> {
        match self {
            Self::Convolution(convolution) => convolution.packed().iter_mut().collect(),
            Self::Linear(packed) => vec![packed],
            Self::Gate { reduce, expand } => vec![reduce, expand],
            Self::Nothing | Self::Norm(_) | Self::Embed { .. } => Vec::new(),
        }
    }
}

impl PackedEngine {
    pub(crate) fn new(isa: Isa, network: Network, folded: Vec<Folded>) -> Result<Self> {
        let last_use = network.last_use();
        let shapes = network.shapes(USUAL_SIDE, USUAL_SIDE)?;
        let layers = network.layers().iter().zip(folded).enumerate();
        let layers = layers.map(|(index, (layer, folded))| prepare(isa, &layer.op, shapes[index + 1], folded));
        let mut layers: Vec<Prepared> = layers.collect();
        Packed::gather(layers.iter_mut().flat_map(Prepared::packed));
        Ok(Self { isa, layers, last_use, workspaces: WorkspacePool::default(), network })
    }

    /// Runs the network and hands each output's map to `read`, with its number.
    fn outputs(&self, images: &[f32], size: MapSize, read: impl FnMut(usize, &[f32], Shape) + Send) -> Result<()> {
        let shapes = self.network.shapes(size.rows, size.columns)?;
        self.workspaces.with(|workspace| self.run_layers(images, size, &shapes, workspace, read));
        Ok(())
    }

    fn run_layers(
        &self,
        images: &[f32],
        size: MapSize,
        shapes: &[Shape],
        workspace: &mut Workspace,
        mut read: impl FnMut(usize, &[f32], Shape),
    ) {
        let mut values: Vec<Option<Buffer>> = shapes.iter().map(|_| None).collect();
        let mut input = workspace.take(images.len());
        kernels::from_planes(images, size.batch, 3, &mut input);
        values[0] = Some(input);
        for (index, (layer, prepared)) in self.network.layers().iter().zip(&self.layers).enumerate() {
            let mut output = workspace.take(numbers(shapes[index + 1], size.batch));
            let step = Step {
                isa: self.isa,
                layer,
                prepared,
                batch: size.batch,
                input: shapes[layer.input.index()],
                output: shapes[index + 1],
            };
            let of = |value: usize| values[value].as_deref().unwrap_or_default();
            step.run(of(layer.input.index()), layer.residual.map(|value| of(value.index())), &mut output, workspace);
            values[index + 1] = Some(output);
            for value in std::iter::once(layer.input).chain(layer.residual) {
                if self.last_use[value.index()] == index
                    && let Some(buffer) = values[value.index()].take()
                {
                    workspace.release(buffer);
                }
            }
        }
        for (index, value) in self.network.outputs().enumerate() {
            read(index, values[value.index()].as_deref().unwrap_or_default(), shapes[value.index()]);
        }
        values.into_iter().flatten().for_each(|buffer| workspace.release(buffer));
    }
}

fn numbers(shape: Shape, batch: usize) -> usize {
    batch * shape.positions() * shape.channels()
}

fn prepare(isa: Isa, op: &Op, output: Shape, folded: Folded) -> Prepared {
    let packed = |affine: &Affine, inputs: usize| Packed::new(isa, &affine.weight, inputs, Some(&affine.bias));
    match (op, folded) {
        (Op::Conv(conv), Folded::Affine(affine)) => {
            let Conv { in_channels, out_channels, kernel, stride, groups, .. } = *conv;
            let shape = ConvShape { inputs: in_channels, outputs: out_channels, kernel, stride, groups };
            let size = map_size(output, 1);
            Prepared::Convolution(Convolution::new(isa, shape, &affine.weight, &affine.bias, size))
        }
        (Op::Linear { in_channels, .. }, Folded::Affine(affine)) => Prepared::Linear(packed(&affine, *in_channels)),
        (Op::LayerNorm { .. }, Folded::Affine(affine)) => Prepared::Norm(affine),
        (Op::SqueezeExcite { channels, reduced, .. }, Folded::Gate { reduce, expand }) => {
            Prepared::Gate { reduce: packed(&reduce, *channels), expand: packed(&expand, *reduced) }
        }
        (Op::Embed { .. }, Folded::Embed { class, position }) => Prepared::Embed { class, position },
        _ => Prepared::Nothing,
    }
}

fn map_size(shape: Shape, batch: usize) -> MapSize {
    let (Shape::Map { rows, columns, .. } | Shape::Tokens { rows, columns, .. }) = shape;
    MapSize { batch, rows, columns }
}

/// One layer at work.
struct Step<'a> {
    isa: Isa,
    layer: &'a Layer,
    prepared: &'a Prepared,
    batch: usize,
    input: Shape,
    output: Shape,
}

impl Step<'_> {
    fn run(&self, x: &[f32], residual: Option<&[f32]>, y: &mut [f32], workspace: &mut Workspace) {
        let (size, out) = (map_size(self.input, self.batch), map_size(self.output, self.batch));
        match (&self.layer.op, self.prepared) {
            (Op::Conv(conv), Prepared::Convolution(convolution)) => {
                let before = |length: usize| conv.padding.amounts(length, conv.kernel, conv.stride).0;
                let padding = kernels::Padding { top: before(size.rows), left: before(size.columns) };
                let args = ConvArgs { x, input: size, padding, output: out, residual, activation: conv.activation };
                convolution.run(&args, y);
            }
            (&Op::MaxPool { kernel, stride, padding }, _) => {
                kernels::max_pool(self.isa, Pool { kernel, stride, padding }, x, size, y, out);
            }
            (&Op::SqueezeExcite { channels, reduced, .. }, Prepared::Gate { reduce, expand }) => {
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
            (&Op::Embed { channels, grid }, Prepared::Embed { class, position }) => {
                let position = vit::position_embedding(position, channels, grid, [size.rows, size.columns]);
                let images = y.chunks_exact_mut(self.output.positions() * channels);
                for (x, y) in x.chunks_exact(self.input.positions() * channels).zip(images) {
                    let (first, cells) = y.split_at_mut(channels);
                    first.copy_from_slice(class);
                    cells.copy_from_slice(x);
                    y.iter_mut().zip(&position).for_each(|(y, position)| *y += position);
                }
            }
            (&Op::LayerNorm { channels, eps, .. }, Prepared::Norm(Affine { weight, bias })) => {
                /// Rows that a task normalises.
                const ROWS: usize = 64;
                let chunks = y.par_chunks_mut(ROWS * channels).zip(x.par_chunks(ROWS * channels));
                chunks.for_each(|(y, x)| kernels::norm(x, y, weight, bias, eps as f32));
            }
            (Op::Linear { in_channels, out_channels, activation, .. }, Prepared::Linear(weights)) => {
                let rows = self.batch * self.input.positions();
                let residual =
                    residual.map(|values| Residual { values, stride: *out_channels, period: rows, last: true });
                let epilogue = Epilogue { residual, activation: *activation };
                product(x, Rows::Dense { stride: *in_channels }, rows, weights, y, *out_channels, epilogue);
            }
            (&Op::SelfAttention { channels, heads }, _) => self.attend(x, y, [channels, heads], workspace),
            (Op::TokensToMap { channels }, _) => {
                let images = y.chunks_exact_mut(self.output.positions() * channels);
                for (x, y) in x.chunks_exact(self.input.positions() * channels).zip(images) {
                    y.copy_from_slice(&x[*channels..]);
                }
            }
            (op, prepared) => debug_assert!(false, "{op:?} was prepared as {prepared:?}"),
        }
    }

    /// Softmax attention over `[batch, tokens, 3 * channels]`, q, k and v side by side, all heads.
    fn attend(&self, x: &[f32], y: &mut [f32], [channels, heads]: [usize; 2], workspace: &mut Workspace) {
        let tokens = self.input.positions();
        let strides = AttentionStrides::all(3 * channels);
        let head = AttentionShape { queries: tokens, keys: tokens, width: channels / heads, strides, mask: None };
        MultiHead { heads, head }.run(x, &x[channels..], &x[2 * channels..], y, workspace);
    }
}

impl Engine for PackedEngine {
    fn run(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let (batch, _, height, width) = images.dims4()?;
        let shapes = self.network.shapes(height, width)?;
        let flat = images.apply_op1_no_bwd(&Maps(self))?;
        let mut start = 0;
        let map = |value: crate::network::Value| {
            let shape = shapes[value.index()];
            let count = numbers(shape, batch);
            let MapSize { rows, columns, .. } = map_size(shape, batch);
            let map = flat.narrow(0, start, count)?.reshape((batch, shape.channels(), rows, columns))?;
            start += count;
            Ok(map)
        };
        self.network.outputs().map(map).collect()
    }

    fn tokens(&self, images: &Tensor, stages: &[Stage]) -> Result<Tensor> {
        Ok(images.apply_op1_no_bwd(&Tokens { engine: self, stages })?)
    }
}

/// The images in a tensor, and their size.
fn images<'a>(storage: &'a CpuStorage, layout: &Layout) -> CandleResult<(&'a [f32], MapSize)> {
    let (batch, _, rows, columns) = layout.shape().dims4()?;
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a backbone's images must be contiguous");
    };
    Ok((&storage.as_slice::<f32>()?[start..end], MapSize { batch, rows, columns }))
}

/// Images `[batch, 3, height, width]` to all maps `[batch, channels, rows, columns]`, one after the other.
struct Maps<'a>(&'a PackedEngine);

impl CustomOp1 for Maps<'_> {
    fn name(&self) -> &'static str {
        "backbone maps"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, TensorShape)> {
        let (images, size) = images(storage, layout)?;
        let shapes = self.0.network.shapes(size.rows, size.columns).map_err(candle_core::Error::wrap)?;
        let count = self.0.network.outputs().map(|value| numbers(shapes[value.index()], size.batch)).sum();
        let mut maps = Vec::with_capacity(count);
        let read = |_, map: &[f32], shape: Shape| {
            let start = maps.len();
            maps.resize(start + map.len(), 0.0);
            kernels::to_planes(map, size.batch, shape.channels(), &mut maps[start..]);
        };
        kernels::in_pool(|| self.0.outputs(images, size, read)).map_err(candle_core::Error::wrap)?;
        Ok((CpuStorage::F32(maps), count.into()))
    }
}

/// Images `[batch, 3, height, width]` to tokens `[batch, tokens, channels]`: [`crate::aggregate()`] without planes.
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
        let grid = [size.rows / TOKEN_STRIDE, size.columns / TOKEN_STRIDE];
        let (count, width) = (grid[0] * grid[1], self.stages.iter().map(|stage| stage.channels).sum::<usize>());
        let mut tokens = vec![0.0f32; size.batch * count * width];
        let mut first = 0;
        let read = |index: usize, map: &[f32], shape: Shape| {
            let Stage { channels, stride, .. } = self.stages[index];
            let map_size = map_size(shape, size.batch);
            if stride <= TOKEN_STRIDE {
                let side = TOKEN_STRIDE / stride;
                kernels::mean_pool_into(map, map_size, channels, side, &mut tokens, first, width);
            } else {
                let scale = stride / TOKEN_STRIDE;
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
