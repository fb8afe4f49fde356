//! A linear layer as one operation. In candle's graph it is four, and each edge between operations costs the backward pass two
//! launches on a device and several passes over the gradient: `tools/gpu/launches.py` counts them.

use candle_core::backend::BackendStorage;
use candle_core::op::Add;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, D, Layout, MetalStorage, Result, Shape, Tensor};

/// Returns `x W^T + b` over the last axis of `x`, `[.., inputs]`, for a `weight` of `[outputs, inputs]` and a `bias` of `[outputs]`, on
/// any device.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    if x.dim(D::Minus1)? != inputs || bias.dims() != [outputs] || x.elem_count() * outputs == 0 {
        candle_core::bail!("linear: input {:?}, weight {:?}, bias {:?}", x.dims(), weight.dims(), bias.dims());
    }
    x.contiguous()?.apply_op3(&weight.contiguous()?, bias, Linear)
}

struct Linear;

impl Linear {
    fn forward<S: BackendStorage>(
        (x, x_layout): (&S, &Layout),
        (weight, weight_layout): (&S, &Layout),
        (bias, bias_layout): (&S, &Layout),
    ) -> Result<(S, Shape)> {
        let (outputs, inputs) = weight_layout.shape().dims2()?;
        let rows = x_layout.shape().elem_count() / inputs;
        // One product for all images: a batched product would copy the transposed weight for each image.
        let flat = Layout::contiguous_with_offset((rows, inputs), x_layout.start_offset());
        let product = x.matmul(weight, (1, rows, outputs, inputs), &flat, &weight_layout.transpose(0, 1)?)?;
        let flat = Shape::from((rows, outputs));
        let sum = product.binary_impl::<Add>(bias, &Layout::contiguous(&flat), &bias_layout.broadcast_as(&flat)?)?;
        let mut dims = x_layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = outputs;
        }
        Ok((sum, dims.into()))
    }
}

/// Defines the forward pass of a kind of storage.
macro_rules! forward_on {
    ($pass:ident $storage:ident) => {
        fn $pass(
            &self,
            x: &$storage,
            x_layout: &Layout,
            weight: &$storage,
            weight_layout: &Layout,
            bias: &$storage,
            bias_layout: &Layout,
        ) -> Result<($storage, Shape)> {
            Self::forward((x, x_layout), (weight, weight_layout), (bias, bias_layout))
        }
    };
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    forward_on!(cpu_fwd CpuStorage);
    forward_on!(cuda_fwd CudaStorage);
    forward_on!(metal_fwd MetalStorage);

    /// dx = dy W, dW = dy^T x, db = sum of dy over the rows. An input that needs no gradient gets none.
    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (outputs, inputs) = weight.dims2()?;
        let dy = dy.contiguous()?.reshape(((), outputs))?;
        let wanted = |tensor: &Tensor, gradient: &dyn Fn() -> Result<Tensor>| {
            if tensor.track_op() { gradient().map(Some) } else { Ok(None) }
        };
        Ok((
            wanted(x, &|| dy.matmul(&weight.detach())?.reshape(x.shape()))?,
            wanted(weight, &|| dy.t()?.matmul(&x.detach().reshape(((), inputs))?))?,
            wanted(bias, &|| dy.sum(0))?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_devices, check_finite_differences, check_gradients, variable};

    fn plain(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        x.broadcast_matmul(&weight.t()?)?.broadcast_add(bias)
    }

    /// Images, rows of an image, inputs, and outputs.
    const SHAPES: [[usize; 4]; 4] = [[1, 1, 1, 1], [2, 3, 5, 7], [3, 14, 33, 12], [2, 65, 64, 65]];

    #[test]
    fn equals_candles_graph_forward_and_backward() {
        for [images, rows, inputs, outputs] in SHAPES {
            let (x, weight) = (variable(&[images, rows, inputs], 1, 1.0), variable(&[outputs, inputs], 2, 1.0));
            let bias = variable(&[outputs], 3, 1.0);
            check_gradients(&[&x, &weight, &bias], |t| linear(t[0], t[1], t[2]), |t| plain(t[0], t[1], t[2]));
        }
    }

    #[test]
    fn devices_agree() {
        for [images, rows, inputs, outputs] in SHAPES {
            let shapes: [&[usize]; 3] = [&[images, rows, inputs], &[outputs, inputs], &[outputs]];
            check_devices(&shapes, |t| linear(t[0], t[1], t[2]), |t| plain(t[0], t[1], t[2]));
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let inputs = [variable(&[3, 4], 1, 1.0), variable(&[5, 4], 2, 1.0), variable(&[5], 3, 1.0)];
        check_finite_differences(&inputs.each_ref(), |t| linear(t[0], t[1], t[2]));
    }

    /// The graph of candle's own operations has six nodes here, and computes a gradient of the input.
    #[test]
    fn it_is_one_node_and_an_input_without_a_gradient_gets_none() {
        let (weight, bias) = (variable(&[5, 4], 2, 1.0), variable(&[5], 3, 1.0));
        let x = variable(&[3, 4], 1, 1.0).as_tensor().detach();
        let y = linear(&x, &weight, &bias).unwrap();
        assert_eq!(y.sorted_nodes().len(), 3);
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&x).is_none());
        assert!(gradients.get(&weight).is_some() && gradients.get(&bias).is_some());
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let (x, weight, bias) = (variable(&[3, 4], 1, 1.0), variable(&[5, 3], 2, 1.0), variable(&[5], 3, 1.0));
        let error = linear(&x, &weight, &bias).unwrap_err();
        assert!(error.to_string().contains("linear: input [3, 4], weight [5, 3]"), "{error}");
    }
}
