//! `dualad watch`: inspect every new image of a folder.

mod entry;
mod journal;
mod notes;
mod place;
mod record;
mod retry;
mod scan;
mod stamp;
mod thresholds;
mod unwritten;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::{CommonArgs, Result, message, note, print_to_reader};
use crate::model::{Line, ModelArgs, at_a_time, check_category, heat_map};
use crate::names;
use crate::signals::cancel_on_signal;
use dualad::Detector;
use dualad::data::Cancel;
use dualad::detector::{Inspection, Replicas, Request};
use dualad::store::sha256;
use entry::{Entry, State};
use journal::Journal;
use record::{Record, has_records};
use retry::Retry;
use scan::Scan;
use stamp::Stamp;
use thresholds::ReadThresholds;
use unwritten::{Unwritten, Waiting};

/// The minimum time between two looks at the folder, in multiples of the time that one takes.
const PAUSE: u32 = 10;

/// Inspect every new image of a folder
///
/// Looks at the folder every --interval-ms, less often where a look takes long. An image is inspected once it has not changed
/// between two looks. Prints a line of JSON for each image; with --out also writes the line and a heat map to files. An image that
/// cannot be read may still be arriving: it is tried again for --retry-for seconds, and then reported as an error. With --out or
/// --journal, a journal says what was done: a program that starts again inspects what has arrived meanwhile, and nothing twice. With
/// --out it prints lines again that may not have been printed when it was killed.
/// SIGINT, SIGTERM and SIGHUP end the program after the images that it is inspecting, at most 8, or 32 on each of several
/// devices.
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
    let mut thresholds = ReadThresholds::of(&args.model)?;
    let mut replicas = args.model.replicas(&args.common)?;
    check_category(replicas.detector(), args.category.as_deref())?;
    if args.scores_only {
        replicas = replicas.with_calibration(None);
    } else {
        check_thresholds(replicas.detector(), args.category.as_deref())?;
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
    let mut kept = Kept::default();
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
                for images in images.chunks(at_a_time(&replicas)) {
                    if !inspect(args, &replicas, &mut scan, &mut kept, images)? {
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
        write_again(args, &replicas, &mut scan, &mut kept)?;
        if !args.scores_only {
            thresholds.look();
        }
        // What is not written yet, or was cut, is written.
        if kept.journal.is_due() {
            keep(&mut scan, &mut kept);
        }
        // A look at many files takes long: the program rests longer than it looks.
        let (rested, pause) = (Instant::now(), interval.max(took * PAUSE));
        // Short sleeps: a signal ends the program soon.
        while rested.elapsed() < pause && !stop.is_cancelled() {
            std::thread::sleep((pause - rested.elapsed().min(pause)).min(Duration::from_millis(50)));
        }
    }
    keep(&mut scan, &mut kept);
    kept.records.end();
    Ok(())
}

/// The writes that failed and are tried again.
#[derive(Debug, Default)]
struct Kept {
    journal: Retry,
    records: Unwritten,
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
    // It is not the first start: the journal was lost.
    let resolved = folder.canonicalize();
    let is_lost = |out: &PathBuf| resolved.is_ok_and(|folder| has_records(out, &folder));
    let lost = !existed && !existing && out.as_ref().is_some_and(is_lost);
    if let Some(path) = journal.path().filter(|_| lost) {
        let path = path.display();
        note(&format!(
            "note: there is no journal at {path}, but there are records: it is not known which images were inspected, and all images of the folder are inspected again"
        ));
    }
    let skip = !existed && !existing && !lost;
    let retry_for = Duration::from_secs(args.retry_for);
    Ok(Some(Scan::new(folder, journal, skip, !existing, retry_for, out.as_deref())?))
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
fn inspect(args: &Args, replicas: &Replicas, scan: &mut Scan, kept: &mut Kept, images: &[PathBuf]) -> Result<bool> {
    // Before the inspection: a file that is replaced meanwhile is inspected again.
    let contents: Vec<Option<u64>> = images.iter().map(|path| scan.content(path)).collect();
    let found = replicas.inspect_batch(images.iter().map(|path| request(args, path)).collect::<Vec<_>>());
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
    keep(scan, kept);
    for mut image in results {
        let (line, failed) = match image.record.take() {
            None => (image.line(None)?, None),
            Some(record) => {
                let (png, mut entry) = (image.heat_map(replicas.detector()), image.entry);
                let line = |heatmap: Option<String>| image.line(heatmap);
                let written = write_record(args, scan, kept, image.name, &mut entry, record, png.as_deref(), &line)?;
                image.entry = entry;
                written
            }
        };
        let printed = print_to_reader(&line);
        if !matches!(printed, Ok(true)) {
            // Nobody has the line. At the next start it is printed from the record, or the image is inspected.
            keep(scan, kept);
            return printed;
        }
        let Inspected { path, name, entry, .. } = image;
        match failed {
            None => scan.journal.add(name, Entry { state: State::Done, ..entry }),
            // Without its record, the inspection is not done: the journal has it as begun.
            Some(reason) => {
                let line = image.line(None)?;
                kept.records.add(Waiting { path: path.into(), name: name.into(), entry, line }, &reason);
            }
        }
        scan.done(path);
    }
    keep(scan, kept);
    Ok(true)
}

/// Tries again to write the records that could not be written. Their lines were printed.
fn write_again(args: &Args, replicas: &Replicas, scan: &mut Scan, kept: &mut Kept) -> Result<()> {
    while let Some(mut image) = kept.records.next() {
        let Some(record) = Record::choose(args.out.as_deref(), &image.name, Some(&image.entry), image.entry.stamp)
        else {
            return Ok(());
        };
        image.entry.number = record.number;
        // The heat map is drawn again, unless the image is gone or another one by now.
        let is_same = Stamp::of_file(&image.path).is_some_and(|stamp| image.entry.stamp.is_same(stamp));
        let inspected = if is_same { replicas.inspect(request(args, &image.path)).ok() } else { None };
        let png = inspected.and_then(|inspection| heat_map(replicas.detector(), &image.path, &inspection).ok());
        let Waiting { name, entry, line, .. } = &mut image;
        let add = |heatmap: Option<String>| Ok(heatmap.map_or(line.clone(), |file| with_heat_map(line, &file)));
        let (_, failed) = write_record(args, scan, kept, name, entry, record, png.as_deref(), &add)?;
        if let Some(reason) = failed {
            kept.records.put_back(image, &reason);
            continue;
        }
        // Another file of this name may have been inspected meanwhile.
        if scan.journal.entry(name).is_none_or(|newest| newest.number <= entry.number) {
            scan.journal.add(name, Entry { state: State::Done, ..*entry });
        }
        kept.records.succeeds();
    }
    Ok(())
}

/// Returns a line of JSON with the file of a heat map.
fn with_heat_map(line: &str, file: &str) -> String {
    let object = line.trim_end();
    let object = object.strip_suffix('}').unwrap_or(object);
    format!("{object},\"heatmap\":{}}}\n", serde_json::Value::from(file))
}

fn request<'a>(args: &'a Args, path: &'a Path) -> Request<'a> {
    match &args.category {
        Some(category) => Request::from(path).category(category),
        None => Request::from(path),
    }
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

/// Writes the record of an image, whose line `line` makes with the file of the heat map. Returns the line, and the reason if the record
/// could not be written.
#[allow(clippy::too_many_arguments)]
fn write_record(
    args: &Args,
    scan: &mut Scan,
    kept: &mut Kept,
    name: &OsStr,
    entry: &mut Entry,
    mut record: Record,
    png: Option<&[u8]>,
    line: &dyn Fn(Option<String>) -> Result<String>,
) -> Result<(String, Option<String>)> {
    let wrong = |path: &Path, error: std::io::Error| Some(format!("cannot write {}: {error}", path.display()));
    loop {
        let drawn = png.map_or(Ok(true), |png| record.write_heat_map(png));
        let text = line(png.filter(|_| drawn.is_ok()).map(|_| names::text(&record.heat_map)))?;
        match drawn {
            Ok(true) => match record.write_result(&text) {
                Ok(true) => return Ok((text, None)),
                Ok(false) => {}
                Err(error) => return Ok((text, wrong(&record.result, error))),
            },
            Ok(false) => {}
            Err(error) => return Ok((text, wrong(&record.heat_map, error))),
        }
        // Another program with the same `--out` has taken the name.
        let next = args.out.as_deref().and_then(|out| Record::free(out, name, record.number));
        let Some(next) = next else {
            return Ok((text, Some(format!("cannot write {}: no name is free", record.result.display()))));
        };
        record = next;
        entry.number = record.number;
        scan.journal.add(name, *entry);
        keep(scan, kept);
    }
}

/// Writes the journal. Where that fails, the reason is printed, and the program continues.
fn keep(scan: &mut Scan, kept: &mut Kept) {
    match scan.journal.write() {
        Ok(()) => {
            if kept.journal.succeeds() {
                note("the journal is written again");
            }
        }
        Err(error) => {
            if kept.journal.fails() {
                note(&format!("{error}; trying again"));
            }
        }
    }
}

fn same_folder(a: &Path, b: &Path) -> Result<bool> {
    let resolved =
        |path: &Path| path.canonicalize().map_err(|error| format!("cannot use the folder {}: {error}", path.display()));
    Ok(resolved(a)? == resolved(b)?)
}
