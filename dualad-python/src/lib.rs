//! The native half of the Python package `dualad`: `dualad._native`. The other half, `python/dualad`, checks arguments and has the
//! documentation. Images come here as paths, bytes or arrays of `uint8`, and results go back as JSON and arrays.

mod calibration;
mod detector;
mod errors;
mod evaluation;
mod fit;
mod fork;
mod images;
mod inspection;
mod maps;
mod metrics;
mod progress;
mod source;
mod work;

use pyo3::prelude::*;

#[pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use crate::calibration::{calibration_json, check_rule, load_calibration, merge_calibrations, save_calibration};
    #[pymodule_export]
    use crate::detector::Detector;
    #[pymodule_export]
    use crate::maps::{heat_map, regions, resize_map};
    #[pymodule_export]
    use crate::metrics::{aupro, evaluate, ranking};
    #[pymodule_export]
    use crate::work::wait;

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
