//! Sums over several CUDA devices, by NCCL.

use candle_core::cuda_backend::cudarc::nccl::{Comm, ReduceOp, group_end, group_start};
use candle_core::{CpuStorage, CudaStorage, DType, Device, InplaceOp1, Layout, Result, Tensor};

use crate::support::check_dtype;

/// The connection of some CUDA devices, by which they add up their tensors.
pub struct AllReduce {
    /// One for each device, on its stream.
    connections: Vec<Comm>,
}

// SAFETY: a communicator of NCCL has no thread of its own. It may be used by any one at a time, which `&mut` or a lock of the owner
// ensures: the type is not `Sync`.
unsafe impl Send for AllReduce {}

impl std::fmt::Debug for AllReduce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AllReduce").field("devices", &self.connections.len()).finish()
    }
}

impl AllReduce {
    /// Connects devices, which must differ.
    ///
    /// # Errors
    /// Returns candle's error if one is not a CUDA device, or NCCL cannot connect them.
    pub fn new(devices: &[Device]) -> Result<Self> {
        let streams = devices.iter().map(|device| Ok(device.as_cuda_device()?.cuda_stream()));
        let connections = Comm::from_devices(streams.collect::<Result<_>>()?).map_err(failed)?;
        Ok(Self { connections })
    }

    /// Replaces the f32 tensors, one of each device in the order of [`Self::new`], by their sum. The devices do it in their order of
    /// work: the host does not wait.
    ///
    /// # Errors
    /// Returns candle's error if a tensor is missing, of another shape or dtype or not contiguous, or if NCCL fails.
    pub fn sum(&self, tensors: &[Tensor]) -> Result<()> {
        let Some(first) = tensors.first() else { return Ok(()) };
        if tensors.len() != self.connections.len() || tensors.iter().any(|tensor| tensor.shape() != first.shape()) {
            let shapes: Vec<&[usize]> = tensors.iter().map(Tensor::dims).collect();
            candle_core::bail!("a sum over {} devices of tensors of shapes {shapes:?}", self.connections.len());
        }
        // Before the group: the other devices would wait for one that is refused in it.
        for tensor in tensors {
            check_dtype("a sum over devices", tensor, DType::F32)?;
            if !tensor.device().is_cuda() || !tensor.is_contiguous() {
                candle_core::bail!("a sum over devices needs contiguous tensors on CUDA devices");
            }
        }
        group_start().map_err(failed)?;
        let started = tensors
            .iter()
            .zip(&self.connections)
            .try_for_each(|(tensor, connection)| tensor.inplace_op1(&Part { connection }));
        // A group that was started must be ended.
        let ended = group_end().map_err(failed);
        started?;
        ended?;
        Ok(())
    }
}

fn failed(error: impl std::fmt::Debug) -> candle_core::Error {
    candle_core::Error::Msg(format!("NCCL: {error:?}; train on one device, or see NCCL_DEBUG=INFO"))
}

/// The part of one device.
struct Part<'a> {
    connection: &'a Comm,
}

impl InplaceOp1 for Part<'_> {
    fn name(&self) -> &'static str {
        "sum over devices"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        candle_core::bail!("{}: runs on CUDA devices only", self.name())
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("{} needs contiguous tensors", self.name())
        };
        let mut part = storage.as_cuda_slice_mut::<f32>()?.slice_mut(start..end);
        self.connection.all_reduce_in_place(&mut part, &ReduceOp::Sum).map_err(failed)?;
        Ok(())
    }
}
