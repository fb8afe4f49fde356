//! Products of matrices into a part of a tensor, by cuBLAS. candle's own products always make a new tensor.

use candle_core::{CpuStorage, CudaStorage, InplaceOp3, Layout, MetalStorage, Result, Tensor};

use crate::gemm::Gemm;
use crate::support::check_dtype;

/// A product of matrices that is written to a matrix, or added to it. All are f32 on one CUDA device; the rows or the columns of each
/// are contiguous, with any distance between them. The target shares no memory with the factors.
#[derive(Debug, Clone, Copy)]
pub struct ProductInto<'a> {
    /// The left factor, `[rows, inner]`.
    pub left: &'a Tensor,
    /// The right factor, `[inner, columns]`.
    pub right: &'a Tensor,
    /// The matrix to change, `[rows, columns]`, with contiguous rows.
    pub target: &'a Tensor,
    /// True for `target += left * right`, false for `target = left * right`.
    pub add: bool,
}

impl ProductInto<'_> {
    /// Changes the target.
    ///
    /// # Errors
    /// Returns candle's error if the shapes, strides or dtypes do not fit, if the device is not a CUDA device, or if it fails.
    pub fn run(&self) -> Result<()> {
        let Self { left, right, target, add } = *self;
        for tensor in [left, right, target] {
            check_dtype("a product into a tensor", tensor, candle_core::DType::F32)?;
        }
        target.inplace_op3(left, right, &Operation { add })
    }
}

struct Operation {
    add: bool,
}

impl InplaceOp3 for Operation {
    fn name(&self) -> &'static str {
        "product into a tensor"
    }

    fn cpu_fwd(
        &self,
        _: &mut CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<()> {
        candle_core::bail!("{}: runs on a CUDA device only", self.name())
    }

    fn cuda_fwd(
        &self,
        target: &mut CudaStorage,
        target_layout: &Layout,
        left: &CudaStorage,
        left_layout: &Layout,
        right: &CudaStorage,
        right_layout: &Layout,
    ) -> Result<()> {
        let Some(gemm) = Gemm::new(target_layout, left_layout, right_layout)? else { return Ok(()) };
        #[cfg(feature = "cuda")]
        {
            crate::cuda::multiply(&gemm, self.add, target, left, right)
        }
        #[cfg(not(feature = "cuda"))]
        {
            let _ = (gemm, self.add, target, left, right);
            candle_core::bail!("{}: built without the feature `cuda`", self.name())
        }
    }

    fn metal_fwd(
        &self,
        _: &mut MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<()> {
        candle_core::bail!("{}: runs on a CUDA device only", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn it_needs_a_cuda_device() {
        let zeros = |rows: usize, columns: usize| Tensor::zeros((rows, columns), DType::F32, &Device::Cpu).unwrap();
        let product = ProductInto { left: &zeros(2, 3), right: &zeros(3, 4), target: &zeros(2, 4), add: false };
        assert!(product.run().unwrap_err().to_string().contains("CUDA device only"));
    }
}
