//! `dualad watch`: inspect every new image of a folder.

mod entry;
mod journal;
mod notes;
mod record;
mod scan;
mod stamp;

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
use entry::{Entry, State};
use journal::Journal;
use record::Record;
use scan::Scan;

/// The minimum time between two looks at the folder, in multiples of the time that one takes.
const PAUSE: u32 = 10;

/// Inspect every new image of a folder
///
/// Looks at the folder every --interval-ms, less often where a look takes long. An image is inspected once it has not changed
/// between two looks. Prints a line of JSON for each image; with --out also writes the line and a heat map to files. An image that
/// cannot be read may still be arriving: it is tried again for --retry-for seconds, and then reported as an error. With --out or
/// --journal, a journal says what was done: a program that starts again inspects what has arrived meanwhile, and nothing twice. With
/// --out it prints lines again that may not have been printed when it was killed.
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
    /// Print scores without decisions. Needed for a model without thresholds
    #[arg(long, conflicts_with = "calibration")]
    scores_only: bool,
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
    let mut detector = args.model.detector(&args.common)?;
    check_category(&detector, args.category.as_deref())?;
    if args.scores_only {
        detector = detector.with_calibration(None);
    } else {
        check_thresholds(&detector, args.category.as_deref())?;
    }
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).map_err(|error| format!("cannot make {}: {error}", out.display()))?;
        if same_folder(out, &args.folder)? {
            return Err("--out is the watched folder: its heat maps would be inspected in turn; name another".into());
        }
    }
    let Some(mut scan) = scan(args)? else { return Ok(()) };
    note(&format!("watching {}", args.folder.display()));
    if args.scores_only {
        note("printing scores only: no line has a decision");
    }
    scan.journal.damage.iter().for_each(|text| note(text));
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
                scan.notes.take().iter().for_each(|text| note(text));
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
        // What is not written yet, or was cut, is written. An error is told with the next image.
        let _ = scan.journal.write();
        // A look at many files takes long: the program rests longer than it looks.
        let (rested, pause) = (Instant::now(), interval.max(took * PAUSE));
        // Short sleeps: a signal ends the program soon.
        while rested.elapsed() < pause && !stop.is_cancelled() {
            std::thread::sleep((pause - rested.elapsed().min(pause)).min(Duration::from_millis(50)));
        }
    }
    Ok(())
}

/// Refuses thresholds by which no image would have a decision: a controller that looks for `reject` would pass every part.
fn check_thresholds(detector: &Detector, category: Option<&str>) -> Result<()> {
    let calibration = detector.calibration();
    if calibration.is_some_and(|calibration| calibration.thresholds(category).is_some()) {
        return Ok(());
    }
    let own = calibration.map(|calibration| calibration.categories.keys().map(String::as_str).collect::<Vec<_>>());
    let own = own.unwrap_or_default().join(", ");
    Err(match category {
        _ if own.is_empty() => {
            "the model has no thresholds, so no line would have a decision; use `dualad calibrate`, or --scores-only"
                .into()
        }
        Some(category) => {
            format!(
                "there are no thresholds for \"{category}\", only for {own}; use `dualad calibrate`, or --scores-only"
            )
        }
        None => {
            format!(
                "there are thresholds for single categories only: {own}; name one with --category, or use --scores-only"
            )
        }
    }
    .into())
}

/// Opens the journal and lists the folder for the first time. Returns `None` if nobody reads the lines.
fn scan(args: &Args) -> Result<Option<Scan>> {
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
    let (mut journal, existed) = match journal {
        Some(path) => Journal::open(&path, folder)?,
        None => (Journal::default(), false),
    };
    if !print_again(args, &mut journal)? {
        return Ok(None);
    }
    let retry_for = Duration::from_secs(args.retry_for);
    Ok(Some(Scan::new(folder, journal, !existed && !existing, !existing, retry_for, out.as_deref())?))
}

/// Prints the lines of images that have a record, where the program may have ended before it printed them. Returns false if nobody
/// reads the lines.
fn print_again(args: &Args, journal: &mut Journal) -> Result<bool> {
    let (Some(out), Ok(folder)) = (&args.out, args.folder.canonicalize()) else { return Ok(true) };
    // Without `--out`, they have no record.
    for (image, entry) in journal.begun().into_iter().filter(|(_, entry)| entry.number > 0) {
        let Some(line) = Record::of(out, &image, entry.number).line_of(&folder) else { continue };
        if !print_to_reader(&line)? {
            journal.write()?;
            return Ok(false);
        }
        journal.add_key(image, Entry { state: State::Done, ..entry });
    }
    journal.write()?;
    Ok(true)
}

/// Inspects images. Returns false if nobody reads the lines any more.
fn inspect(args: &Args, detector: &Detector, scan: &mut Scan, images: &[PathBuf]) -> Result<bool> {
    let request = |path| match &args.category {
        Some(category) => Request::from(path).category(category),
        None => Request::from(path),
    };
    // Before the inspection: a file that is replaced meanwhile is inspected again.
    let contents: Vec<Option<u64>> = images.iter().map(|path| scan.content(path)).collect();
    let found = detector.inspect_batch(images.iter().map(request).collect::<Vec<_>>());
    let mut results = Vec::new();
    for ((path, found), content) in images.iter().zip(found).zip(contents) {
        if found.is_err() && !scan.failed(path) {
            continue;
        }
        let (Some(name), Some(stamp)) = (path.file_name(), scan.stamp(path)) else { continue };
        let record = Record::choose(args.out.as_deref(), name, scan.journal.entry(name), stamp);
        let number = record.as_ref().map_or(0, |record| record.number);
        let entry = Entry { stamp, state: State::Begun, number, content };
        scan.journal.add(name, entry);
        results.push(Inspected { path, name, entry, found, record });
    }
    // The numbers of records are written before the records: no other image gets them.
    keep(scan);
    for mut image in results {
        let (line, failed) = write_record(args.out.as_deref(), detector, scan, &mut image)?;
        let Inspected { path, name, entry, .. } = image;
        let printed = print_to_reader(&line);
        if let Some(reason) = &failed {
            note(&format!("{reason}; the image is inspected again at the next start"));
        }
        if !matches!(printed, Ok(true)) {
            // Nobody has the line. At the next start it is printed from the record, or the image is inspected.
            keep(scan);
            return printed;
        }
        // Without its record, the inspection is not done: the journal has it as begun.
        if failed.is_none() {
            scan.journal.add(name, Entry { state: State::Done, ..entry });
        }
        scan.done(path);
    }
    keep(scan);
    Ok(true)
}

/// An image that was inspected.
struct Inspected<'a> {
    path: &'a Path,
    name: &'a OsStr,
    /// The journal's entry, with the number of the record.
    entry: Entry,
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
        image.entry.number = record.number;
        scan.journal.add(image.name, image.entry);
        keep(scan);
    };
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
