//! Inspects a frame in memory, as a camera delivers it, without a file.
//!
//! ```sh
//! cargo run --release --example inspect_camera_buffer -- model
//! ```

#![allow(clippy::print_stdout)]

use dualad::Detector;
use dualad::data::image::{PixelFormat, RawImage};
use dualad::detector::Request;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = std::env::args().nth(1).ok_or("usage: inspect_camera_buffer MODEL")?;
    let detector = Detector::load(model)?;

    // 640 x 480 gray pixels, one byte each. Camera libraries give a buffer like this one.
    let buffer = vec![128; 640 * 480];
    let frame = RawImage::new(&buffer, 640, 480, PixelFormat::Gray8)?;
    let inspection = detector.inspect(Request::from(frame))?;

    println!("score {:.4}", inspection.image_score);
    if let Some(verdict) = &inspection.verdict {
        println!("{}: rejects from {:.4}", verdict.decision, verdict.reject);
    }
    for region in &inspection.regions {
        println!("defect at {:?}", region.bounds);
    }
    Ok(())
}
