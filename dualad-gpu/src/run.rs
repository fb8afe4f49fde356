//! Runs a launch on the device of its inputs.

use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Layout, MetalStorage, Result, Shape, Storage, Tensor};

use crate::launch::{Launch, Output};

/// Runs a launch on contiguous tensors of one device. Returns flat tensors without gradients, one for each output.
pub(crate) fn on_tensors(launch: &Launch, inputs: &[&Tensor], outputs: &[Output]) -> Result<Vec<Tensor>> {
    if inputs.iter().any(|input| !input.device().same_device(inputs[0].device())) {
        candle_core::bail!("{}: the tensors are on different devices", launch.kernel);
    }
    let guards: Vec<_> = inputs.iter().map(|tensor| tensor.storage_and_layout()).collect();
    let tensor =
        |(storage, output): (_, &Output)| Tensor::from_storage(storage, output.count, BackpropOp::none(), false);
    match guards.first().map(|(storage, _)| &**storage) {
        Some(Storage::Cuda(_)) => {
            let inputs =
                guards.iter().map(|(storage, layout)| cuda_input(storage, layout)).collect::<Result<Vec<_>>>()?;
            let made = on_cuda(launch, &inputs, outputs)?;
            Ok(made.into_iter().map(Storage::Cuda).zip(outputs).map(tensor).collect())
        }
        Some(Storage::Metal(_)) => {
            let inputs =
                guards.iter().map(|(storage, layout)| metal_input(storage, layout)).collect::<Result<Vec<_>>>()?;
            let made = on_metal(launch, &inputs, outputs)?;
            Ok(made.into_iter().map(Storage::Metal).zip(outputs).map(tensor).collect())
        }
        _ => candle_core::bail!("{}: runs on a CUDA or Metal device only", launch.kernel),
    }
}

/// Runs a launch with `N` outputs; see [`on_tensors`].
pub(crate) fn on_tensors_to<const N: usize>(
    launch: &Launch,
    inputs: &[&Tensor],
    outputs: [Output; N],
) -> Result<[Tensor; N]> {
    let made = on_tensors(launch, inputs, &outputs)?;
    made.try_into().map_err(|_| candle_core::Error::Msg(format!("{}: wrong number of outputs", launch.kernel)))
}

pub(crate) fn on_cuda(
    launch: &Launch,
    inputs: &[(&CudaStorage, &Layout)],
    outputs: &[Output],
) -> Result<Vec<CudaStorage>> {
    launch.check()?;
    #[cfg(feature = "cuda")]
    {
        crate::cuda::run(launch, inputs, outputs)
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = (inputs, outputs);
        candle_core::bail!("{}: built without the feature `cuda`", launch.kernel)
    }
}

pub(crate) fn on_metal(
    launch: &Launch,
    inputs: &[(&MetalStorage, &Layout)],
    outputs: &[Output],
) -> Result<Vec<MetalStorage>> {
    launch.check()?;
    #[cfg(feature = "metal")]
    {
        crate::metal::run(launch, inputs, outputs)
    }
    #[cfg(not(feature = "metal"))]
    {
        let _ = (inputs, outputs);
        candle_core::bail!("{}: built without the feature `metal`", launch.kernel)
    }
}

fn cuda_input<'a>(storage: &'a Storage, layout: &'a Layout) -> Result<(&'a CudaStorage, &'a Layout)> {
    match storage {
        Storage::Cuda(storage) => Ok((storage, layout)),
        _ => candle_core::bail!("a kernel's tensors must all be on the CUDA device"),
    }
}

fn metal_input<'a>(storage: &'a Storage, layout: &'a Layout) -> Result<(&'a MetalStorage, &'a Layout)> {
    match storage {
        Storage::Metal(storage) => Ok((storage, layout)),
        _ => candle_core::bail!("a kernel's tensors must all be on the Metal device"),
    }
}

/// The one output of an operation's forward pass.
pub(crate) fn only<T>(made: Vec<T>, shape: Shape) -> Result<(T, Shape)> {
    match made.into_iter().next() {
        Some(made) => Ok((made, shape)),
        None => candle_core::bail!("a kernel has no output"),
    }
}

/// The forward passes of a candle custom operation with one output. The operation's method `forward` takes the layouts and the
/// dtype of its inputs, and returns the launch and the output's shape.
macro_rules! forward_passes {
    ($($storage:ident $layout:ident),+) => {
        fn cpu_fwd(
            &self,
            $($storage: &candle_core::CpuStorage, $layout: &candle_core::Layout),+
        ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
            let _ = ($($storage, $layout),+);
            candle_core::bail!("{}: runs on a CUDA or Metal device only", self.name())
        }

        $crate::run::forward_passes!(@on cuda_fwd on_cuda CudaStorage: $($storage $layout),+);
        $crate::run::forward_passes!(@on metal_fwd on_metal MetalStorage: $($storage $layout),+);
    };
    (@on $pass:ident $run:ident $kind:ident: $($storage:ident $layout:ident),+) => {
        fn $pass(
            &self,
            $($storage: &candle_core::$kind, $layout: &candle_core::Layout),+
        ) -> candle_core::Result<(candle_core::$kind, candle_core::Shape)> {
            use candle_core::backend::BackendStorage;
            let inputs = [$(($storage, $layout)),+];
            let dtype = inputs[0].0.dtype();
            let (launch, shape) = self.forward(inputs.map(|(_, layout)| layout), dtype)?;
            let output = $crate::launch::Output { count: shape.elem_count(), dtype };
            $crate::run::only($crate::run::$run(&launch, &inputs, &[output])?, shape)
        }
    };
}
pub(crate) use forward_passes;
