//! Products of bytes against their definition, bit for bit, on every form that the processor has.

use proptest::prelude::*;

use crate::int8::isa::DotIsa;
use crate::int8::packed::PackedBytes;
use crate::int8::product;
use crate::tests::{TestValues, is_emulated, on_threads, random_cases};
use crate::*;

/// Returns a row as integers from 0 to 255, with its step and zero.
fn quantized(row: &[f32]) -> (Vec<i64>, f32, i64) {
    let low = row.iter().fold(0.0f32, |low, &x| low.min(x));
    let high = row.iter().fold(0.0f32, |high, &x| high.max(x));
    if low == high {
        return (vec![0; row.len()], 0.0, 0);
    }
    let inverse = 254.0 / (high - low);
    let zero = (-low * inverse + 0.5).floor();
    let element = |x: &f32| (f64::from(x * inverse) + f64::from(zero)).round_ties_even().clamp(0.0, 255.0) as i64;
    (row.iter().map(element).collect(), (high - low) / 254.0, zero as i64)
}

/// Returns the weights of an output as integers from -127 to 127, with their step.
fn quantized_weights(weights: &[f32]) -> (Vec<i64>, f32) {
    let largest = weights.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    (weights.iter().map(|weight| (weight * inverse).round() as i64).collect(), largest / 127.0)
}

/// Returns the forms to compare with the definition. Under emulation only the fastest: the portable form is tested where it is that.
fn forms() -> Vec<DotIsa> {
    if is_emulated() { vec![DotIsa::of(Isa::best())] } else { DotIsa::available() }
}

/// Returns the numbers of threads to test.
fn thread_counts() -> &'static [usize] {
    if is_emulated() { &[3] } else { &[1, 3] }
}

#[derive(Debug, Clone)]
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    gap: usize,
    /// The residual's period, and true to add it last.
    residual: Option<(usize, bool)>,
    bias: bool,
    relu: bool,
    /// True for rows without negative elements.
    positive: bool,
    seed: u64,
}

fn check(case: &Case) {
    let Case { rows, inputs, outputs, gap, residual, bias, relu, positive, seed } = case.clone();
    let mut random = TestValues::new(seed);
    let stride = inputs + gap;
    let mut x = random.take(rows * stride);
    if positive {
        x.iter_mut().for_each(|x| *x = x.abs());
    }
    let weight = random.take(outputs * inputs);
    let bias = bias.then(|| random.take(outputs));
    let added = residual.map(|(period, last)| (random.take(period * (outputs + gap)), period, last));
    let activation = if relu { Activation::Relu } else { Activation::Identity };
    let activate = |x: f32| if relu { x.max(0.0) } else { x };
    let mut expected = Vec::new();
    for row in 0..rows {
        let (elements, step, zero) = quantized(&x[row * stride..][..inputs]);
        for output in 0..outputs {
            let (weights, weight_step) = quantized_weights(&weight[output * inputs..][..inputs]);
            let sum: i64 = elements.iter().zip(weights).map(|(element, weight)| (element - zero) * weight).sum();
            let mut y = sum as f32 * (weight_step * step);
            y += bias.as_ref().map_or(0.0, |bias| bias[output]);
            let residual =
                added.as_ref().map(|(values, period, last)| (values[row % period * (outputs + gap) + output], last));
            expected.push(match residual {
                None => activate(y),
                Some((residual, true)) => activate(y) + residual,
                Some((residual, false)) => activate(y + residual),
            });
        }
    }
    for isa in forms() {
        let at = |output: usize, input: usize| weight[output * inputs + input];
        let packed = PackedBytes::for_dot(isa, outputs, [1, inputs], bias.as_deref(), at);
        for &threads in thread_counts() {
            let out_stride = outputs + gap;
            let found = on_threads(threads, || {
                let mut y = vec![0.5f32; rows * out_stride];
                let residual = added.as_ref().map(|(values, period, last)| Residual {
                    values,
                    stride: out_stride,
                    period: *period,
                    last: *last,
                });
                product(
                    &x,
                    Rows::Dense { stride },
                    rows,
                    &packed,
                    &mut y,
                    out_stride,
                    Epilogue { residual, activation },
                );
                y
            });
            for (row, expected) in expected.chunks_exact(outputs).enumerate() {
                let found = &found[row * out_stride..][..outputs];
                assert_eq!(found, expected, "{isa:?}, {threads} threads, row {row}, {case:?}");
            }
            // What lies between rows stays.
            assert!(found.chunks_exact(out_stride).all(|row| row[outputs..].iter().all(|&x| x == 0.5)));
        }
    }
}

proptest! {
    #![proptest_config(random_cases(60))]

    #[test]
    fn products_equal_their_definition(
        rows in 1usize..40, inputs in 1usize..80, outputs in 1usize..100, gap in 0usize..4,
        residual in prop::option::of((1usize..9, any::<bool>())), bias in any::<bool>(), relu in any::<bool>(),
        positive in any::<bool>(), seed in any::<u64>(),
    ) {
        check(&Case { rows, inputs, outputs, gap, residual, bias, relu, positive, seed });
    }
}

#[test]
fn large_products_equal_their_definition() {
    for (rows, inputs, outputs) in [(500, 130, 33), (7, 1025, 257), (1, 1, 1), (241, 385, 97), (5, 5000, 80)] {
        let residual = (rows == 241).then_some((49, true));
        let (bias, relu, positive) = (true, true, rows == 5);
        check(&Case { rows, inputs, outputs, gap: 1, residual, bias, relu, positive, seed: 7 });
    }
}

#[test]
fn the_largest_sums_are_exact() {
    let inputs = 1 << 16;
    for sign in [1.0, -1.0] {
        let weights: Vec<f32> = vec![sign; inputs];
        for isa in DotIsa::available() {
            let packed = PackedBytes::for_dot(isa, 1, [1, inputs], None, |_, input| weights[input]);
            let mut y = [0.0];
            product(&vec![1.0; inputs], Rows::Dense { stride: inputs }, 1, &packed, &mut y, 1, Epilogue::NONE);
            assert!((y[0] / (sign * inputs as f32) - 1.0).abs() < 1e-6, "{isa:?} {}", y[0]);
            product(&vec![-1.0; inputs], Rows::Dense { stride: inputs }, 1, &packed, &mut y, 1, Epilogue::NONE);
            assert!((y[0] / (-sign * inputs as f32) - 1.0).abs() < 1e-6, "{isa:?} {}", y[0]);
        }
    }
}

#[test]
fn numbers_that_are_not_finite_make_their_results_nan_and_small_ones_zero() {
    let inputs = 37;
    for isa in DotIsa::available() {
        let packed = PackedBytes::for_dot(isa, 3, [1, inputs], None, |output, input| (output + input) as f32);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 9, 36] {
                let mut x = vec![1.0; 3 * inputs];
                x[inputs + place] = bad;
                let mut y = [0.0; 9];
                product(&x, Rows::Dense { stride: inputs }, 3, &packed, &mut y, 3, Epilogue::RELU);
                assert!(y[3..6].iter().all(|y| y.is_nan()), "{isa:?} {bad} {place} {y:?}");
                assert!(y[..3].iter().chain(&y[6..]).all(|y| y.is_finite()), "{isa:?} {bad} {place} {y:?}");
            }
            let bad_weight =
                PackedBytes::for_dot(isa, 2, [1, inputs], None, |output, _| if output == 1 { bad } else { 1.0 });
            let mut y = [0.0; 2];
            product(&vec![1.0; inputs], Rows::Dense { stride: inputs }, 1, &bad_weight, &mut y, 2, Epilogue::NONE);
            assert!(y[0].is_finite() && y[1].is_nan(), "{isa:?} {bad} {y:?}");
        }
        for small in [0.0, 1e-40, -1e-45] {
            let mut y = [1.0; 3];
            product(&vec![small; inputs], Rows::Dense { stride: inputs }, 1, &packed, &mut y, 3, Epilogue::NONE);
            assert!(y.iter().all(|y| y.abs() < 1e-36), "{isa:?} {small} {y:?}");
        }
        // The largest numbers, whose span is not one.
        let mut y = [0.0; 3];
        let x: Vec<f32> = (0..inputs).map(|index| if index % 2 == 0 { f32::MAX } else { f32::MIN }).collect();
        product(&x, Rows::Dense { stride: inputs }, 1, &packed, &mut y, 3, Epilogue::NONE);
        assert!(y.iter().all(|y| !y.is_finite()), "{isa:?} {y:?}");
    }
}

/// Convolutions in bytes: the same bits on every instruction set and number of threads, and near those in f32.
fn check_convolution(shape: ConvShape, size: MapSize, residual: bool, seed: u64) {
    let ConvShape { inputs, outputs, kernel, stride, .. } = shape;
    let padding = Padding::both(kernel / 2);
    let side = |length: usize| (length + 2 * (kernel / 2) - kernel) / stride + 1;
    let out = MapSize { batch: size.batch, rows: side(size.rows), columns: side(size.columns) };
    let mut random = TestValues::new(seed);
    // Images of different ranges.
    let mut x = random.take(size.cells() * inputs);
    let images = x.chunks_exact_mut(size.rows * size.columns * inputs).enumerate();
    images.for_each(|(image, x)| x.iter_mut().for_each(|x| *x = (*x + image as f32) * (1 + 9 * image) as f32));
    let weight = random.take(outputs * inputs * kernel * kernel);
    let bias = random.take(outputs);
    let residual = residual.then(|| random.take(out.cells() * outputs));
    let run = |isa: Isa, precision: Precision, threads: usize, batch: usize| {
        on_threads(threads, || {
            let convolution = Convolution::new(isa, precision, shape, &weight, &bias, out);
            let (input, output) = (MapSize { batch, ..size }, MapSize { batch, ..out });
            let mut y = vec![f32::NAN; output.cells() * outputs];
            let residual = residual.as_deref().map(|residual| &residual[..y.len()]);
            let x = &x[..input.cells() * inputs];
            let args = ConvArgs { x, input, padding, output, residual, activation: Activation::Relu };
            convolution.run(&args, &mut y);
            y
        })
    };
    let expected = run(Isa::PORTABLE, Precision::F32, 1, size.batch);
    let first = run(Isa::PORTABLE, Precision::Int8, 1, size.batch);
    let image = expected.len() / size.batch;
    for (index, (found, expected)) in first.chunks_exact(image).zip(expected.chunks_exact(image)).enumerate() {
        let error = error_of(found, expected);
        assert!(error <= 0.02, "{shape:?} {size:?} image {index}: {error}");
    }
    for isa in if is_emulated() { vec![Isa::best()] } else { Isa::available() } {
        for &threads in thread_counts() {
            assert!(
                run(isa, Precision::Int8, threads, size.batch) == first,
                "{isa}, {threads} threads, {shape:?} {size:?}"
            );
        }
    }
    // A number that is not finite makes its own image NaN.
    let mut bad = x.clone();
    bad[(size.batch - 1) * size.rows * size.columns * inputs] = f32::INFINITY;
    let found = on_threads(3, || {
        let convolution = Convolution::new(Isa::best(), Precision::Int8, shape, &weight, &bias, out);
        let mut y = vec![0.0; out.cells() * outputs];
        let activation = Activation::Identity;
        let args = ConvArgs { x: &bad[..], input: size, padding, output: out, residual: None, activation };
        convolution.run(&args, &mut y);
        y
    });
    assert!(found[(size.batch - 1) * image..].iter().any(|y| y.is_nan()), "{shape:?} {size:?}");
    assert!(found[..(size.batch - 1) * image].iter().all(|y| y.is_finite()), "{shape:?} {size:?}");
    // Other images of the batch change nothing.
    assert!(run(Isa::best(), Precision::Int8, 1, 1) == first[..image], "{shape:?} {size:?}");
}

#[test]
fn convolutions_are_near_those_in_f32_and_have_the_same_bits_everywhere() {
    let shape = |inputs, outputs, kernel, stride| ConvShape { inputs, outputs, kernel, stride, groups: 1 };
    for (shape, rows) in [
        (shape(96, 64, 3, 1), 28),
        (shape(67, 70, 3, 1), 7),
        (shape(128, 96, 3, 1), 14),
        (shape(256, 256, 3, 1), 4),
        (shape(72, 128, 3, 2), 28),
        (shape(65, 17, 3, 2), 9),
        (shape(64, 128, 1, 2), 28),
        (shape(64, 200, 1, 1), 14),
        (shape(66, 31, 5, 1), 9),
    ] {
        let size = MapSize { batch: 2, rows, columns: rows + 2 * shape.stride };
        check_convolution(shape, size, true, 3);
        check_convolution(shape, MapSize { batch: 1, rows: rows + 1, ..size }, false, 4);
    }
}

/// Returns some cells as bytes.
fn stored(isa: Isa, cells: &[f32], channels: usize) -> ByteCells {
    let mut bytes = empty(isa, cells.len() / channels, channels);
    bytes.quantize(cells);
    bytes
}

/// Returns places for some cells.
fn empty(isa: Isa, count: usize, channels: usize) -> ByteCells {
    ByteCells::new(isa, count, channels, Buffer::zeros(ByteCells::length(isa, count, channels)))
}

/// Returns cells to f32.
fn restored(bytes: &ByteCells) -> Vec<f32> {
    let mut cells = vec![f32::NAN; bytes.len() * bytes.channels()];
    bytes.restore(0, &mut cells);
    cells
}

/// Returns the error of some numbers as a share of what is expected.
fn error_of(found: &[f32], expected: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let error = square(&mut found.iter().zip(expected).map(|(found, expected)| found - expected));
    (error / square(&mut expected.iter().copied())).sqrt()
}

#[test]
fn cells_are_stored_to_half_a_step() {
    for (count, channels) in [(1, 1), (5, 3), (7, 16), (1030, 33), (40, 130)] {
        let mut cells = TestValues::new(9).take(count * channels);
        cells[..channels].fill(0.0);
        for isa in Isa::available() {
            let bytes = stored(isa, &cells, channels);
            let found = restored(&bytes);
            for (index, (found, cell)) in found.chunks(channels).zip(cells.chunks(channels)).enumerate() {
                let step = bytes.scales()[index].step;
                let (low, high) = cell.iter().fold((0.0f32, 0.0f32), |(low, high), &x| (low.min(x), high.max(x)));
                assert!((step - (high - low) / 254.0).abs() <= 1e-6 * step, "{isa} cell {index}");
                let worst = found.iter().zip(cell).map(|(found, x)| (found - x).abs()).fold(0.0, f32::max);
                assert!(worst <= 0.501 * step, "{isa} cell {index}: {worst} of {step}");
            }
        }
    }
}

#[test]
fn a_cell_that_is_not_finite_stays_so_and_no_other() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut cells = vec![1.0; 3 * 20];
        cells[25] = bad;
        for isa in Isa::available() {
            let found = restored(&stored(isa, &cells, 20));
            assert!(found[20..40].iter().all(|x| x.is_nan()), "{isa} {bad}");
            assert!(found[..20].iter().chain(&found[40..]).all(|x| x.is_finite()), "{isa} {bad}");
        }
    }
}

/// Convolutions from bytes to bytes: the same bits everywhere, and near those in f32.
fn check_cells(shape: ConvShape, size: MapSize, seed: u64) {
    let ConvShape { inputs, outputs, kernel, stride, .. } = shape;
    let padding = Padding::both(kernel / 2);
    let side = |length: usize| (length + 2 * (kernel / 2) - kernel) / stride + 1;
    let output = MapSize { batch: size.batch, rows: side(size.rows), columns: side(size.columns) };
    let mut random = TestValues::new(seed);
    let x: Vec<f32> = random.take(size.cells() * inputs).iter().map(|x| x.max(-0.1)).collect();
    let (weight, bias) = (random.take(outputs * inputs * kernel * kernel), random.take(outputs));
    let residual = random.take(output.cells() * outputs);
    let activation = Activation::Relu;
    let convolution = |isa, precision| Convolution::new(isa, precision, shape, &weight, &bias, output);
    let mut exact = vec![0.0; output.cells() * outputs];
    let args = ConvArgs { x: &x[..], input: size, padding, output, residual: Some(&residual[..]), activation };
    convolution(Isa::PORTABLE, Precision::F32).run(&args, &mut exact);
    let mut first = None;
    for isa in Isa::available() {
        let convolution = convolution(isa, Precision::Int8);
        let (x_bytes, residual_bytes) = (stored(isa, &x, inputs), stored(isa, &residual, outputs));
        for &threads in thread_counts() {
            let x_floats = &x;
            let x = if kernel == 1 { Cells::Bytes(&x_bytes) } else { Cells::F32(x_floats) };
            let added = Some(Cells::Bytes(&residual_bytes));
            let run = |residual, floats: Option<&mut [f32]>, bytes: Option<&mut ByteCells>| {
                let args = ConvArgs { x, input: size, padding, output, residual, activation };
                on_threads(threads, || convolution.run_cells(&args, floats, bytes));
            };
            let mut both = (vec![f32::NAN; exact.len()], empty(isa, output.cells(), outputs));
            run(added, Some(&mut both.0), Some(&mut both.1));
            let name = format!("{isa}, {threads} threads, {shape:?} {size:?}");
            let error = error_of(&both.0, &exact);
            assert!(error < 0.02, "{name}: {error}");
            let found = restored(&both.1);
            // What is stored is what was computed.
            assert!(found == restored(&stored(isa, &both.0, outputs)), "{name}");
            let mut alone = empty(isa, output.cells(), outputs);
            run(added, None, Some(&mut alone));
            assert!(restored(&alone) == found, "{name}");
            // f32 becomes bytes on the way.
            if kernel == 1 {
                let mut floats = vec![f32::NAN; exact.len()];
                let residual = added;
                let args = ConvArgs { x: Cells::F32(x_floats), input: size, padding, output, residual, activation };
                on_threads(threads, || convolution.run_cells(&args, Some(&mut floats), None));
                assert!(floats == both.0, "{name}");
            }
            // A residual as bytes is what it is in f32, up to the order of additions.
            let mut floats = vec![f32::NAN; exact.len()];
            run(Some(Cells::F32(&restored(&residual_bytes))), Some(&mut floats), None);
            assert!(error_of(&floats, &both.0) < 1e-6, "{name}");
            let expected = first.get_or_insert_with(|| (both.0.clone(), found.clone()));
            assert!(expected.0 == both.0 && expected.1 == found, "{name}");
        }
        // With a kernel of one cell, bytes are what f32 becomes on the way.
        if kernel == 1 {
            let mut found = [vec![0.0; exact.len()], vec![0.0; exact.len()]];
            let args = ConvArgs { x: &x[..], input: size, padding, output, residual: None, activation };
            convolution.run(&args, &mut found[0]);
            convolution.run_cells(&args.map(|_| Cells::Bytes(&x_bytes)), Some(&mut found[1]), None);
            assert!(found[0] == found[1], "{isa} {shape:?} {size:?}");
        }
    }
}

#[test]
fn convolutions_from_bytes_to_bytes_have_the_same_bits_everywhere() {
    let shape = |inputs, outputs, kernel, stride| ConvShape { inputs, outputs, kernel, stride, groups: 1 };
    for (shape, rows) in [
        (shape(96, 64, 3, 1), 28),
        (shape(67, 70, 3, 1), 7),
        (shape(72, 128, 3, 2), 28),
        (shape(64, 128, 1, 2), 28),
        (shape(35, 17, 1, 2), 9),
        (shape(64, 200, 1, 1), 14),
        (shape(66, 31, 5, 1), 9),
        (shape(64, 1100, 1, 1), 5),
    ] {
        let size = MapSize { batch: 2, rows, columns: rows + 2 * shape.stride };
        check_cells(shape, size, 3);
        check_cells(shape, MapSize { batch: 1, rows: rows + 1, ..size }, 4);
    }
}

#[test]
fn few_channels_of_a_map_with_one_scale_stay_in_f32() {
    for (inputs, kernel, in_bytes) in [(31, 1, false), (32, 1, true), (64, 3, false), (65, 3, true)] {
        let shape = ConvShape { inputs, outputs: 4, kernel, stride: 1, groups: 1 };
        let weight = vec![1.0; 4 * inputs * kernel * kernel];
        let size = MapSize { batch: 1, rows: 4, columns: 4 };
        let convolution = Convolution::new(Isa::best(), Precision::Int8, shape, &weight, &[0.0; 4], size);
        assert_eq!(convolution.is_in_bytes(), in_bytes, "{inputs} channels, a side of {kernel}");
    }
}

#[test]
#[should_panic(expected = "the padding of a 1x1 convolution")]
fn a_kernel_of_one_cell_has_no_padding() {
    let shape = ConvShape { inputs: 32, outputs: 1, kernel: 1, stride: 1, groups: 1 };
    let (input, output) = (MapSize { batch: 1, rows: 1, columns: 1 }, MapSize { batch: 1, rows: 3, columns: 3 });
    let convolution = Convolution::new(Isa::best(), Precision::Int8, shape, &[1.0; 32], &[0.0], output);
    let (x, padding, activation) = (Cells::F32(&[1.0; 32]), Padding::both(1), Activation::Identity);
    convolution.run_cells(
        &ConvArgs { x, input, padding, output, residual: None, activation },
        Some(&mut [0.0; 9]),
        None,
    );
}
