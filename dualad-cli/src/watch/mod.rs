//! `dualad watch`: inspect every new image of a folder.

mod scan;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::{CommonArgs, Result, note, print, write_result};
use crate::model::{BATCH, Line, ModelArgs, check_category, save_heat_map};
use crate::signals::cancel_on_signal;
use dualad::Detector;
use dualad::data::Cancel;
use dualad::detector::Request;
use scan::Scan;

/// Inspect every new image of a folder
///
/// Lists the folder every --interval-ms. An image is inspected once it has not changed between two listings. Prints a line of
/// JSON for each image; with --out also writes the line and a heat map to files. An image that cannot be read may still be
/// arriving: it is tried again for --retry-for seconds, and then reported as an error. SIGINT, SIGTERM and SIGHUP end the program
/// after the images that it is inspecting, at most 8.
#[derive(Debug, clap::Args)]
#[command(mut_arg("json", |arg| arg.help("Takes `-` alone, and changes nothing: the lines are JSON and go to standard output")))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder to watch, without its subfolders
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Folder for the result and the heat map of each image: its file name with `.json` and `.png` added; another one than FOLDER [default: none are written]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Product in the images; its thresholds are used [default: the pooled thresholds are used]
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Also inspect the images that exist at the start
    #[arg(long)]
    existing: bool,
    /// Milliseconds between two listings of the folder
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
    let mut scan = Scan::new(&args.folder, args.existing, Duration::from_secs(args.retry_for))?;
    note(&format!("watching {}", args.folder.display()));
    let interval = Duration::from_millis(args.interval_ms);
    let mut unreadable = false;
    while !stop.is_cancelled() {
        let begun = Instant::now();
        match scan.settled() {
            Ok(images) => {
                if std::mem::take(&mut unreadable) {
                    note(&format!("{} can be read again", args.folder.display()));
                }
                for images in images.chunks(BATCH) {
                    inspect(args, &detector, &mut scan, images)?;
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
        // Short sleeps: a signal ends the program soon.
        while begun.elapsed() < interval && !stop.is_cancelled() {
            std::thread::sleep((interval - begun.elapsed().min(interval)).min(Duration::from_millis(50)));
        }
    }
    Ok(())
}

fn inspect(args: &Args, detector: &Detector, scan: &mut Scan, images: &[PathBuf]) -> Result<()> {
    let request = |path| match &args.category {
        Some(category) => Request::from(path).category(category),
        None => Request::from(path),
    };
    let found = detector.inspect_batch(images.iter().map(request).collect::<Vec<_>>());
    for (path, found) in images.iter().zip(found) {
        let image = path.display().to_string();
        let found = match found {
            Ok(inspection) => inspection,
            Err(error) => {
                if scan.failed(path) {
                    report(args, path, &Line::failed(&image, &error))?;
                }
                continue;
            }
        };
        let heatmap = args.out.as_ref().map(|out| out.join(name_with(path, "png")));
        let drawn = heatmap.as_ref().map_or(Ok(()), |file| save_heat_map(detector, path, &found, file));
        let line = match &drawn {
            Ok(()) => {
                let heatmap = heatmap.map(|file| file.display().to_string());
                Line::Found { image: &image, inspection: &found, heatmap }
            }
            Err(error) => Line::failed(&image, &**error),
        };
        scan.done(path);
        report(args, path, &line)?;
    }
    Ok(())
}

/// Prints a line, and writes it to a file beside the heat map. Where that file cannot be written, the reason is printed, and the
/// program continues.
fn report(args: &Args, image: &Path, line: &Line<'_>) -> Result<()> {
    let text = line.json()?;
    let written = match &args.out {
        Some(out) => write_result("--out", &out.join(name_with(image, "json")), &text),
        None => Ok(()),
    };
    print(&text)?;
    if let Err(error) = written {
        note(&error.to_string());
    }
    Ok(())
}

/// Returns an image's name with another extension after its own: `a.png` and `a.jpg` are two images.
fn name_with(image: &Path, ending: &str) -> PathBuf {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    PathBuf::from(format!("{name}.{ending}"))
}

fn same_folder(a: &Path, b: &Path) -> Result<bool> {
    let resolved =
        |path: &Path| path.canonicalize().map_err(|error| format!("cannot use the folder {}: {error}", path.display()));
    Ok(resolved(a)? == resolved(b)?)
}
