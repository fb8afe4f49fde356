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
/// every gradient.
pub(crate) fn check_devices(
    shapes: &[&[usize]],
    fast: impl Fn(&[&Tensor]) -> Result<Tensor>,
    plain: impl Fn(&[&Tensor]) -> Result<Tensor>,
) {
    for device in devices() {
        for (dtype, tolerance) in DTYPES {
            let inputs: Vec<Var> =
                shapes.iter().zip(1..).map(|(shape, seed)| variable_on(&device, shape, seed, 1.0)).collect();
            let narrow: Vec<Tensor> = inputs.iter().map(|input| input.to_dtype(dtype).unwrap()).collect();
            // The rounded values, in f32 on the CPU.
            let exact = |x: &Tensor| {
                let x = x.detach().to_dtype(DType::F32).unwrap().to_device(&Device::Cpu).unwrap();
                Var::from_tensor(&x).unwrap()
            };
            let expected: Vec<Var> = narrow.iter().map(exact).collect();
            let found = fast(&narrow.iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(found.dtype(), dtype);
            let wanted = plain(&expected.iter().map(Var::as_tensor).collect::<Vec<_>>()).unwrap();
            let what = format!("{device:?} {dtype:?}");
            assert_near(&found.to_device(&Device::Cpu).unwrap(), &wanted, tolerance, &what);
            let (found, wanted) = (objective(&found).backward().unwrap(), objective(&wanted).backward().unwrap());
            for (index, (input, wide)) in inputs.iter().zip(&expected).enumerate() {
                let (found, wanted) = (found.get(input).unwrap(), wanted.get(wide).unwrap());
                let found = found.to_device(&Device::Cpu).unwrap();
                assert_near(&found, wanted, 2.0 * tolerance, &format!("{what}, gradient {index}"));
            }
        }
    }
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
