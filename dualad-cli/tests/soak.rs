//! Many inspections: memory does not grow, and the answers do not change.
//!
//! `DUALAD_SOAK=100000` sets the number of inspections to that in `docs/reliability.md`. Default: 800.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use dualad::Detector;
use dualad::data::{Dataset, Split};
use dualad::detector::Request;

mod support {
    pub(crate) mod config;
    pub(crate) mod parts;
    pub(crate) mod program;
    pub(crate) mod recipe;
}

use support::parts::write_parts;
use support::program::program;
use support::recipe::recipe;

const THREADS: usize = 4;
/// The largest growth of memory after the first tenth of the inspections, in bytes: allocators and threads take some.
const MAX_GROWTH: u64 = 8 << 20;

fn inspections() -> usize {
    std::env::var("DUALAD_SOAK").map_or(800, |count| count.parse().unwrap())
}

/// A model, and images that it was not trained on.
fn model(folder: &Path) -> (PathBuf, Vec<PathBuf>) {
    let data = folder.join("data");
    write_parts(&data, 8);
    let model = folder.join("model");
    Detector::fit(&data).recipe(recipe()).run().unwrap().detector.save(&model).unwrap();
    let dataset = Dataset::open(&data).unwrap();
    (model, dataset.samples(Split::Test).map(|sample| sample.path.clone()).collect())
}

/// Returns the resident memory of a process, in bytes.
fn resident(process: &str) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    4096 * statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}

/// Calls `ask` with one image after the other, from several threads with a state each. The answers must be `expected`.
fn soak<S>(
    what: &str,
    process: &str,
    expected: &[String],
    state: impl Fn() -> S + Sync,
    ask: impl Fn(&mut S, usize) -> String + Sync,
) {
    let count = inspections();
    let (next, warm) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut state = state();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    if index == count / 10 {
                        warm.store(resident(process) as usize, Ordering::Relaxed);
                    }
                    let image = index % expected.len();
                    assert_eq!(ask(&mut state, image), expected[image], "inspection {index}");
                }
            });
        }
    });
    let (before, after) = (warm.into_inner() as u64, resident(process));
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what}: {count} inspections in {seconds:.0} s; {before} bytes after the first tenth, {after} at the end");
    assert!(after <= before + MAX_GROWTH, "memory grew from {before} to {after} bytes");
}

#[test]
fn a_detector_repeats_its_answers_in_constant_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (model, images) = model(folder.path());
    let detector = Detector::load(&model).unwrap();
    let ask = |image: &PathBuf| serde_json::to_string(&detector.inspect(Request::from(image)).unwrap()).unwrap();
    let expected: Vec<String> = images.iter().map(ask).collect();
    soak("detector", "self", &expected, || (), |(), image| ask(&images[image]));
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Posts an image on a kept-alive connection and returns the body of the answer.
fn post(stream: &mut BufReader<TcpStream>, image: &[u8]) -> String {
    let head = format!("POST /inspect HTTP/1.1\r\nHost: soak\r\nContent-Length: {}\r\n\r\n", image.len());
    stream.get_mut().write_all(&[head.as_bytes(), image].concat()).unwrap();
    let mut length = 0;
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    while line.trim_end() != "" {
        line.clear();
        stream.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

#[test]
fn a_server_repeats_its_answers_in_constant_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (model, images) = model(folder.path());
    let images: Vec<Vec<u8>> = images.iter().map(|image| std::fs::read(image).unwrap()).collect();
    let mut command = program("serve");
    // One image at a time: the last bits of a score depend on the other images of a batch.
    command.arg("--model").arg(&model).args(["--port", "0", "--threads", "2", "--batch", "1"]);
    let mut server = Server(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
    let connect = || BufReader::new(TcpStream::connect(&address).unwrap());
    let mut stream = connect();
    let expected: Vec<String> = images.iter().map(|image| post(&mut stream, image)).collect();
    let process = server.0.id().to_string();
    soak("serve", &process, &expected, connect, |stream, image| post(stream, &images[image]));
}
