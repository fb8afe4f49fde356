//! The sum of tensors of several devices, for training steps that are divided among them.

use candle_core::{Device, Tensor};

use crate::error::Result;

/// A way to add up one tensor of each device, so that each device has the sum.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// Copies to the first device, which adds them, and copies of the sum.
    Copies,
    /// NCCL's all-reduce.
    #[cfg(feature = "nccl")]
    Nccl(dualad_gpu::AllReduce),
}

impl Exchange {
    /// Returns the fastest way between devices.
    ///
    /// # Errors
    /// [`crate::Error::Candle`] if NCCL cannot connect CUDA devices.
    pub(crate) fn between(devices: &[Device]) -> Result<Self> {
        #[cfg(feature = "nccl")]
        if devices.len() > 1 && devices.iter().all(Device::is_cuda) {
            return Ok(Self::Nccl(dualad_gpu::AllReduce::new(devices)?));
        }
        let _ = devices;
        Ok(Self::Copies)
    }

    /// Adds up the f32 tensors, one of each device in the order of the devices. Returns the sum on each device. It may have the memory of
    /// the tensors. The caller keeps both until the devices have done their work: a device frees a tensor without waiting for another
    /// one that copies it.
    ///
    /// # Errors
    /// [`crate::Error::Candle`] if the shapes differ or a device fails.
    pub(crate) fn sum(&self, tensors: &[Tensor]) -> Result<Vec<Tensor>> {
        match self {
            Self::Copies => copied_sum(tensors),
            #[cfg(feature = "nccl")]
            Self::Nccl(all_reduce) => {
                all_reduce.sum(tensors)?;
                Ok(tensors.to_vec())
            }
        }
    }
}

fn copied_sum(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    let Some((first, others)) = tensors.split_first() else { return Ok(Vec::new()) };
    let mut sum = first.clone();
    for other in others {
        sum = (sum + other.to_device(first.device())?)?;
    }
    Ok(tensors.iter().map(|tensor| sum.to_device(tensor.device())).collect::<candle_core::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_gets_the_sum() {
        let tensors: Vec<Tensor> =
            (0..3).map(|i| Tensor::from_slice(&[i as f32, 1.0], 2, &Device::Cpu).unwrap()).collect();
        let exchange = Exchange::between(&[Device::Cpu, Device::Cpu, Device::Cpu]).unwrap();
        for sum in exchange.sum(&tensors).unwrap() {
            assert_eq!(sum.to_vec1::<f32>().unwrap(), [3.0, 3.0]);
        }
        let alone = exchange.sum(&tensors[1..2]).unwrap();
        assert_eq!(alone[0].to_vec1::<f32>().unwrap(), [1.0, 1.0]);
        let other = Tensor::from_slice(&[1f32], 1, &Device::Cpu).unwrap();
        assert!(exchange.sum(&[tensors[0].clone(), other]).is_err());
    }
}
