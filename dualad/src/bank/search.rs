//! The form of a bank's search on a device.

use std::sync::Arc;

use candle_core::{Device, DeviceLocation, Tensor};

use crate::bank::device::DeviceBank;
use crate::bank::{Bank, Distances};
use crate::error::Result;

/// The form of a bank's search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SearchForm {
    /// On the CPU: [`Bank::distances`].
    Cpu,
    /// In candle's operations, on the device of the stage maps.
    Device,
}

impl SearchForm {
    /// Returns the form for a device. The CPU's own search is faster there, and exact; maps of another device would have to be copied
    /// for it.
    pub(crate) fn of(device: DeviceLocation) -> Self {
        match device {
            DeviceLocation::Cpu => Self::Cpu,
            DeviceLocation::Cuda { .. } | DeviceLocation::Metal { .. } => Self::Device,
        }
    }
}

/// A search of a bank's tokens, ready for maps of known grids. A clone shares the tokens.
#[derive(Debug, Clone)]
pub(crate) enum Search {
    Cpu,
    Device(Arc<DeviceBank>),
}

impl Search {
    /// Prepares a search on a device. `grids` are the rows and columns of the maps of the bank's stages.
    pub(crate) fn new(form: SearchForm, bank: &Bank, grids: &[[usize; 2]], device: &Device) -> Result<Self> {
        Ok(match form {
            SearchForm::Cpu => Self::Cpu,
            SearchForm::Device => Self::Device(Arc::new(DeviceBank::new(bank, grids, device)?)),
        })
    }

    /// Returns the distances of each image's tokens to those of a bank. It has the tokens that the search was made of; its normalization
    /// and the image that it leaves out may be others. `maps` are as in [`Bank::distances`].
    ///
    /// # Errors
    /// Those of [`Bank::distances`], and [`crate::Error::InvalidArgument`] for maps of other grids than the search was made for.
    pub(crate) fn distances(&self, bank: &Bank, maps: &[Tensor]) -> Result<Vec<Distances>> {
        match self {
            Self::Cpu => bank.distances(maps),
            Self::Device(tokens) => tokens.distances(bank, maps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_other_than_the_cpu_searches_itself() {
        assert_eq!(SearchForm::of(DeviceLocation::Cpu), SearchForm::Cpu);
        assert_eq!(SearchForm::of(DeviceLocation::Cuda { gpu_id: 0 }), SearchForm::Device);
        assert_eq!(SearchForm::of(DeviceLocation::Metal { gpu_id: 1 }), SearchForm::Device);
    }
}
