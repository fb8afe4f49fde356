//! Launches through candle's CUDA device: PTX is loaded once for each device, by candle.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, DevicePtrMut, DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::{CudaStorage, DType, Layout, Result};

use crate::launch::{Launch, Output, first_element};
use crate::params::WORDS;
use crate::source::Source;

mod ptx {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

impl Source {
    /// The name that candle keeps the module by, and its PTX.
    fn module(self) -> (&'static str, &'static str) {
        match self {
            Self::AdamW => ("dualad_adamw", ptx::ADAMW),
            Self::Aggregate => ("dualad_aggregate", ptx::AGGREGATE),
            Self::Attention => ("dualad_attention", ptx::ATTENTION),
            Self::LayerNorm => ("dualad_layer_norm", ptx::LAYER_NORM),
            Self::Memory => ("dualad_memory", ptx::MEMORY),
            Self::Random => ("dualad_random", ptx::RANDOM),
            Self::Score => ("dualad_score", ptx::SCORE),
        }
    }
}

/// A kernel's parameters, by value.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Words([u32; WORDS]);

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for Words {}

pub(crate) fn run(launch: &Launch, inputs: &[(&CudaStorage, &Layout)], outputs: &[Output]) -> Result<Vec<CudaStorage>> {
    let Some((first, _)) = inputs.first() else { candle_core::bail!("{} has no tensors", launch.kernel) };
    let device = first.device().clone();
    let mut made = Vec::with_capacity(outputs.len());
    for &Output { count, dtype } in outputs {
        // SAFETY: kernels write every element of their outputs, or there are none and they are not run.
        let slice = unsafe {
            match dtype {
                DType::F32 => CudaStorageSlice::F32(device.alloc(count)?),
                DType::F16 => CudaStorageSlice::F16(device.alloc(count)?),
                DType::BF16 => CudaStorageSlice::BF16(device.alloc(count)?),
                other => candle_core::bail!("{} makes no {other:?}", launch.kernel),
            }
        };
        made.push(CudaStorage { slice, device: device.clone() });
    }
    if launch.groups.contains(&0) {
        return Ok(made);
    }
    let (module, ptx) = launch.source.module();
    let function = device.get_or_load_custom_func(&launch.kernel, module, ptx)?;
    let stream = device.cuda_stream();
    // Addresses on the device, and what has the stream wait for, and wait on, others' use of them.
    let (mut addresses, mut guards) = (Vec::new(), Vec::new());
    for (storage, layout) in inputs {
        let start = first_element(layout, &launch.kernel)?;
        macro_rules! of {
            ($($kind:ident)*) => {
                match &storage.slice {
                    $(CudaStorageSlice::$kind(slice) => {
                        let (address, guard) = slice.device_ptr(&stream);
                        (address + (start * storage.dtype().size_in_bytes()) as u64, guard)
                    })*
                    _ => candle_core::bail!("{} takes f32, f16 and bf16", launch.kernel),
                }
            };
        }
        let (address, guard) = of!(F32 F16 BF16);
        addresses.push(address);
        guards.push(guard);
    }
    for storage in &mut made {
        let (address, guard) = match &mut storage.slice {
            CudaStorageSlice::F32(slice) => slice.device_ptr_mut(&stream),
            CudaStorageSlice::F16(slice) => slice.device_ptr_mut(&stream),
            CudaStorageSlice::BF16(slice) => slice.device_ptr_mut(&stream),
            _ => candle_core::bail!("{} makes f32, f16 and bf16", launch.kernel),
        };
        addresses.push(address);
        guards.push(guard);
    }
    let of = |count: usize| count as u32;
    let config = LaunchConfig {
        grid_dim: launch.groups.map(of).into(),
        block_dim: (of(launch.threads), 1, 1),
        shared_mem_bytes: of(launch.shared_bytes),
    };
    let words = Words(launch.words);
    let mut builder = function.builder();
    builder.arg(&words);
    addresses.iter().for_each(|address| {
        builder.arg(address);
    });
    // SAFETY: the kernel has parameters of at most `WORDS` words, of which the driver copies as many as it has, and a pointer for
    // each address; the callers' sizes are those of their tensors. What a kernel changes of its inputs comes after
    // earlier work on the stream, and before later work: candle's devices have one, or one for each thread of the host, in which
    // case it is the caller's to use the device from one thread or to synchronise, as with all of candle's operations.
    unsafe { builder.launch(config) }.w()?;
    drop(guards);
    Ok(made)
}
