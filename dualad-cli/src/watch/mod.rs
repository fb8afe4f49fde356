//! `dualad watch`: inspect every new image of a folder.

mod journal;
mod record;
mod scan;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::{CommonArgs, Result, message, note, print_to_reader};
use crate::model::{BATCH, Line, ModelArgs, check_category, heat_map};
use crate::names;
use crate::signals::cancel_on_signal;
use dualad::Detector;
use dualad::data::Cancel;
use dualad::detector::{Inspection, Request};
use dualad::store::sha256;
use journal::{Entry, Journal, Stamp, State};
use record::Record;
use scan::Scan;

/// The minimum time between two looks at the folder, in multiples of the time that one takes.
const PAUSE: u32 = 10;

/// Inspect every new image of a folder
///
/// Looks at the folder every --interval-ms, less often where a look takes long. An image is inspected once it has not changed
/// between two looks. Prints a line of JSON for each image; with --out also writes the line and a heat map to files. An image that
/// cannot be read may still be arriving: it is tried again for --retry-for seconds, and then reported as an error. With --out or
/// --journal, a journal says what was done: a program that starts again inspects what has arrived meanwhile, and nothing twice.
/// SIGINT, SIGTERM and SIGHUP end the program after the images that it is inspecting, at most 8.
#[derive(Debug, clap::Args)]
#[command(mut_arg("json", |arg| arg.help("Takes `-` alone, and changes nothing: the lines are JSON and go to standard output")))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder to watch, without its subfolders
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Folder for the result and the heat map of each image: its file name with `.json` and `.png` added, or for a later file of the same
    /// name `.2.json` and so on. Nothing is replaced. Another folder than FOLDER [default: none are written]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Product in the images; its thresholds are used [default: the pooled thresholds are used]
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Also inspect the images that exist at the start, except those that the journal has as inspected
    #[arg(long)]
    existing: bool,
    /// Journal of what was done [default: a file in --out; without --out none, and what arrives while the program is down is left out]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Milliseconds between two looks at the folder
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    interval_ms: u64,
    /// Seconds for which an image that cannot be read is tried again
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    retry_for: u64,
    #[command(flatten)]
    common: CommonArgs,
}

/// Runs `dualad watch`.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.common.json.is_some() && !args.common.json_to_stdout() {
        return Err(
            "--json takes `-` alone here: the lines go to standard output, and with --out to a file each".into()
        );
    }
    let stop = Cancel::default();
    cancel_on_signal(&stop)?;
    let detector = args.model.detector(&args.common)?;
    check_category(&detector, args.category.as_deref())?;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).map_err(|error| format!("cannot make {}: {error}", out.display()))?;
        if same_folder(out, &args.folder)? {
            return Err("--out is the watched folder: its heat maps would be inspected in turn; name another".into());
        }
    }
    let mut scan = scan(args)?;
    note(&format!("watching {}", args.folder.display()));
    if detector.calibration().is_none() {
        note(
            "note: the model has no thresholds, so the lines have scores and no verdicts; set them with `dualad calibrate`",
        );
    }
    let interval = Duration::from_millis(args.interval_ms);
    let mut unreadable = false;
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let found = scan.look();
        let took = begun.elapsed();
        match found {
            Ok(images) => {
                if std::mem::take(&mut unreadable) {
                    note(&format!("{} can be read again", args.folder.display()));
                }
                scan.notes().iter().for_each(|text| note(text));
                for images in images.chunks(BATCH) {
                    if !inspect(args, &detector, &mut scan, images)? {
                        // Nobody reads the lines any more.
                        return Ok(());
                    }
                    if stop.is_cancelled() {
                        break;
                    }
                }
            }
            // The connection to a network share may return.
            Err(error) if !unreadable => {
                unreadable = true;
                note(&format!("cannot read {}: {error}; trying again", args.folder.display()));
            }
            Err(_) => {}
        }
        // A look at many files takes long: the program rests longer than it looks.
        let (rested, pause) = (Instant::now(), interval.max(took * PAUSE));
        // Short sleeps: a signal ends the program soon.
        while rested.elapsed() < pause && !stop.is_cancelled() {
            std::thread::sleep((pause - rested.elapsed().min(pause)).min(Duration::from_millis(50)));
        }
    }
    Ok(())
}

/// Opens the journal and lists the folder for the first time.
fn scan(args: &Args) -> Result<Scan> {
    let Args { folder, out, existing, .. } = args;
    let journal = match (&args.journal, out) {
        (Some(path), _) => Some(path.clone()),
        // Several folders may have the same `--out`.
        (None, Some(out)) => {
            let resolved =
                folder.canonicalize().map_err(|error| format!("cannot watch {}: {error}", folder.display()))?;
            let digest = sha256(resolved.as_os_str().as_encoded_bytes());
            Some(out.join(format!("dualad-watch-{}.jsonl", digest.get(..8).unwrap_or_default())))
        }
        (None, None) => None,
    };
    let resolved = folder.canonicalize().unwrap_or_else(|_| folder.clone());
    let has_record =
        |image: &str, number: u64| out.as_ref().is_some_and(|out| Record::of(out, image, number).is_of(&resolved));
    let (journal, existed) = match journal {
        Some(path) => Journal::open(&path, folder, has_record)?,
        None => (Journal::default(), false),
    };
    let retry_for = Duration::from_secs(args.retry_for);
    Ok(Scan::new(folder, journal, !existed && !existing, !existing, retry_for, out.as_deref())?)
}

/// Inspects images. Returns false if nobody reads the lines any more.
fn inspect(args: &Args, detector: &Detector, scan: &mut Scan, images: &[PathBuf]) -> Result<bool> {
    let request = |path| match &args.category {
        Some(category) => Request::from(path).category(category),
        None => Request::from(path),
    };
    let found = detector.inspect_batch(images.iter().map(request).collect::<Vec<_>>());
    let mut results = Vec::new();
    for (path, found) in images.iter().zip(found) {
        if found.is_err() && !scan.failed(path) {
            continue;
        }
        let (Some(name), Some(stamp)) = (path.file_name(), scan.stamp(path)) else { continue };
        let record = Record::choose(args.out.as_deref(), name, scan.journal.entry(name), stamp);
        let number = record.as_ref().map_or(0, |record| record.number);
        scan.journal.add(name, Entry { stamp, state: State::Begun, number });
        results.push(Inspected { path, name, stamp, found, record });
    }
    // The numbers of records are written before the records: no other image gets them.
    keep(scan);
    for mut image in results {
        let (line, failed) = write_record(args.out.as_deref(), detector, scan, &mut image)?;
        let Inspected { path, name, stamp, record, .. } = image;
        let is_read = print_to_reader(&line)?;
        if !is_read && args.out.is_none() {
            // Nobody has the result: the image is inspected at the next start.
            return Ok(false);
        }
        match failed {
            None => {
                let number = record.map_or(0, |record| record.number);
                scan.journal.add(name, Entry { stamp, state: State::Done, number });
            }
            // Its inspection is not done: the journal has it as begun.
            Some(reason) => note(&format!("{reason}; the image is inspected again at the next start")),
        }
        scan.done(path);
        if !is_read {
            keep(scan);
            return Ok(false);
        }
    }
    keep(scan);
    Ok(true)
}

/// An image that was inspected.
struct Inspected<'a> {
    path: &'a Path,
    name: &'a OsStr,
    stamp: Stamp,
    found: dualad::Result<Inspection>,
    /// `None` without `--out`.
    record: Option<Record>,
}

impl Inspected<'_> {
    /// Returns the line of JSON, with the heat map's file if there is one.
    fn line(&self, heatmap: Option<String>) -> Result<String> {
        let image = names::text(self.path);
        let line = match &self.found {
            Ok(inspection) => Line::Found { image: &image, inspection, heatmap },
            Err(error) => Line::failed(&image, error),
        };
        line.json()
    }

    /// Returns the heat map as the bytes of a PNG file, if the image can be read again. The result does not need it.
    fn heat_map(&self, detector: &Detector) -> Option<Vec<u8>> {
        let drawn = heat_map(detector, self.path, self.found.as_ref().ok()?);
        drawn.inspect_err(|error| note(&format!("no heat map is drawn: {}", message(&**error)))).ok()
    }
}

/// Writes the record of an image. Returns its line, and the reason if the record could not be written.
fn write_record(
    out: Option<&Path>,
    detector: &Detector,
    scan: &mut Scan,
    image: &mut Inspected<'_>,
) -> Result<(String, Option<String>)> {
    let (Some(out), Some(mut record)) = (out, image.record.take()) else { return Ok((image.line(None)?, None)) };
    let wrong = |path: &Path, error: std::io::Error| Some(format!("cannot write {}: {error}", path.display()));
    let png = image.heat_map(detector);
    let written = loop {
        let drawn = png.as_ref().map_or(Ok(true), |png| record.write_heat_map(png));
        let line = image.line(png.as_ref().filter(|_| drawn.is_ok()).map(|_| names::text(&record.heat_map)))?;
        match drawn {
            Ok(true) => match record.write_result(&line) {
                Ok(true) => break (line, None),
                Ok(false) => {}
                Err(error) => break (line, wrong(&record.result, error)),
            },
            Ok(false) => {}
            Err(error) => break (line, wrong(&record.heat_map, error)),
        }
        // Another program with the same `--out` has taken the name.
        let Some(next) = Record::free(out, image.name, record.number) else {
            break (line, Some(format!("cannot write {}: no name is free", record.result.display())));
        };
        record = next;
        scan.journal.add(image.name, Entry { stamp: image.stamp, state: State::Begun, number: record.number });
        keep(scan);
    };
    image.record = Some(record);
    Ok(written)
}

/// Writes the journal. Where that fails, the reason is printed, and the program continues.
fn keep(scan: &mut Scan) {
    if let Err(error) = scan.journal.write() {
        note(&error);
    }
}

fn same_folder(a: &Path, b: &Path) -> Result<bool> {
    let resolved =
        |path: &Path| path.canonicalize().map_err(|error| format!("cannot use the folder {}: {error}", path.display()));
    Ok(resolved(a)? == resolved(b)?)
}
