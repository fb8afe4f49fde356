//! Replaces the model of a running application: threads that inspect never wait for the new model to load.
//!
//! ```sh
//! cargo run --release --example swap_model -- model new-model part.png
//! ```

#![allow(clippy::print_stdout)]

use std::sync::RwLock;

use dualad::Detector;
use dualad::detector::Request;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, new_model, image] = arguments.as_slice() else {
        return Err("usage: swap_model MODEL NEW-MODEL IMAGE".into());
    };
    let current = RwLock::new(Detector::load(model)?);
    let inspect = || -> Result<f32, String> {
        // A clone shares everything: the lock is held for an instant, and not while an image is inspected.
        let detector = current.read().map_err(|error| error.to_string())?.clone();
        Ok(detector.inspect(Request::from(image.as_str())).map_err(|error| error.to_string())?.image_score)
    };
    std::thread::scope(|scope| {
        let inspector = scope.spawn(|| (0..8).map(|_| inspect()).collect::<Result<Vec<f32>, _>>());
        let loaded = Detector::load(new_model)?;
        *current.write().map_err(|error| error.to_string())? = loaded;
        println!("while it was loaded: {:?}", inspector.join().map_err(|_| "the inspecting thread ended early")??);
        println!("the new model: {}", inspect()?);
        Ok(())
    })
}
