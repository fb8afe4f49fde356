//! `dualad bench`: the numbers that it computes with.

#![cfg(unix)]

mod support {
    pub(crate) mod program;
    pub(crate) mod run;
}

use serde_json::Value;
use support::program::program;
use support::run::run;

#[test]
fn it_computes_in_the_dtype_that_is_asked_for() {
    let mut command = program("bench");
    command.args(["--backbone", "filter-bank", "--batch-size", "1", "--threads", "2", "--seconds", "0.001"]);
    let (found, _) = run(command.args(["--dtype", "bf16", "--json", "-"]), 0);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["dtype"], &found["tf32"]), (&"bf16".into(), &false.into()));
    // On a CPU, training does not compute in bf16.
    assert_eq!(found["training_steps"].as_array().unwrap().len(), 0);
    assert_eq!(found["runs"][0]["ms_per_image"].as_object().unwrap().len(), 5);
}

#[test]
fn tf32_is_for_cuda_devices() {
    let (_, told) = run(program("bench").arg("--tf32"), 2);
    assert!(told.contains("--tf32 needs --device cuda and --dtype f32"), "{told}");
}
