//! The backbone: pixels to stage maps, and stage maps to tokens (docs/method.md, section 2).

use dualad::backbones::Stage;
use dualad::backbones::layers::{Activation, Affine, Layers, Operation};

use crate::graph::{Graph, Value, int, ints};

/// Writes the backbone. Returns the map of each stage, `[batch, channels, rows, columns]`.
pub(crate) fn maps(graph: &mut Graph, layers: &Layers, image: Value) -> Vec<Value> {
    graph.begin("backbone");
    let mut values = vec![image];
    for layer in &layers.layers {
        // The values that a layer reads are written before it.
        let read = |value: usize| values.get(value).cloned().unwrap_or_else(|| Graph::input("missing"));
        let (x, residual) = (read(layer.input), layer.residual.map(read));
        let y = operation(graph, &layer.operation, &x, residual.as_ref());
        values.push(y);
    }
    layers.outputs.iter().filter_map(|&value| values.get(value).cloned()).collect()
}

/// Writes the aggregation of stage maps to tokens `[batch, rows * columns, channels]`.
pub(crate) fn tokens(
    graph: &mut Graph,
    maps: &[Value],
    stages: &[Stage],
    [rows, columns]: [usize; 2],
    token_stride: usize,
) -> Value {
    graph.begin("aggregation");
    let mut tokens = Vec::new();
    for (map, stage) in maps.iter().zip(stages) {
        let map = if stage.stride < token_stride {
            let side = token_stride.checked_div(stage.stride).unwrap_or(1) as i64;
            graph.node("AveragePool", &[map], vec![ints("kernel_shape", &[side; 2]), ints("strides", &[side; 2])])
        } else if stage.stride > token_stride {
            let repeat = stage.stride / token_stride.max(1);
            let mut repeated = map.clone();
            for (axis, count) in [(2, rows), (3, columns)] {
                let cells: Vec<i64> = (0..count).map(|cell| (cell / repeat) as i64).collect();
                let cells = graph.integers(&cells);
                repeated = graph.gather(&repeated, &cells, axis);
            }
            repeated
        } else {
            map.clone()
        };
        tokens.push(cells(graph, &map, stage.channels, rows * columns));
    }
    match tokens.as_slice() {
        [one] => one.clone(),
        several => graph.concat(&several.iter().collect::<Vec<_>>(), 2),
    }
}

/// Writes the cells of a map row by row, `[batch, cells, channels]`.
pub(crate) fn cells(graph: &mut Graph, map: &Value, channels: usize, cells: usize) -> Value {
    let flat = graph.reshape(map, &[0, channels, cells]);
    graph.transpose(&flat, &[0, 2, 1])
}

fn operation(graph: &mut Graph, operation: &Operation, x: &Value, residual: Option<&Value>) -> Value {
    match operation {
        Operation::Conv { affine, outputs, inputs, kernel, stride, padding, groups, activation, .. } => {
            let weight = graph.floats(&[*outputs, *inputs, *kernel, *kernel], &affine.weight);
            let bias = graph.floats(&[*outputs], &affine.bias);
            let attributes = vec![
                ints("kernel_shape", &[*kernel as i64; 2]),
                ints("strides", &[*stride as i64; 2]),
                ints("pads", &padding.map(|side| side as i64)),
                int("group", *groups as i64),
            ];
            let mut sum = graph.node("Conv", &[x, &weight, &bias], attributes);
            if let Some(residual) = residual {
                sum = graph.add(&sum, residual);
            }
            activate(graph, &sum, *activation)
        }
        Operation::MaxPool { kernel, stride, padding } => {
            let attributes = vec![
                ints("kernel_shape", &[*kernel as i64; 2]),
                ints("strides", &[*stride as i64; 2]),
                ints("pads", &[*padding as i64; 4]),
            ];
            graph.node("MaxPool", &[x], attributes)
        }
        Operation::SqueezeExcite { reduce, expand } => {
            let mean = graph.unary("GlobalAveragePool", x);
            let hidden = pointwise(graph, &mean, reduce);
            let hidden = activate(graph, &hidden, Activation::Silu);
            let gate = pointwise(graph, &hidden, expand);
            let gate = graph.unary("Sigmoid", &gate);
            graph.mul(x, &gate)
        }
        Operation::Embed { channels, prefix, positions } => embed(graph, x, *channels, prefix, positions.as_deref()),
        Operation::LayerNorm { affine, eps } => graph.layer_norm(x, &affine.weight, &affine.bias, *eps),
        Operation::Linear { affine, activation, .. } => {
            let sum = graph.linear(x, &affine.weight, &affine.bias);
            let y = activate(graph, &sum, *activation);
            match residual {
                Some(residual) => graph.add(&y, residual),
                None => y,
            }
        }
        Operation::Rotary { channels, heads, prefix, pairs, cosines, sines } => {
            let cells = cosines.len() / (*pairs).max(1);
            let rotations = [cosines, sines].map(|values| graph.floats(&[1, cells, 1, 1, *pairs], values));
            rotate(graph, x, [*channels, *heads, *prefix, *pairs], cells, &rotations)
        }
        Operation::SelfAttention { channels, heads } => {
            let [query, key, value] =
                [0, 1, 2].map(|index| graph.slice(x, 2, index * channels, (index + 1) * channels));
            graph.attention([&query, &key, &value], *heads, *channels, None)
        }
        Operation::TokensToMap { channels, prefix, grid: [rows, columns] } => {
            let cells = graph.slice(x, 1, *prefix, prefix + rows * columns);
            let cells = graph.transpose(&cells, &[0, 2, 1]);
            graph.reshape(&cells, &[0, *channels, *rows, *columns])
        }
        // The crates have one version.
        _ => x.clone(),
    }
}

fn activate(graph: &mut Graph, x: &Value, activation: Activation) -> Value {
    match activation {
        Activation::Identity => x.clone(),
        Activation::Relu => graph.unary("Relu", x),
        Activation::Silu => {
            let gate = graph.unary("Sigmoid", x);
            graph.mul(x, &gate)
        }
        // 0.5 x (1 + erf(x / sqrt(2))): opset 17 has no operator for it.
        Activation::Gelu => {
            let inner = graph.scale(x, std::f32::consts::FRAC_1_SQRT_2);
            let error = graph.unary("Erf", &inner);
            let one = graph.number(1.0);
            let sum = graph.add(&error, &one);
            let product = graph.mul(x, &sum);
            graph.scale(&product, 0.5)
        }
    }
}

/// Writes a 1x1 convolution.
fn pointwise(graph: &mut Graph, x: &Value, Affine { weight, bias, .. }: &Affine) -> Value {
    let (outputs, inputs) = (bias.len(), weight.len() / bias.len().max(1));
    let weight = graph.floats(&[outputs, inputs, 1, 1], weight);
    let bias = graph.floats(&[outputs], bias);
    graph.node("Conv", &[x, &weight, &bias], vec![ints("kernel_shape", &[1, 1])])
}

/// Writes the tokens of a map, after those of the prefix, which is the same for every image.
fn embed(graph: &mut Graph, map: &Value, channels: usize, prefix: &[f32], positions: Option<&[f32]>) -> Value {
    // The shape of the input is that of its batch at the first place.
    let shape = graph.unary("Shape", map);
    let first = graph.integers(&[0]);
    let batch = graph.gather(&shape, &first, 0);
    let count = prefix.len() / channels.max(1);
    let sides = graph.integers(&[count as i64, channels as i64]);
    let shape = graph.concat(&[&batch, &sides], 0);
    let prefix = graph.floats(&[1, count, channels], prefix);
    let prefix = graph.node("Expand", &[&prefix, &shape], Vec::new());
    // The side that is -1 is the number of cells.
    let flat = graph.integers(&[0, channels as i64, -1]);
    let flat = graph.node("Reshape", &[map, &flat], Vec::new());
    let mut cells = graph.transpose(&flat, &[0, 2, 1]);
    if let Some(positions) = positions {
        let positions = graph.floats(&[1, positions.len() / channels.max(1), channels], positions);
        cells = graph.add(&cells, &positions);
    }
    graph.concat(&[&prefix, &cells], 1)
}

/// Writes the rotation of q and k, `[q | k | v]`, of the tokens after the prefix.
fn rotate(
    graph: &mut Graph,
    x: &Value,
    [channels, heads, prefix, pairs]: [usize; 4],
    cells: usize,
    [cosines, sines]: &[Value; 2],
) -> Value {
    let qk = graph.slice(x, 2, 0, 2 * channels);
    let v = graph.slice(x, 2, 2 * channels, 3 * channels);
    let grid = graph.slice(&qk, 1, prefix, prefix + cells);
    let split = graph.reshape(&grid, &[0, cells, 2 * heads, 2, pairs]);
    let [a, b] = [0, 1].map(|half| graph.slice(&split, 3, half, half + 1));
    let mut products = |x: &Value| [graph.mul(x, cosines), graph.mul(x, sines)];
    let ([a_cos, a_sin], [b_cos, b_sin]) = (products(&a), products(&b));
    let (first, second) = (graph.sub(&a_cos, &b_sin), graph.add(&b_cos, &a_sin));
    let rotated = graph.concat(&[&first, &second], 3);
    let rotated = graph.reshape(&rotated, &[0, cells, 2 * channels]);
    let before = graph.slice(&qk, 1, 0, prefix);
    let qk = graph.concat(&[&before, &rotated], 1);
    graph.concat(&[&qk, &v], 2)
}
