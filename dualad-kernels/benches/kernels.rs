//! Every kernel at the sizes that the networks have, on every instruction set of this processor and one thread.
//!
//! ```sh
//! cargo bench --workspace --bench kernels            # `-- product` for some
//! ```
//!
//! Items are multiply-accumulates (of the definition: Winograd's convolutions make fewer), or numbers.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use dualad_kernels::{
    Activation, After, AttentionShape, Convolution, Isa, Packed, Rows, Scratch, Shape, Size, Window, attention,
    attention_backward, max_pool, norm, product, softmax, squared_distance,
};

fn main() {
    // What is measured is a kernel, not how its work is shared out.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(1).build_global();
    divan::main();
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index * 7919 % 1013) as f32 / 1013.0 - 0.5).collect()
}

fn instruction_sets() -> Vec<String> {
    Isa::available().iter().map(ToString::to_string).collect()
}

fn named(name: &str) -> Isa {
    Isa::available().into_iter().find(|isa| isa.to_string() == name).unwrap_or(Isa::PORTABLE)
}

/// Rows, inputs and outputs: the network's wide and narrow linears, and 1x1 convolutions.
#[divan::bench(args = instruction_sets(), consts = [0, 1, 2, 3, 4])]
fn products<const CASE: usize>(bencher: Bencher<'_, '_>, isa: &str) {
    let (rows, inputs, outputs) =
        [(196, 1792, 4096), (196, 256, 256), (3136, 64, 128), (784, 256, 512), (196, 1024, 512)][CASE];
    let isa = named(isa);
    let (x, weight) = (numbers(rows * inputs), numbers(inputs * outputs));
    let packed = Packed::new(isa, &weight, inputs, None);
    let mut y = vec![0.0; rows * outputs];
    bencher.counter(ItemsCount::new(rows * inputs * outputs)).bench_local(|| {
        product(black_box(&x), Rows::Dense { stride: inputs }, rows, &packed, &mut y, outputs, After::RELU);
    });
}

/// Inputs, outputs, kernel, stride, groups, side of the input: stems, Winograd's, strided and depthwise ones.
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
    let shape = Shape { inputs, outputs, kernel, stride, groups };
    let size = Size { batch: 1, rows: side, columns: side };
    let out = Size { batch: 1, rows: side / stride, columns: side / stride };
    let weight = numbers(outputs * inputs / groups * kernel * kernel);
    let convolution = Convolution::new(named(isa), shape, &weight, &numbers(outputs), out);
    let (x, mut y) = (numbers(size.cells() * inputs), vec![0.0; out.cells() * outputs]);
    let work = out.cells() * outputs * inputs / groups * kernel * kernel;
    bencher.counter(ItemsCount::new(work)).bench_local(|| {
        let padding = [kernel / 2, kernel / 2];
        convolution.run(black_box(&x), size, padding, &mut y, out, None, Activation::Relu);
    });
}

/// One head of 196 tokens.
#[divan::bench(args = [16, 32, 128])]
fn attention_forward(bencher: Bencher<'_, '_>, width: usize) {
    let (shape, [q, k, v, _], mut scratch) = head(width);
    let mut y = vec![0.0; 196 * width];
    bencher.counter(ItemsCount::new(2 * 196 * 196 * width)).bench_local(|| {
        attention(&shape, black_box(&q), &k, &v, &mut y, &mut scratch);
    });
}

/// And back.
#[divan::bench(args = [16, 32])]
fn attention_and_back(bencher: Bencher<'_, '_>, width: usize) {
    let (shape, [q, k, v, dy], mut scratch) = head(width);
    let [mut dq, mut dk, mut dv] = [(); 3].map(|()| vec![0.0; 196 * width]);
    bencher.counter(ItemsCount::new(5 * 196 * 196 * width)).bench_local(|| {
        attention_backward(&shape, [black_box(&q), &k, &v, &dy], [&mut dq, &mut dk, &mut dv], &mut scratch);
    });
}

fn head(width: usize) -> (AttentionShape, [Vec<f32>; 4], Scratch) {
    let window = Some(Window { grid: [14, 14], size: [7, 7] });
    let shape = AttentionShape { queries: 196, keys: 196, width, strides: [width; 4], window };
    (shape, [(); 4].map(|()| numbers(196 * width)), Scratch::default())
}

#[divan::bench(args = [256, 1024])]
fn norms(bencher: Bencher<'_, '_>, width: usize) {
    let (x, weight, mut y) = (numbers(196 * width), numbers(width), vec![0.0; 196 * width]);
    bencher.counter(ItemsCount::new(196 * width)).bench_local(|| {
        norm(black_box(&x), &mut y, &weight, &weight, 1e-5);
    });
}

#[divan::bench]
fn softmax_of_196(bencher: Bencher<'_, '_>) {
    let mut row = numbers(196);
    bencher.counter(ItemsCount::new(196usize)).bench_local(|| softmax(black_box(&mut row)));
}

#[divan::bench]
fn errors_of_1792(bencher: Bencher<'_, '_>) {
    let (x, y) = (numbers(1792), numbers(1792));
    bencher.counter(ItemsCount::new(1792usize)).bench_local(|| squared_distance(black_box(&x), &y, None));
}

#[divan::bench(args = instruction_sets())]
fn max_pool_after_the_stem(bencher: Bencher<'_, '_>, isa: &str) {
    let isa = named(isa);
    let (size, out) = (Size { batch: 1, rows: 112, columns: 112 }, Size { batch: 1, rows: 56, columns: 56 });
    let (x, mut y) = (numbers(size.cells() * 64), vec![0.0; out.cells() * 64]);
    bencher.counter(ItemsCount::new(x.len())).bench_local(|| {
        max_pool(isa, black_box(&x), size, 64, [3, 2, 1], &mut y, out);
    });
}
