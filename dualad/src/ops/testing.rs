//! Test helpers: comparisons of an operation's forms with each other and with finite differences.

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::Random;

/// Returns the CPU and each CUDA or Metal device of the build and the machine. Prints which are missing.
pub(crate) fn devices() -> Vec<Device> {
    let there = |(name, device): (&str, Result<Device>)| {
        device.inspect_err(|error| println!("skipped: no {name} device ({error})")).ok()
    };
    dualad_gpu::devices().into_iter().filter_map(there).collect()
}

/// The dtypes of the GPU operations, each with the tolerance of its results.
pub(crate) const DTYPES: [(DType, f32); 3] = [(DType::F32, 2e-5), (DType::F16, 4e-3), (DType::BF16, 3e-2)];

/// Returns a variable on the CPU with standard normal values times `scale`.
pub(crate) fn variable(shape: &[usize], seed: u64, scale: f32) -> Var {
    variable_on(&Device::Cpu, shape, seed, scale)
}

/// Returns a variable with the same values on a device.
pub(crate) fn variable_on(device: &Device, shape: &[usize], seed: u64, scale: f32) -> Var {
    let values = Random::new(seed).stream().normal(shape.iter().product());
    let values = values.into_iter().map(|value| value * scale).collect();
    Var::from_vec(values, shape, device).unwrap()
}

fn values_of(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// A scalar to differentiate: a sum with random weights, so that errors of elements do not cancel.
fn objective(y: &Tensor) -> Tensor {
    let weights = variable_on(y.device(), y.dims(), 99, 1.0).to_dtype(y.dtype()).unwrap();
    (y * weights).unwrap().to_dtype(DType::F32).unwrap().sum_all().unwrap()
}

/// Returns the largest difference of tensors as a share of the largest expected value, or NaN if a difference is.
fn largest_error(found: &Tensor, expected: &Tensor) -> f32 {
    let (found, expected) = (values_of(found), values_of(expected));
    let scale = expected.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
    let errors = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs() / scale);
    errors.fold(0.0, |largest, error| if largest >= error || largest.is_nan() { largest } else { error })
}

/// Asserts that tensors differ by at most `tolerance` times the largest expected value.
pub(crate) fn assert_near(found: &Tensor, expected: &Tensor, tolerance: f32, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let (found, expected) = (values_of(found), values_of(expected));
    let scale = expected.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!((found - expected).abs() <= tolerance * scale, "{what} {index}: {found} {expected}");
    }
}

/// Asserts that the fast form, on every device and in every dtype, agrees with the plain form in f32 on the CPU: the result and
/// every gradient. Prints the largest error of each, and compares all of them before it fails: one run on a device shows everything
/// that differs there.
pub(crate) fn check_devices(
    shapes: &[&[usize]],
    fast: impl Fn(&[&Tensor]) -> Result<Tensor>,
    plain: impl Fn(&[&Tensor]) -> Result<Tensor>,
) {
    let mut wrong = Vec::new();
    for device in devices() {
        for (dtype, tolerance) in DTYPES {
            let what = format!("{device:?} {dtype:?} {shapes:?}");
            let mut compare = |part: &str, found: &Tensor, wanted: &Tensor, tolerance: f32| {
                let found = found.to_device(&Device::Cpu)?;
                assert_eq!(found.dims(), wanted.dims(), "{what}, {part}");
                let error = largest_error(&found, wanted);
                let line = format!("{what}, {part}: largest error {error:.1e} of {tolerance:.0e}");
                println!("{line}");
                // NaN is over every tolerance.
                let passed = error <= tolerance;
                if !passed {
                    wrong.push(line);
                }
                Ok::<(), candle_core::Error>(())
            };
            if let Err(error) = compare_on(&device, (dtype, tolerance), shapes, &fast, &plain, &mut compare) {
                wrong.push(format!("{what}: {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Calls `compare` with the result and each gradient of the fast form on a device, the plain form's, and the tolerance.
fn compare_on(
    device: &Device,
    (dtype, tolerance): (DType, f32),
    shapes: &[&[usize]],
    fast: impl Fn(&[&Tensor]) -> Result<Tensor>,
    plain: impl Fn(&[&Tensor]) -> Result<Tensor>,
    mut compare: impl FnMut(&str, &Tensor, &Tensor, f32) -> Result<()>,
) -> Result<()> {
    let inputs: Vec<Var> = shapes.iter().zip(1..).map(|(shape, seed)| variable_on(device, shape, seed, 1.0)).collect();
    let narrow = inputs.iter().map(|input| input.to_dtype(dtype)).collect::<Result<Vec<_>>>()?;
    // The rounded values, in f32 on the CPU.
    let exact = |x: &Tensor| Var::from_tensor(&x.detach().to_dtype(DType::F32)?.to_device(&Device::Cpu)?);
    let expected = narrow.iter().map(exact).collect::<Result<Vec<Var>>>()?;
    let found = fast(&narrow.iter().collect::<Vec<_>>())?;
    assert_eq!(found.dtype(), dtype);
    let wanted = plain(&expected.iter().map(Var::as_tensor).collect::<Vec<_>>())?;
    compare("result", &found, &wanted, tolerance)?;
    let (found, wanted) = (objective(&found).backward()?, objective(&wanted).backward()?);
    for (index, (input, wide)) in inputs.iter().zip(&expected).enumerate() {
        let (found, wanted) = (found.get(input).unwrap(), wanted.get(wide).unwrap());
        compare(&format!("gradient {index}"), found, wanted, 2.0 * tolerance)?;
    }
    Ok(())
}

#[test]
fn everything_that_differs_is_named() {
    let check = || check_devices(&[&[2, 3]], |t| t[0] * 1.1, |t| t[0] * 1.0);
    let failure = std::panic::catch_unwind(check).unwrap_err();
    let message = failure.downcast_ref::<String>().unwrap();
    for (dtype, _) in DTYPES {
        for part in ["result", "gradient 0"] {
            assert!(message.contains(&format!("Cpu {dtype:?} [[2, 3]], {part}: largest error")), "{message}");
        }
    }
    let nan = std::panic::catch_unwind(|| check_devices(&[&[2]], |t| t[0] * f64::NAN, |t| t[0] * 1.0)).unwrap_err();
    assert!(nan.downcast_ref::<String>().unwrap().contains("largest error NaN"));
}

/// Asserts that the two forms agree: the result and every gradient.
pub(crate) fn check_gradients(
    inputs: &[&Var],
    fast: impl Fn(&[&Tensor]) -> Result<Tensor>,
    plain: impl Fn(&[&Tensor]) -> Result<Tensor>,
) {
    let tensors: Vec<&Tensor> = inputs.iter().map(|input| input.as_tensor()).collect();
    let (fast, plain) = (fast(&tensors).unwrap(), plain(&tensors).unwrap());
    assert_near(&fast, &plain, 2e-5, "result");
    let fast = objective(&fast).backward().unwrap();
    let plain = objective(&plain).backward().unwrap();
    for (index, tensor) in tensors.iter().enumerate() {
        let (fast, plain) = (fast.get(tensor).unwrap(), plain.get(tensor).unwrap());
        assert_near(fast, plain, 2e-5, &format!("gradient {index} of {:?}", tensor.dims()));
    }
}

/// Asserts that every gradient equals the central difference of the objective.
pub(crate) fn check_finite_differences(inputs: &[&Var], f: impl Fn(&[&Tensor]) -> Result<Tensor>) {
    const STEP: f32 = 5e-3;
    let tensors: Vec<&Tensor> = inputs.iter().map(|input| input.as_tensor()).collect();
    let gradients = objective(&f(&tensors).unwrap()).backward().unwrap();
    for (index, tensor) in tensors.iter().enumerate() {
        let (values, gradient) = (values_of(tensor), values_of(gradients.get(tensor).unwrap()));
        let scale = gradient.iter().fold(1e-2f32, |largest, x| largest.max(x.abs()));
        for element in 0..values.len() {
            let at = |shift: f32| {
                let mut values = values.clone();
                values[element] += shift;
                let moved = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap();
                let mut tensors = tensors.clone();
                tensors[index] = &moved;
                f64::from(objective(&f(&tensors).unwrap()).to_scalar::<f32>().unwrap())
            };
            let difference = ((at(STEP) - at(-STEP)) / f64::from(2.0 * STEP)) as f32;
            let found = gradient[element];
            assert!(
                (found - difference).abs() <= 5e-3 * scale,
                "input {index}, element {element}: gradient {found}, difference {difference}"
            );
        }
    }
}
