//! Writes a small model and generated images to try the C examples with.
//!
//! ```sh
//! cargo run --release -p dualad-capi --example small_model -- FOLDER
//! ```
//!
//! The images are in `FOLDER/data/*/test`, the model is in `FOLDER/model`. It is too small to find real defects.

#![allow(clippy::print_stdout)]

#[path = "../tests/support/model.rs"]
mod model;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: small_model FOLDER")?;
    std::fs::create_dir_all(&folder)?;
    for image in model::write_model(folder.as_ref()) {
        println!("{}", image.display());
    }
    Ok(())
}
