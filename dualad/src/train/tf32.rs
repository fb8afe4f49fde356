//! The precision of products on CUDA devices during a step.

use candle_core::cuda::{gemm_reduced_precision_f32, set_gemm_reduced_precision_f32};

use crate::recipe::Precision;

/// Makes CUDA devices multiply f32 matrices in tf32 while it lives. candle has one setting for the whole process.
pub(super) struct Tf32 {
    before: bool,
}

impl Tf32 {
    /// Returns the setting for a precision, or `None` if it is not tf32.
    pub(super) fn for_precision(precision: Precision) -> Option<Self> {
        (precision == Precision::Tf32).then(|| {
            let before = gemm_reduced_precision_f32();
            set_gemm_reduced_precision_f32(true);
            Self { before }
        })
    }
}

impl Drop for Tf32 {
    fn drop(&mut self) {
        set_gemm_reduced_precision_f32(self.before);
    }
}
