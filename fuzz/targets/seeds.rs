//! Writes what each target begins with, and what once was wrong: `seeds FOLDER`.

use std::error::Error;
use std::path::{Path, PathBuf};

// Built with the coverage that libFuzzer provides the functions for.
use libfuzzer_sys as _;

#[allow(dead_code)]
#[path = "../src/readers.rs"]
mod readers;
#[path = "../src/seeds.rs"]
mod seeds;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("a folder for the seeds")?);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (target, name, bytes) in seeds::seeds(&here.join("../tests/fixtures")) {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("seed-{name}")), bytes)?;
    }
    Ok(())
}
