//! Products of matrices into a part of a tensor, and sums over rows.

use candle_core::{CpuStorage, InplaceOp3, Layout, Result, Tensor};

use crate::ops::matrix::{MatrixShape, multiply_into};

const NAME: &str = "product into a tensor";

/// Computes `target = left * right`, or `target += left * right` with `add`, for f32 matrices on the CPU or on one CUDA device. The
/// rows or the columns of each are contiguous. The target shares no memory with the factors.
pub(crate) fn product_into(target: &Tensor, left: &Tensor, right: &Tensor, add: bool) -> Result<()> {
    if target.device().is_cpu() {
        return target.inplace_op3(left, right, &Product { add });
    }
    dualad_gpu::ProductInto { left, right, target, add }.run()
}

struct Product {
    add: bool,
}

impl InplaceOp3 for Product {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        target: &mut CpuStorage,
        target_layout: &Layout,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> Result<()> {
        let (CpuStorage::F32(target), CpuStorage::F32(left), CpuStorage::F32(right)) = (target, left, right) else {
            candle_core::bail!("{NAME} needs f32 tensors")
        };
        let (shape, left_shape, right_shape) = (shape(target_layout)?, shape(left_layout)?, shape(right_layout)?);
        let fits = left_shape.rows == shape.rows
            && right_shape.columns == shape.columns
            && left_shape.columns == right_shape.rows;
        if !fits {
            let [left, right, target] = [left_layout, right_layout, target_layout].map(Layout::dims);
            candle_core::bail!("{NAME}: {left:?} and {right:?} into {target:?}");
        }
        let left = (&left[left_layout.start_offset()..], left_shape);
        let right = (&right[right_layout.start_offset()..], right_shape);
        multiply_into(&mut target[target_layout.start_offset()..], shape, self.add, 1.0, left, right);
        Ok(())
    }
}

fn shape(layout: &Layout) -> Result<MatrixShape> {
    let (rows, columns) = layout.shape().dims2()?;
    let (row_stride, column_stride) = (layout.stride()[0], layout.stride()[1]);
    Ok(MatrixShape { rows, columns, row_stride, column_stride })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_near, devices, variable_on};

    #[test]
    fn devices_agree() {
        for device in devices() {
            if device.is_metal() {
                println!("skipped: products into a tensor on a Metal device");
                continue;
            }
            for [rows, inner, columns] in [[1, 1, 1], [3, 5, 2], [1, 40, 33], [65, 7, 64]] {
                let random = |rows: usize, columns: usize, seed| {
                    variable_on(&device, &[rows, columns], seed, 1.0).as_tensor().detach()
                };
                let left = random(rows, inner, 1);
                // The transposed form, and a part of a wider matrix.
                let right = random(columns, inner + 3, 2).narrow(1, 2, inner).unwrap().t().unwrap();
                let whole = random(rows + 1, columns + 2, 3);
                let before = whole.force_contiguous().unwrap();
                let part = |whole: &Tensor| whole.narrow(0, 1, rows).unwrap().narrow(1, 1, columns).unwrap();
                let product = left.matmul(&right.contiguous().unwrap()).unwrap();
                product_into(&part(&whole), &left, &right, true).unwrap();
                let sum = (part(&before) + &product).unwrap();
                assert_near(&part(&whole), &sum, 2e-5, &format!("{device:?} sum"));
                product_into(&part(&whole), &left, &right, false).unwrap();
                assert_near(&part(&whole), &product, 2e-5, &format!("{device:?} product"));
                // The rest of the tensor keeps its bits.
                for (axis, index) in [(0, 0), (1, 0), (1, columns + 1)] {
                    let [now, before] =
                        [&whole, &before].map(|x| x.narrow(axis, index, 1).unwrap().flatten_all().unwrap());
                    assert_eq!(now.to_vec1::<f32>().unwrap(), before.to_vec1::<f32>().unwrap());
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let zeros = |rows: usize, columns: usize| {
            Tensor::zeros((rows, columns), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap()
        };
        let error = product_into(&zeros(2, 2), &zeros(2, 3), &zeros(4, 2), false).unwrap_err();
        assert!(error.to_string().contains("[2, 3] and [4, 2] into [2, 2]"), "{error}");
    }
}
