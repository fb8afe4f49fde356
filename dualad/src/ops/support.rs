//! The choice of the form that handles given tensors, and access to the values of tensors on the CPU.

use candle_core::{CpuStorage, DType, Error, Layout, Result, Storage, Tensor};
use dualad_kernels::UniformBlocks;

use crate::random::{Stream, unit};

/// A random stream in the form that the dropout kernel reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamBlocks(pub(crate) Stream);

impl UniformBlocks for StreamBlocks {
    #[inline(always)]
    fn eight_blocks(self, block: u64) -> [[f32; 8]; 4] {
        let bits = self.0.bits_of_eight(block);
        let mut values = [[0.0; 8]; 4];
        for word in 0..4 {
            for lane in 0..8 {
                values[word][lane] = unit(bits[word][lane]);
            }
        }
        values
    }
}

/// Returns `true` if the CPU form handles the tensors: all are on the CPU, in f32.
pub(super) fn is_cpu_f32(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32)
}

/// Converts half-precision tensors on the CPU to f32, for the CPU form; `None` for other tensors.
pub(super) fn widened<const N: usize>(tensors: [&Tensor; N]) -> Result<Option<[Tensor; N]>> {
    let is_half = |tensor: &&Tensor| tensor.device().is_cpu() && matches!(tensor.dtype(), DType::F16 | DType::BF16);
    if !tensors.iter().all(is_half) {
        return Ok(None);
    }
    let wide = tensors.iter().map(|tensor| tensor.to_dtype(DType::F32)).collect::<Result<Vec<_>>>()?;
    Ok(wide.try_into().ok())
}

/// Returns the values of a contiguous f32 tensor on the CPU. `operation` names the operation in an error.
pub(super) fn values<'a>(storage: &'a CpuStorage, layout: &Layout, operation: &str) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => Err(Error::Msg(format!("{operation} needs contiguous f32 tensors"))),
    }
}

/// Calls `f` with the values of contiguous f32 tensors on the CPU: a backward pass gets tensors, not storages.
pub(crate) fn with_values<const N: usize, R>(
    tensors: [&Tensor; N],
    operation: &str,
    f: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else {
            return Err(Error::Msg(format!("{operation} needs tensors on the CPU")));
        };
        *slice = values(storage, layout, operation)?;
    }
    f(slices)
}

/// The stream as the GPU operations take it.
pub(super) fn philox(stream: Stream) -> dualad_gpu::PhiloxStream {
    let [seed_low, seed_high, stream_low, stream_high] = stream.words();
    let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    dualad_gpu::PhiloxStream { seed: join(seed_low, seed_high), stream: join(stream_low, stream_high) }
}
