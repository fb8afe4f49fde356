//! The devices and dtypes that have kernels.

use candle_core::{DType, Device, Result, Tensor};

/// Returns whether the tensors are on a CUDA or Metal device, and all of one dtype that has kernels: f32, f16 or bf16.
///
/// An empty slice returns false.
pub fn supports(tensors: &[&Tensor]) -> bool {
    let Some(first) = tensors.first() else { return false };
    let dtype = first.dtype();
    dtype_name(dtype).is_ok() && tensors.iter().all(|tensor| tensor.dtype() == dtype && !tensor.device().is_cpu())
}

/// Returns the CPU, and the first CUDA and Metal device or the reason why there is none, each with its name.
pub fn devices() -> [(&'static str, Result<Device>); 3] {
    [("CPU", Ok(Device::Cpu)), ("CUDA", Device::new_cuda_with_stream(0)), ("Metal", Device::new_metal(0))]
}

/// The dtype's name in the names of kernels.
pub(crate) fn dtype_name(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("float"),
        DType::F16 => Ok("f16"),
        DType::BF16 => Ok("bf16"),
        other => candle_core::bail!("GPU kernels are for f32, f16 and bf16, not for {other:?}"),
    }
}

/// Checks the dtype of an operation's tensor.
pub(crate) fn check_dtype(operation: &str, tensor: &Tensor, dtype: DType) -> Result<()> {
    if tensor.dtype() == dtype {
        return Ok(());
    }
    candle_core::bail!("{operation} needs {dtype:?} tensors, not {:?}", tensor.dtype())
}
