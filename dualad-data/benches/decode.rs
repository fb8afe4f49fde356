//! The number of png files that are decoded and resized per second, with 1 and 2 threads. `tools/bench/decode.sh` compares it
//! with OpenCV.
//!
//!     cargo bench -p dualad-data --bench decode -- FOLDER [REPEATS]
//!
//! Without a folder (or the variable DUALAD_BENCH_IMAGES), it does nothing.

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use dualad_data::image::{Limits, Picture, Preprocess};

fn pngs(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            pngs(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "png") {
            found.push(path);
        }
    }
}

fn run(files: &[PathBuf], preprocess: &Preprocess) {
    for file in files {
        let picture = Picture::read(file, &Limits::default()).and_then(|picture| preprocess.picture(&picture));
        std::hint::black_box(picture.expect("a picture"));
    }
}

fn main() {
    // cargo itself adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let Some(folder) = arguments.next().or_else(|| std::env::var("DUALAD_BENCH_IMAGES").ok()) else {
        println!("skipped: name a folder of png files");
        return;
    };
    let repeats = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(5);
    let mut files = Vec::new();
    pngs(Path::new(&folder), &mut files);
    files.sort();
    let preprocess = Preprocess::new(224, 224).expect("a size");
    run(&files, &preprocess);
    for threads in [1, 2] {
        for _ in 0..repeats {
            let started = Instant::now();
            std::thread::scope(|scope| {
                // Threads take alternate files, like the Python script.
                for first in 0..threads {
                    let own: Vec<PathBuf> = files.iter().skip(first).step_by(threads).cloned().collect();
                    let preprocess = &preprocess;
                    scope.spawn(move || run(&own, preprocess));
                }
            });
            println!("dualad {threads} {:.2}", files.len() as f64 / started.elapsed().as_secs_f64());
        }
    }
}
