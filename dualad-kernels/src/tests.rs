//! Every kernel against its definition in f64, on every available instruction set and for random shapes.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::*;

/// A simple source of values between -1 and 1.
pub(crate) struct TestValues(u64);

impl TestValues {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// Checks that values differ by at most `tolerance` times the largest expected magnitude.
fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-6f64, |largest, x| largest.max(x.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= tolerance * largest, "{what}, {index}: {found} {expected}");
    }
}

fn activated(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => x * 0.5 * (1.0 + erf(x / 2.0f64.sqrt())),
    }
}

/// The error function by its series.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

const ACTIVATIONS: [Activation; 4] = [Activation::Identity, Activation::Relu, Activation::Silu, Activation::Gelu];

/// The configuration of a test with random cases. WebAssembly has no source of random values: the seed is fixed there.
pub(crate) fn random_cases(cases: u32) -> ProptestConfig {
    let config = ProptestConfig { cases, ..ProptestConfig::default() };
    if cfg!(target_family = "wasm") { ProptestConfig { rng_seed: RngSeed::Fixed(0), ..config } } else { config }
}

/// True if a program stands for the processor: the environment variable DUALAD_EMULATED says so. Slow tests then leave out what they
/// test on a real processor as well.
pub(crate) fn is_emulated() -> bool {
    std::env::var_os("DUALAD_EMULATED").is_some()
}

/// Runs `run` on a pool of this many threads, or on the caller's thread in WebAssembly, which has no other.
pub(crate) fn on_threads<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
    if cfg!(target_family = "wasm") {
        return run();
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(run)
}

/// Runs `run` on pools of one and of three threads and checks that the results have the same bits.
fn on_pools(run: impl Fn() -> Vec<f32> + Sync + Send) -> Vec<f32> {
    let results = [1, 3].map(|threads| on_threads(threads, &run));
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&results[0]), bits(&results[1]), "threads change bits");
    results.into_iter().next().expect("two results")
}

#[derive(Debug, Clone)]
struct ProductCase {
    rows: usize,
    inputs: usize,
    outputs: usize,
    gap: usize,
    residual: Option<(usize, bool)>,
    bias: bool,
    activation: usize,
    seed: u64,
}

fn check_product(case: &ProductCase) {
    let &ProductCase { rows, inputs, outputs, gap, residual, bias, activation, seed } = case;
    let mut random = TestValues::new(seed);
    let (stride, out_stride) = (inputs + gap, outputs + gap);
    let (x, weight) = (random.take(rows * stride), random.take(outputs * inputs));
    let (bias, activation) = (bias.then(|| random.take(outputs)), ACTIVATIONS[activation % 4]);
    let added = residual.map(|(period, last)| (random.take(period * out_stride), period, last));
    let mut expected = vec![0.5f64; rows * out_stride];
    for row in 0..rows {
        for output in 0..outputs {
            let mut sum = bias.as_ref().map_or(0.0, |bias| f64::from(bias[output]));
            for input in 0..inputs {
                sum += f64::from(x[row * stride + input]) * f64::from(weight[output * inputs + input]);
            }
            let residual = |wanted: bool| match &added {
                Some((values, period, last)) if *last == wanted => {
                    f64::from(values[row % period * out_stride + output])
                }
                _ => 0.0,
            };
            expected[row * out_stride + output] = activated(sum + residual(false), activation) + residual(true);
        }
    }
    for isa in Isa::available() {
        let packed = Packed::new(isa, &weight, inputs, bias.as_deref());
        let found = on_pools(|| {
            let mut y = vec![0.5f32; rows * out_stride];
            let residual = added.as_ref().map(|(values, period, last)| Residual {
                values,
                stride: out_stride,
                period: *period,
                last: *last,
            });
            let epilogue = Epilogue { residual, activation };
            product(&x, Rows::Dense { stride }, rows, &packed, &mut y, out_stride, epilogue);
            y
        });
        assert_close(&found, &expected, 2e-6 * (inputs as f64).sqrt().max(1.0), &format!("{isa} {case:?}"));
    }
}

#[derive(Debug, Clone)]
struct ConvolutionCase {
    shape: ConvShape,
    size: MapSize,
    padding: Padding,
    residual: bool,
    activation: usize,
    seed: u64,
}

fn check_convolution(case: &ConvolutionCase) {
    let ConvolutionCase { shape, size, padding, residual, activation, seed } = case.clone();
    let ConvShape { inputs, outputs, kernel, stride, groups } = shape;
    let side = |length: usize, padding: usize| (length + 2 * padding).checked_sub(kernel).map(|rest| rest / stride + 1);
    let (Some(rows), Some(columns)) = (side(size.rows, padding.top), side(size.columns, padding.left)) else { return };
    let out = MapSize { batch: size.batch, rows, columns };
    let mut random = TestValues::new(seed);
    let x = random.take(size.cells() * inputs);
    let weight = random.take(outputs * (inputs / groups) * kernel * kernel);
    let bias = random.take(outputs);
    let residual = residual.then(|| random.take(out.cells() * outputs));
    let activation = ACTIVATIONS[activation % 4];
    let mut expected = Vec::with_capacity(out.cells() * outputs);
    for cell in 0..out.cells() {
        let (image, row, column) = (cell / (rows * columns), cell / columns % rows, cell % columns);
        for output in 0..outputs {
            let mut sum = f64::from(bias[output]);
            for down in 0..kernel {
                for right in 0..kernel {
                    let y = (row * stride + down).checked_sub(padding.top).filter(|&y| y < size.rows);
                    let x_at = (column * stride + right).checked_sub(padding.left).filter(|&x| x < size.columns);
                    let (Some(y), Some(x_at)) = (y, x_at) else { continue };
                    let at = ((image * size.rows + y) * size.columns + x_at) * inputs;
                    for input in 0..inputs / groups {
                        let channel = if groups > 1 { output } else { input };
                        let weight = weight[((output * (inputs / groups) + input) * kernel + down) * kernel + right];
                        sum += f64::from(x[at + channel]) * f64::from(weight);
                    }
                }
            }
            sum += residual.as_ref().map_or(0.0, |residual| f64::from(residual[cell * outputs + output]));
            expected.push(activated(sum, activation));
        }
    }
    for isa in Isa::available() {
        // Other sizes choose other methods.
        for usual in [size, MapSize { batch: 1, rows: 224, columns: 224 }, MapSize { batch: 1, rows: 2, columns: 2 }] {
            let convolution = Convolution::new(isa, Precision::F32, shape, &weight, &bias, usual);
            let found = on_pools(|| {
                let mut y = vec![f32::NAN; out.cells() * outputs];
                let residual = residual.as_deref();
                let args = ConvArgs { x: &x[..], input: size, padding, output: out, residual, activation };
                convolution.run(&args, &mut y);
                y
            });
            assert_close(&found, &expected, 1e-5, &format!("{isa} {case:?}"));
        }
    }
}

fn shapes() -> impl Strategy<Value = ConvShape> {
    (1usize..40, 1usize..40, prop::sample::select(vec![1usize, 2, 3, 5, 7]), 1usize..4, any::<bool>()).prop_map(
        |(inputs, outputs, kernel, stride, depthwise)| {
            let (outputs, groups) = if depthwise { (inputs, inputs) } else { (outputs, 1) };
            ConvShape { inputs, outputs, kernel, stride, groups }
        },
    )
}

proptest! {
    #![proptest_config(random_cases(60))]

    #[test]
    fn products_equal_their_definition(
        rows in 1usize..60, inputs in 1usize..70, outputs in 1usize..130, gap in 0usize..4,
        residual in prop::option::of((1usize..9, any::<bool>())), bias in any::<bool>(), activation in 0usize..4,
        seed in any::<u64>(),
    ) {
        check_product(&ProductCase { rows, inputs, outputs, gap, residual, bias, activation, seed });
    }

    #[test]
    fn convolutions_equal_their_definition(
        shape in shapes(), batch in 1usize..3, rows in 1usize..18, columns in 1usize..18, padded in any::<bool>(),
        residual in any::<bool>(), activation in 0usize..4, seed in any::<u64>(),
    ) {
        let padding = Padding::both(if padded { shape.kernel / 2 } else { 0 });
        let size = MapSize { batch, rows, columns };
        check_convolution(&ConvolutionCase { shape, size, padding, residual, activation, seed });
    }
}

#[test]
fn large_products_equal_their_definition() {
    for (rows, inputs, outputs) in
        [(196, 900, 100), (500, 400, 33), (7, 1025, 257), (1, 1, 1), (241, 385, 97), (9, 2049, 40), (5, 5000, 800)]
    {
        let residual = (rows == 196).then_some((49, true));
        let case = ProductCase { rows, inputs, outputs, gap: 1, residual, bias: true, activation: 1, seed: 7 };
        check_product(&case);
    }
}

#[test]
fn products_have_the_same_bits_on_many_threads() {
    let mut random = TestValues::new(11);
    for (rows, inputs, outputs) in [(241, 300, 70), (241, 8, 800), (7, 1200, 448), (1, 900, 100), (200, 70, 5)] {
        let (x, weight) = (random.take(rows * inputs), random.take(outputs * inputs));
        let weights = Packed::new(Isa::best(), &weight, inputs, None);
        let run = || {
            let mut y = vec![0.0; rows * outputs];
            product(&x, Rows::Dense { stride: inputs }, rows, &weights, &mut y, outputs, Epilogue::NONE);
            y
        };
        let expected = on_threads(1, run);
        [2, 5, 64].into_iter().for_each(|threads| assert_eq!(on_threads(threads, run), expected, "{threads} threads"));
    }
}

#[test]
fn the_networks_convolutions_equal_their_definition() {
    let shape = |inputs, outputs, kernel, stride| ConvShape { inputs, outputs, kernel, stride, groups: 1 };
    for (shape, rows) in [
        (shape(3, 64, 7, 2), 64),
        (shape(64, 64, 3, 1), 28),
        (shape(128, 96, 3, 1), 14),
        (shape(64, 128, 3, 2), 28),
        (shape(64, 128, 1, 2), 28),
        (shape(3, 96, 16, 16), 48),
        (shape(260, 40, 3, 2), 10),
    ] {
        let padding = if shape.kernel == 16 { 0 } else { shape.kernel / 2 };
        let size = MapSize { batch: 2, rows, columns: rows + 2 * shape.stride };
        let case =
            ConvolutionCase { shape, size, padding: Padding::both(padding), residual: true, activation: 1, seed: 3 };
        check_convolution(&case);
    }
}

#[test]
fn pools_planes_and_gates_equal_their_definition() {
    let mut random = TestValues::new(5);
    for channels in [1, 3, 8, 16, 19, 37, 64] {
        let size = MapSize { batch: 2, rows: 12, columns: 8 };
        let x = random.take(size.cells() * channels);
        let at = |image: usize, row: usize, column: usize, channel: usize| {
            x[((image * size.rows + row) * size.columns + column) * channels + channel]
        };
        let mut planes = vec![0.0; x.len()];
        to_planes(&x, 2, channels, &mut planes);
        assert_eq!(planes[(channels + channels - 1) * 96 + 5 * 8 + 3], at(1, 5, 3, channels - 1));
        let mut back = vec![0.0; x.len()];
        from_planes(&planes, 2, channels, &mut back);
        assert_eq!(back, x);

        let mut mean = vec![0.0; 2 * channels];
        mean_of_cells(&x, size, channels, &mut mean);
        let sum: f64 = (0..96).map(|cell| f64::from(at(1, cell / 8, cell % 8, channels - 1))).sum();
        assert!((f64::from(mean[2 * channels - 1]) - sum / 96.0).abs() < 1e-6);

        for isa in Isa::available() {
            let out = MapSize { batch: 2, rows: 6, columns: 4 };
            let mut pooled = vec![0.0; out.cells() * channels];
            max_pool(isa, Pool { kernel: 3, stride: 2, padding: 1 }, &x, size, &mut pooled, out);
            let (mut gated, mut gate) = (vec![0.0; x.len()], mean.clone());
            apply_gate(isa, &x, size, &mut gate, &mut gated);
            for image in 0..2 {
                for (row, column, channel) in
                    [(0usize, 0usize, 0), (5, 3, channels - 1), (2, 1, channels / 2), (0, 3, 0)]
                {
                    let mut largest = f32::NEG_INFINITY;
                    for y in (2 * row).saturating_sub(1)..(2 * row + 2).min(12) {
                        for x in (2 * column).saturating_sub(1)..(2 * column + 2).min(8) {
                            largest = largest.max(at(image, y, x, channel));
                        }
                    }
                    assert_eq!(pooled[((image * 6 + row) * 4 + column) * channels + channel], largest);
                    let sigmoid = 1.0 / (1.0 + (-f64::from(mean[image * channels + channel])).exp());
                    let found = gated[((image * 12 + row) * 8 + column) * channels + channel];
                    assert!((f64::from(found) - f64::from(at(image, row, column, channel)) * sigmoid).abs() < 1e-6);
                }
            }
        }
        let mut tokens = vec![0.0; 2 * 3 * 2 * (channels + 1)];
        mean_pool_into(&x, size, channels, 4, &mut tokens, 1, channels + 1);
        let mut sum = 0.0;
        for cell in 0..16 {
            sum += f64::from(at(1, 8 + cell / 4, 4 + cell % 4, 0));
        }
        assert!((f64::from(tokens[(6 + 5) * (channels + 1) + 1]) - sum / 16.0).abs() < 1e-6);
    }
}

#[test]
fn activations_equal_their_definition_for_small_and_large_values() {
    let sizes = [0.0, 1e-30, 1e-6, 0.1, 0.5, 1.0, 3.0, 9.0, 20.0, 60.0, 86.0, 87.5, 88.5, 100.0, 1e4, 1e30];
    let x: Vec<f32> = sizes.iter().flat_map(|&x| [x, -x]).chain((-400..=400).map(|x| x as f32 / 20.0)).collect();
    for isa in Isa::available() {
        let one = Packed::new(isa, &[1.0], 1, None);
        for activation in ACTIVATIONS {
            let mut y = vec![0.0; x.len()];
            let epilogue = Epilogue { residual: None, activation };
            product(&x, Rows::Dense { stride: 1 }, x.len(), &one, &mut y, 1, epilogue);
            for (&x, &y) in x.iter().zip(&y) {
                let (x, expected) = (f64::from(x), activated(f64::from(x), activation));
                let error = (f64::from(y) - expected).abs();
                assert!(error <= 4e-7 * x.abs().max(1.0), "{isa}, {activation:?} of {x}: {y}, not {expected}");
            }
        }
    }
}

#[test]
fn nan_stays_nan_and_large_values_do_not_become_nan() {
    for isa in Isa::available() {
        for activation in ACTIVATIONS {
            let packed = Packed::new(isa, &[1.0, 1.0], 2, None);
            let mut y = [0.0];
            let epilogue = Epilogue { residual: None, activation };
            product(&[f32::NAN, 1.0], Rows::Dense { stride: 2 }, 1, &packed, &mut y, 1, epilogue);
            assert!(y[0].is_nan(), "{isa} {activation:?}");
            // Large values do not become NaN.
            product(&[1e30, -2e30], Rows::Dense { stride: 2 }, 1, &packed, &mut y, 1, epilogue);
            assert!(!y[0].is_nan(), "{isa} {activation:?}");
        }
    }
}

#[test]
#[should_panic(expected = "the result of a product")]
fn a_result_that_is_too_small_panics() {
    let packed = Packed::new(Isa::best(), &[1.0, 1.0], 1, None);
    product(&[1.0, 2.0], Rows::Dense { stride: 1 }, 2, &packed, &mut [0.0; 3], 2, Epilogue::NONE);
}
