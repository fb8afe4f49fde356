//! The devices that `--device` names.

use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use dualad::candle_core::Device;

use crate::usage::{Result, UsageError};

/// The largest number of a device.
const MAX_NUMBER: usize = 255;

/// The devices to compute on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Devices {
    /// The processor.
    Cpu,
    /// NVIDIA GPUs, by their numbers: at least one, and all different.
    Cuda(Vec<usize>),
    /// An Apple GPU.
    Metal,
}

impl FromStr for Devices {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers = match text {
            "cpu" => return Ok(Self::Cpu),
            "metal" => return Ok(Self::Metal),
            "cuda" => Some(vec![0]),
            _ => text.strip_prefix("cuda:").and_then(numbers),
        };
        numbers.map(Self::Cuda).ok_or_else(|| {
            format!("must be cpu, cuda, metal, cuda:N, or cuda:N,M for several, whose numbers differ and are from 0 to {MAX_NUMBER}")
        })
    }
}

/// Parses the numbers of devices, which must differ.
fn numbers(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for text in text.split(',') {
        // The parser of numbers takes a sign.
        let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits?.parse().ok().filter(|number| *number <= MAX_NUMBER && !numbers.contains(number));
        numbers.push(number?);
    }
    Some(numbers)
}

impl Display for Devices {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Metal => f.write_str("metal"),
            Self::Cuda(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
                write!(f, "cuda:{}", numbers.join(","))
            }
        }
    }
}

impl Devices {
    /// Returns the one device, for a command that computes on one.
    ///
    /// # Errors
    /// Lines that say what to do where there are several, or no such device.
    pub(crate) fn one(&self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Metal => opened("metal", "metal", Device::new_metal(0)),
            Self::Cuda(numbers) => match numbers.as_slice() {
                &[number] => cuda(number),
                numbers => {
                    let first = numbers.first().copied().unwrap_or_default();
                    let reason =
                        format!("--device {self}: this command computes on one device; use --device cuda:{first}");
                    Err(UsageError(reason).into())
                }
            },
        }
    }

    /// Returns the first device, and the others.
    ///
    /// # Errors
    /// A line that says what to do where there is no such device.
    pub(crate) fn all(&self) -> Result<(Device, Vec<Device>)> {
        match self {
            Self::Cuda(numbers) if numbers.len() > 1 => {
                let mut devices = numbers.iter().map(|&number| cuda(number)).collect::<Result<Vec<_>>>()?;
                Ok((devices.remove(0), devices))
            }
            one => Ok((one.one()?, Vec::new())),
        }
    }
}

/// Opens a CUDA device. It has one stream for all threads: a detector is called from many.
fn cuda(number: usize) -> Result<Device> {
    opened(&format!("cuda:{number}"), "cuda", Device::new_cuda_with_stream(number))
}

/// Adds the way out to the error of a device.
fn opened(name: &str, feature: &str, device: dualad::candle_core::Result<Device>) -> Result<Device> {
    device.map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().next().unwrap_or_default();
        format!(
            "no device {name} ({reason}); build with --features {feature} on a machine that has it, or use --device cpu"
        )
        .into()
    })
}

/// The parser of the flag. The shell completes the kinds of device.
#[derive(Debug, Clone)]
pub(crate) struct DevicesParser;

impl TypedValueParser for DevicesParser {
    type Value = Devices;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> std::result::Result<Devices, clap::Error> {
        StringValueParser::new().try_map(|text| text.parse::<Devices>()).parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(["cpu", "cuda", "metal"].map(PossibleValue::new).into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_kinds_or_numbers() {
        let cuda = |numbers: &[usize]| Devices::Cuda(numbers.to_vec());
        for (text, devices, shown) in [
            ("cpu", Devices::Cpu, "cpu"),
            ("metal", Devices::Metal, "metal"),
            ("cuda", cuda(&[0]), "cuda:0"),
            ("cuda:1", cuda(&[1]), "cuda:1"),
            ("cuda:0,1", cuda(&[0, 1]), "cuda:0,1"),
            ("cuda:7,255,0", cuda(&[7, 255, 0]), "cuda:7,255,0"),
        ] {
            assert_eq!((text.parse(), devices.to_string()), (Ok(devices), shown.to_owned()));
        }
    }

    #[test]
    fn other_devices_are_refused_with_those_that_are_allowed() {
        let kinds = "| |gpu|CUDA|cpu:0|metal:0|cpu,cuda|cuda,cpu|cuda,metal|cuda,cuda|cuda:0,cuda:1|cuda:0,cpu";
        let lists = "cuda:|cuda:,|cuda:0,|cuda:,1|cuda:0,,1|cuda:0, 1|cuda: 0|cuda:0 |cuda:0;1|cuda:0-3";
        let numbers = "cuda:0,0|cuda:1,01|cuda:0,1,0|cuda:+1|cuda:-1|cuda:1.0|cuda:0x1|cuda:\u{661}|cuda:256|cuda:0,99999999999999999999";
        for text in [kinds, lists, numbers].iter().flat_map(|texts| texts.split('|')) {
            let error = text.parse::<Devices>().unwrap_err();
            assert!(
                error.contains("cpu, cuda, metal, cuda:N, or cuda:N,M") && error.contains("255"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_command_for_one_device_names_the_first_of_several() {
        let several: Devices = "cuda:3,1".parse().unwrap();
        let error = several.one().unwrap_err();
        assert!(error.is::<UsageError>());
        assert_eq!(error.to_string(), "--device cuda:3,1: this command computes on one device; use --device cuda:3");
    }

    #[test]
    fn a_device_that_is_missing_is_named() {
        if cfg!(any(feature = "cuda", feature = "metal")) {
            return;
        }
        for (text, names) in [
            ("cuda", ["no device cuda:0 (", "--features cuda"]),
            ("cuda:200", ["no device cuda:200 (", "--features cuda"]),
            ("cuda:200,7", ["no device cuda:200 (", "--features cuda"]),
            ("metal", ["no device metal (", "--features metal"]),
        ] {
            let error = text.parse::<Devices>().unwrap().all().unwrap_err().to_string();
            assert!(names.iter().all(|name| error.contains(name)), "{text}: {error}");
        }
        assert!(
            "cpu".parse::<Devices>().unwrap().all().is_ok_and(|(device, others)| device.is_cpu() && others.is_empty())
        );
    }
}
