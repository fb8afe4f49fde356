//! Writes the first inputs of every target: `seeds FOLDER`.

use std::error::Error;
use std::path::PathBuf;

// Every binary is built with coverage, whose functions libFuzzer provides.
use libfuzzer_sys as _;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: seeds FOLDER")?);
    for (target, name, bytes) in dualad_fuzz::seeds::seeds() {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("seed-{name}")), bytes)?;
    }
    Ok(())
}
