//! Measures how long inspections take while other threads inspect too, in rounds that alternate.
//!
//! ```sh
//! cargo run --release --example latency -- model part.png 5
//! ```
//!
//! The number is that of the rounds. Prints medians over the rounds: median, 95th and 99th percentile and maximum of the times, in
//! ms and as multiples of the median of one caller alone.

#![allow(clippy::print_stdout)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dualad::calibration::{Calibrator, Rule};
use dualad::data::image::{Limits, Picture};
use dualad::data::{Cancel, Label};
use dualad::detector::Request;
use dualad::{Detector, Error};
use rayon::ThreadPoolBuilder;

/// A thread that inspects the image again and again.
type Caller<'a> = dyn Fn() -> dualad::Result<()> + Sync + 'a;

/// A measurement: the times of all inspections in ms, in order.
type Case<'a> = dyn Fn() -> Result<Vec<f64>> + 'a;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The time of each measurement in a round.
const TIME: Duration = Duration::from_secs(3);
/// The threads of a detector.
const THREADS: usize = 2;
/// The images of a calibration. Copies would count once.
const CALIBRATION_IMAGES: u8 = 64;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: latency MODEL IMAGE ROUNDS";
    let (model, image) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let rounds: usize = arguments.next().ok_or(usage)?.parse()?;
    let picture = Picture::read(image, &Limits::default())?;
    let detector = Detector::builder().threads(THREADS).load(&model)?;
    let (pool, without_turns) = (ThreadPoolBuilder::new().num_threads(THREADS).build()?, Detector::load(&model)?);
    let own = || detector.clone().with_threads(1);
    let (first, second, third) = (own()?, own()?, own()?);
    let background = detector.clone().with_threads(1)?;
    let inspect = |detector: &Detector| detector.inspect(&picture).map(drop);

    let shared = || inspect(&detector);
    // The calling threads are inside the pool: they take no turns.
    let inside = || pool.install(|| inspect(&without_turns));
    let good = (0..CALIBRATION_IMAGES).map(|number| changed(&picture, number)).collect::<dualad::Result<Vec<_>>>()?;
    let own: [&Caller<'_>; 3] = [&|| inspect(&first), &|| inspect(&second), &|| inspect(&third)];
    let cases: [(&str, &Case<'_>); 6] = [
        ("one caller", &|| measure(&[&shared], None)),
        ("three callers, one detector", &|| measure(&[&shared as &Caller<'_>; 3], None)),
        ("three callers, one pool without turns", &|| measure(&[&inside as &Caller<'_>; 3], None)),
        ("three callers, each a detector of one thread", &|| measure(&own, None)),
        ("one caller, calibration on the same threads", &|| measure(&[&shared], Some((&detector, &good)))),
        ("one caller, calibration on another thread", &|| measure(&[&shared], Some((&background, &good)))),
    ];
    let mut found = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for ((_, case), found) in cases.iter().zip(&mut found) {
            let times = case()?;
            let at = |part: f64| times.get((part * times.len() as f64) as usize).or(times.last()).copied();
            found.push([at(0.5), at(0.95), at(0.99), times.last().copied()].map(Option::unwrap_or_default));
        }
    }
    let alone = median(found[0].iter().map(|times| times[0]));
    println!("{:45} {:>14} {:>14} {:>14} {:>14}", "", "median", "p95", "p99", "max");
    for ((name, _), found) in cases.iter().zip(&found) {
        let cells = (0..4).map(|column| {
            let time = median(found.iter().map(|times| times[column]));
            format!("{time:8.1} {:5.2}", time / alone)
        });
        println!("{name:45} {}", cells.collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

/// Returns a picture with another first pixel.
fn changed(picture: &Picture, number: u8) -> dualad::Result<Picture> {
    let mut pixels = picture.pixels().to_vec();
    if let Some(value) = pixels.first_mut() {
        *value = number;
    }
    Ok(Picture::new(picture.width(), picture.height(), pixels)?)
}

/// Runs the callers at the same time, and beside them, if there is one, a calibration again and again. Returns all times in ms in order.
fn measure(callers: &[&Caller<'_>], calibrated: Option<(&Detector, &[Picture])>) -> Result<Vec<f64>> {
    let (ended, cancel) = (AtomicBool::new(false), Cancel::default());
    let call = |caller: &Caller<'_>| {
        let mut times = Vec::new();
        while !ended.load(Ordering::Relaxed) {
            let begun = Instant::now();
            caller()?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        Ok::<_, Error>(times)
    };
    let calibrate = |(detector, good): (&Detector, &[Picture])| -> dualad::Result<()> {
        let rule = Rule::FalseAlarmRate { rate: 0.01, confidence: 0.95 };
        loop {
            let images = good.iter().map(|picture| (Request::from(picture), Label::Normal));
            detector.calibrate(&Calibrator::new(rule), images, &cancel, |_| {})?;
        }
    };
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        let background = calibrated.map(|calibrated| scope.spawn(move || calibrate(calibrated)));
        let callers: Vec<_> = callers.iter().map(|caller| scope.spawn(|| call(caller))).collect();
        std::thread::sleep(TIME);
        ended.store(true, Ordering::Relaxed);
        cancel.cancel();
        for caller in callers {
            times.extend(caller.join().map_err(|_| "a caller panicked")??);
        }
        match background.map(std::thread::ScopedJoinHandle::join) {
            None | Some(Ok(Err(Error::Cancelled))) => Ok(()),
            Some(Ok(Err(error))) => Err(error.into()),
            Some(_) => Err("the calibration panicked".into()),
        }
    })
    .map_err(|error: Box<dyn std::error::Error>| error)?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
