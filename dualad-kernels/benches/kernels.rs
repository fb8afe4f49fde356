//! The speed of every kernel at the sizes of the networks, on one thread and on every instruction set of this processor.
//!
//! ```sh
//! cargo bench --workspace --bench kernels            # `-- product` runs the benchmarks with that name
//! ```
//!
//! Items are multiply-accumulates or elements. Those of a convolution are counted by its definition; Winograd's method needs fewer.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use dualad_kernels::{
    Activation, AttentionScratch, AttentionShape, AttentionStrides, ConvArgs, ConvShape, Convolution, Epilogue, Isa,
    MapSize, NeighborMask, Packed, Padding, Pool, Precision, Rows, attention, attention_backward, max_pool, norm,
    product, softmax, squared_distance,
};

fn main() {
    // One thread: the benchmarks measure the kernels, not the distribution of work.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(1).build_global();
    divan::main();
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index * 7919 % 1013) as f32 / 1013.0 - 0.5).collect()
}

fn instruction_sets() -> Vec<String> {
    Isa::available().iter().map(ToString::to_string).collect()
}

fn named(name: &str) -> Isa {
    Isa::available().into_iter().find(|isa| isa.to_string() == name).unwrap_or(Isa::PORTABLE)
}

/// Rows, inputs and outputs of linear layers (wide and narrow) and of 1x1 convolutions.
#[divan::bench(args = instruction_sets(), consts = [0, 1, 2, 3, 4])]
fn products<const CASE: usize>(bencher: Bencher<'_, '_>, isa: &str) {
    let (rows, inputs, outputs) =
        [(196, 1792, 4096), (196, 256, 256), (3136, 64, 128), (784, 256, 512), (196, 1024, 512)][CASE];
    let isa = named(isa);
    let (x, weight) = (values(rows * inputs), values(inputs * outputs));
    let packed = Packed::new(isa, &weight, inputs, None);
    let mut y = vec![0.0; rows * outputs];
    bencher.counter(ItemsCount::new(rows * inputs * outputs)).bench_local(|| {
        product(black_box(&x), Rows::Dense { stride: inputs }, rows, &packed, &mut y, outputs, Epilogue::RELU);
    });
}

/// Inputs, outputs, kernel, stride, groups and side of the input: a stem, 3x3 with stride 1 and 2, and a depthwise convolution.
#[divan::bench(args = instruction_sets(), consts = [0, 1, 2, 3, 4, 5])]
fn convolutions<const CASE: usize>(bencher: Bencher<'_, '_>, isa: &str) {
    let (inputs, outputs, kernel, stride, groups, side) = [
        (3, 64, 7, 2, 1, 224),
        (128, 128, 3, 1, 1, 56),
        (256, 256, 3, 1, 1, 28),
        (512, 512, 3, 1, 1, 14),
        (256, 256, 3, 2, 1, 56),
        (144, 144, 3, 1, 144, 56),
    ][CASE];
    let shape = ConvShape { inputs, outputs, kernel, stride, groups };
    let size = MapSize { batch: 1, rows: side, columns: side };
    let out = MapSize { batch: 1, rows: side / stride, columns: side / stride };
    let weight = values(outputs * inputs / groups * kernel * kernel);
    let convolution = Convolution::new(named(isa), Precision::F32, shape, &weight, &values(outputs), out);
    let (x, mut y) = (values(size.cells() * inputs), vec![0.0; out.cells() * outputs]);
    let work = out.cells() * outputs * inputs / groups * kernel * kernel;
    bencher.counter(ItemsCount::new(work)).bench_local(|| {
        let args = ConvArgs {
            x: black_box(&x[..]),
            input: size,
            padding: Padding::both(kernel / 2),
            output: out,
            residual: None,
            activation: Activation::Relu,
        };
        convolution.run(&args, &mut y);
    });
}

/// The forward pass of one head with 196 tokens.
#[divan::bench(args = [16, 32, 128])]
fn attention_forward(bencher: Bencher<'_, '_>, width: usize) {
    let (shape, [q, k, v, _], mut scratch) = head(width);
    let mut y = vec![0.0; 196 * width];
    bencher.counter(ItemsCount::new(2 * 196 * 196 * width)).bench_local(|| {
        attention(&shape, black_box(&q), &k, &v, &mut y, &mut scratch);
    });
}

/// The backward pass of one head with 196 tokens.
#[divan::bench(args = [16, 32])]
fn attention_gradient(bencher: Bencher<'_, '_>, width: usize) {
    let (shape, [q, k, v, dy], mut scratch) = head(width);
    let [mut dq, mut dk, mut dv] = [(); 3].map(|()| vec![0.0; 196 * width]);
    bencher.counter(ItemsCount::new(5 * 196 * 196 * width)).bench_local(|| {
        attention_backward(&shape, [black_box(&q), &k, &v, &dy], [&mut dq, &mut dk, &mut dv], &mut scratch);
    });
}

fn head(width: usize) -> (AttentionShape, [Vec<f32>; 4], AttentionScratch) {
    let mask = Some(NeighborMask { grid: [14, 14], size: [7, 7] });
    let shape = AttentionShape { queries: 196, keys: 196, width, strides: AttentionStrides::all(width), mask };
    (shape, [(); 4].map(|()| values(196 * width)), AttentionScratch::default())
}

#[divan::bench(args = [256, 1024])]
fn norms(bencher: Bencher<'_, '_>, width: usize) {
    let (x, weight, mut y) = (values(196 * width), values(width), vec![0.0; 196 * width]);
    bencher.counter(ItemsCount::new(196 * width)).bench_local(|| {
        norm(black_box(&x), &mut y, &weight, &weight, 1e-5);
    });
}

#[divan::bench]
fn softmax_of_196(bencher: Bencher<'_, '_>) {
    let mut row = values(196);
    bencher.counter(ItemsCount::new(196usize)).bench_local(|| softmax(black_box(&mut row)));
}

#[divan::bench]
fn errors_of_1792(bencher: Bencher<'_, '_>) {
    let (x, y) = (values(1792), values(1792));
    bencher.counter(ItemsCount::new(1792usize)).bench_local(|| squared_distance(black_box(&x), &y, None));
}

#[divan::bench(args = instruction_sets())]
fn max_pool_after_the_stem(bencher: Bencher<'_, '_>, isa: &str) {
    let isa = named(isa);
    let (size, out) = (MapSize { batch: 1, rows: 112, columns: 112 }, MapSize { batch: 1, rows: 56, columns: 56 });
    let (x, mut y) = (values(size.cells() * 64), vec![0.0; out.cells() * 64]);
    bencher.counter(ItemsCount::new(x.len())).bench_local(|| {
        max_pool(isa, Pool { kernel: 3, stride: 2, padding: 1 }, black_box(&x), size, &mut y, out);
    });
}
