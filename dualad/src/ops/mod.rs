//! The operations whose generic form would waste time or cut gradients: one file each, with the plain form in candle's own
//! operations, the fast form with its backward, and the tests that hold the two together.
//!
//! The fast forms run on the CPU in f32, half precision being widened for them and narrowed again, and on CUDA and Metal devices
//! by the kernels of `dualad-gpu`. What neither serves takes the plain form.

mod attention;
mod disturb;
mod dropout;
mod errors;
mod layer_norm;
pub(crate) mod matrix;
pub(crate) mod memory_read;

pub(crate) use crate::kernels::Window;
pub(crate) use attention::attention;
pub(crate) use disturb::disturb;
pub(crate) use dropout::dropout;
pub(crate) use errors::{combined_errors, squared_errors};
pub(crate) use layer_norm::layer_norm;
pub(crate) use memory_read::memory_read;

use candle_core::{CpuStorage, DType, Device, Error, Layout, Result, Storage, Tensor};

/// Whether the fast form serves these tensors.
fn is_fast(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32)
}

/// Whether kernels of a CUDA or Metal device serve these tensors.
pub(crate) fn is_on_gpu(tensors: &[&Tensor]) -> bool {
    let Some(first) = tensors.first() else { return false };
    let dtype = first.dtype();
    let served = |tensor: &&Tensor| tensor.dtype() == dtype && !matches!(tensor.device(), Device::Cpu);
    dualad_gpu::suffix(dtype).is_ok() && tensors.iter().all(served)
}

/// The one tensor that a launch makes, in a shape.
fn only(made: Vec<Tensor>, shape: &candle_core::Shape) -> Result<Tensor> {
    match made.into_iter().next() {
        Some(tensor) => tensor.reshape(shape),
        None => Err(Error::Msg("a kernel made nothing".into())),
    }
}

/// What an operation of one output has in common on CUDA and on Metal: `launch`, a method of the inputs' layouts and their type
/// that gives what to run and the output's shape.
macro_rules! on_devices {
    ($op:ident: $($inputs:tt)+) => {
        on_devices!(@on cuda_fwd on_cuda CudaStorage $op: $($inputs)+);
        on_devices!(@on metal_fwd on_metal MetalStorage $op: $($inputs)+);
    };
    (@on $forward:ident $run:ident $kind:ident $op:ident: $($storage:ident $layout:ident),+) => {
        fn $forward(
            &self,
            $($storage: &candle_core::$kind, $layout: &Layout),+
        ) -> Result<(candle_core::$kind, Shape)> {
            use candle_core::backend::BackendStorage;
            let inputs = [$(($storage, $layout)),+];
            let dtype = inputs[0].0.dtype();
            let (launch, shape) = $op::launch(self, &inputs.map(|(_, layout)| layout), dtype)?;
            let made = launch.$run(&inputs, &[(shape.elem_count(), dtype)])?;
            made.into_iter().next().map(|made| (made, shape)).ok_or_else(|| Error::Msg("nothing was made".into()))
        }
    };
}
use on_devices;

/// Half precision on the CPU, as f32: what the fast form makes of it is narrowed again.
fn widened<const N: usize>(tensors: [&Tensor; N]) -> Result<Option<[Tensor; N]>> {
    let is_half = |tensor: &&Tensor| tensor.device().is_cpu() && matches!(tensor.dtype(), DType::F16 | DType::BF16);
    if !tensors.iter().all(is_half) {
        return Ok(None);
    }
    let wide = tensors.iter().map(|tensor| tensor.to_dtype(DType::F32)).collect::<Result<Vec<_>>>()?;
    Ok(wide.try_into().ok())
}

/// A contiguous f32 tensor's numbers on the CPU.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout, op: &'static str) -> Result<&'a [f32]> {
    let range = layout.contiguous_offsets();
    match (storage, range) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => Err(Error::Msg(format!("{op} needs contiguous f32 tensors"))),
    }
}

/// Runs `f` on the numbers of contiguous f32 tensors on the CPU: a backward pass has tensors, not storages.
pub(crate) fn with_values<const N: usize, R>(
    tensors: [&Tensor; N],
    op: &'static str,
    f: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else {
            return Err(Error::Msg(format!("{op} needs tensors on the CPU")));
        };
        *slice = values(storage, layout, op)?;
    }
    f(slices)
}

/// Both forms of each operation, for `benches/ops.rs`. Not part of the public interface.
#[doc(hidden)]
pub mod bench {
    use candle_core::{Result, Tensor};

    use super::{Window, attention, layer_norm, memory_read};

    /// The fast form, or the plain one.
    pub fn attention_of(fast: bool, [q, k, v]: [&Tensor; 3], heads: usize, grid: [usize; 2]) -> Result<Tensor> {
        let window = Some(Window { grid, size: [7, 7] });
        let form = if fast { attention } else { attention::plain };
        form(q, k, v, heads, window)
    }

    /// The fast form, or the plain one.
    pub fn memory_read_of(fast: bool, x: &Tensor, memory: &Tensor) -> Result<Tensor> {
        if fast { memory_read(x, memory, 1.0) } else { memory_read::plain(x, memory, 1.0) }
    }

    /// The fast form, or the plain one.
    pub fn layer_norm_of(fast: bool, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        if fast { layer_norm(x, weight, bias, 1e-5) } else { layer_norm::plain(x, weight, bias, 1e-5) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! How a fast form is held against the plain one and against finite differences.

    use candle_core::{DType, Device, Result, Tensor, Var};

    use crate::Random;

    /// The CPU, and each CUDA or Metal device that the build and the machine have; says which are not there.
    pub(crate) fn devices() -> Vec<Device> {
        let there = |(name, device): (&str, Result<Device>)| {
            device.inspect_err(|error| println!("skipped: no {name} device ({error})")).ok()
        };
        dualad_gpu::devices().into_iter().filter_map(there).collect()
    }

    /// The types of numbers that a device has kernels for, each with what results may differ by.
    pub(crate) const DTYPES: [(DType, f32); 3] = [(DType::F32, 2e-5), (DType::F16, 4e-3), (DType::BF16, 3e-2)];

    /// Standard normal numbers times `scale`.
    pub(crate) fn variable(shape: &[usize], seed: u64, scale: f32) -> Var {
        variable_on(&Device::Cpu, shape, seed, scale)
    }

    /// The same numbers on a device.
    pub(crate) fn variable_on(device: &Device, shape: &[usize], seed: u64, scale: f32) -> Var {
        let values = Random::new(seed).stream().normal(shape.iter().product());
        let values = values.into_iter().map(|value| value * scale).collect();
        Var::from_vec(values, shape, device).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f32> {
        tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// A sum in which every element has a weight of its own, so that no error cancels.
    fn objective(y: &Tensor) -> Tensor {
        let weights = variable_on(y.device(), y.dims(), 99, 1.0).to_dtype(y.dtype()).unwrap();
        (y * weights).unwrap().to_dtype(DType::F32).unwrap().sum_all().unwrap()
    }

    pub(crate) fn assert_near(found: &Tensor, expected: &Tensor, tolerance: f32, what: &str) {
        assert_eq!(found.dims(), expected.dims(), "{what}");
        let (found, expected) = (numbers(found), numbers(expected));
        let scale = expected.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() <= tolerance * scale, "{what} {index}: {found} {expected}");
        }
    }

    /// The fast form on every device and in every type of numbers agrees with the plain one in f32 on the CPU, in its result and
    /// in every gradient.
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
                // What the narrow type holds, in f32 on the CPU.
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

    /// The two forms agree in their results and in every gradient.
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

    /// Every gradient equals the central difference of the objective.
    pub(crate) fn check_finite_differences(inputs: &[&Var], f: impl Fn(&[&Tensor]) -> Result<Tensor>) {
        const STEP: f32 = 5e-3;
        let tensors: Vec<&Tensor> = inputs.iter().map(|input| input.as_tensor()).collect();
        let gradients = objective(&f(&tensors).unwrap()).backward().unwrap();
        for (index, tensor) in tensors.iter().enumerate() {
            let (values, gradient) = (numbers(tensor), numbers(gradients.get(tensor).unwrap()));
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
}
