//! Devices in messages.

use candle_core::{Device, DeviceLocation};

use crate::error::{Error, ErrorKind};

/// Returns the name of a device, as `--device` takes it.
pub(crate) fn device_name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".into(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

/// Returns the error of a device with its name, and any other error as it is.
pub(crate) fn of_device(device: &Device, error: Error) -> Error {
    if error.kind() != ErrorKind::Device {
        return error;
    }
    Error::Replica { device: device_name(device), error: Box::new(error) }
}
