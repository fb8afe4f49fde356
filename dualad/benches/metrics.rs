//! Measures all metrics on a test set of the size of MVTec AD: seconds, processor seconds of all threads (which do not depend
//! on other programs), and the memory in addition to the maps.
//!
//! ```sh
//! cargo bench --workspace --bench metrics -- [--threads N] [--repeats N] [--save DIR]
//! ```
//!
//! It measures smooth maps and several hard cases, and compares one category with the plain implementation. `--save` writes
//! the maps and the results for `tools/bench/metrics.py`.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use dualad::metrics::{Evaluation, ScoredImage, evaluate};
use dualad::{Random, Stream};

#[path = "../src/metrics/plain.rs"]
#[allow(dead_code)]
mod plain;

const CATEGORIES: usize = 15;
const IMAGES: usize = 1725;
const SIDE: usize = 224;
const GRID: usize = 14;

#[derive(Debug, Parser)]
struct Args {
    /// Threads; 0 for one per core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Runs of each case; the median is reported
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Write maps, masks, labels and results to DIR
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Passed by `cargo bench`; it has no effect
    #[arg(long, hide = true)]
    bench: bool,
}

/// A test set that owns its maps.
struct Set {
    categories: Vec<String>,
    maps: Vec<Vec<f32>>,
    masks: Vec<Option<Vec<u8>>>,
}

impl Set {
    fn scored(&self) -> Vec<ScoredImage<'_>> {
        let images = self.categories.iter().zip(&self.maps).zip(&self.masks);
        images
            .map(|((category, map), mask)| ScoredImage {
                category,
                anomalous: mask.is_some(),
                image_score: map.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                height: SIDE,
                width: SIDE,
                map,
                mask: mask.as_deref(),
            })
            .collect()
    }
}

/// The kinds of maps and masks.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Smooth maps with a little noise, and one to three round defects in three images of four.
    Smooth,
    /// The same score everywhere.
    Equal,
    /// Scores between 1 and 1.0078, whose upper 16 bits are equal.
    Narrow,
    /// Every other pixel anomalous, in regions of one pixel.
    Dots,
    /// Every pixel but one per category anomalous.
    Marked,
}

/// Random values, uniform in `[0, 1)`.
struct Uniform {
    stream: Stream,
    block: u64,
    values: Vec<u32>,
}

impl Uniform {
    fn new(stream: Stream) -> Self {
        Self { stream, block: 0, values: Vec::new() }
    }

    fn next(&mut self) -> f32 {
        let value = self.values.pop().unwrap_or_else(|| {
            let [value, rest @ ..] = self.stream.bits(self.block);
            self.block += 1;
            self.values.extend(rest);
            value
        });
        (value >> 8) as f32 / (1 << 24) as f32
    }
}

fn generate(kind: Kind) -> Set {
    let mut set = Set { categories: Vec::new(), maps: Vec::new(), masks: Vec::new() };
    let mut random = Random::new(0);
    for index in 0..IMAGES {
        let mut uniform = Uniform::new(random.stream());
        let category = index % CATEGORIES;
        let mut map = smooth(&mut uniform, 0.5 + category as f32 / CATEGORIES as f32);
        let mut mask = vec![0; SIDE * SIDE];
        let anomalous = uniform.next() < 0.73;
        if anomalous {
            for _ in 0..1 + (uniform.next() * 3.0) as usize {
                defect(&mut uniform, &mut map, &mut mask);
            }
        }
        match kind {
            Kind::Smooth => {}
            Kind::Equal => map.fill(0.5),
            Kind::Narrow => map.iter_mut().for_each(|score| *score = 1.0 + *score / 1024.0),
            Kind::Dots => {
                let dot = |pixel: usize| u8::from((pixel / SIDE).is_multiple_of(2) && pixel.is_multiple_of(2));
                mask = (0..SIDE * SIDE).map(dot).collect();
            }
            Kind::Marked => {
                mask.fill(1);
                mask[0] = u8::from(index >= CATEGORIES);
            }
        }
        set.categories.push(format!("category {category:02}"));
        set.maps.push(map);
        set.masks.push((anomalous || matches!(kind, Kind::Dots | Kind::Marked)).then_some(mask));
    }
    set
}

/// Returns a grid of random scores, interpolated bilinearly like an anomaly map.
fn smooth(uniform: &mut Uniform, scale: f32) -> Vec<f32> {
    let grid: Vec<f32> = (0..(GRID + 1) * (GRID + 1)).map(|_| uniform.next() * uniform.next() * scale).collect();
    let cell = SIDE / GRID;
    (0..SIDE * SIDE)
        .map(|pixel| {
            let [row, column] = [pixel / SIDE, pixel % SIDE];
            let at = |down: usize, right: usize| grid[(row / cell + down) * (GRID + 1) + column / cell + right];
            let [y, x] = [row % cell, column % cell].map(|rest| rest as f32 / cell as f32);
            let [upper, lower] = [0, 1].map(|down| at(down, 0) * (1.0 - x) + at(down, 1) * x);
            upper * (1.0 - y) + lower * y + uniform.next() * 0.01
        })
        .collect()
}

/// Adds a disc to a map and its mask. Its scores are highest in the middle.
fn defect(uniform: &mut Uniform, map: &mut [f32], mask: &mut [u8]) {
    let [row, column] = [0; 2].map(|_| uniform.next() * SIDE as f32);
    let (radius, strength) = (4.0 + uniform.next() * 22.0, uniform.next());
    for (pixel, (score, mask)) in map.iter_mut().zip(mask).enumerate() {
        let [down, right] = [(pixel / SIDE) as f32 - row, (pixel % SIDE) as f32 - column];
        let distance = (down * down + right * right).sqrt() / radius;
        *score += (1.2 - distance).max(0.0) * strength;
        *mask |= u8::from(distance < 1.0);
    }
}

/// Returns the resident memory in KiB: `VmRSS:` for the current value, `VmHWM:` for the peak since the start or the last reset.
fn resident(what: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

/// Returns the processor seconds of all threads so far.
fn processor() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name in brackets come the state and numbers. Times are in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let [user, system] = [11, 12].map(|index| fields.get(index)?.parse::<f64>().ok());
    Some((user? + system?) / 100.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    let maps = (IMAGES * SIDE * SIDE * size_of::<f32>()) as f64 / f64::from(1 << 20);
    println!(
        "{IMAGES} maps of {SIDE} x {SIDE} in {CATEGORIES} categories: {maps:.0} MiB; {} threads",
        rayon::current_num_threads()
    );
    for kind in [Kind::Smooth, Kind::Equal, Kind::Narrow, Kind::Dots, Kind::Marked] {
        let set = generate(kind);
        let scored = set.scored();
        let (mut seconds, mut busy, mut extra, mut evaluation) = (Vec::new(), Vec::new(), None, None);
        for _ in 0..args.repeats.max(1) {
            // Resets the peak to the current value.
            let reset = std::fs::write("/proc/self/clear_refs", "5").ok();
            let before = reset.and_then(|()| resident("VmRSS:"));
            let (started, processor_before) = (Instant::now(), processor());
            evaluation = Some(evaluate(&scored)?);
            seconds.push(started.elapsed().as_secs_f64());
            busy.extend(processor().zip(processor_before).map(|(after, before)| after - before));
            let peak = before.and_then(|before| Some(resident("VmHWM:")?.saturating_sub(before)));
            extra = extra.max(peak);
        }
        let [seconds, busy] = [seconds, busy].map(|mut times| {
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
        });
        let extra = extra.map_or("unknown".to_owned(), |kib| {
            let mib = kib as f64 / 1024.0;
            format!("{mib:.0} MiB, {:.2} of the maps", mib / maps)
        });
        println!(
            "{:<8} {seconds:>7.3} s   processor {busy:>7.3} s   memory beside the maps: {extra}",
            format!("{kind:?}")
        );
        if kind == Kind::Smooth {
            if let (Some(folder), Some(evaluation)) = (&args.save, &evaluation) {
                save(folder, &set, &scored, evaluation, [seconds, busy])?;
            }
            beside_plain(&scored)?;
        }
    }
    Ok(())
}

/// Compares the metrics of one category with the plain implementation.
fn beside_plain(scored: &[ScoredImage<'_>]) -> Result<(), Box<dyn Error>> {
    let one: Vec<ScoredImage<'_>> =
        scored.iter().copied().filter(|image| image.category == scored[0].category).collect();
    let started = Instant::now();
    let evaluation = evaluate(&one)?;
    let fast = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let (mut pixels, mut regions) = (Vec::new(), 0);
    for image in &one {
        let (scores, found) = plain::pixels(image.map, image.mask, image.width);
        pixels.extend(scores);
        regions += found;
    }
    let ranked = plain::ranked(&mut pixels);
    let aupro = plain::aupro(&mut pixels, regions);
    let exact = started.elapsed().as_secs_f64();
    let aupro_200 = plain::aupro_200(&pixels, regions);
    let all = started.elapsed().as_secs_f64();
    let metrics = &evaluation.pooled.metrics;
    let pairs = [
        (metrics.pixel_auroc, ranked.auroc),
        (metrics.pixel_ap, ranked.ap),
        (metrics.pixel_f1_max, ranked.f1_max),
        (metrics.pixel_aupro, aupro),
        (metrics.pixel_aupro_200, aupro_200),
    ];
    let error = pairs.iter().map(|(found, expected)| found.map_or(f64::NAN, |found| (found - expected).abs()));
    println!(
        "one category: fast {fast:.3} s, plain {exact:.3} s and {:.3} s for the sampled AUPRO; largest difference {:.1e}",
        all - exact,
        error.fold(0.0, f64::max),
    );
    Ok(())
}

/// Writes the files that `tools/bench/metrics.py` reads.
fn save(
    folder: &Path,
    set: &Set,
    scored: &[ScoredImage<'_>],
    evaluation: &Evaluation,
    [seconds, busy]: [f64; 2],
) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let file = |name: &str| std::fs::File::create(folder.join(name)).map(std::io::BufWriter::new);
    let (mut maps, mut masks) = (file("maps.f32")?, file("masks.u8")?);
    for (map, mask) in set.maps.iter().zip(&set.masks) {
        for score in map {
            maps.write_all(&score.to_le_bytes())?;
        }
        masks.write_all(mask.as_deref().unwrap_or(&[0; SIDE * SIDE]))?;
    }
    maps.flush()?;
    masks.flush()?;
    let categories: std::collections::BTreeMap<_, _> =
        evaluation.categories.iter().map(|(name, measured)| (name, &measured.metrics)).collect();
    let images: Vec<_> =
        scored.iter().map(|image| (image.category, image.anomalous, f64::from(image.image_score))).collect();
    let json = serde_json::json!({
        "side": SIDE, "seconds": seconds, "processor_seconds": busy, "threads": rayon::current_num_threads(), "images": images,
        "categories": categories, "mean": evaluation.mean, "pooled": evaluation.pooled.metrics,
    });
    std::fs::write(folder.join("result.json"), serde_json::to_string(&json)?)?;
    Ok(())
}
